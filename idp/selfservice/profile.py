"""`/account`: the user's profile."""

from collections.abc import Mapping
from typing import Any

import msgspec
from litestar import Request, Response, get, post

from idp.accounts.attributes import forms, service
from idp.accounts.attributes.models import Audience
from idp.accounts.attributes.registry import attributes
from idp.accounts.claims import ADDRESS_MEMBERS
from idp.accounts.profile import FIELDS, InvalidProfileError, time_zones, update_profile
from idp.accounts.tables import User
from idp.directory.effective import memberships
from idp.http.access import Access
from idp.http.pages import see_other
from idp.selfservice.account_page import AccountRequest, account_page, require_form, require_session

AnyRequest = Request[Any, Any, Any]
PAGE = {"access": Access.PAGE}
PATH = "/account"


def _values(user: User) -> dict[str, str]:
    values = {name: user[name] or "" for name in FIELDS}
    address = msgspec.json.decode(user.address) if user.address else {}
    return values | {f"address.{name}": address.get(name, "") for name in ADDRESS_MEMBERS}


async def profile_page(
    request: AnyRequest,
    account: AccountRequest,
    values: dict[str, str] | None = None,
    *,
    entered: Mapping[str, str] | None = None,
    error: str | None = None,
    wrong: str = "",
) -> Response[str]:
    """Render the page: the form of the profile, the one of attributes if there are any, and the names of groups.

    Args:
        values: the entered profile, by default the stored one.
        entered: the entered attributes, by default the stored ones.
        wrong: the name of the field with the error.
    """
    own = await service.values(account.user.id, Audience.PERSON)
    editable = attributes.editable(Audience.PERSON)
    fixed = [one for one in attributes.visible(Audience.PERSON) if one not in editable]
    return account_page(
        request,
        "profile",
        account,
        values=values or _values(account.user),
        time_zones=sorted(time_zones()),
        attributes=forms.fields(editable, own, entered),
        facts=forms.facts(fixed, own),
        groups=(await memberships(account.user.id)).group_names,
        error=error,
        wrong=wrong,
    )


@get(PATH, opt=PAGE)
async def show_profile(request: AnyRequest) -> Response[Any]:
    """Show the form with the current values."""
    account = await require_session(request, PATH)
    if isinstance(account, Response):
        return account
    return await profile_page(request, account)


@post(PATH, opt=PAGE)
async def save_profile(request: AnyRequest) -> Response[Any]:
    """Store the profile."""
    asked = await require_form(request, PATH)
    if isinstance(asked, Response):
        return asked
    account, form = asked
    try:
        await update_profile(account.user, form)
    except InvalidProfileError as error:
        values = {name: form.get(name, "") for name in _values(account.user)}
        return await profile_page(request, account, values, error=str(error), wrong=error.field)
    return see_other(f"{PATH}?done=profile")


ROUTES = [show_profile, save_profile]
