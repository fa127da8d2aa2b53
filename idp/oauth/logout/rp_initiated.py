"""OpenID Connect RP-Initiated Logout 1.0."""

from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import parse_qs, urlencode

import structlog
from litestar import HttpMethod, Request, Response, get, post, route
from litestar.datastructures import Cookie

from idp.accounts.repository.users import user_by_id
from idp.errors import InvalidRequestError, PageError
from idp.federation.sign_out import sign_out_url
from idp.http import cookies, forms
from idp.http.access import Access
from idp.http.pages import navigate, page, see_other
from idp.infra.i18n import gettext as _
from idp.oauth import consent, subjects
from idp.oauth.clients import nearest_redirect, redirects
from idp.oauth.clients.models import Client
from idp.oauth.clients.registry import registry
from idp.oauth.id_token_hint import read_id_token_hint
from idp.oauth.logout import frontchannel
from idp.oauth.logout.frontchannel import LOGOUT_PAGE, Frame
from idp.settings import settings
from idp.signin import sessions
from idp.signin.csrf import expired_form, form_token, has_form_token
from idp.signin.http import current_session, no_session_cookies
from idp.signin.sessions import SignedIn
from idp.signin.transitions import Step

AnyRequest = Request[Any, Any, Any]
log = structlog.get_logger()

#: The cookie that keeps the logout request while the browser is at an upstream, and its lifetime in seconds.
RETURN, RETURN_SECONDS = "logout", 600
#: Redirects the browser: a redirect, or a page after a form (:func:`idp.http.pages.navigate`).
Send = Callable[[str, Sequence[Cookie]], Response[Any]]
#: Purposes of the forms that sign out: that of the logout page, and those of the account and the console, whose users
#: are not asked again.
PURPOSES = ("logout", "account", "admin")
PARAMETERS = ("id_token_hint", "client_id", "post_logout_redirect_uri", "state")


class _LogoutRequest:
    """A validated logout request (section 2).

    Attributes:
        client: the client, if the request names it.
        sid: the session that the hint names.
        doubtful: the request has a hint that cannot be verified. The user is asked to confirm, as without a hint.
        location: where the browser goes afterwards; None for a page of this server.
    """

    def __init__(self, parameters: dict[str, str]) -> None:
        hint, self.doubtful = self._hint(parameters)
        self.sid = hint.get("sid")
        self.client = self._client(parameters, hint)
        self.location = self._location(parameters)
        self.parameters = {name: parameters[name] for name in PARAMETERS if name in parameters}

    @staticmethod
    def _hint(parameters: dict[str, str]) -> tuple[dict[str, Any], bool]:
        """Return the claims of the hint, and whether there is a hint that cannot be verified."""
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
            # The user can still sign out, but is not redirected.
            return None
        if self.client is None:
            raise _refused(
                _("The application asked to send you back, but did not say who it is."),
                "post_logout_redirect_uri needs id_token_hint or client_id beside it.",
            )
        if not redirects.matches_post_logout(self.client, uri):
            raise _refused(
                _("The application asked to send you to an address that is not registered for it."),
                f"post_logout_redirect_uri is none of those that {self.client.client_id} registered.",
                nearest_redirect.in_facts(uri, self.client.post_logout_redirect_uris),
            )
        if "state" not in parameters:
            return uri
        return f"{uri}{'&' if '?' in uri else '?'}{urlencode({'state': parameters['state']})}"


def _refused(message: str, hint: str, facts: tuple[tuple[str, str], ...] = ()) -> PageError:
    return PageError(_("You were not signed out"), message, code="invalid_request", hint=hint, facts=facts)


@route("/logout", http_method=[HttpMethod.GET, HttpMethod.POST], opt={"access": Access.ENTRY}, status_code=200)
async def logout(request: AnyRequest) -> Response[Any]:
    """Sign out: at once if the hint names this session, otherwise after the user confirms."""
    if request.method == HttpMethod.POST:
        # A cross-site POST has no SameSite cookies; the GET after the redirect has them.
        return see_other(f"/logout?{urlencode(_LogoutRequest(await forms.form(request)).parameters)}")
    asked = _LogoutRequest(forms.query(request))
    session = await current_session(request)
    if session is None:
        return _signed_out(asked, no_session_cookies(), see_other)
    if asked.client is not None and asked.sid == subjects.sid(asked.client, session.id):
        # Not for the page below: any site can send a browser to it.
        elsewhere = await _upstream_logout(session)
        await sessions.end(session, LOGOUT_PAGE)
        return await _leave(asked, session, elsewhere, see_other)
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
    """Handle the user's answer. The logout request is validated again, because it came from the browser."""
    form = await forms.form(request)
    asked = _LogoutRequest(form)
    session = await current_session(request)
    if session is None:
        return _signed_out(asked, no_session_cookies(), navigate)
    secret = cookies.read(request, cookies.SESSION) or ""
    if not any(has_form_token(form, secret, purpose) for purpose in PURPOSES):
        raise expired_form()
    if form.get("action") == "cancel":
        return see_other("/")
    elsewhere = await _upstream_logout(session)
    await sessions.end(session, LOGOUT_PAGE)
    return await _leave(asked, session, elsewhere, navigate)


@get("/logout/return", opt={"access": Access.ENTRY})
async def return_from_upstream(request: AnyRequest) -> Response[Any]:
    """Continue the logout request after the logout at an upstream."""
    kept = parse_qs(cookies.read(request, RETURN) or "")
    asked = _LogoutRequest({name: values[0] for name, values in kept.items() if name in PARAMETERS})
    return _signed_out(asked, [cookies.delete(RETURN)], see_other)


async def _upstream_logout(session: SignedIn) -> str | None:
    """Return the logout URL of the upstream that the user signed in with; None if there is none."""
    if all(done.step is not Step.UPSTREAM for done in session.done):
        return None
    return await sign_out_url(session.user_id, f"{settings().issuer}/logout/return")


async def _leave(asked: _LogoutRequest, session: SignedIn, elsewhere: str | None, send: Send) -> Response[Any]:
    """Tell the clients of an ended session by frames, and send the browser to the upstream or the client."""
    ended, frames = no_session_cookies(), await frontchannel.frames(session)
    if elsewhere is not None:
        ended.append(cookies.make(RETURN, urlencode(asked.parameters), max_age=RETURN_SECONDS))
    onward = elsewhere or asked.location
    return _done(asked, ended, frames, onward) if frames or onward is None else send(onward, ended)


def _signed_out(asked: _LogoutRequest, ended: Sequence[Cookie], send: Send) -> Response[Any]:
    return _done(asked, ended) if asked.location is None else send(asked.location, ended)


def _done(
    asked: _LogoutRequest, ended: Sequence[Cookie], frames: Sequence[Frame] = (), onward: str | None = None
) -> Response[Any]:
    """Return the page that says so. It loads the frames, and then goes onward if there is a URL."""
    client = consent.display(asked.client) if asked.client else None
    way_out = [(client.client_name, client.client_uri)] if client and client.client_uri else []
    return page(
        "logged_out.html",
        cookies=ended,
        scripts=onward is not None,
        framed={frame.origin for frame in frames},
        client=client,
        way_out=[*way_out, (_("Start page"), "/")],
        frames=[frame.url for frame in frames],
        onward=onward,
    )


ROUTES = [logout, confirm_logout, return_from_upstream]
