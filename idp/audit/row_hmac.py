"""What makes a row of the trail evidence: a keyed hash of its content and, once it has one, of its place.

Whoever can write to the database alone cannot make such a hash: its key is derived from the root key.
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
#: Floats as they are written, not as the nearest that the machine has.
_DECODER = json.JSONDecoder(parse_float=Decimal)
_ENCODER = msgspec.json.Encoder(order="sorted", decimal_format="number")

_key: bytes | None = None


class LockedError(OperatorError):
    """Nothing can be sealed or checked: no master key has opened the root key."""

    def __init__(self) -> None:
        super().__init__("The audit trail is sealed with the master key. Set IDP_MASTER_KEY, or keep it in its file.")


class Row(NamedTuple):
    """What is hashed of an event, in this order.

    Attributes:
        at: a time, or as text what microseconds PostgreSQL counts since 1970 of one that Python has not.
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


def use(key: bytes | None) -> None:
    """Seal with this key from now on. :mod:`idp.keys.vault` says so when it is unlocked; None: locked again."""
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
    """The hash of a row that has no place yet: of every column but ``seq`` and ``hash``.

    Args:
        detail: what the row's is the JSON of, where that is at hand and has no fractions.

    Raises:
        LockedError: there is no key.
    """
    at = str((row.at - _EPOCH) // _MICROSECOND) if isinstance(row.at, datetime) else row.at
    return keyed(
        b"content" + _ENCODER.encode((row.id, at, *row[2:-1], _parsed(row.detail) if detail is None else detail))
    )


def placed_hash(content: bytes, seq: int) -> bytes:
    """The hash of a row that is the ``seq``-th of the trail.

    Raises:
        LockedError: there is no key.
    """
    return keyed(b"place" + seq.to_bytes(8) + content)


def _parsed(detail: str) -> Any:
    try:
        return _canonical(_DECODER.decode(detail))
    except (ValueError, RecursionError):
        # Nothing that we would write, but somebody did: PostgreSQL writes it in one way too.
        return [detail]


def _canonical(value: Any) -> Any:
    """The value with each number written in one way: PostgreSQL writes them as it likes."""
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
    """The root of the Merkle tree over these leaves (RFC 6962 section 2.1)."""
    if not leaves:
        return sha256().digest()
    # Pairs from the left; a node without a partner goes up as it is, which yields the tree of the RFC.
    level = [sha256(b"\x00" + leaf).digest() for leaf in leaves]
    while len(level) > 1:
        pairs = [sha256(b"\x01" + level[i] + level[i + 1]).digest() for i in range(0, len(level) - 1, 2)]
        level = pairs + level[len(level) - len(level) % 2 :]
    return level[0]
