"""Hourly counts of events for the charts of the dashboard, collected in memory and written in batches.

They are approximate: events that were rolled back are counted, and a process that is killed loses its last seconds.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from idp import clock
from idp.audit.repository import hourly_counts
from idp.audit.repository.hourly_counts import HourlyCount

_counts: dict[tuple[datetime, str], int] = {}


def _hour(at: datetime) -> datetime:
    return at.replace(minute=0, second=0, microsecond=0)


def count(kind: str, number: int = 1, at: datetime | None = None) -> None:
    """Add to the count of a kind, such as ``sign_in:failure`` or ``token:refresh_token``. The default time is now."""
    key = (_hour(at or clock.now()), kind)
    _counts[key] = _counts.get(key, 0) + number


async def write() -> None:
    """Write the counts. Counts that cannot be written are kept for the next write."""
    if not _counts:
        return
    taken = dict(_counts)
    _counts.clear()
    try:
        await hourly_counts.add_counts([HourlyCount(hour, kind, number) for (hour, kind), number in taken.items()])
    except BaseException:
        for key, number in taken.items():
            _counts[key] = _counts.get(key, 0) + number
        raise


async def series(kinds: Sequence[str], hours: int) -> dict[str, list[int]]:
    """Return the counts of each kind for the last so many hours, oldest first. The last hour is the current one."""
    now = _hour(clock.now())
    found: dict[str, list[int]] = {kind: [0] * hours for kind in kinds}
    for count in await hourly_counts.counts_since(now - timedelta(hours=hours - 1), kinds):
        place = hours - 1 - (now - count.hour) // timedelta(hours=1)
        if place < hours:
            found[count.kind][place] = count.number
    return found


async def delete_old() -> None:
    """Delete counts that are too old for the dashboard."""
    await hourly_counts.delete_old_counts()
