"""OpenID Connect Session Management 1.0: ``session_state`` and the frame that applications ask whether it changed.

The *browser state* is the value of a cookie that scripts of this server can read. It changes with the session, and the
session does not follow from it. ``session_state`` is a salted hash of the browser state, the client and its origin, so
that applications cannot compare it with each other (docs/decisions/0065-logout-in-the-browser.md).
"""

import hashlib
import secrets
from base64 import urlsafe_b64encode
from functools import lru_cache
from typing import Any, NamedTuple

from litestar import Request, get
from litestar.datastructures import Cookie
from litestar.exceptions import NotFoundException
from litestar.types import Send

from idp.http import cookies
from idp.http.access import Access
from idp.http.headers import Pairs, encode
from idp.http.responses import BytesResponse
from idp.infra.db.readiness import WITHOUT_DATABASE
from idp.infra.templates import templates
from idp.oauth.clients.uris import origin_of
from idp.settings import settings
from idp.signin import session_tokens
from idp.signin.http import BROWSER_STATE, browser_state_cookie
from idp.signin.sessions import SignedIn

AnyRequest = Request[Any, Any, Any]

PATH = "/session/check"
#: Seconds for which the page may be cached. It is the same for everybody.
MAX_AGE = 3600
_origin = lru_cache(maxsize=1024)(origin_of)


class BrowserState(NamedTuple):
    """The browser state after a response, and the cookies that the response must set for it."""

    value: str
    cookies: tuple[Cookie, ...] = ()


def browser_state(request: AnyRequest, session: SignedIn | None) -> BrowserState | None:
    """Return the browser state that belongs to the session of a request, random without one. None if it is not used."""
    if not settings().session_management:
        return None
    token, sent = cookies.read(request, cookies.SESSION), cookies.read(request, BROWSER_STATE) or ""
    if token is None:
        # In a frame of another site, browsers do not send the cookie of the session. There may be one.
        return BrowserState(sent) if sent else _signed_out()
    if session is None:
        return _signed_out(cookies.delete(cookies.SESSION))
    value = session_tokens.browser_state(token)
    return BrowserState(value, () if value == sent else (browser_state_cookie(token),))


def _signed_out(*ended: Cookie) -> BrowserState:
    """A random state: with a known one, any site could ask the frame whether its visitor is signed in."""
    value = secrets.token_urlsafe(16)
    return BrowserState(
        value, (*ended, cookies.make_readable(BROWSER_STATE, value, max_age=settings().session_lifetime))
    )


def session_state(client_id: str, redirect_uri: str, state: str) -> dict[str, str]:
    """Return the parameter ``session_state`` (section 2); empty for a redirect URI without an origin (native apps)."""
    origin = _origin(redirect_uri)
    return {"session_state": salted(client_id, origin, state, secrets.token_urlsafe(16))} if origin else {}


def salted(client_id: str, origin: str, state: str, salt: str) -> str:
    """Return the hash that the script of the frame computes too, with its salt (section 3.2)."""
    digest = hashlib.sha256(f"{client_id} {origin} {state} {salt}".encode()).digest()
    return f"{urlsafe_b64encode(digest).rstrip(b'=').decode()}.{salt}"


class _Framed(BytesResponse):
    """A response that other sites may show in a frame. Old browsers would follow ``X-Frame-Options``."""

    async def send(self, send: Send, headers: Pairs) -> None:
        await super().send(send, tuple(pair for pair in headers if pair[0] != b"x-frame-options"))


@lru_cache(maxsize=1)
def _frame(issuer: str, script: str) -> _Framed:
    page = templates().render("check_session.html", script=script, cookie=cookies.key(BROWSER_STATE))
    headers = {
        "Content-Type": "text/html; charset=utf-8",
        "Cache-Control": f"public, max-age={MAX_AGE}",
        # Any site may frame this page. It shows nothing, and has nothing to click.
        "Content-Security-Policy": (
            "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors *; "
            f"script-src {issuer}{script.partition('?')[0]}"
        ),
        "Referrer-Policy": "no-referrer",
    }
    return _Framed(page.encode(), encode(headers))


@get(PATH, opt={"access": Access.PUBLIC} | WITHOUT_DATABASE)
async def check_session(_: AnyRequest) -> BytesResponse:
    """Serve the page that applications frame (section 3.2)."""
    if not settings().session_management:
        raise NotFoundException
    return _frame(settings().issuer, templates().static_url("check_session.js"))


ROUTES = [check_session]
