"""`/account`: the user's profile."""

import re
from collections.abc import Mapping
from typing import Any

import msgspec
from litestar import Request, Response, get, post

from idp import clock
from idp.accounts import pictures, profile_choices
from idp.accounts.attributes import forms, service
from idp.accounts.attributes.models import Audience
from idp.accounts.attributes.registry import attributes
from idp.accounts.claims import ADDRESS_MEMBERS
from idp.accounts.profile import FIELDS, InvalidProfileError, update_profile
from idp.accounts.tables import User
from idp.directory.effective import memberships
from idp.http.access import Access
from idp.http.pages import see_other
from idp.infra.i18n import gettext as _
from idp.selfservice.account_page import AccountRequest, account_page, require_form, require_session

AnyRequest = Request[Any, Any, Any]
PAGE = {"access": Access.PAGE}
PATH = "/account"
#: The field for a birthday without a day, or without a year.
YEAR = "birth_year"
_FULL_DATE = re.compile(r"(?!0000)\d{4}-\d{2}-\d{2}", re.ASCII)


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
    errors: Mapping[str, str] | None = None,
) -> Response[str]:
    """Render the page: the picture, the form of the profile, the one of attributes if any, and the names of groups.

    Args:
        values: the entered profile, by default the stored one.
        entered: the entered attributes, by default the stored ones.
        errors: sentences by the names of the refused fields.
    """
    user, wrong = account.user, errors or {}
    own = await service.values(user.id, Audience.PERSON)
    editable = attributes.editable(Audience.PERSON)
    fixed = [one for one in attributes.visible(Audience.PERSON) if one not in editable]
    values = values or _values(user)
    return account_page(
        request,
        "profile",
        account,
        scripts=True,
        values=values,
        full_birthday=bool(_FULL_DATE.fullmatch(values["birthdate"])),
        today=f"{clock.now():%Y-%m-%d}",
        spoken=profile_choices.languages(values["locale"]),
        zones=profile_choices.zones(values["zoneinfo"]),
        uploaded=await pictures.of_user(user.id) is not None,
        attributes=forms.fields(editable, own, entered),
        facts=forms.facts(fixed, own),
        groups=(await memberships(user.id)).group_names,
        error=_("Check the marked fields. Nothing has been saved yet.") if errors else None,
        errors=wrong,
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
    form["birthdate"] = form.get("birthdate") or form.get(YEAR, "")
    if await pictures.of_user(account.user.id) is not None:
        # The form has no field for its URL.
        form["picture"] = account.user.picture or ""
    try:
        await update_profile(account.user, form)
    except InvalidProfileError as error:
        values = {name: form.get(name, "") for name in _values(account.user)}
        return await profile_page(request, account, values, errors=error.errors)
    return see_other(f"{PATH}?done=profile")


ROUTES = [show_profile, save_profile]
