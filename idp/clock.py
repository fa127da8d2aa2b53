"""The one source of time. Tests move it by replacing :func:`now`'s offset, never by sleeping."""

from datetime import UTC, datetime, timedelta

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
