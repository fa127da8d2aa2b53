"""The statements on recorded requests."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from idp.infra.db import partitions
from idp.infra.db.engine import execute, fetch, fetchrow
from idp.infra.db.listing import Filter, Listing, Sort, utc
from idp.infra.db.partitions import DAYS
from idp.infra.db.rows import many

#: Requests of one flow that are read.
MAX_REQUESTS = 200

_TYPES = {
    "id": "uuid", "at": "timestamptz", "request_id": "text", "trace_id": "text", "outcome": "text", "method": "text",
    "route": "text", "status": "int", "duration_ms": "int", "error": "text", "reason": "text", "hint": "text",
    "user_id": "uuid", "client_id": "text", "session_id": "uuid", "family_id": "uuid", "ip_address": "text",
    "steps": "jsonb",
}  # fmt: skip
_COLUMNS = ", ".join(_TYPES)
# Arrays, one element per request.
_INSERT = f"""
INSERT INTO trace ({_COLUMNS})
SELECT * FROM unnest({", ".join(f"${n}::{kind}[]" for n, kind in enumerate(_TYPES.values(), start=1))})
ON CONFLICT (id) DO NOTHING
"""  # noqa: S608
# A token request names the family of its tokens, so it belongs to the flow that the family began in.
_FLOW = f"""
WITH named AS MATERIALIZED (
    SELECT trace_id, family_id FROM trace WHERE request_id = $1
    UNION SELECT trace_id, family_id FROM trace WHERE trace_id = $1
), families AS MATERIALIZED (
    SELECT family_id FROM named WHERE family_id IS NOT NULL
    UNION SELECT t.family_id FROM trace AS t, named AS n WHERE t.trace_id = n.trace_id AND t.family_id IS NOT NULL
), flows AS MATERIALIZED (
    SELECT trace_id FROM named
    UNION SELECT t.trace_id FROM trace AS t, families AS f WHERE t.family_id = f.family_id
)
SELECT {_COLUMNS} FROM trace WHERE trace_id = ANY (ARRAY(SELECT trace_id FROM flows))
ORDER BY at, id LIMIT {MAX_REQUESTS}
"""  # noqa: S608
_BYTES = "SELECT pg_total_relation_size($1::text::regclass) AS bytes"


# What could not be dropped: days of another owner, and rows of days that had no partition.
_DELETE_BEFORE = """
WITH old AS MATERIALIZED (
    SELECT id FROM trace WHERE at < $1 ORDER BY at LIMIT $2 FOR UPDATE SKIP LOCKED
)
DELETE FROM trace WHERE id IN (SELECT id FROM old)
"""


class RecordedRequest(msgspec.Struct, frozen=True):
    """A recorded request. ``steps`` is JSON."""

    id: UUID
    at: datetime
    request_id: str
    trace_id: str
    outcome: str
    method: str
    route: str
    status: int
    duration_ms: int
    error: str | None
    reason: str | None
    hint: str | None
    user_id: UUID | None
    client_id: str | None
    session_id: UUID | None
    family_id: UUID | None
    ip_address: str
    steps: str


async def insert(rows: Sequence[tuple[object, ...]]) -> None:
    """Insert requests: the columns of the table, in order. Existing ones are unchanged."""
    await execute(_INSERT, *map(list, zip(*rows, strict=True)))


async def requests_of_flow(id: str) -> list[RecordedRequest]:
    """Return the requests of the flow that has this id, or a request with this id, oldest first."""
    return many(RecordedRequest, await fetch(_FLOW, id))


async def create_days(now: datetime) -> list[str]:
    """Create the partitions of this day and the next ones. Returns the names of those that were missing.

    Raises:
        PartitionBusyError: others use the table. It is tried again later.
    """
    return await partitions.create_ahead("trace", now, DAYS)


async def drop_days(until: datetime) -> list[str]:
    """Drop the partitions of days that ended by ``until``. Returns their names.

    Raises:
        PartitionBusyError: others use the table. It is tried again later.
    """
    return await partitions.drop("trace", until, (), period=DAYS)


async def delete_before(moment: datetime, limit: int) -> int:
    """Delete some of the oldest requests before a moment. Returns how many."""
    return await execute(_DELETE_BEFORE, moment, limit)


async def days() -> list[tuple[datetime, int]]:
    """Return the days that have a partition, oldest first, each with its size in bytes."""
    return [(DAYS.start(name), await _size(name)) for name in await partitions.existing_partitions("trace")]


async def _size(name: str) -> int:
    row = await fetchrow(_BYTES, name)
    return row["bytes"] if row is not None else 0


REQUESTS = Listing(
    source="trace AS t",
    columns="t.id, t.at, t.request_id, t.trace_id, t.outcome, t.method, t.route, t.status, t.duration_ms, t.error,"
    " t.reason, t.hint, t.user_id, t.client_id, t.session_id, t.family_id, t.ip_address, t.steps",
    key=Sort("t.id", "uuid"),
    sorts={"at": Sort("t.at")},
    default_sort="-at",
    filters={
        "request_id": Filter("t.request_id = {}", help="This request."),
        "trace_id": Filter("t.trace_id = {}", help="Of the flow with this id."),
        "user_id": Filter("t.user_id = {}", "uuid", "Of this user."),
        "client_id": Filter("t.client_id = {}", help="Of this client."),
        "outcome": Filter("t.outcome = {}", choices=("success", "refused", "failed"), help="With this outcome."),
        "reason": Filter("t.reason = {}", help="Refused for this reason."),
        "since": Filter("t.at >= {}", "timestamptz", "At this time or later.", prepare=utc),
        "until": Filter("t.at < {}", "timestamptz", "Before this time.", prepare=utc),
    },
)
