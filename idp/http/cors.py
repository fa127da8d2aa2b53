"""Cross-origin requests (Fetch standard), for the endpoints that a client's own page calls.

Around routing, like :mod:`idp.http.middleware`: refusals need the headers as much as successes.
"""

from collections.abc import Awaitable, Callable

from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

from idp.http.headers import Pairs, add, encode, request_header

ALLOWED_HEADERS = "Authorization, Content-Type"
ALLOWED_METHODS = "GET, POST"
PREFLIGHT_MAX_AGE_SECONDS = "600"

#: Public documents, of which a cache may keep a copy and ask whether it is still good.
DOCUMENTS = frozenset(
    {"/.well-known/openid-configuration", "/.well-known/oauth-authorization-server", "/.well-known/jwks.json"}
)
#: What the JWKS URL of one resource server begins with.
DOCUMENT_PREFIX = "/jwks/"
#: Called without cookies, from anywhere; the documents too.
OPEN_PATHS = frozenset({"/userinfo"})
#: Called by the pages of registered clients. A library that is told to send cookies (for the refresh token's) sends
#: them to all of these, and a browser then accepts no answer for `*`.
CREDENTIAL_PATHS = OPEN_PATHS | DOCUMENTS | {"/token", "/revoke"}
#: Called by the pages of registered clients, without cookies.
CLIENT_PATHS = frozenset({"/challenge", "/challenge/forgot", "/challenge/reset"})
PATHS = CREDENTIAL_PATHS | CLIENT_PATHS

_EXPOSED = {"Access-Control-Expose-Headers": "WWW-Authenticate", "Vary": "Origin"}
_ANYBODY = encode({"Access-Control-Allow-Origin": "*"} | _EXPOSED)
_NOBODY = encode({"Vary": "Origin"})
_CLIENT = encode(_EXPOSED)
_CREDENTIALS = encode({"Access-Control-Allow-Credentials": "true"})
_PREFLIGHT = encode(
    {
        "Access-Control-Allow-Headers": ALLOWED_HEADERS,
        "Access-Control-Allow-Methods": ALLOWED_METHODS,
        "Access-Control-Max-Age": PREFLIGHT_MAX_AGE_SECONDS,
    }
)
# `*` means every header only where no cookies are sent.
_PREFLIGHT_OF_DOCUMENTS = encode(
    {
        "Access-Control-Allow-Headers": f"*, {ALLOWED_HEADERS}, If-None-Match",
        "Access-Control-Allow-Methods": "GET, HEAD",
        "Access-Control-Max-Age": PREFLIGHT_MAX_AGE_SECONDS,
    }
)


def _is_document(path: str) -> bool:
    return path in DOCUMENTS or path.startswith(DOCUMENT_PREFIX)


class Cors:
    """Adds the CORS headers and answers preflights."""

    def __init__(self, app: ASGIApp, is_client_origin: Callable[[str], bool]) -> None:
        """
        Args:
            is_client_origin: whether an origin belongs to a registered client. An opaque origin (``null``) never does.
        """
        self.app = app
        self.is_client_origin = is_client_origin

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] != ScopeType.HTTP or not (scope["path"] in PATHS or _is_document(scope["path"])):
            return self.app(scope, receive, send)
        return self._answer(scope, receive, send)

    async def _answer(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        cors = self.headers(scope)
        if scope["method"] == "OPTIONS" and request_header(scope, b"access-control-request-method"):
            await self._answer_preflight(scope["path"], cors, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                add(message, cors)
            await send(message)

        await self.app(scope, receive, send_with_headers)

    def headers(self, scope: HTTPScope) -> Pairs:
        """What the answer to a request says of other origins."""
        path = scope["path"]
        document = _is_document(path)
        if not document and path not in PATHS:
            return ()
        origin = request_header(scope, b"origin")
        if origin is None or not self.is_client_origin(origin):
            return _ANYBODY if document or path in OPEN_PATHS else _NOBODY
        allowed = (b"access-control-allow-origin", origin.encode())
        return (allowed, *_CLIENT, *(_CREDENTIALS if document or path in CREDENTIAL_PATHS else ()))

    async def _answer_preflight(self, path: str, cors: Pairs, send: Send) -> None:
        allowed = any(name == b"access-control-allow-origin" for name, _ in cors)
        headers = (*cors, *(_PREFLIGHT_OF_DOCUMENTS if _is_document(path) else _PREFLIGHT)) if allowed else cors
        await send({"type": "http.response.start", "status": 204, "headers": headers})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
