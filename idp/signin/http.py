"""The HTTP side of a sign-in: reads the browser from a request, and makes the cookies to set."""

from collections.abc import Sequence
from typing import Any

from litestar import Request
from litestar.datastructures import Cookie

from idp.http import cookies
from idp.http.headers import request_header
from idp.settings import settings
from idp.signin import devices, limits, session_tokens, sessions
from idp.signin.browser import Browser, BrowserKey
from idp.signin.service import StepResult
from idp.signin.sessions import SignedIn

AnyRequest = Request[Any, Any, Any]

DEVICE = "device"
#: Readable by scripts: a value that changes with the session (:func:`idp.signin.session_tokens.browser_state`).
BROWSER_STATE = "browser_state"
_KEY_PREFIX = "flow."
_MAX_USER_AGENT_LENGTH = 300


def browser_of(request: AnyRequest) -> Browser:
    """Return the browser that sent a request."""
    return Browser(
        session_token=cookies.read(request, cookies.SESSION),
        device_token=cookies.read(request, DEVICE),
        keys=cookies.read_all(request, _KEY_PREFIX),
        user_agent=_user_agent(request),
    )


def app_of(request: AnyRequest) -> Browser:
    """Return the app that sent a request. Whatever cookies it sends are ignored."""
    return Browser(user_agent=_user_agent(request), keeps_cookies=False)


def _user_agent(request: AnyRequest) -> str:
    # Printable ASCII only: PostgreSQL stores no NUL, and a list of devices needs no control characters.
    sent = request_header(request.scope, b"user-agent") or ""
    return "".join(character for character in sent[:_MAX_USER_AGENT_LENGTH] if " " <= character <= "~")


async def current_session(request: AnyRequest) -> SignedIn | None:
    """Return the live session of the browser, if any. Using a session keeps it from idling out."""
    return await sessions.find(cookies.read(request, cookies.SESSION))


async def new_flow_key(request: AnyRequest) -> BrowserKey:
    """Count a flow that is about to be stored, and return the key that binds it. Set its cookies (:func:`key_cookies`).

    Raises:
        TooManyRequestsError: too many were started from this host or network, or from the person's own browsers.
    """
    browser = browser_of(request)
    await limits.count_flow(browser)
    return browser.key()


def key_cookies(key: BrowserKey) -> list[Cookie]:
    """Cookies that keep a key for as long as a flow that starts now, and delete the surplus keys."""
    kept = cookies.make(f"{_KEY_PREFIX}{key.tag}", key.secret, max_age=settings().flow_lifetime)
    return [kept, *(cookies.delete(f"{_KEY_PREFIX}{tag}") for tag in key.surplus)]


def session_cookies(token: str) -> list[Cookie]:
    """Return the cookies of a new session."""
    kept = cookies.make(cookies.SESSION, token, max_age=settings().session_lifetime)
    return [kept, browser_state_cookie(token)] if settings().session_management else [kept]


def browser_state_cookie(token: str) -> Cookie:
    """Return the cookie that tells scripts when the session changes. It is kept for as long as that of the session."""
    state = session_tokens.browser_state(token)
    return cookies.make_readable(BROWSER_STATE, state, max_age=settings().session_lifetime)


def no_session_cookies() -> list[Cookie]:
    """Return cookies that delete those of a session."""
    ended = cookies.delete(cookies.SESSION)
    return [ended, cookies.make_readable(BROWSER_STATE, "", max_age=0)] if settings().session_management else [ended]


def result_cookies(result: StepResult) -> Sequence[Cookie]:
    """Return the cookies to set after a step."""
    found: list[Cookie] = []
    if result.session_token is not None:
        found += session_cookies(result.session_token)
    if result.device_token is not None:
        found.append(cookies.make(DEVICE, result.device_token, max_age=devices.LIFETIME))
    if result.key is not None:
        found += key_cookies(result.key)
    return found
