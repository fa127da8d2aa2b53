"""`/account/attributes`: the attributes that the operator declared and users may edit themselves."""

from typing import Any

from litestar import Request, Response, post

from idp.accounts.attributes import forms, service
from idp.accounts.attributes.errors import InvalidValueError
from idp.accounts.attributes.models import Audience
from idp.accounts.attributes.registry import attributes
from idp.http.access import Access
from idp.http.pages import see_other
from idp.selfservice import profile
from idp.selfservice.account_page import require_form

AnyRequest = Request[Any, Any, Any]


@post("/account/attributes", opt={"access": Access.PAGE})
async def save_attributes(request: AnyRequest) -> Response[Any]:
    """Store the attributes of the form, which is a part of the page of the profile."""
    asked = await require_form(request, profile.PATH)
    if isinstance(asked, Response):
        return asked
    account, form = asked
    editable = attributes.editable(Audience.PERSON)
    try:
        await service.change(account.user.id, forms.entered(editable, form), Audience.PERSON)
    except InvalidValueError as error:
        sentence = forms.sentence(editable, error)
        return await profile.profile_page(
            request, account, entered=form, errors={forms.field_name(error.field): sentence}
        )
    return see_other(f"{profile.PATH}?done=profile")


ROUTES = [save_attributes]
