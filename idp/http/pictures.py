"""Serving uploaded pictures. The headers forbid scripts and content sniffing."""

from hashlib import sha256
from http import HTTPStatus
from typing import Any

from litestar import Request, Response

PUBLIC = "public, max-age=86400"
#: For pictures of people: only their own browser keeps them, and not for long.
PRIVATE = "private, max-age=300"


def picture(request: Request[Any, Any, Any], content: bytes, media_type: str, cache: str = PUBLIC) -> Response[bytes]:
    """Return a picture, or that the browser has it already."""
    digest = sha256(content).hexdigest()
    if (unchanged := not_modified(request, digest, cache)) is not None:
        return unchanged
    return Response(content, media_type=media_type, headers=_headers(digest, cache))


def not_modified(request: Request[Any, Any, Any], digest: str, cache: str = PUBLIC) -> Response[bytes] | None:
    """Return that the browser has the picture with this SHA-256 already; None: it has not."""
    headers = _headers(digest, cache)
    if request.headers.get("if-none-match") != headers["ETag"]:
        return None
    return Response(b"", status_code=HTTPStatus.NOT_MODIFIED, headers=headers)


def _headers(digest: str, cache: str) -> dict[str, str]:
    return {
        "Cache-Control": cache,
        "ETag": f'"{digest[:32]}"',
        # If a browser opens it as a document, it has no permissions.
        "Content-Security-Policy": "sandbox; default-src 'none'",
        "Content-Disposition": "inline",
        "X-Content-Type-Options": "nosniff",
    }
