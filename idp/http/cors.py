"""Cross-origin requests (Fetch standard). A route that pages of clients call declares it: ``opt={"cors": ...}``."""

from collections.abc import Callable, Iterable
from enum import StrEnum
from http import HTTPStatus
from typing import TypeGuard

from litestar.types import HTTPScope

from idp.http.headers import Pairs, encode, request_header
from idp.http.responses import BytesResponse

ALLOWED_HEADERS = "Authorization, Content-Type, DPoP"
PREFLIGHT_MAX_AGE_SECONDS = "600"


class Cors(StrEnum):
    """Which pages of other origins may read the response of a route.

    A client library that sends cookies (for the refresh token's cookie) sends them to every endpoint that it calls, and
    a browser then rejects a response for ``*``. So all values except :attr:`CLIENT` allow cookies, for the origins of
    registered clients.
    """

    #: Any origin; a public document, which a cache may keep and revalidate.
    DOCUMENT = "document"
    #: Any origin.
    ANY = "any"
    #: The origins of registered clients.
    CREDENTIALS = "credentials"
    #: The origins of registered clients, without cookies.
    CLIENT = "client"


_ANY_ORIGIN = (Cors.DOCUMENT, Cors.ANY)
_EXPOSED = {"Access-Control-Expose-Headers": "WWW-Authenticate, DPoP-Nonce", "Vary": "Origin"}
_ANYBODY = encode({"Access-Control-Allow-Origin": "*"} | _EXPOSED)
_NOBODY = encode({"Vary": "Origin"})
_CLIENT = encode(_EXPOSED)
_CREDENTIALS = encode({"Access-Control-Allow-Credentials": "true"})
_PREFLIGHT = encode(
    {
        "Access-Control-Allow-Headers": ALLOWED_HEADERS,
        "Access-Control-Max-Age": PREFLIGHT_MAX_AGE_SECONDS,
    }
)
# `*` matches all headers only if no cookies are sent.
_PREFLIGHT_OF_DOCUMENTS = encode(
    {
        "Access-Control-Allow-Headers": f"*, {ALLOWED_HEADERS}, If-None-Match",
        "Access-Control-Allow-Methods": "GET, HEAD",
        "Access-Control-Max-Age": PREFLIGHT_MAX_AGE_SECONDS,
    }
)


def headers(cors: Cors | None, scope: HTTPScope, is_client_origin: Callable[[str], bool]) -> Pairs:
    """Return the CORS headers of every response to this request, errors included."""
    if cors is None:
        return ()
    origin = request_header(scope, b"origin")
    if origin is None or not is_client_origin(origin):
        return _ANYBODY if cors in _ANY_ORIGIN else _NOBODY
    allowed = (b"access-control-allow-origin", origin.encode())
    return (allowed, *_CLIENT, *(() if cors == Cors.CLIENT else _CREDENTIALS))


def is_preflight(cors: Cors | None, scope: HTTPScope) -> TypeGuard[Cors]:
    """Return whether a browser asks with OPTIONS what it may send."""
    return cors is not None and request_header(scope, b"access-control-request-method") is not None


def preflight(cors: Cors | None, headers: Pairs, methods: Iterable[str]) -> BytesResponse:
    """Return the response to a preflight request.

    Args:
        methods: those of the route.
        headers: the CORS headers of the response, from which it follows whether the origin is allowed.
    """
    allowed = any(name == b"access-control-allow-origin" for name, _ in headers)
    if not allowed:
        return BytesResponse(b"", (), status=HTTPStatus.NO_CONTENT)
    if cors == Cors.DOCUMENT:
        return BytesResponse(b"", _PREFLIGHT_OF_DOCUMENTS, status=HTTPStatus.NO_CONTENT)
    own = (*_PREFLIGHT, (b"access-control-allow-methods", ", ".join(sorted(methods)).encode()))
    return BytesResponse(b"", own, status=HTTPStatus.NO_CONTENT)
