"""Logos that were uploaded for clients, and where browsers get them from.

Only pictures of points: an SVG is a document that can run scripts, and telling harmless ones from others is a race that
others have lost. What is served can neither run nor be taken for anything but a picture.
"""

from hashlib import sha256
from http import HTTPStatus
from typing import Any

from litestar import Request, Response, get
from litestar.exceptions import NotFoundException
from litestar.params import FromPath

from idp.audit.events import record
from idp.http.access import Access
from idp.infra.db.engine import execute, fetchrow
from idp.oauth.clients.metadata import invalid_metadata
from idp.oauth.clients.registration import UnknownClientError, change
from idp.settings import settings

#: Bytes; a logo is shown at 52 pixels.
MAX_BYTES = 48 * 1024
MAX_AGE = 86400

_KEEP = """
INSERT INTO client_logo (client_id, media_type, content, updated_at) VALUES ($1, $2, $3, now())
ON CONFLICT (client_id) DO UPDATE SET media_type = $2, content = $3, updated_at = now()
"""
_FORGET = "DELETE FROM client_logo WHERE client_id = $1"
_SHOW = "UPDATE client SET logo_uri = $2, updated_at = now() WHERE client_id = $1"
_FIND = "SELECT media_type, content FROM client_logo WHERE client_id = $1"
_KNOWN = "SELECT FROM client WHERE client_id = $1 FOR UPDATE"


def media_type(content: bytes) -> str:
    """What a picture is, by its first bytes and not by what it is called.

    Raises:
        OAuthError: ``invalid_client_metadata``, it is none of those that we take, or too large.
    """
    if len(content) > MAX_BYTES:
        raise invalid_metadata(f"The logo has more than {MAX_BYTES // 1024} KiB.")
    kinds = {
        "image/png": content.startswith(b"\x89PNG\r\n\x1a\n"),
        "image/jpeg": content.startswith(b"\xff\xd8\xff"),
        "image/gif": content.startswith((b"GIF87a", b"GIF89a")),
        "image/webp": content[:4] == b"RIFF" and content[8:12] == b"WEBP",
    }
    found = next((kind for kind, fits in kinds.items() if fits), None)
    if found is None:
        raise invalid_metadata("The logo must be a PNG, JPEG, GIF or WebP picture. SVG, which can run scripts, is not.")
    return found


async def keep_logo(client_id: str, content: bytes) -> None:
    """Keep the logo of a client and show it from now on.

    Raises:
        UnknownClientError: there is none.
        OAuthError: ``invalid_client_metadata``, it is not a picture that we take.
    """
    kind, version = media_type(content), sha256(content).hexdigest()[:8]
    async with change():
        if await fetchrow(_KNOWN, client_id) is None:
            raise UnknownClientError("There is no client with this id.")
        await execute(_KEEP, client_id, kind, content)
        await execute(_SHOW, client_id, f"{settings().issuer}/logos/{client_id}?v={version}")
        await record("client_updated", client_id=client_id, detail={"changed": ["logo_uri"]})


async def remove_logo(client_id: str) -> None:
    """Show no logo of a client any more, wherever it was from.

    Raises:
        UnknownClientError: there is none.
    """
    async with change():
        await execute(_FORGET, client_id)
        if not await execute(_SHOW, client_id, None):
            raise UnknownClientError("There is no client with this id.")
        await record("client_updated", client_id=client_id, detail={"changed": ["logo_uri"]})


@get("/logos/{client_id:str}", opt={"access": Access.PUBLIC})
async def logo(request: Request[Any, Any, Any], client_id: FromPath[str]) -> Response[bytes]:
    """The logo of a client."""
    row = await fetchrow(_FIND, client_id) if "\0" not in client_id else None
    if row is None:
        raise NotFoundException
    content = bytes(row["content"])
    headers = {
        "Cache-Control": f"public, max-age={MAX_AGE}",
        "ETag": f'"{sha256(content).hexdigest()[:32]}"',
        # Opened by itself, it is a document without any rights.
        "Content-Security-Policy": "sandbox; default-src 'none'",
        "Content-Disposition": "inline",
        "X-Content-Type-Options": "nosniff",
    }
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(b"", status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(content, media_type=row["media_type"], headers=headers)


ROUTES = [logo]
