"""The statements on the events of the audit trail."""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec

from idp.audit.repository.own_events import IS_OWN
from idp.audit.row_hmac import Row
from idp.infra.db import partitions
from idp.infra.db.engine import execute, fetch, fetchrow
from idp.infra.db.listing import Filter, Listing, Sort, utc
from idp.infra.db.rows import many, one

#: Number of rows that are read at a time.
PAGE = 1_000
BEGINNING, END = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)

#: The columns of an event that is not yet in a checkpoint, and their types.
_TYPES = {
    "id": "uuid",
    "at": "timestamptz",
    "event": "text",
    "outcome": "text",
    "actor": "text",
    "user_id": "uuid",
    "client_id": "text",
    "session_id": "uuid",
    "ip_address": "text",
    "request_id": "text",
    "detail": "jsonb",
    "hash": "bytea",
}
_COLUMNS = ", ".join(_TYPES)
# If someone wants this kind of event, its id is fed to idp.events in the same statement. The last parameter is what
# only the feed gets.
_IS_WANTED = "EXISTS (SELECT FROM event_feed_kind AS k WHERE k.kind IN (e.event, '*'))"
_INSERT_EVENT = f"""
WITH fed AS (
    INSERT INTO event_feed (id, private)
    SELECT e.id, e.private FROM (SELECT $1::uuid, $3::text, ${len(_TYPES) + 1}::jsonb) AS e (id, event, private)
    WHERE {_IS_WANTED}
) INSERT INTO audit_event ({_COLUMNS}) VALUES ({", ".join(f"${n + 1}" for n in range(len(_TYPES)))})
"""  # noqa: S608
# Arrays, one element per event.
_INSERT_EVENTS = f"""
WITH e AS (
    INSERT INTO audit_event ({_COLUMNS})
    SELECT * FROM unnest({", ".join(f"${n}::{kind}[]" for n, kind in enumerate(_TYPES.values(), start=1))})
    ON CONFLICT (id) DO NOTHING RETURNING id, event
) INSERT INTO event_feed (id) SELECT id FROM e WHERE {_IS_WANTED}
"""  # noqa: S608

# Events as they are hashed: times in PostgreSQL's format, because it has some that Python does not support.
_AS_HASHED = {"at": "trunc(extract(epoch FROM at) * 1000000)::text AS at", "detail": "detail::text AS detail"}
_CONTENT = ", ".join(_AS_HASHED.get(name, name) for name in _TYPES)
_FIND_EVENTS = f"SELECT {_CONTENT} FROM audit_event WHERE id = ANY ($1::uuid[])"  # noqa: S608
_PLACED = f"""
SELECT {_CONTENT}, seq FROM audit_event WHERE seq >= $1 AND seq <= $2 ORDER BY seq LIMIT {PAGE}
"""  # noqa: S608
# $1 the last row of the last checkpoint  $2 its number: rows of later checkpoints are left out  $3 after this row
_UNCOVERED = f"""
SELECT {_CONTENT}, seq FROM audit_event
WHERE (seq > $1 OR seq < 1) AND seq > $3 AND NOT EXISTS (SELECT FROM audit_checkpoint WHERE number > $2)
ORDER BY seq LIMIT {PAGE}
"""  # noqa: S608
_WAITING = f"""
SELECT {_CONTENT}, seq FROM audit_event WHERE seq IS NULL AND id > $1 ORDER BY id LIMIT {PAGE}
"""  # noqa: S608

# Rows without a hash come first, so that a checkpoint can state their number.
_NEW = """
SELECT id, hash FROM (SELECT id, hash FROM audit_event WHERE seq IS NULL ORDER BY id LIMIT $1) AS new
ORDER BY hash IS NOT NULL, id
"""
_HAS_NEW = "SELECT FROM audit_event WHERE seq IS NULL LIMIT 1"
_UNSEALED = """
SELECT extract(epoch FROM now() - at)::float8 AS seconds FROM audit_event WHERE seq IS NULL ORDER BY id LIMIT 1
"""
_PLACE = """
UPDATE audit_event AS e SET seq = new.seq, hash = new.hash
FROM unnest($1::uuid[], $2::bigint[], $3::bytea[]) AS new (id, seq, hash) WHERE e.id = new.id AND e.seq IS NULL
"""
_DELETE_EVENTS = """
WITH old AS MATERIALIZED (
    SELECT id FROM audit_event WHERE seq <= $1 ORDER BY seq LIMIT $2 FOR UPDATE SKIP LOCKED
)
DELETE FROM audit_event WHERE id IN (SELECT id FROM old)
"""

_EVENT = f"{_COLUMNS.removesuffix(', hash')}, seq"
_TOKEN_ISSUED = "event = 'token_issued' AND detail -> 'issued' @>"
#: Filters of events by name: a predicate with ``{}`` for its value.
FILTERS = {
    "event": "event = {}",
    "outcome": "outcome = {}",
    "actor": "actor = {}",
    "user_id": "user_id = {}::text::uuid",
    "client_id": "client_id = {}",
    "session_id": "session_id = {}::text::uuid",
    "ip_address": "ip_address = {}",
    "request_id": "request_id = {}",
    # One event contains several tokens.
    "jti": f"{_TOKEN_ISSUED} jsonb_build_array(jsonb_build_object('jti', {{}}::text))",
    "token_client_id": f"{_TOKEN_ISSUED} jsonb_build_array(jsonb_build_object('client_id', {{}}::text))",
    "token_user_id": f"{_TOKEN_ISSUED} jsonb_build_array(jsonb_build_object('user_id', {{}}::text))",
}
_EVENTS = f"SELECT {_EVENT} FROM audit_event WHERE at >= $1 AND at < $2"  # noqa: S608
_EVENTS_OF_USER = f"""
SELECT a.at, a.event, a.outcome, a.client_id, a.session_id AS sid,
CASE WHEN {IS_OWN} THEN a.ip_address ELSE '' END AS ip_address
FROM audit_event AS a WHERE a.user_id = $1 AND a.event <> 'token_issued' ORDER BY a.at DESC LIMIT $2
"""  # noqa: S608
#: $1: ids. The events of the feed, in order.
PUBLISHED = f"SELECT {_EVENT} FROM audit_event WHERE id = ANY ($1::uuid[]) ORDER BY id"  # noqa: S608
_PROOF = """
SELECT e.hash, c.number, c.at FROM audit_event AS e
LEFT JOIN audit_checkpoint AS c ON e.seq BETWEEN c.first_seq AND c.last_seq WHERE e.id = $1
"""


class StoredRow(msgspec.Struct, frozen=True):
    """An event as it is stored, for verification.

    Attributes:
        seq: its sequence number. None until the next checkpoint.
        hash: None only if a person with access to the database removed it.
    """

    content: Row
    seq: int | None
    hash: bytes | None


class NewRow(msgspec.Struct, frozen=True):
    """An event that is not in a checkpoint yet."""

    id: UUID
    hash: bytes | None


class Event(msgspec.Struct, frozen=True):
    """An event for reading. ``detail`` is JSON."""

    id: UUID
    at: datetime
    event: str
    outcome: str
    actor: str
    user_id: UUID | None
    client_id: str | None
    session_id: UUID | None
    ip_address: str
    request_id: str
    detail: str
    seq: int | None


class ExportedEvent(msgspec.Struct, frozen=True):
    """An event in the export of a user's data. ``ip_address`` is empty if another one caused it."""

    at: datetime
    event: str
    outcome: str
    client_id: str | None
    sid: UUID | None
    ip_address: str


class Proof(msgspec.Struct, frozen=True):
    """The hash of an event, and number and time of the checkpoint that covers it."""

    hash: bytes | None
    number: int | None
    at: datetime | None


def _content(record: Mapping[str, Any]) -> Row:
    # Not checked by type: a modified row is reported, not refused.
    return Row(**{name: record[name] for name in Row._fields})


def _stored(record: Mapping[str, Any]) -> StoredRow:
    return StoredRow(_content(record), record["seq"], record["hash"])


async def insert_event(row: Row, row_hash: bytes, private: str | None = None) -> None:
    """Insert an event with its hash.

    Args:
        private: JSON for the feed, if someone wants the event.
    """
    await execute(_INSERT_EVENT, *(getattr(row, name) for name in _TYPES if name != "hash"), row_hash, private)


async def insert_events(rows: Sequence[tuple[Row, bytes]]) -> None:
    """Insert events with their hashes. Existing ones are unchanged."""
    contents = [[getattr(row, name) for row, _ in rows] for name in _TYPES if name != "hash"]
    await execute(_INSERT_EVENTS, *contents, [row_hash for _, row_hash in rows])


async def latest_events(
    filters: Mapping[str, str], *, since: datetime = BEGINNING, until: datetime = END, limit: int
) -> list[Event]:
    """Return the most recent events, newest first.

    Args:
        filters: values by the names of :data:`FILTERS`. All must match.
        until: the exclusive end.
    """
    statement = f"{_EVENTS}{_predicates(filters, 4)} ORDER BY at DESC, id DESC LIMIT $3"
    return many(Event, await fetch(statement, since, until, limit, *filters.values()))


async def events(
    filters: Mapping[str, str], *, since: datetime = BEGINNING, until: datetime = END
) -> AsyncIterator[Event]:
    """Yield all events of a period, oldest first, with one page in memory at a time.

    Arguments as of :func:`latest_events`.
    """
    statement = f"{_EVENTS}{_predicates(filters, 5)} AND (at, id) > ($3, $4) ORDER BY at, id LIMIT {PAGE}"
    at, last = since, UUID(int=0)
    while page := many(Event, await fetch(statement, since, until, at, last, *filters.values())):
        for event in page:
            yield event
        at, last = page[-1].at, page[-1].id


def _predicates(filters: Mapping[str, str], first: int) -> str:
    """Return the predicates of filters, whose values are the parameters from this number on."""
    return "".join(f" AND {FILTERS[name].format(f'${n}')}" for n, name in enumerate(filters, start=first))


async def events_of_user(user_id: UUID, limit: int) -> list[ExportedEvent]:
    """Return the most recent events of a user, newest first, without issued tokens."""
    return many(ExportedEvent, await fetch(_EVENTS_OF_USER, user_id, limit))


async def proof(event_id: UUID) -> Proof | None:
    """Return the hash of an event and the checkpoint that covers it."""
    return one(Proof, await fetchrow(_PROOF, event_id))


async def placed_events(first_seq: int, last_seq: int) -> AsyncIterator[StoredRow]:
    """Return the events from one sequence number to another, in order."""
    while page := [_stored(record) for record in await fetch(_PLACED, first_seq, last_seq)]:
        for row in page:
            yield row
        first_seq = (page[-1].seq or 0) + 1


async def uncovered_events(last_seq: int, checkpoint: int, after: int) -> list[StoredRow]:
    """Return a page of the events with sequence numbers that no checkpoint covers, in order.

    Args:
        last_seq: the last sequence number that the last checkpoint covers.
        checkpoint: its number. If there is a later one, the page is empty.
        after: the last sequence number of the previous page.
    """
    return [_stored(record) for record in await fetch(_UNCOVERED, last_seq, checkpoint, after)]


async def waiting_events(after: UUID) -> list[StoredRow]:
    """Return a page of the events that wait for the next checkpoint, by id."""
    return [_stored(record) for record in await fetch(_WAITING, after)]


async def delete_events(last_seq: int, limit: int) -> int:
    """Delete some of the oldest events up to a sequence number. Returns how many."""
    return await execute(_DELETE_EVENTS, last_seq, limit)


async def create_months(now: datetime) -> list[str]:
    """Create the partitions of this month and the next ones. Returns the names of those that were missing.

    Raises:
        PartitionBusyError: others use the table. It is tried again later.
    """
    return await partitions.create_ahead("audit_event", now)


async def drop_months(until: datetime, last_seq: int) -> list[str]:
    """Drop the partitions of months that ended by ``until`` and have only events up to a place. Returns their names.

    Raises:
        PartitionBusyError: others use the table. It is tried again later.
    """
    return await partitions.drop("audit_event", until, ("seq IS NULL", "seq > $1"), last_seq)


async def has_new_events() -> bool:
    """Return whether an event waits for the next checkpoint."""
    return await fetchrow(_HAS_NEW) is not None


async def unsealed_seconds() -> float:
    """Return the age in seconds of the oldest event that no checkpoint covers; 0 if there is none."""
    found = await fetchrow(_UNSEALED)
    return found["seconds"] if found is not None else 0


async def new_events(limit: int) -> list[NewRow]:
    """Return the oldest events that wait for the next checkpoint: first those without a hash, then by id."""
    return many(NewRow, await fetch(_NEW, limit))


async def contents(ids: Sequence[UUID]) -> dict[UUID, Row]:
    """Return the contents of events, by id."""
    return {row.id: row for row in map(_content, await fetch(_FIND_EVENTS, ids))}


async def place_events(ids: Sequence[UUID], seqs: Sequence[int], hashes: Sequence[bytes]) -> int:
    """Set sequence numbers and hashes of events that have none. Returns how many were set."""
    return await execute(_PLACE, ids, seqs, hashes)


EVENTS = Listing(
    source="audit_event AS a",
    columns="a.id, a.at, a.event, a.outcome, a.actor, a.user_id, a.client_id, a.session_id, a.ip_address, a.request_id,"
    " a.detail, a.seq",
    key=Sort("a.id", "uuid"),
    sorts={"at": Sort("a.at")},
    default_sort="-at",
    filters={
        "id": Filter("a.id = {}", "uuid", "One event."),
        "since": Filter("a.at >= {}", "timestamptz", "At this time or later.", prepare=utc),
        "until": Filter("a.at < {}", "timestamptz", "Before this time.", prepare=utc),
        "event": Filter("a.event = {}", help="Of this kind."),
        "outcome": Filter("a.outcome = {}", choices=("success", "failure", "denied"), help="With this outcome."),
        "user_id": Filter("a.user_id = {}", "uuid", "To this user."),
        "client_id": Filter("a.client_id = {}", help="By or to this client."),
        "actor": Filter("a.actor = {}", help="By this actor, such as user:… or client:…"),
        "request_id": Filter("a.request_id = {}", help="Within one request."),
    },
)
