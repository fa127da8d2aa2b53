"""Serving uploaded pictures. The headers forbid scripts and content sniffing."""

from hashlib import sha256
from http import HTTPStatus
from typing import Any

from litestar import Request, Response

MAX_AGE = 86400


def picture(request: Request[Any, Any, Any], content: bytes, media_type: str) -> Response[bytes]:
    """Return a picture, or that the browser has it already."""
    headers = {
        "Cache-Control": f"public, max-age={MAX_AGE}",
        "ETag": f'"{sha256(content).hexdigest()[:32]}"',
        # If a browser opens it as a document, it has no permissions.
        "Content-Security-Policy": "sandbox; default-src 'none'",
        "Content-Disposition": "inline",
        "X-Content-Type-Options": "nosniff",
    }
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(b"", status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(content, media_type=media_type, headers=headers)
