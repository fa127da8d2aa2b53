"""Cross-origin requests (Fetch standard), for the endpoints that a client's own page calls.

Around routing, like :mod:`idp.web.edge`: refusals need the headers as much as successes.
"""

from collections.abc import Callable

from litestar.datastructures import Headers, MutableScopeHeaders
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

ALLOWED_HEADERS = "Authorization, Content-Type"
ALLOWED_METHODS = "GET, POST"
PREFLIGHT_MAX_AGE_SECONDS = "600"

#: Called with credentials (the refresh token cookie), so only by the pages of registered clients.
CREDENTIAL_PATHS = frozenset({"/token", "/revoke"})
#: Called by the pages of registered clients, without cookies.
CLIENT_PATHS = frozenset({"/challenge", "/challenge/forgot", "/challenge/reset"})
#: Called with an access token in hand and no cookie, from anywhere.
OPEN_PATHS = frozenset({"/userinfo"})
PATHS = CREDENTIAL_PATHS | CLIENT_PATHS | OPEN_PATHS


class Cors:
    """Adds the CORS headers and answers preflights."""

    def __init__(self, app: ASGIApp, is_client_origin: Callable[[str], bool]) -> None:
        """
        Args:
            is_client_origin: whether an origin belongs to a registered client. An opaque origin (``null``) never does.
        """
        self.app = app
        self.is_client_origin = is_client_origin

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP or scope["path"] not in PATHS:
            await self.app(scope, receive, send)
            return
        headers = Headers.from_scope(scope)
        cors = self._headers(scope["path"], headers.get("origin"))
        if scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
            await self._answer_preflight(cors, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableScopeHeaders.from_message(message).update(cors)
            await send(message)

        await self.app(scope, receive, send_with_headers)

    def _headers(self, path: str, origin: str | None) -> dict[str, str]:
        if path in OPEN_PATHS:
            return {"access-control-allow-origin": "*", "access-control-expose-headers": "WWW-Authenticate"}
        if origin is None or not self.is_client_origin(origin):
            return {"vary": "Origin"}
        credentials = {"access-control-allow-credentials": "true"} if path in CREDENTIAL_PATHS else {}
        return credentials | {
            "access-control-allow-origin": origin,
            "access-control-expose-headers": "WWW-Authenticate",
            "vary": "Origin",
        }

    async def _answer_preflight(self, cors: dict[str, str], send: Send) -> None:
        if "access-control-allow-origin" in cors:
            cors |= {
                "access-control-allow-headers": ALLOWED_HEADERS,
                "access-control-allow-methods": ALLOWED_METHODS,
                "access-control-max-age": PREFLIGHT_MAX_AGE_SECONDS,
            }
        headers = [(name.encode(), value.encode()) for name, value in cors.items()]
        await send({"type": "http.response.start", "status": 204, "headers": headers})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
