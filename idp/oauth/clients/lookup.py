"""Finding the client that a request names: in memory, by its document, or in the database if it is new."""

from collections.abc import Awaitable, Callable

from idp.oauth.clients.documents import service
from idp.oauth.clients.documents.errors import DocumentError
from idp.oauth.clients.documents.identifiers import is_document_url
from idp.oauth.clients.dynamic.recent import find_recent
from idp.oauth.clients.models import Client
from idp.oauth.clients.registry import registry
from idp.settings import settings

#: Returns the client with an id; None if it is unknown or disabled.
FindClient = Callable[[str], Awaitable[Client | None]]


def accepts_documents() -> bool:
    """Return whether the ``client_id`` of a client may be the URL of its metadata document."""
    return settings().client_id_metadata_documents != "off"


def _has_document(client_id: str) -> bool:
    return accepts_documents() and is_document_url(client_id)


async def _known(client_id: str) -> Client | None:
    return registry.client(client_id) or await find_recent(client_id)


async def client_for_authorization(client_id: str) -> Client | None:
    """Return the client of an authorization request; None if it is unknown or disabled.

    The document of a client is fetched if the known one is too old, or if there is none.

    Raises:
        DocumentError: its document cannot be used.
        TryLaterError: too many documents are fetched.
    """
    return await service.current(client_id) if _has_document(client_id) else await _known(client_id)


async def client_for_pushed_request(client_id: str) -> Client | None:
    """Like :func:`client_for_authorization`; also None if the document of the client cannot be used.

    Raises:
        TryLaterError: too many documents are fetched.
    """
    try:
        return await client_for_authorization(client_id)
    except DocumentError:
        return None


async def authorized_client(client_id: str) -> Client | None:
    """Return the client of a request that needs an earlier authorization; None if it is unknown or disabled.

    The document of a client is fetched only if a user has allowed the client before.
    """
    return await service.authorized(client_id) if _has_document(client_id) else await _known(client_id)
