"""Log-out at the client's wish (OpenID Connect RP-Initiated Logout 1.0)."""

from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import parse_qs, urlencode

import structlog
from litestar import HttpMethod, Request, Response, get, post, route
from litestar.datastructures import Cookie

from idp.accounts.tables import user_by_id
from idp.errors import InvalidRequestError, PageError
from idp.federation.sign_out import sign_out_url
from idp.http import cookies, forms
from idp.http.access import Access
from idp.http.pages import navigate, page, see_other
from idp.infra.i18n import gettext as _
from idp.oauth import consent
from idp.oauth.clients import redirects
from idp.oauth.clients.models import Client
from idp.oauth.clients.registry import registry
from idp.oauth.id_token_hint import read_id_token_hint
from idp.settings import settings
from idp.signin import sessions
from idp.signin.csrf import check_form_token, form_token
from idp.signin.http import current_session
from idp.signin.sessions import SignedIn
from idp.signin.transitions import Step

AnyRequest = Request[Any, Any, Any]
log = structlog.get_logger()

#: The cookie that keeps what a client asked for while the person is at a provider, and its lifetime.
RETURN, RETURN_SECONDS = "logout", 600
#: How the browser is sent on: by a redirect, or after a form by a page (:func:`idp.http.pages.navigate`).
Send = Callable[[str, Sequence[Cookie]], Response[Any]]
PARAMETERS = ("id_token_hint", "client_id", "post_logout_redirect_uri", "state")


class _LogoutRequest:
    """A validated log-out request (section 2).

    Attributes:
        client: the client that asks, if it said who it is.
        sid: the session that the hint speaks of.
        doubtful: the hint cannot be verified: the person is asked, as without one.
        location: where the browser goes afterwards; None for our own page.
    """

    def __init__(self, parameters: dict[str, str]) -> None:
        hint, self.doubtful = self._hint(parameters)
        self.sid = hint.get("sid")
        self.client = self._client(parameters, hint)
        self.location = self._location(parameters)
        self.parameters = {name: parameters[name] for name in PARAMETERS if name in parameters}

    @staticmethod
    def _hint(parameters: dict[str, str]) -> tuple[dict[str, Any], bool]:
        """What the hint says, and whether there is one that cannot be verified: it says nothing."""
        if "id_token_hint" not in parameters:
            return {}, False
        try:
            return read_id_token_hint(parameters["id_token_hint"]), False
        except InvalidRequestError as error:
            log.info("id_token_hint_ignored", hint=error.hint)
            return {}, True

    @staticmethod
    def _client(parameters: dict[str, str], hint: dict[str, Any]) -> Client | None:
        client_id = parameters.get("client_id", hint.get("aud"))
        if client_id is None:
            return None
        if hint and hint["aud"] != client_id:
            raise _refused(
                _("The application sent a token that was issued to another one."),
                "The audience of id_token_hint is not client_id.",
            )
        client = registry.client(client_id)
        if client is None:
            raise _refused(
                _("The application is not registered here, or was disabled."),
                "client_id, or the audience of id_token_hint, names no client that is registered and enabled.",
            )
        return client

    def _location(self, parameters: dict[str, str]) -> str | None:
        uri = parameters.get("post_logout_redirect_uri")
        if uri is None:
            return None
        if self.client is None and self.doubtful:
            # Nobody is sent there, but whoever wants to sign out does.
            return None
        if self.client is None:
            raise _refused(
                _("The application asked to send you back, but did not say which application it is."),
                "post_logout_redirect_uri needs id_token_hint or client_id beside it.",
            )
        if not redirects.matches_post_logout(self.client, uri):
            raise _refused(
                _("The application asked to send you to an address that is not registered for it."),
                f"post_logout_redirect_uri is none of those that {self.client.client_id} registered.",
            )
        if "state" not in parameters:
            return uri
        return f"{uri}{'&' if '?' in uri else '?'}{urlencode({'state': parameters['state']})}"


def _refused(message: str, hint: str) -> PageError:
    return PageError(_("You were not signed out"), message, code="invalid_request", hint=hint)


@route("/logout", http_method=[HttpMethod.GET, HttpMethod.POST], opt={"access": Access.ENTRY}, status_code=200)
async def logout(request: AnyRequest) -> Response[Any]:
    """Sign out: at once when the hint proves that the client speaks of this very session, else after a question."""
    if request.method == HttpMethod.POST:
        # Another site's POST arrives without our SameSite cookies; a GET brings them.
        return see_other(f"/logout?{urlencode(_LogoutRequest(await forms.form(request)).parameters)}")
    asked = _LogoutRequest(forms.query(request))
    session = await current_session(request)
    if session is None:
        return _signed_out(asked, cookies.delete(cookies.SESSION), see_other)
    elsewhere = await _elsewhere(session)
    if asked.sid == str(session.id):
        await sessions.end(session)
        return _leave(asked, elsewhere, cookies.delete(cookies.SESSION), see_other)
    secret = cookies.read(request, cookies.SESSION) or ""
    return page(
        "logout.html",
        action="/logout/confirm",
        csrf_token=form_token(secret, "logout"),
        hidden=asked.parameters,
        user=await user_by_id(session.user_id),
        client=consent.display(asked.client) if asked.client else None,
    )


@post("/logout/confirm", opt={"access": Access.PAGE}, status_code=200)
async def confirm_logout(request: AnyRequest) -> Response[Any]:
    """The person's answer. What the client asked for is validated again: it came back through the browser."""
    form = await forms.form(request)
    asked = _LogoutRequest(form)
    session = await current_session(request)
    if session is None:
        return _signed_out(asked, cookies.delete(cookies.SESSION), navigate)
    check_form_token(form, cookies.read(request, cookies.SESSION) or "", "logout")
    if form.get("action") == "cancel":
        return see_other("/")
    elsewhere = await _elsewhere(session)
    await sessions.end(session)
    return _leave(asked, elsewhere, cookies.delete(cookies.SESSION), navigate)


@get("/logout/return", opt={"access": Access.ENTRY})
async def return_from_upstream(request: AnyRequest) -> Response[Any]:
    """Where a provider sends the person who signed out there too: on to where the log-out leads."""
    kept = parse_qs(cookies.read(request, RETURN) or "")
    asked = _LogoutRequest({name: values[0] for name, values in kept.items() if name in PARAMETERS})
    return _signed_out(asked, cookies.delete(RETURN), see_other)


async def _elsewhere(session: SignedIn) -> str | None:
    """Where somebody who signed in with an account elsewhere signs out of that."""
    if all(done.step is not Step.UPSTREAM for done in session.done):
        return None
    return await sign_out_url(session.user_id, f"{settings().issuer}/logout/return")


def _leave(asked: _LogoutRequest, elsewhere: str | None, cookie: Cookie, send: Send) -> Response[Any]:
    if elsewhere is None:
        return _signed_out(asked, cookie, send)
    return send(elsewhere, [cookie, cookies.make(RETURN, urlencode(asked.parameters), max_age=RETURN_SECONDS)])


def _signed_out(asked: _LogoutRequest, cookie: Cookie, send: Send) -> Response[Any]:
    if asked.location is not None:
        return send(asked.location, [cookie])
    client = consent.display(asked.client) if asked.client else None
    way_out = [(client.client_name, client.client_uri)] if client and client.client_uri else []
    return page("logged_out.html", cookies=[cookie], client=client, way_out=[*way_out, (_("Start page"), "/")])


ROUTES = [logout, confirm_logout, return_from_upstream]
