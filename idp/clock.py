"""The one source of time. Tests move it by replacing :func:`now`'s offset, never by sleeping."""

from datetime import UTC, datetime, timedelta

#: Added to the system's clock. Zero but in tests.
offset = timedelta()


def system() -> datetime:
    """Return the time of this machine, which may differ from the database's."""
    return datetime.now(UTC)


def now() -> datetime:
    """The current moment, aware, in UTC."""
    return system() + offset


def timestamp() -> int:
    """The current moment in whole seconds since the epoch, as JWT claims want it (RFC 7519 section 2)."""
    return int(now().timestamp())
