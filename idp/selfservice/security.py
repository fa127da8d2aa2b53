"""`/account/security`: the password and what else protects the account."""

from typing import Any

from litestar import Request, Response, get, post

from idp.accounts.passwords import InvalidPasswordError, check_new_password, hash_password
from idp.accounts.users import keep_password
from idp.errors import TooManyRequestsError
from idp.http.access import Access
from idp.http.exception_handlers import slowed_down, wait_sentence
from idp.http.pages import see_other
from idp.infra.db.engine import transaction
from idp.infra.i18n import gettext as _
from idp.oauth.credentials import credentials_changed
from idp.selfservice import identities
from idp.selfservice.account_page import AccountRequest, account_page, ask, posted, visit
from idp.selfservice.security_mails import changed
from idp.signin import factors, limits, passkeys, recovery_codes, sessions
from idp.signin.transitions import Step

AnyRequest = Request[Any, Any, Any]
PAGE = {"access": Access.PAGE}
PATH = "/account/security"
PASSWORD = "/account/password"


@get(PATH, opt=PAGE)
async def show_security(request: AnyRequest) -> Response[Any]:
    """How the account is protected now, with the way to change each part of it."""
    visitor = await visit(request, PATH)
    if isinstance(visitor, Response):
        return visitor
    user = visitor.user
    own = await factors.factors_of(user.id)
    has = own.has if own else frozenset()
    return account_page(
        request,
        "security",
        visitor,
        **await identities.shown(request, visitor),
        passkeys=await passkeys.passkeys_of(user.id),
        totp=Step.TOTP in has,
        codes_left=await recovery_codes.count_unused(user.id),
        factors=bool(has),
    )


@get(PASSWORD, opt=PAGE)
async def show_password(request: AnyRequest) -> Response[Any]:
    """The form for a new password."""
    visitor = await visit(request, PASSWORD, fresh=True)
    return visitor if isinstance(visitor, Response) else account_page(request, "password", visitor)


@post(PASSWORD, opt=PAGE)
async def change_password(request: AnyRequest) -> Response[Any]:
    """Set the new password. All other browsers and applications are signed out; this one stays."""
    asked = await posted(request, PASSWORD, fresh=True)
    if isinstance(asked, Response):
        return asked
    visitor, form = asked
    user, password = visitor.user, form.get("password", "")
    try:
        await limits.count_step(request)
    except TooManyRequestsError as error:
        return slowed_down(account_page(request, "password", visitor, error=wait_sentence(error)), error)
    try:
        await check_new_password(password, user_inputs=[user.email, user.name or ""])
        password_hash = await hash_password(password)
    except InvalidPasswordError as error:
        return account_page(request, "password", visitor, error=str(error))
    async with transaction():
        await keep_password(user.id, password_hash, credentials_changed)
        await changed(user, "password_changed")
        cookie = await sessions.restart(request, visitor.session)
    return see_other(f"{PATH}?done=password", [cookie])


@get("/account/two-step", opt=PAGE)
async def ask_two_step_off(request: AnyRequest) -> Response[Any]:
    """Ask before the second factor is asked for no longer."""
    return await ask(
        request,
        "/account/two-step",
        heading=_("Turn the second step off?"),
        text=_("From then on a password alone is enough to sign in as you."),
        label=_("Turn it off"),
        fields={"two_step": "off"},
    )


@post("/account/two-step", opt=PAGE)
async def set_two_step(request: AnyRequest) -> Response[Any]:
    """Ask for a second factor at every sign-in, or no longer."""
    asked = await posted(request, PATH, fresh=True)
    if isinstance(asked, Response):
        return asked
    visitor, form = asked
    wanted = form.get("two_step") == "on"
    own = await factors.factors_of(visitor.user.id)
    if own is not None and (own.has or not wanted):
        async with transaction():
            if await factors.set_two_step(visitor.user.id, wanted):
                await changed(visitor.user, "two_step_on" if wanted else "two_step_off")
    return see_other(f"{PATH}?done=two-step")


@get("/account/recovery-codes", opt=PAGE)
async def ask_for_recovery_codes(request: AnyRequest) -> Response[Any]:
    """Ask before codes that may be printed somewhere count no more."""
    return await ask(
        request,
        "/account/recovery-codes",
        heading=_("Make new recovery codes?"),
        text=_("The codes that you have now no longer work. The new ones are shown once."),
        label=_("Make new ones"),
    )


@post("/account/recovery-codes", opt=PAGE)
async def make_recovery_codes(request: AnyRequest) -> Response[Any]:
    """Make new recovery codes and show them, once. The old ones count no more."""
    asked = await posted(request, PATH, fresh=True)
    if isinstance(asked, Response):
        return asked
    return await show_new_codes(request, asked[0])


async def show_new_codes(request: AnyRequest, visitor: AccountRequest) -> Response[Any]:
    """Make recovery codes and show them, once."""
    async with transaction():
        codes = await recovery_codes.generate(visitor.user.id)
        await changed(visitor.user, "recovery_codes_made")
    return account_page(request, "recovery_codes", visitor, codes=codes)


ROUTES = [
    show_security, show_password, change_password, ask_two_step_off, set_two_step, ask_for_recovery_codes,
    make_recovery_codes,
]  # fmt: skip
