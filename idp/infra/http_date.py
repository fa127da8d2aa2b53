"""Dates in headers of other servers (RFC 9110 section 5.6.7)."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


def parse(text: str) -> datetime | None:
    """Return the time of a date, which is in UTC if it names no zone; None if it is none or out of range."""
    try:
        found = parsedate_to_datetime(text)
        # Near the ends of the calendar, a zone shifts a date out of it.
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
