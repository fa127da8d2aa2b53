"""Uploaded logos of clients, and the route that serves them."""

from hashlib import sha256
from typing import Any

from litestar import Request, Response, get
from litestar.exceptions import NotFoundException
from litestar.params import FromPath

from idp.audit.events import record
from idp.http.access import Access
from idp.http.pictures import picture
from idp.infra import pictures
from idp.oauth.clients import repository, service
from idp.oauth.clients.path_ids import client_id_of, path_id
from idp.oauth.clients.registration import UnknownClientError, change
from idp.settings import settings


async def save_logo(client_id: str, content: bytes) -> None:
    """Store the logo of a client and set its ``logo_uri``.

    Raises:
        UnknownClientError: there is no such client.
        InvalidPictureError: the picture is not accepted.
    """
    kind, version = pictures.media_type(content), sha256(content).hexdigest()[:8]
    async with change():
        if await repository.lock_client(client_id) is None:
            raise UnknownClientError("There is no client with this id.")
        await repository.save_logo(client_id, kind, content)
        logo_uri = f"{settings().issuer}/logos/{path_id(client_id)}?v={version}"
        await repository.update_metadata(client_id, {"logo_uri": logo_uri})
        await record("client_updated", client_id=client_id, detail={"changed": ["logo_uri"]})


async def link_logo(client_id: str, uri: str) -> None:
    """Set the ``logo_uri`` of a client to a picture elsewhere, instead of an uploaded one.

    Raises:
        UnknownClientError: there is no such client.
        OAuthError: ``invalid_client_metadata``, the URI cannot be used.
    """
    async with change():
        await service.update_client(client_id, logo_uri=uri)
        await repository.delete_logo(client_id)


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
    return picture(request, found.content, found.media_type)


ROUTES = [logo]
