"""The statements on clients by document that other clients do not need."""

import msgspec

from idp.infra.db.engine import execute, fetchrow
from idp.infra.db.rows import one

_FIND_STATE = """
SELECT extract(epoch FROM fresh_until - now())::float8 AS fresh_for,
       extract(epoch FROM now() - fetched_at)::float8 AS age
FROM client_document WHERE client_id = $1
"""
_COUNT = "SELECT count(*) AS number FROM client WHERE origin = 'document'"
# $2: seconds for which the document is current
_INSERT = """
INSERT INTO client_document (client_id, fetched_at, fresh_until) VALUES ($1, now(), now() + $2 * interval '1 s')
"""
_UPDATE = """
UPDATE client_document SET fetched_at = now(), fresh_until = now() + $2 * interval '1 s' WHERE client_id = $1
"""
# Not more than once a day. $2: seconds from now
_KEEP = """
UPDATE client SET expires_at = now() + $2 * interval '1 s'
WHERE client_id = $1 AND origin = 'document' AND expires_at < now() + $2 * interval '1 s' - interval '1 day'
"""


class DocumentState(msgspec.Struct, frozen=True):
    """How current the stored metadata of a client are.

    Attributes:
        fresh_for: seconds for which they are current; negative if they are not.
        age: seconds since they were fetched.
    """

    fresh_for: float
    age: float


async def find_state(client_id: str) -> DocumentState | None:
    return one(DocumentState, await fetchrow(_FIND_STATE, client_id))


async def count_clients() -> int:
    """Return the number of clients by document, with the disabled ones."""
    row = await fetchrow(_COUNT)
    return row["number"] if row is not None else 0


async def insert_state(client_id: str, lifetime: float) -> None:
    """Record that the document of a new client was just fetched, and is current for so many seconds."""
    await execute(_INSERT, client_id, lifetime)


async def update_state(client_id: str, lifetime: float) -> None:
    """Record that the document of a client was just fetched, and is current for so many seconds."""
    await execute(_UPDATE, client_id, lifetime)


async def keep_client(client_id: str, seconds: float) -> None:
    """Let a client expire so many seconds from now, if that is at least a day later than before."""
    await execute(_KEEP, client_id, seconds)
