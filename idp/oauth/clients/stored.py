"""Finding the client of a token by its row: in memory, or in the database if it is new. No document is fetched."""

from idp.oauth.clients import repository
from idp.oauth.clients.documents import identifiers
from idp.oauth.clients.documents.errors import DocumentError
from idp.oauth.clients.loaded import is_known
from idp.oauth.clients.models import Client
from idp.oauth.clients.registry import registry


async def stored_client(client_id: str) -> Client | None:
    """Return a client by its row; None if it is unknown or disabled.

    A client by document has its first tokens before every worker has loaded its row.
    """
    client = registry.client(client_id)
    return await find_stored(client_id) if client is None and identifiers.is_document_url(client_id) else client


async def receiver(client_id: str, member: str) -> Client | None:
    """Return a client that a message can be sent to: enabled, with this member of its metadata. Otherwise None.

    What this worker has in memory may be too old to have the client, or the member, and a message that is refused once
    is never sent.
    """
    known = registry.client(client_id)
    if known is not None and getattr(known, member) is not None:
        return known
    stored = await repository.find_client(client_id)
    if stored is None or stored.disabled_at is not None or getattr(stored, member) is None or not is_known(stored):
        return None
    return stored


async def find_stored(url: str) -> Client | None:
    """Return a client by document from the database, which this worker may not know yet."""
    try:
        identifiers.check(url)
    except DocumentError:
        return None
    found = await repository.find_client(url)
    if found is None or found.disabled_at is not None or found.origin != "document" or not is_known(found):
        return None
    return registry.within_ceiling(found)
