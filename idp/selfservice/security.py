"""`/account/security`: the password, second factors and linked identities."""

from typing import Any

from litestar import Request, Response, get, post

from idp.accounts.passwords import InvalidPasswordError, check_new_password, hash_password
from idp.accounts.users import change_password_hash
from idp.errors import TooManyRequestsError
from idp.federation.ldap.accounts import directory_of
from idp.http import sealed_cookies
from idp.http.access import Access
from idp.http.exception_handlers import slowed_down, wait_sentence
from idp.http.pages import see_other
from idp.infra.db.engine import transaction
from idp.infra.i18n import gettext as _
from idp.oauth.credentials import credentials_changed
from idp.selfservice import identities
from idp.selfservice.account_page import AccountRequest, account_page, confirmation_page, require_form, require_session
from idp.selfservice.security_mails import notify_change
from idp.signin import limits, sessions
from idp.signin.factors import passkeys, recovery_codes
from idp.signin.factors import service as factors
from idp.signin.http import browser_of, session_cookies
from idp.signin.transitions import Step

AnyRequest = Request[Any, Any, Any]
PAGE = {"access": Access.PAGE}
PATH = "/account/security"
PASSWORD = "/account/password"
NEW_CODES = "/account/recovery-codes/new"
CODES_COOKIE = "recovery-codes"


@get(PATH, opt=PAGE)
async def show_security(request: AnyRequest) -> Response[Any]:
    """Show the credentials of the account with links to change them."""
    account = await require_session(request, PATH)
    if isinstance(account, Response):
        return account
    user = account.user
    own = await factors.factors_of(user.id)
    has = own.has if own else frozenset()
    return account_page(
        request,
        "security",
        account,
        **await identities.shown(request, account),
        directory=await directory_of(user),
        passkeys=await passkeys.passkeys_of(user.id),
        totp=Step.TOTP in has,
        codes_left=await recovery_codes.count_unused(user.id),
        factors=bool(has),
    )


@get(PASSWORD, opt=PAGE)
async def show_password(request: AnyRequest) -> Response[Any]:
    """Show the form for a new password."""
    account = await require_session(request, PASSWORD, fresh=True)
    if isinstance(account, Response):
        return account
    directory = await directory_of(account.user)
    if directory is not None:
        return _elsewhere(request, account, directory)
    return _password_page(request, account)


def _password_page(
    request: AnyRequest, account: AccountRequest, error: str | None = None, *, elsewhere: bool = False
) -> Response[str]:
    return account_page(request, "password", account, error=error, elsewhere=elsewhere, scripts=True)


def _elsewhere(request: AnyRequest, account: AccountRequest, directory: str) -> Response[str]:
    message = _("Your password is managed by %(upstream)s. Change it there.") % {"upstream": directory}
    return _password_page(request, account, message, elsewhere=True)


@post(PASSWORD, opt=PAGE)
async def change_password(request: AnyRequest) -> Response[Any]:
    """Set the new password. All sessions except this one end, and all tokens are revoked."""
    asked = await require_form(request, PASSWORD, fresh=True)
    if isinstance(asked, Response):
        return asked
    account, form = asked
    user, password = account.user, form.get("password", "")
    if (directory := await directory_of(user)) is not None:
        return _elsewhere(request, account, directory)
    try:
        await limits.count_step(browser_of(request))
    except TooManyRequestsError as error:
        return slowed_down(_password_page(request, account, wait_sentence(error)), error)
    try:
        await check_new_password(password, user_inputs=[user.email, user.name or ""])
        password_hash = await hash_password(password)
    except InvalidPasswordError as error:
        return _password_page(request, account, str(error))
    async with transaction():
        await change_password_hash(user.id, password_hash, credentials_changed)
        await notify_change(user, "password_changed")
        cookies = session_cookies(await sessions.restart(browser_of(request), account.session))
    return see_other(f"{PATH}?done=password", cookies)


@get("/account/two-step", opt=PAGE)
async def ask_two_step_off(request: AnyRequest) -> Response[Any]:
    """Ask for confirmation before two-step sign-in is switched off."""
    return await confirmation_page(
        request,
        "/account/two-step",
        heading=_("Turn the second step off?"),
        text=_("After that, anyone who has your password can sign in as you."),
        undo=_("You can turn it on again at any time."),
        label=_("Turn it off"),
        fields={"two_step": "off"},
    )


@post("/account/two-step", opt=PAGE)
async def set_two_step(request: AnyRequest) -> Response[Any]:
    """Switch two-step sign-in on or off."""
    asked = await require_form(request, PATH, fresh=True)
    if isinstance(asked, Response):
        return asked
    account, form = asked
    wanted = form.get("two_step") == "on"
    own = await factors.factors_of(account.user.id)
    if own is not None and (own.has or not wanted):
        async with transaction():
            if await factors.set_two_step(account.user.id, wanted):
                await notify_change(account.user, "two_step_on" if wanted else "two_step_off")
    return see_other(f"{PATH}?done=two-step-{'on' if wanted else 'off'}")


@get("/account/recovery-codes", opt=PAGE)
async def ask_for_recovery_codes(request: AnyRequest) -> Response[Any]:
    """Ask for confirmation before existing recovery codes become invalid."""
    return await confirmation_page(
        request,
        "/account/recovery-codes",
        heading=_("Make new recovery codes?"),
        text=_("Your current codes stop working. The new ones are shown once."),
        undo=_("This cannot be undone. Throw the old codes away, wherever you keep them."),
        label=_("Make new codes"),
    )


@post("/account/recovery-codes", opt=PAGE)
async def make_recovery_codes(request: AnyRequest) -> Response[Any]:
    """Create new recovery codes. The old ones become invalid."""
    asked = await require_form(request, PATH, fresh=True)
    if isinstance(asked, Response):
        return asked
    return await new_codes(asked[0])


async def new_codes(account: AccountRequest) -> Response[bytes]:
    """Create recovery codes and redirect to the page that shows them once."""
    async with transaction():
        codes = await recovery_codes.generate(account.user.id)
        await notify_change(account.user, "recovery_codes_made")
    return see_other(NEW_CODES, [sealed_cookies.seal(CODES_COOKIE, "\n".join(codes), _codes_context(account))])


@get(NEW_CODES, opt=PAGE)
async def show_new_codes(request: AnyRequest) -> Response[Any]:
    """Show new recovery codes, once."""
    account = await require_session(request, NEW_CODES, fresh=True)
    if isinstance(account, Response):
        return account
    codes = sealed_cookies.read(request, CODES_COOKIE, _codes_context(account))
    if codes is None:
        return see_other(PATH)
    used = tuple(sealed_cookies.used(request, CODES_COOKIE))
    return account_page(request, "recovery_codes", account, cookies=used, codes=codes.split("\n"), scripts=True)


def _codes_context(account: AccountRequest) -> str:
    return f"account.recovery_codes:{account.session.id}"


ROUTES = [
    show_security, show_password, change_password, ask_two_step_off, set_two_step, ask_for_recovery_codes,
    make_recovery_codes, show_new_codes,
]  # fmt: skip
