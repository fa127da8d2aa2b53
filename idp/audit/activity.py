"""How often things happen, by the hour: counted in memory, written together, for the dashboard's charts.

Counts are for looking at. What was rolled back may be among them, and a process that is killed loses its last seconds.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from idp import clock
from idp.audit import repository
from idp.audit.repository import HourlyCount

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
        await repository.add_counts([HourlyCount(hour, kind, number) for (hour, kind), number in taken.items()])
    except BaseException:
        for key, number in taken.items():
            _counts[key] = _counts.get(key, 0) + number
        raise


async def series(kinds: Sequence[str], hours: int) -> dict[str, list[int]]:
    """How often each kind happened in each of the last so many hours, the oldest first; the last one is not over."""
    now = _hour(clock.now())
    found: dict[str, list[int]] = {kind: [0] * hours for kind in kinds}
    for count in await repository.counts_since(now - timedelta(hours=hours - 1), kinds):
        place = hours - 1 - (now - count.hour) // timedelta(hours=1)
        if place < hours:
            found[count.kind][place] = count.number
    return found


async def forget() -> None:
    """Delete counts that nobody looks at any more."""
    await repository.delete_old_counts()
