"""The HMAC of a row of the trail, over its content and, after the next checkpoint, its sequence number.

The key is derived from the root key, so that write access to the database is not enough to forge a row.
"""

import hmac
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from idp.errors import OperatorError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
#: Decodes numbers exactly, without rounding to floats.
_DECODER = json.JSONDecoder(parse_float=Decimal)
_ENCODER = msgspec.json.Encoder(order="sorted", decimal_format="number")

_key: bytes | None = None


class LockedError(OperatorError):
    """No HMAC can be made or verified, because no master key has decrypted the root key."""

    def __init__(self) -> None:
        super().__init__("The audit trail needs the master key. Set IDP_MASTER_KEY, or keep it in its file.")


class Row(NamedTuple):
    """The columns of an event that are hashed, in this order.

    Attributes:
        at: a time, or as text the microseconds since 1970, because PostgreSQL has times that Python has not.
        detail: JSON as it is stored, or as PostgreSQL returns it.
    """

    id: UUID
    at: datetime | str
    event: str
    outcome: str
    actor: str
    user_id: UUID | None
    client_id: str | None
    session_id: UUID | None
    ip_address: str
    request_id: str
    detail: str


def set_key(key: bytes | None) -> None:
    """Set the key of this process. :mod:`idp.keys.vault` calls it when it is unlocked. None removes the key."""
    global _key  # noqa: PLW0603 -- one server a process (docs/decisions/0008-one-server-a-process.md)
    _key = key


def keyed(message: bytes) -> bytes:
    """HMAC-SHA256 of a message.

    Raises:
        LockedError: there is no key.
    """
    if _key is None:
        raise LockedError
    return hmac.digest(_key, message, "sha256")


def content_hash(row: Row, detail: Any = None) -> bytes:
    """Return the hash of a row without a sequence number, over every column but ``seq`` and ``hash``.

    Args:
        detail: the decoded ``detail`` of the row, if the caller has it and it contains no floats.

    Raises:
        LockedError: there is no key.
    """
    at = str((row.at - _EPOCH) // _MICROSECOND) if isinstance(row.at, datetime) else row.at
    return keyed(
        b"content" + _ENCODER.encode((row.id, at, *row[2:-1], _parsed(row.detail) if detail is None else detail))
    )


def placed_hash(content: bytes, seq: int) -> bytes:
    """Return the hash of a row with a sequence number.

    Raises:
        LockedError: there is no key.
    """
    return keyed(b"place" + seq.to_bytes(8) + content)


def _parsed(detail: str) -> Any:
    try:
        return _canonical(_DECODER.decode(detail))
    except (ValueError, RecursionError):
        # Not written by this server, but PostgreSQL prints it in one way, so it can be hashed too.
        return [detail]


def _canonical(value: Any) -> Any:
    """Return a value with canonical numbers, because PostgreSQL does not keep their notation."""
    if isinstance(value, Decimal):
        text = format(value, "f")
        text = text.rstrip("0").rstrip(".") if "." in text else text
        return Decimal(text) if "." in text else int(text)
    if isinstance(value, dict):
        return {name: _canonical(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_canonical(item) for item in value]
    return value


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    """Return the root of the Merkle tree over these leaves (RFC 6962 section 2.1)."""
    if not leaves:
        return sha256().digest()
    # Pairs from the left. A node without a partner moves up unchanged, which gives the tree of the RFC.
    level = [sha256(b"\x00" + leaf).digest() for leaf in leaves]
    while len(level) > 1:
        pairs = [sha256(b"\x01" + level[i] + level[i + 1]).digest() for i in range(0, len(level) - 1, 2)]
        level = pairs + level[len(level) - len(level) % 2 :]
    return level[0]
