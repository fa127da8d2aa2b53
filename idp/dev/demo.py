"""The pages of the demo client at `/demo`."""

import hmac
from collections import OrderedDict
from typing import Any

import msgspec
from litestar import Request, Response, get, post
from litestar.datastructures import Cookie

from idp import ids
from idp.dev import relying_party, seed
from idp.dev.relying_party import SignedIn, SignIn, SignInFailedError
from idp.errors import PageError
from idp.http import cookies, forms
from idp.http.access import Access
from idp.http.pages import navigate, page, see_other
from idp.settings import settings

AnyRequest = Request[Any, Any, Any]

COOKIE = "demo"
#: Maximum number of browsers kept in memory. Development mode has one worker.
MAX_VISITORS = 100
MAX_ATTEMPTS = 10

STEPS_BEFORE = [
    ("Ask", "The demo sends you to /authorize with PKCE, a state and a nonce."),
    ("Sign in", "You sign in on the hosted page, and allow what the demo asks for."),
    ("Redeem", "The demo exchanges the code that comes back for tokens, with its secret and the PKCE verifier."),
    ("Verify", "It checks every signature with the published keys, and every claim."),
]
STEPS_AFTER = [
    ("Asked", "You were sent to /authorize with PKCE, a state and a nonce."),
    ("Returned", "The response brought a code; its state and iss were the right ones."),
    ("Redeemed", "The code was exchanged for tokens at /token. It cannot be used again."),
    ("Verified", "Signatures with the published keys; iss, aud, exp, nonce and at_hash as OpenID Connect requires."),
]


class Visitor(msgspec.Struct):
    """One browser at the demo client: its pending sign-ins by state, and the result of the last one."""

    csrf_token: str
    attempts: OrderedDict[str, SignIn]
    signed_in: SignedIn | None = None
    error: str | None = None


_visitors: OrderedDict[str, Visitor] = OrderedDict()


def _visitor(request: AnyRequest) -> tuple[Visitor, list[Cookie]]:
    """Return the visitor of this browser, and the cookie to set if it is new."""
    key = cookies.read(request, COOKIE)
    if key is not None and key in _visitors:
        _visitors.move_to_end(key)
        return _visitors[key], []
    key = ids.random_token()
    _visitors[key] = visitor = Visitor(ids.random_token(), OrderedDict())
    if len(_visitors) > MAX_VISITORS:
        _visitors.popitem(last=False)
    return visitor, [cookies.make(COOKIE, key, max_age=None)]


async def _posting_visitor(request: AnyRequest) -> Visitor:
    visitor, _ = _visitor(request)
    sent = (await forms.form(request)).get("csrf_token", "")
    if not hmac.compare_digest(sent.encode(), visitor.csrf_token.encode()):
        raise PageError("This form is out of date", "Go back, reload the page and try again.")
    return visitor


@get("/demo", opt={"access": Access.ENTRY})
async def demo(request: AnyRequest) -> Response[Any]:
    """Show the demo client's only page."""
    visitor, new = _visitor(request)
    signed_in, error, visitor.error = visitor.signed_in, visitor.error, None
    return page(
        "dev/demo.html",
        cookies=new,
        signed_in=signed_in is not None,
        issuer=settings().issuer,
        client_id=seed.CLIENT_ID,
        steps=STEPS_AFTER if signed_in else STEPS_BEFORE,
        tokens=signed_in.tokens if signed_in else [],
        userinfo=signed_in.userinfo if signed_in else None,
        refresh_count=signed_in.refresh_count if signed_in else 0,
        csrf_token=visitor.csrf_token,
        error=error,
    )


@get("/demo/login", opt={"access": Access.ENTRY})
async def login(request: AnyRequest) -> Response[Any]:
    """Start a sign-in, passing on a ``prompt`` from the query."""
    visitor, new = _visitor(request)
    prompt = forms.query(request).get("prompt")
    try:
        url, attempt = await relying_party.begin(prompt)
    except SignInFailedError as error:
        visitor.error = str(error)
        return see_other("/demo", new)
    visitor.attempts[attempt.state] = attempt
    if len(visitor.attempts) > MAX_ATTEMPTS:
        visitor.attempts.popitem(last=False)
    return see_other(url, new)


@get("/demo/callback", opt={"access": Access.ENTRY})
async def callback(request: AnyRequest) -> Response[Any]:
    """Handle the response at the redirect URI."""
    visitor, new = _visitor(request)
    parameters = forms.query(request)
    attempt = visitor.attempts.pop(parameters.get("state", ""), None)
    try:
        if attempt is None:
            raise SignInFailedError("This browser did not start that sign-in, or finished it already.")
        visitor.signed_in = await relying_party.complete(attempt, parameters)
    except SignInFailedError as error:
        visitor.error = str(error)
    return see_other("/demo", new)


@post("/demo/refresh", opt={"access": Access.PAGE})
async def refresh(request: AnyRequest) -> Response[Any]:
    """Refresh the tokens."""
    visitor = await _posting_visitor(request)
    if visitor.signed_in is not None:
        try:
            visitor.signed_in = await relying_party.refresh(visitor.signed_in)
        except SignInFailedError as error:
            visitor.signed_in, visitor.error = None, str(error)
    return see_other("/demo")


@post("/demo/logout", opt={"access": Access.PAGE})
async def logout(request: AnyRequest) -> Response[Any]:
    """Drop the tokens and sign out at the server."""
    visitor = await _posting_visitor(request)
    signed_in, visitor.signed_in = visitor.signed_in, None
    if signed_in is None:
        return see_other("/demo")
    try:
        return navigate(await relying_party.end_session_url(signed_in))
    except SignInFailedError as error:
        visitor.error = str(error)
        return see_other("/demo")


ROUTES = [demo, login, callback, refresh, logout]
