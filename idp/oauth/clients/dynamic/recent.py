"""A client that registered itself a moment ago at another worker, and that this worker has not loaded yet.

It is used at once: a browser that is sent here with it must not meet an unknown client.
"""

from uuid import UUID

from idp import clock
from idp.oauth.clients import repository
from idp.oauth.clients.loaded import is_known
from idp.oauth.clients.models import Client
from idp.settings import settings

#: Seconds beyond the interval of loads for which a client counts as new.
MARGIN_SECONDS = 10


async def find_recent(client_id: str) -> Client | None:
    """Return the client from the database if its id was made a moment ago; else None, without a statement."""
    if settings().client_registration == "off" or not _is_recent(client_id):
        return None
    found = await repository.find_client(client_id)
    if found is None or found.origin != "dynamic" or found.disabled_at is not None or not is_known(found):
        return None
    return found if found.expires_at is None or found.expires_at > clock.now() else None


def _is_recent(client_id: str) -> bool:
    """Return whether an id is a UUIDv7 of the last seconds (RFC 9562 section 5.7)."""
    try:
        made = UUID(client_id)
    except ValueError:
        return False
    age = clock.now().timestamp() - (made.int >> 80) / 1000
    return made.version == 7 and abs(age) < settings().reload_interval + MARGIN_SECONDS
