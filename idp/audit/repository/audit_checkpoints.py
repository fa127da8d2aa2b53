"""The statements on checkpoints and their export."""

from datetime import datetime

import msgspec

from idp.audit.repository.audit_events import PAGE
from idp.infra.db.engine import execute, fetch, fetchrow
from idp.infra.db.rows import many, one

_INSERT_CHECKPOINT = """
INSERT INTO audit_checkpoint (number, at, first_seq, last_seq, root, previous, statement)
VALUES ($1, $2, $3, $4, $5, $6, $7)
"""
_LAST_CHECKPOINT = "SELECT number, at, last_seq, statement FROM audit_checkpoint ORDER BY number DESC LIMIT 1"
_LAST_STATEMENTS = "SELECT statement FROM audit_checkpoint ORDER BY number DESC LIMIT 100"
_LAST_STATEMENT_BEFORE = """
SELECT statement FROM audit_checkpoint WHERE at < $1 AND number < (SELECT max(number) FROM audit_checkpoint)
ORDER BY at DESC, number DESC LIMIT 1
"""
_STATEMENT = "SELECT statement FROM audit_checkpoint WHERE number = $1"
_STATEMENTS_AFTER = "SELECT number, statement FROM audit_checkpoint WHERE number > $1 ORDER BY number LIMIT $2"
_CHECKPOINTS_AFTER = f"""
SELECT number, trunc(extract(epoch FROM at))::text AS at, first_seq, last_seq, root, previous, statement
FROM audit_checkpoint WHERE number > $1 ORDER BY number LIMIT {PAGE}
"""  # noqa: S608

_LAST_SENT = "SELECT sent FROM audit_export WHERE place = $1"
_LEASE_EXPORT = """
INSERT INTO audit_export AS e (place, sent, leased_until) VALUES ($1, 0, now() + make_interval(secs => $2))
ON CONFLICT (place) DO UPDATE SET leased_until = excluded.leased_until WHERE e.leased_until <= now()
RETURNING sent, leased_until
"""
# A worker whose lease has expired may still record the checkpoints that it sent.
_SET_SENT = "UPDATE audit_export SET sent = greatest(sent, $2) WHERE place = $1"
_END_LEASE = "UPDATE audit_export SET leased_until = now() WHERE place = $1 AND leased_until = $2"


class LastCheckpoint(msgspec.Struct, frozen=True):
    number: int
    at: datetime
    last_seq: int
    statement: str


class NumberedStatement(msgspec.Struct, frozen=True):
    """The JWS of a checkpoint."""

    number: int
    statement: str


class StoredCheckpoint(msgspec.Struct, frozen=True):
    """A checkpoint with the columns that repeat its claims. ``at`` is in seconds since 1970, as text."""

    number: int
    at: str
    first_seq: int
    last_seq: int
    root: bytes
    previous: bytes | None
    statement: str


class ExportLease(msgspec.Struct, frozen=True):
    """A lease on sending checkpoints to one place. ``sent`` is the number of the last one that it accepted."""

    sent: int
    leased_until: datetime


async def insert_checkpoint(
    *, number: int, at: datetime, first_seq: int, last_seq: int, root: bytes, previous: bytes | None, statement: str
) -> None:
    await execute(_INSERT_CHECKPOINT, number, at, first_seq, last_seq, root, previous, statement)


async def last_checkpoint() -> LastCheckpoint | None:
    return one(LastCheckpoint, await fetchrow(_LAST_CHECKPOINT))


async def last_statements() -> list[str]:
    """Return the JWSs of the last hundred checkpoints."""
    return [row["statement"] for row in await fetch(_LAST_STATEMENTS)]


async def last_statement_before(moment: datetime) -> str | None:
    """Return the JWS of the last checkpoint before a time. The latest checkpoint of all is excluded."""
    row = await fetchrow(_LAST_STATEMENT_BEFORE, moment)
    return str(row["statement"]) if row is not None else None


async def statement(number: int) -> str | None:
    """Return the JWS of a checkpoint."""
    row = await fetchrow(_STATEMENT, number)
    return str(row["statement"]) if row is not None else None


async def statements_after(number: int, limit: int) -> list[NumberedStatement]:
    """Return the JWSs of the checkpoints after this one, in order."""
    return many(NumberedStatement, await fetch(_STATEMENTS_AFTER, number, limit))


async def checkpoints_after(number: int) -> list[StoredCheckpoint]:
    """Return a page of the checkpoints after this one, in order."""
    return many(StoredCheckpoint, await fetch(_CHECKPOINTS_AFTER, number))


async def last_sent(place: str) -> int:
    """Return the number of the last checkpoint that a place accepted, or 0."""
    row = await fetchrow(_LAST_SENT, place)
    return int(row["sent"]) if row is not None else 0


async def lease_export(place: str, seconds: float) -> ExportLease | None:
    """Take a lease on sending checkpoints to a place. Returns None if another worker holds it."""
    return one(ExportLease, await fetchrow(_LEASE_EXPORT, place, seconds))


async def set_sent(place: str, number: int) -> None:
    """Record that a place has accepted this checkpoint."""
    await execute(_SET_SENT, place, number)


async def end_lease(place: str, lease: ExportLease) -> None:
    """End a lease, unless it expired and another worker took the next one."""
    await execute(_END_LEASE, place, lease.leased_until)
