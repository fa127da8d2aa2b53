"""Uploaded logos of clients, and the route that serves them.

Only raster images are accepted: an SVG is a document that can run scripts, and filters for SVG have been bypassed again
and again. The response headers forbid scripts and content sniffing.
"""

from hashlib import sha256
from http import HTTPStatus
from typing import Any

from litestar import Request, Response, get
from litestar.exceptions import NotFoundException
from litestar.params import FromPath

from idp.audit.events import record
from idp.http.access import Access
from idp.oauth.clients import repository
from idp.oauth.clients.metadata import invalid_metadata
from idp.oauth.clients.path_ids import client_id_of, path_id
from idp.oauth.clients.registration import UnknownClientError, change
from idp.settings import settings

#: Bytes; a logo is shown at 52 pixels.
MAX_BYTES = 48 * 1024
MAX_AGE = 86400


def media_type(content: bytes) -> str:
    """Return the media type of an image, by its first bytes and not by its file name.

    Raises:
        OAuthError: ``invalid_client_metadata``, the format is not accepted, or it is too large.
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


async def save_logo(client_id: str, content: bytes) -> None:
    """Store the logo of a client and set its ``logo_uri``.

    Raises:
        UnknownClientError: there is no such client.
        OAuthError: ``invalid_client_metadata``, the image is not accepted.
    """
    kind, version = media_type(content), sha256(content).hexdigest()[:8]
    async with change():
        if await repository.lock_client(client_id) is None:
            raise UnknownClientError("There is no client with this id.")
        await repository.save_logo(client_id, kind, content)
        logo_uri = f"{settings().issuer}/logos/{path_id(client_id)}?v={version}"
        await repository.update_metadata(client_id, {"logo_uri": logo_uri})
        await record("client_updated", client_id=client_id, detail={"changed": ["logo_uri"]})


async def remove_logo(client_id: str) -> None:
    """Delete the uploaded logo of a client and clear its ``logo_uri``.

    Raises:
        UnknownClientError: there is no such client.
    """
    async with change():
        await repository.delete_logo(client_id)
        if not await repository.update_metadata(client_id, {"logo_uri": None}):
            raise UnknownClientError("There is no client with this id.")
        await record("client_updated", client_id=client_id, detail={"changed": ["logo_uri"]})


@get("/logos/{client_id:str}", opt={"access": Access.PUBLIC})
async def logo(request: Request[Any, Any, Any], client_id: FromPath[str]) -> Response[bytes]:
    """Serve the logo of a client."""
    found = await repository.find_logo(client_id_of(client_id)) if "\0" not in client_id else None
    if found is None:
        raise NotFoundException
    content = found.content
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
    return Response(content, media_type=found.media_type, headers=headers)


ROUTES = [logo]
