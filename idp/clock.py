"""The one source of time. Tests move it by replacing :func:`now`'s offset, never by sleeping."""

from datetime import UTC, datetime, timedelta
from typing import Final

#: Seconds beyond which a number that another party sent is no time: about 30,000 years.
MAX_SECONDS: Final = 10**12
#: Added to the system's clock. Zero except in tests.
offset = timedelta()


def system() -> datetime:
    """Return the time of this machine, which may differ from the database's."""
    return datetime.now(UTC)


def now() -> datetime:
    """Return the current time in UTC, timezone-aware."""
    return system() + offset


def timestamp() -> int:
    """Return the current time in whole seconds since the epoch, as in JWT claims (RFC 7519 section 2)."""
    return int(now().timestamp())


def seconds_until(date: object) -> int | None:
    """Return the seconds from now to a date in a JWT of another party; None if it is not a time.

    JSON has numbers that no clock shows, such as ``1e400``.
    """
    if not isinstance(date, int | float) or not abs(date) < MAX_SECONDS:
        return None
    return round(date - now().timestamp())
