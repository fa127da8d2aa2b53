"""The statements on streams and their subjects."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec

from idp.delivery.repository import columns_of_stream
from idp.events.models import Stream
from idp.events.ssf.changes import CHANGES
from idp.infra.db.engine import execute, fetch, fetchrow
from idp.infra.db.listing import Filter, Listing, Sort
from idp.infra.db.rows import many, one

_COLUMNS = """
    id, client_id, description, endpoint_url, events_requested, format, status, status_reason, verified_at, created_at,
    updated_at
"""
_STREAM = f"SELECT {_COLUMNS} FROM event_stream WHERE id = $1"  # noqa: S608
_LOCK_STREAM = f"SELECT {_COLUMNS} FROM event_stream WHERE id = $1 AND client_id = $2 FOR UPDATE"  # noqa: S608
_STREAMS_OF_CLIENT = f"SELECT {_COLUMNS} FROM event_stream WHERE client_id = $1 ORDER BY id"  # noqa: S608
_STREAMS = f"SELECT {_COLUMNS} FROM event_stream ORDER BY id"  # noqa: S608
_INSERT_STREAM = """
    INSERT INTO event_stream (id, client_id, description, endpoint_url, authorization_header, events_requested, format,
                              status, status_reason)
    SELECT $1, $2, $3, $4, $5, $6, $7, 'enabled', ''
    WHERE (SELECT count(*) FROM event_stream WHERE client_id = $2) < $8
"""
_UPDATE_STREAM = """
    UPDATE event_stream SET description = $2, endpoint_url = $3, authorization_header = $4, events_requested = $5,
                            format = $6, updated_at = now()
    WHERE id = $1
"""
_SET_STATUS = "UPDATE event_stream SET status = $2, status_reason = $3, updated_at = now() WHERE id = $1"
_MAY_VERIFY = """
    UPDATE event_stream SET verified_at = now()
    WHERE id = $1 AND (verified_at IS NULL OR verified_at <= now() - make_interval(secs => $2))
"""
_ADD_SUBJECT = """
    INSERT INTO event_stream_subject (user_id, stream_id) VALUES ($1, $2) ON CONFLICT DO NOTHING
"""
_STREAMS_OF_USER = "SELECT stream_id FROM event_stream_subject WHERE user_id = $1"


def _read(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, "events_requested": msgspec.json.decode(row["events_requested"])}


async def stream(id: UUID) -> Stream | None:
    row = await fetchrow(_STREAM, id)
    return one(Stream, _read(row)) if row is not None else None


async def lock_stream(id: UUID, client_id: str) -> Stream | None:
    """Return a stream of a client, locked until the end of the transaction."""
    row = await fetchrow(_LOCK_STREAM, id, client_id)
    return one(Stream, _read(row)) if row is not None else None


async def streams_of_client(client_id: str) -> list[Stream]:
    return many(Stream, map(_read, await fetch(_STREAMS_OF_CLIENT, client_id)))


async def streams() -> list[Stream]:
    """Return all streams."""
    return many(Stream, map(_read, await fetch(_STREAMS)))


async def insert_stream(
    id: UUID,
    client_id: str,
    *,
    description: str,
    endpoint_url: str | None,
    authorization: bytes | None,
    events_requested: Sequence[str],
    format: str,
    limit: int,
) -> bool:
    """Returns False if the client has so many streams already."""
    requested = msgspec.json.encode(events_requested).decode()
    values = (id, client_id, description, endpoint_url, authorization, requested, format, limit)
    return bool(await execute(_INSERT_STREAM, *values))


async def update_stream(
    id: UUID,
    *,
    description: str,
    endpoint_url: str | None,
    authorization: bytes | None,
    events_requested: Sequence[str],
    format: str,
) -> None:
    requested = msgspec.json.encode(events_requested).decode()
    await execute(_UPDATE_STREAM, id, description, endpoint_url, authorization, requested, format)


async def authorization_of(id: UUID) -> bytes | None:
    """Return the encrypted Authorization header for pushed tokens."""
    row = await fetchrow("SELECT authorization_header FROM event_stream WHERE id = $1", id)
    return row["authorization_header"] if row is not None else None


async def set_status(id: UUID, status: str, reason: str) -> None:
    await execute(_SET_STATUS, id, status, reason)


async def may_verify(id: UUID, interval: float) -> bool:
    """Note a verification, unless the last one was less than so many seconds ago. Returns False if it was."""
    return bool(await execute(_MAY_VERIFY, id, interval))


async def delete_stream(id: UUID) -> None:
    await execute("DELETE FROM event_stream WHERE id = $1", id)


async def add_subject(stream_id: UUID, user_id: UUID) -> None:
    await execute(_ADD_SUBJECT, user_id, stream_id)


async def remove_subject(stream_id: UUID, user_id: UUID) -> None:
    await execute("DELETE FROM event_stream_subject WHERE user_id = $1 AND stream_id = $2", user_id, stream_id)


async def streams_of_user(user_id: UUID) -> Collection[UUID]:
    """Return the streams of which a user is a subject."""
    return {row["stream_id"] for row in await fetch(_STREAMS_OF_USER, user_id)}


async def forget_user(user_id: UUID) -> None:
    """Remove a user who was deleted from all streams."""
    await execute("DELETE FROM event_stream_subject WHERE user_id = $1", user_id)


# The list for administrators

STREAMS = Listing(
    source="event_stream AS s",
    columns=f"""
        s.id, s.client_id, s.description, s.endpoint_url, s.events_requested, s.format, s.status, s.status_reason,
        s.created_at, s.updated_at,
        (SELECT count(*) FROM (SELECT FROM event_stream_subject AS e WHERE e.stream_id = s.id LIMIT 1000) AS e)
            AS subjects,
        {columns_of_stream("'ssf:' || s.id")}
    """,  # noqa: S608
    key=Sort("s.id", "uuid"),
    sorts={"created_at": Sort("s.created_at")},
    default_sort="-created_at",
    filters={
        "id": Filter("s.id = {}", "uuid", "One stream."),
        "client_id": Filter("s.client_id = {}", help="To this client."),
        "status": Filter("s.status = {}", choices=tuple(change.status for change in CHANGES), help="With it."),
    },
)
