"""The statements on hourly counts of events."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from idp.infra.db.engine import execute, fetch
from idp.infra.db.rows import many

# Arrays, one element per count. Ordered, so that two workers do not deadlock.
_ADD_COUNTS = """
INSERT INTO activity AS a (id, hour, kind, number)
SELECT to_char(hour AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24') || '|' || kind, hour, kind, number
FROM unnest($1::timestamptz[], $2::text[], $3::bigint[]) AS new (hour, kind, number) ORDER BY hour, kind
ON CONFLICT (id) DO UPDATE SET number = a.number + excluded.number
"""
_COUNTS = "SELECT hour, kind, number FROM activity WHERE hour >= $1 AND kind = ANY ($2::text[])"
_DELETE_OLD_COUNTS = "DELETE FROM activity WHERE hour < now() - interval '90 days'"


class HourlyCount(msgspec.Struct, frozen=True):
    hour: datetime
    kind: str
    number: int


async def add_counts(counts: Sequence[HourlyCount]) -> None:
    columns = [[getattr(count, name) for count in counts] for name in HourlyCount.__struct_fields__]
    await execute(_ADD_COUNTS, *columns)


async def counts_since(moment: datetime, kinds: Sequence[str]) -> list[HourlyCount]:
    return many(HourlyCount, await fetch(_COUNTS, moment, kinds))


async def delete_old_counts() -> None:
    """Delete counts older than 90 days."""
    await execute(_DELETE_OLD_COUNTS)
