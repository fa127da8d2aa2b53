"""The life of a signing key: published, then signing, then retiring, then retired.

Others cache our JWKS, so a key is published before it signs and stays published until everything
that it signed has expired. Each change is one transaction that starts with its notice, by which
changes on all replicas happen one after the other (:func:`idp.db.notices.announce`).
"""

import asyncio
from datetime import datetime
from enum import StrEnum
from itertools import zip_longest

import asyncpg
import msgspec

from idp import clock
from idp.db.engine import fetch, fetchrow, transaction
from idp.db.notices import announce
from idp.keys import jose
from idp.keys.jose import SigningKey
from idp.keys.ring import NoSigningKey, seal_private_key
from idp.settings import settings

TOPIC = "keys"

#: Seconds added to every wait here: clocks differ between machines, and a reply is on its way for
#: a while before the time for which it may be cached begins.
MARGIN = 60

_ACTIVE = "alg = $1 AND activates_at <= now() AND (retires_at IS NULL OR retires_at > now())"
_PENDING = "alg = $1 AND activates_at > now()"

_FIND_ACTIVE = f"SELECT kid FROM signing_key WHERE {_ACTIVE} ORDER BY activates_at DESC LIMIT 1"  # noqa: S608
_FIND_PENDING = f"SELECT kid, activates_at FROM signing_key WHERE {_PENDING}"  # noqa: S608

# $1 alg  $2 kid  $3 public_jwk  $4 private_jwk  $5 seconds until it activates
# $6 seconds for which a key stays published after its successor took over
_INSERT = f"""
INSERT INTO signing_key (kid, alg, public_jwk, private_jwk, created_at, activates_at, retires_at)
SELECT $2, $1, $3, $4, now(), now() + make_interval(secs => $5),
       (SELECT activates_at + make_interval(secs => $6) FROM signing_key WHERE {_PENDING})
"""  # noqa: S608
_CREATE_FIRST = f"{_INSERT} WHERE NOT EXISTS (SELECT FROM signing_key WHERE {_ACTIVE}) RETURNING kid"

_ADD = f"""
WITH successor AS (
    {_INSERT} WHERE NOT EXISTS (SELECT FROM signing_key WHERE {_PENDING})
    RETURNING kid, activates_at
), predecessor AS (
    UPDATE signing_key AS k SET retires_at = s.activates_at + make_interval(secs => $6)
    FROM successor AS s WHERE k.alg = $1 AND k.retires_at IS NULL
)
SELECT kid FROM successor
"""  # noqa: S608

# $1 alg  $2 seconds for which the predecessor stays published
_BRING_FORWARD = f"""
WITH successor AS (
    UPDATE signing_key SET activates_at = now() WHERE {_PENDING} RETURNING kid
), predecessor AS (
    UPDATE signing_key SET retires_at = now() + make_interval(secs => $2)
    WHERE kid = ({_FIND_ACTIVE}) AND EXISTS (SELECT FROM successor)
)
SELECT kid FROM successor
"""  # noqa: S608

_LIST = """
SELECT kid, alg, created_at, activates_at, retires_at FROM signing_key ORDER BY alg, activates_at
"""


class RotationPending(Exception):
    """A key of the algorithm is published already and waits for its time: one plain sentence."""


class State(StrEnum):
    """Where a key is in its life. All but retired keys are in the JWKS."""

    PENDING = "pending"
    ACTIVE = "active"
    RETIRING = "retiring"
    RETIRED = "retired"


class KeyInfo(msgspec.Struct, frozen=True):
    """What may be shown of a key."""

    kid: str
    alg: str
    state: State
    created_at: datetime
    activates_at: datetime
    retires_at: datetime | None


def _overlap() -> int:
    """Seconds for which a key stays published after its successor took over."""
    return max(settings().access_token_lifetime, settings().id_token_lifetime) + MARGIN


async def _new(alg: str, size: int) -> SigningKey:
    return await asyncio.to_thread(jose.generate, alg, size)


async def _insert(statement: str, key: SigningKey, delay: int) -> bool:
    public = msgspec.json.encode(key.public_jwk).decode()
    row = await fetchrow(statement, key.alg, key.kid, public, seal_private_key(key), delay, _overlap())
    return row is not None


async def ensure_signing_key(alg: str = jose.DEFAULT_ALGORITHM) -> bool:
    """Create the first key of an algorithm, unless there is one; all replicas may call it at once.

    Returns:
        whether this call created it.
    """
    if await fetchrow(_FIND_ACTIVE, alg) is not None:
        return False
    key = await _new(alg, 2048)
    async with transaction():
        await announce(TOPIC)
        # Active for a while already, so that a replica whose clock is behind can sign with it too.
        return await _insert(_CREATE_FIRST, key, -MARGIN)


async def generate(alg: str, size: int = 2048, *, now: bool = False) -> str:
    """Publish a new key and return its ``kid``. It signs when every cached JWKS holds it.

    Args:
        size: bits of an RSA key.
        now: it signs at once. For emergencies: until others fetch the JWKS again, they cannot
            verify what it signs.

    Raises:
        RotationPending: another key of the algorithm still waits for its time.
        UnsupportedAlgorithm: we do not use this algorithm or size.
    """
    key = await _new(alg, size)
    async with transaction():
        await announce(TOPIC)
        delay = 0 if now else settings().jwks_max_age + MARGIN
        if not await _insert(_ADD, key, delay):
            raise await _rotation_pending(alg)
    return key.kid


async def rotate(alg: str, size: int = 2048, *, now: bool = False) -> str:
    """Replace the active key of an algorithm and return the ``kid`` of the new one.

    Args:
        size: bits of an RSA key.
        now: the new key signs at once; see :func:`generate`. One that waits is brought forward.

    Raises:
        NoSigningKey: there is no key to replace.
        RotationPending: a new key still waits for its time.
        UnsupportedAlgorithm: we do not use this size.
    """
    if await fetchrow(_FIND_ACTIVE, alg) is None:
        raise NoSigningKey(alg)
    if not now and await fetchrow(_FIND_PENDING, alg) is not None:
        raise await _rotation_pending(alg)
    if now:
        async with transaction():
            await announce(TOPIC)
            row = await fetchrow(_BRING_FORWARD, alg, _overlap())
        if row is not None:
            return str(row["kid"])
    return await generate(alg, size, now=now)


async def _rotation_pending(alg: str) -> RotationPending:
    row = await fetchrow(_FIND_PENDING, alg)
    since = f" at {row['activates_at']:%Y-%m-%d %H:%M:%S %Z}" if row else ""
    return RotationPending(
        f"A new {alg} key is published already and becomes active{since}. To use it at once: `idp keys rotate --now`."
    )


def _state(row: asyncpg.Record, successor: asyncpg.Record | None, now: datetime) -> State:
    if row["retires_at"] is not None and row["retires_at"] <= now:
        return State.RETIRED
    if row["activates_at"] > now:
        return State.PENDING
    replaced = successor is not None and successor["alg"] == row["alg"] and successor["activates_at"] <= now
    return State.RETIRING if replaced else State.ACTIVE


async def list_keys() -> list[KeyInfo]:
    """Every key ever made, by algorithm, oldest first."""
    rows = await fetch(_LIST)
    now = clock.now()
    return [KeyInfo(state=_state(row, successor, now), **dict(row)) for row, successor in zip_longest(rows, rows[1:])]
