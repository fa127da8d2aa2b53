"""Identifiers and random secrets."""

import hashlib
import secrets
import time
from uuid import UUID


def uuid7() -> UUID:
    """Return a time-ordered UUID (RFC 9562 section 5.7). Values created together are adjacent in an index.

    After the milliseconds come 12 bits of the fraction of a millisecond (section 6.2, method 3): of two values that a
    process creates one after the other, the later one is greater.
    """
    milliseconds, nanoseconds = divmod(time.time_ns(), 1_000_000)
    fraction = nanoseconds * 4096 // 1_000_000
    return UUID(int=milliseconds << 80 | 0x7 << 76 | fraction << 64 | 0b10 << 62 | secrets.randbits(62))


def uuid7_text() -> str:
    """Return a :func:`uuid7` as text, for columns whose values users may choose."""
    return str(uuid7())


def uuid_or_none(text: str) -> UUID | None:
    """Return the UUID that a text is; None: it is none."""
    try:
        return UUID(text)
    except ValueError:
        return None


def random_token() -> str:
    """Return a secret of 256 random bits, URL-safe, 43 characters long."""
    return secrets.token_urlsafe(32)


def digest(secret: str) -> bytes:
    """Return the SHA-256 of a random secret, for storage. Never for passwords or short codes."""
    return hashlib.sha256(secret.encode()).digest()
