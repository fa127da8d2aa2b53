"""`/account/totp`: setting up and removing an authenticator app."""

from typing import Any

from litestar import Request, Response, get, post

from idp.errors import TooManyRequestsError
from idp.http.access import Access
from idp.http.exception_handlers import slowed_down, wait_sentence
from idp.http.pages import see_other
from idp.infra.db.engine import transaction
from idp.infra.i18n import gettext as _
from idp.selfservice.account_page import (
    AccountRequest,
    account_page,
    confirmation_page,
    end_other_sessions,
    require_form,
    require_session,
)
from idp.selfservice.security import PATH as SECURITY
from idp.selfservice.security import new_codes
from idp.selfservice.security_mails import notify_change
from idp.signin import devices, limits
from idp.signin.factors import service as factors
from idp.signin.factors import totp
from idp.signin.http import browser_of

AnyRequest = Request[Any, Any, Any]
PAGE = {"access": Access.PAGE}
PATH = "/account/totp"


async def _page(request: AnyRequest, account: AccountRequest, error: str | None = None) -> Response[Any]:
    try:
        setup = await totp.start_setup(account.user.id, str(account.session.id), account.user.email)
    except totp.AlreadyEnabledError:
        return see_other(SECURITY)
    return account_page(request, "totp", account, setup=setup, error=error, action=PATH, scripts=True)


@get(PATH, opt=PAGE)
async def show_totp(request: AnyRequest) -> Response[Any]:
    """Show the secret to scan. It stays the same until it is confirmed."""
    account = await require_session(request, PATH, fresh=True)
    return account if isinstance(account, Response) else await _page(request, account)


@post(PATH, opt=PAGE)
async def confirm_totp(request: AnyRequest) -> Response[Any]:
    """Verify the first code of the app and switch two-step sign-in on."""
    asked = await require_form(request, PATH, fresh=True)
    if isinstance(asked, Response):
        return asked
    account, form = asked
    user = account.user
    try:
        await limits.count_second_step(user.id, browser_of(request))
    except TooManyRequestsError as error:
        return slowed_down(await _page(request, account, wait_sentence(error)), error)
    async with transaction():
        confirmed = await totp.confirm(user.id, str(account.session.id), form.get("code", ""))
        if confirmed:
            await factors.set_two_step(user.id, True)
            await devices.distrust_all(user.id)
            await notify_change(user, "totp_enabled")
    if not confirmed:
        return await _page(request, account, _("That code is wrong. Wait for the next one and try again."))
    return await new_codes(account)


@get(f"{PATH}/remove", opt=PAGE)
async def ask_to_remove_totp(request: AnyRequest) -> Response[Any]:
    """Ask for confirmation before the app is removed."""
    return await confirmation_page(
        request,
        f"{PATH}/remove",
        heading=_("Remove the authenticator app?"),
        text=_("You can no longer sign in with its codes, and you are signed out everywhere else."),
        undo=_("You can set it up again at any time, with a new key."),
        label=_("Remove"),
    )


@post(f"{PATH}/remove", opt=PAGE)
async def remove_totp(request: AnyRequest) -> Response[Any]:
    """Remove the app."""
    asked = await require_form(request, SECURITY, fresh=True)
    if isinstance(asked, Response):
        return asked
    account, cookies = asked[0], []
    user = account.user
    async with transaction():
        if await totp.disable(user.id):
            await factors.forget_two_step_without_factors(user.id)
            cookies += await end_other_sessions(request, account, "totp_disabled")
            await notify_change(user, "totp_disabled")
    return see_other(f"{SECURITY}?done=totp-removed", cookies)


ROUTES = [show_totp, confirm_totp, ask_to_remove_totp, remove_totp]
