"""How often things happen, by the hour: counted in memory, written together, for the dashboard's charts.

Counts are for looking at. What was rolled back may be among them, and a process that is killed loses its last seconds.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from idp import clock
from idp.infra.db.engine import execute, fetch

#: How long counts are kept.
KEPT = "90 days"

# Arrays, one element a count. In order, so that two workers do not wait for each other in turn.
_ADD = """
INSERT INTO activity AS a (id, hour, kind, number)
SELECT to_char(hour AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24') || '|' || kind, hour, kind, number
FROM unnest($1::timestamptz[], $2::text[], $3::bigint[]) AS new (hour, kind, number) ORDER BY hour, kind
ON CONFLICT (id) DO UPDATE SET number = a.number + excluded.number
"""
_SERIES = "SELECT hour, kind, number FROM activity WHERE hour >= $1 AND kind = ANY ($2::text[])"
_FORGET = f"DELETE FROM activity WHERE hour < now() - interval '{KEPT}'"  # noqa: S608

_counts: dict[tuple[datetime, str], int] = {}


def _hour(at: datetime) -> datetime:
    return at.replace(minute=0, second=0, microsecond=0)


def count(kind: str, number: int = 1, at: datetime | None = None) -> None:
    """Count so many of this kind, as ``sign_in:failure`` or ``token:refresh_token``, now or at another time."""
    key = (_hour(at or clock.now()), kind)
    _counts[key] = _counts.get(key, 0) + number


async def write() -> None:
    """Write the counts. What cannot be written is kept for the next time."""
    if not _counts:
        return
    taken = dict(_counts)
    _counts.clear()
    try:
        await execute(_ADD, [hour for hour, _ in taken], [kind for _, kind in taken], list(taken.values()))
    except BaseException:
        for key, number in taken.items():
            _counts[key] = _counts.get(key, 0) + number
        raise


async def series(kinds: Sequence[str], hours: int) -> dict[str, list[int]]:
    """How often each kind happened in each of the last so many hours, the oldest first; the last one is not over."""
    now = _hour(clock.now())
    found: dict[str, list[int]] = {kind: [0] * hours for kind in kinds}
    for row in await fetch(_SERIES, now - timedelta(hours=hours - 1), list(kinds)):
        place = hours - 1 - (now - row["hour"]) // timedelta(hours=1)
        if place < hours:
            found[row["kind"]][place] = row["number"]
    return found


async def forget() -> None:
    """Delete counts that nobody looks at any more."""
    await execute(_FORGET)
