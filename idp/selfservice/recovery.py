"""Account recovery: a forgotten password, and a lock caused by failed attempts of others."""

from http import HTTPStatus
from typing import Any

from litestar import Request, Response, get, post
from litestar.params import FromPath

from idp.accounts import email_proofs
from idp.accounts.addresses import InvalidEmailError
from idp.accounts.email_proofs import Purpose
from idp.accounts.passwords import InvalidPasswordError
from idp.audit.events import record
from idp.errors import PageError, TooManyRequestsError
from idp.http import forms
from idp.http.access import Access
from idp.http.exception_handlers import slowed_down, wait_sentence
from idp.http.pages import page, see_other
from idp.infra.i18n import gettext as _
from idp.oauth.credentials import credentials_changed
from idp.signin import flow as flows
from idp.signin import limits, onward, pages
from idp.signin.csrf import check_form_token, form_token
from idp.signin.enforcement import EnforcedDomainError
from idp.signin.flow import Flow
from idp.signin.http import browser_of, key_cookies, new_flow_key
from idp.signin.mail_needed import require_mail
from idp.signin.other_browser import dead_link
from idp.signin.password_reset import request_reset, reset_by_code, reset_by_link

AnyRequest = Request[Any, Any, Any]
PAGE = {"access": Access.PAGE}
FORGOT = "/forgot"


def _forgot_page(flow: Flow, username: str, sent_to: str | None, error: str | None = None) -> Response[str]:
    return page(
        "forgot.html",
        status=HTTPStatus.BAD_REQUEST if error else HTTPStatus.OK,
        path=flows.path(flow.binding),
        csrf_token=form_token(flow.binding.secret, "login"),
        client=flow.display,
        username=username,
        sent_to=sent_to,
        error=error,
        others=[],
        cancel=False,
        scripts=True,
    )


@get(FORGOT, opt=PAGE)
async def start_forgot(request: AnyRequest) -> Response[Any]:
    """Start a sign-in with its page for a forgotten password. Links that are no longer valid lead here."""
    require_mail()
    key = await new_flow_key(request)
    return see_other(f"{flows.path(await flows.start(key, '/'))}/{pages.FORGOT}", key_cookies(key))


@get("/login/{flow_id:str}/forgot", opt=pages.STEP_PAGE)
async def show_forgot(request: AnyRequest, flow_id: FromPath[str]) -> Response[Any]:
    """Ask for the address and, once the mail is sent, for the code and a new password."""
    require_mail()
    flow = await onward.load_or_leave(request, flow_id)
    if isinstance(flow, Response):
        return flow
    return _forgot_page(
        flow, flow.login_hint, await email_proofs.pending_email(Purpose.PASSWORD_RESET, flow.binding.id)
    )


@post("/login/{flow_id:str}/forgot", opt=PAGE)
async def forgot(request: AnyRequest, flow_id: FromPath[str]) -> Response[Any]:
    """Send the mail, or verify its code and set the new password."""
    flow = await onward.load(request, flow_id)
    if isinstance(flow, Response):
        return flow
    form = await forms.form(request)
    check_form_token(form, flow.binding.secret, "login")
    waiting = await email_proofs.pending_email(Purpose.PASSWORD_RESET, flow.binding.id)
    if form.get("action") == "send":
        username = form.get("username") or waiting or ""
        flow = await pages.keep_address(flow, {"username": username})
        try:
            await request_reset(flow, username, browser_of(request))
        except EnforcedDomainError as error:
            return await pages.show_error(request, flow, error)
        except InvalidEmailError:
            return _forgot_page(flow, username, None, _("Enter your email address, such as name@example.com."))
        except TooManyRequestsError as error:
            return slowed_down(_forgot_page(flow, username, waiting, wait_sentence(error)), error)
        return see_other(f"{flows.path(flow.binding)}/forgot")
    try:
        changed = await reset_by_code(
            flow, form.get("code", ""), form.get("password", ""), credentials_changed, browser_of(request)
        )
    except InvalidPasswordError as error:
        return _forgot_page(flow, "", waiting, str(error))
    except TooManyRequestsError as error:
        return slowed_down(_forgot_page(flow, "", waiting, wait_sentence(error)), error)
    if not changed:
        return _forgot_page(flow, "", waiting, _("That code is wrong or has expired. Check it, or ask for a new one."))
    return page("password_reset.html", login=flows.path(flow.binding))


# The link works in any browser: people read mail on other devices. It only lets them choose a password, which does not
# sign them in. So the form is not bound to a cookie: the token is the proof.


def _too_old() -> PageError:
    return dead_link(_("Ask for a new one"), FORGOT)


def _reset_page(token: str, email: str, error: str | None = None) -> Response[str]:
    return page(
        "reset.html",
        scripts=True,
        status=HTTPStatus.BAD_REQUEST if error else HTTPStatus.OK,
        token=token,
        username=email,
        error=error,
    )


@get("/reset", opt=PAGE)
async def show_reset(request: AnyRequest) -> Response[Any]:
    """Show the target of the link. It changes nothing."""
    token = forms.query(request).get("token", "")
    proved = await email_proofs.verify_token(token, Purpose.PASSWORD_RESET)
    if proved is None:
        raise _too_old()
    return _reset_page(token, proved.email)


@post("/reset", opt=PAGE)
async def reset(request: AnyRequest) -> Response[Any]:
    """Set the new password."""
    form = await forms.form(request)
    token = form.get("token", "")
    proved = await email_proofs.verify_token(token, Purpose.PASSWORD_RESET)
    try:
        changed = await reset_by_link(token, form.get("password", ""), credentials_changed, browser_of(request))
    except InvalidPasswordError as error:
        return _reset_page(token, proved.email if proved else "", str(error))
    except TooManyRequestsError as error:
        return slowed_down(_reset_page(token, proved.email if proved else "", wait_sentence(error)), error)
    if not changed:
        raise _too_old()
    # The sign-in that asked for the mail, if it was in this browser.
    started = browser_of(request).binding(proved.flow_id) if proved is not None and proved.flow_id is not None else None
    return page("password_reset.html", login=flows.path(started) if started is not None else "/login")


@get("/unlock", opt=PAGE)
async def show_unlock(request: AnyRequest) -> Response[Any]:
    """Show the target of the unlock link, which is mailed after too many failed passwords."""
    token = forms.query(request).get("token", "")
    if await email_proofs.verify_token(token, Purpose.UNLOCK) is None:
        raise dead_link(_("Sign in"), "/login")
    return page("unlock.html", token=token, done=False)


@post("/unlock", opt=PAGE)
async def unlock(request: AnyRequest) -> Response[Any]:
    """Unlock the account."""
    proved = await email_proofs.consume_token((await forms.form(request)).get("token", ""), Purpose.UNLOCK)
    if proved is None:
        raise dead_link(_("Sign in"), "/login")
    await limits.unlock(proved.email)
    await record("account_unlocked", user_id=proved.user_id)
    return page("unlock.html", token="", done=True)


ROUTES = [start_forgot, show_forgot, forgot, show_reset, reset, show_unlock, unlock]
