"""`/account/totp`: setting up an authenticator app, and removing it."""

from typing import Any

from litestar import Request, Response, get, post

from idp.errors import TooManyRequestsError
from idp.http.access import Access
from idp.http.exception_handlers import slowed_down, wait_sentence
from idp.http.pages import see_other
from idp.infra.db.engine import transaction
from idp.infra.i18n import gettext as _
from idp.selfservice.account_page import AccountRequest, account_page, ask, end_others, posted, visit
from idp.selfservice.security import PATH as SECURITY
from idp.selfservice.security import show_new_codes
from idp.selfservice.security_mails import changed
from idp.signin import devices, factors, limits, totp

AnyRequest = Request[Any, Any, Any]
PAGE = {"access": Access.PAGE}
PATH = "/account/totp"


async def _page(request: AnyRequest, visitor: AccountRequest, error: str | None = None) -> Response[Any]:
    try:
        setup = await totp.start_setup(visitor.user.id, str(visitor.session.id), visitor.user.email)
    except totp.AlreadyEnabledError:
        return see_other(SECURITY)
    return account_page(request, "totp", visitor, setup=setup, error=error, action=PATH)


@get(PATH, opt=PAGE)
async def show_totp(request: AnyRequest) -> Response[Any]:
    """The secret to scan. It is the same one until it is confirmed."""
    visitor = await visit(request, PATH, fresh=True)
    return visitor if isinstance(visitor, Response) else await _page(request, visitor)


@post(PATH, opt=PAGE)
async def confirm_totp(request: AnyRequest) -> Response[Any]:
    """Take the first code of the app. From now on a second factor is asked for."""
    asked = await posted(request, PATH, fresh=True)
    if isinstance(asked, Response):
        return asked
    visitor, form = asked
    user = visitor.user
    try:
        await limits.count_second_step(user.id, request)
    except TooManyRequestsError as error:
        return slowed_down(await _page(request, visitor, wait_sentence(error)), error)
    async with transaction():
        confirmed = await totp.confirm(user.id, str(visitor.session.id), form.get("code", ""))
        if confirmed:
            await factors.set_two_step(user.id, True)
            await devices.distrust_all(user.id)
            await changed(user, "totp_enabled")
    if not confirmed:
        return await _page(request, visitor, _("That code is not right. Wait for the next one and try again."))
    return await show_new_codes(request, visitor)


@get(f"{PATH}/remove", opt=PAGE)
async def ask_to_remove_totp(request: AnyRequest) -> Response[Any]:
    """Ask before the app is forgotten."""
    return await ask(
        request,
        f"{PATH}/remove",
        heading=_("Remove the authenticator app?"),
        text=_("Its codes no longer sign you in, and you are signed out everywhere else."),
        label=_("Remove"),
    )


@post(f"{PATH}/remove", opt=PAGE)
async def remove_totp(request: AnyRequest) -> Response[Any]:
    """Forget the app."""
    asked = await posted(request, SECURITY, fresh=True)
    if isinstance(asked, Response):
        return asked
    visitor, cookies = asked[0], []
    user = visitor.user
    async with transaction():
        if await totp.disable(user.id):
            await factors.forget_two_step_without_factors(user.id)
            cookies.append(await end_others(request, visitor, "totp_disabled"))
            await changed(user, "totp_disabled")
    return see_other(f"{SECURITY}?done=totp-removed", cookies)


ROUTES = [show_totp, confirm_totp, ask_to_remove_totp, remove_totp]
