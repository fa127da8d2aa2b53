"""The HTML of the sign-in flow."""

import hmac
from http import HTTPStatus
from typing import Any

from litestar import Request, Response, get, post
from litestar.datastructures import Cookie
from litestar.params import FromPath

from idp.audit.events import record
from idp.db.engine import transaction
from idp.errors import PageError
from idp.keys import vault
from idp.signin import flow as flows
from idp.signin import sessions
from idp.signin.flow import Flow
from idp.signin.steps import password
from idp.web import forms
from idp.web.access import Access
from idp.web.binding import csrf_token
from idp.web.pages import page, see_other

AnyRequest = Request[Any, Any, Any]
PAGE = {"access": Access.PAGE}

#: One factor (OpenID Connect Core section 2); published as acr_values_supported.
ACR_SINGLE_FACTOR = "1"


def form_token(secret: str, purpose: str) -> str:
    """The CSRF token of a form."""
    return csrf_token(vault.derive("csrf"), secret, purpose)


def check_form_token(form: dict[str, str], secret: str, purpose: str) -> None:
    """Refuse a form that our own page did not make for this browser.

    Raises:
        PageError: the token is missing or wrong.
    """
    if not hmac.compare_digest(form.get("csrf_token", "").encode(), form_token(secret, purpose).encode()):
        raise PageError("This form is out of date", "Go back, reload the page and try again.")


def _login_page(
    flow: Flow,
    username: str,
    *,
    reauthenticate: bool = False,
    error: str | None = None,
    status: int = HTTPStatus.OK,
) -> Response[str]:
    return page(
        "login.html",
        status=status,
        form_targets=[flow.display.origin] if flow.display else [],
        action=flows.path(flow.binding),
        csrf_token=form_token(flow.binding.secret, "login"),
        client=flow.display,
        username=username,
        error=error,
        cancel=flow.cancel_to is not None,
        reauthenticate=reauthenticate,
    )


@get("/login", opt=PAGE)
async def start_login(request: AnyRequest) -> Response[Any]:
    """Sign in for its own sake: the person ends at the start page."""
    if await sessions.current(request) is not None:
        return see_other("/")
    binding = await flows.start("/")
    return see_other(flows.path(binding), [flows.cookie(binding)])


@get("/login/{flow_id:str}", opt=PAGE)
async def show_login(request: AnyRequest, flow_id: FromPath[str]) -> Response[Any]:
    """The sign-in form."""
    flow = await flows.load(request, flow_id)
    return _login_page(flow, flow.login_hint, reauthenticate=await sessions.current(request) is not None)


@post("/login/{flow_id:str}", opt=PAGE)
async def login(request: AnyRequest, flow_id: FromPath[str]) -> Response[Any]:
    """Check what the person typed, and go on to where the flow leads."""
    flow = await flows.load(request, flow_id)
    form = await forms.form(request)
    check_form_token(form, flow.binding.secret, "login")
    if form.get("action") == "cancel" and flow.cancel_to is not None:
        await flows.finish(flow)
        return see_other(flow.cancel_to, [flow.binding.delete_cookie()])

    username = form.get("username", "")
    session_cookie = await _sign_in(request, flow, username, form.get("password", ""))
    if session_cookie is None:
        await record("sign_in", outcome="failure", detail={"reason": "wrong email or password"})
        return _login_page(flow, username, error="That email and password do not match.", status=HTTPStatus.BAD_REQUEST)
    return see_other(flow.return_to, [session_cookie, flow.binding.delete_cookie()])


async def _sign_in(request: AnyRequest, flow: Flow, username: str, secret: str) -> Cookie | None:
    """End the flow with a session, if the password is right. Returns the session's cookie."""
    user = await password.check(username, secret)
    if user is None:
        return None
    async with transaction():
        if not await password.confirm(user):
            return None
        await flows.finish(flow)
        return await sessions.begin(request, user.id, password.AMR, ACR_SINGLE_FACTOR)


ROUTES = [start_login, show_login, login]
