"""The statements on signing keys."""

from datetime import datetime

import msgspec

from idp.infra.db.engine import execute, fetch, fetchrow
from idp.infra.db.listing import Filter, Listing, Sort
from idp.infra.db.rows import many, one

#: Seconds added to every wait: clocks differ between machines, and a response is cached from when it arrives.
MARGIN = 60

# statement_timestamp(), because now() is the start of the transaction, before it has waited for the lock.
_ACTIVE = (
    "alg = $1 AND activates_at <= statement_timestamp() AND (retires_at IS NULL OR retires_at > statement_timestamp())"
)
_PENDING = "alg = $1 AND retires_at IS NULL AND (activates_at IS NULL OR activates_at > statement_timestamp())"

_FIND_KEY = "SELECT public_jwk, private_jwk FROM signing_key WHERE kid = $1"
_ACTIVE_KID = f"SELECT kid FROM signing_key WHERE {_ACTIVE} ORDER BY activates_at DESC LIMIT 1"  # noqa: S608
_PENDING_KEY = f"SELECT kid, deadline_at FROM signing_key WHERE {_PENDING}"  # noqa: S608

# The activation time is a minute in the past, so that a replica with a slow clock can sign with the key too.
# $1 alg  $2 kid  $3 public_jwk  $4 private_jwk
_CREATE_FIRST = f"""
INSERT INTO signing_key (kid, alg, public_jwk, private_jwk, created_at, activates_at)
SELECT $2, $1, $3, $4, statement_timestamp(), statement_timestamp() - make_interval(secs => {MARGIN})
WHERE NOT EXISTS (SELECT FROM signing_key WHERE {_ACTIVE})
ON CONFLICT DO NOTHING
"""  # noqa: S608

# … $5 seconds until its deadline (null: it has none)
_PUBLISH = f"""
INSERT INTO signing_key (kid, alg, public_jwk, private_jwk, created_at, deadline_at)
SELECT $2, $1, $3, $4, statement_timestamp(), statement_timestamp() + make_interval(secs => $5)
WHERE NOT EXISTS (SELECT FROM signing_key WHERE {_PENDING})
ON CONFLICT DO NOTHING
"""  # noqa: S608

# The predecessor stays published until the last token that it signed has expired.
# $1 kid  $2 seconds for which tokens live, with the margin
_ACTIVATE = f"""
WITH successor AS (
    UPDATE signing_key SET activates_at = statement_timestamp()
    WHERE kid = $1 AND retires_at IS NULL AND (activates_at IS NULL OR activates_at > statement_timestamp())
    RETURNING kid, alg
), predecessor AS (
    UPDATE signing_key AS k
    SET retires_at = greatest(statement_timestamp() + make_interval(secs => $2),
                              k.last_token_expires_at + make_interval(secs => {MARGIN}))
    FROM successor AS s
    WHERE k.alg = s.alg AND k.kid <> s.kid AND k.activates_at <= statement_timestamp() AND k.retires_at IS NULL
    RETURNING k.kid
)
SELECT s.alg, (SELECT max(kid) FROM predecessor) AS predecessor FROM successor AS s
"""  # noqa: S608

_REVOKE = """
UPDATE signing_key SET revoked_at = statement_timestamp(), retires_at = least(retires_at, statement_timestamp())
WHERE kid = $1 AND revoked_at IS NULL
"""
_DESTROY = """
UPDATE signing_key SET private_jwk = NULL, destroyed_at = statement_timestamp()
WHERE kid = $1 AND destroyed_at IS NULL AND retires_at <= statement_timestamp()
"""

_LIST = """
SELECT kid, alg, created_at, deadline_at, activates_at, retires_at, revoked_at, destroyed_at, signed,
       last_token_expires_at,
       first_value(kid) OVER (PARTITION BY alg ORDER BY coalesce(activates_at <= $1, false)
           AND coalesce(retires_at > $1, true) DESC, activates_at DESC NULLS LAST) AS signing
FROM signing_key ORDER BY alg, activates_at NULLS LAST, created_at
"""
_NOT_RETIRED = """
SELECT kid, private_jwk, activates_at, retires_at, clock_timestamp() AS now FROM signing_key
WHERE retires_at IS NULL OR retires_at > now()
ORDER BY activates_at NULLS LAST, kid
"""
# Keys whose tokens may still be presented as hints. A revoked key is not among them: it may be compromised.
# $1 seconds since their retirement
_RETIRED = """
SELECT public_jwk FROM signing_key
WHERE retires_at <= now() AND retires_at > now() - make_interval(secs => $1) AND activates_at IS NOT NULL
  AND revoked_at IS NULL
"""
_PUBLIC_JWKS = "SELECT public_jwk FROM signing_key"
_ADD_USE = """
UPDATE signing_key SET signed = signed + $2, last_token_expires_at = greatest(last_token_expires_at, $3) WHERE kid = $1
"""
# A key stays published for tokens that a slower worker signed with it after its successor became active, or that
# live longer because a lifetime setting was changed.
_OUTLIVED = (
    "retires_at > statement_timestamp() AND revoked_at IS NULL"
    f" AND retires_at < last_token_expires_at + make_interval(secs => {MARGIN})"
)
_HAS_OUTLIVED = f"SELECT FROM signing_key WHERE {_OUTLIVED} LIMIT 1"
_EXTEND_PUBLICATION = f"""
UPDATE signing_key SET retires_at = last_token_expires_at + make_interval(secs => {MARGIN}) WHERE {_OUTLIVED}
"""  # noqa: S608
_OLD = """
SELECT k.alg FROM signing_key AS k
WHERE k.retires_at IS NULL AND k.activates_at < now() - make_interval(secs => $1)
  AND NOT EXISTS (SELECT FROM signing_key AS n WHERE n.alg = k.alg AND n.retires_at IS NULL
                  AND (n.activates_at IS NULL OR n.activates_at > k.activates_at))
"""
_OBSOLETE = """
SELECT kid FROM signing_key WHERE destroyed_at IS NULL AND retires_at < now() - make_interval(secs => $1)
"""

_HAS_SIGNING_KEY = "SELECT FROM signing_key LIMIT 1"


class NewKey(msgspec.Struct, frozen=True):
    """A key to insert. ``private_jwk`` is encrypted."""

    alg: str
    kid: str
    public_jwk: str
    private_jwk: bytes


class KeyParts(msgspec.Struct, frozen=True):
    """Both parts of a key. ``private_jwk`` is encrypted; None once it is destroyed."""

    public_jwk: str
    private_jwk: bytes | None


class PendingKey(msgspec.Struct, frozen=True):
    kid: str
    deadline_at: datetime | None


class ActivatedKey(msgspec.Struct, frozen=True):
    """The algorithm of a key that became active, and the ``kid`` of its predecessor."""

    alg: str
    predecessor: str | None


class StoredKey(msgspec.Struct, frozen=True):
    """A key with its times. ``signing`` is the ``kid`` of the active key of its algorithm."""

    kid: str
    alg: str
    created_at: datetime
    deadline_at: datetime | None
    activates_at: datetime | None
    retires_at: datetime | None
    revoked_at: datetime | None
    destroyed_at: datetime | None
    signed: int
    last_token_expires_at: datetime | None
    signing: str | None


class PublishedKey(msgspec.Struct, frozen=True):
    """A key that is not retired. ``private_jwk`` is encrypted; ``now`` is the time of the database."""

    kid: str
    private_jwk: bytes
    activates_at: datetime | None
    retires_at: datetime | None
    now: datetime


async def find_key(kid: str) -> KeyParts | None:
    return one(KeyParts, await fetchrow(_FIND_KEY, kid))


async def active_kid(alg: str) -> str | None:
    """Return the ``kid`` of the active key of an algorithm."""
    row = await fetchrow(_ACTIVE_KID, alg)
    return str(row["kid"]) if row is not None else None


async def pending_key(alg: str) -> PendingKey | None:
    """Return the pending key of an algorithm."""
    return one(PendingKey, await fetchrow(_PENDING_KEY, alg))


async def create_first(key: NewKey) -> bool:
    """Insert an active key. Returns False if its algorithm has one."""
    return bool(await execute(_CREATE_FIRST, key.alg, key.kid, key.public_jwk, key.private_jwk))


async def publish(key: NewKey, deadline: int | None) -> bool:
    """Insert a pending key. Returns False if its algorithm has one, or this one exists.

    Args:
        deadline: seconds after which it becomes active in any case.
    """
    return bool(await execute(_PUBLISH, key.alg, key.kid, key.public_jwk, key.private_jwk, deadline))


async def activate(kid: str, overlap: float) -> ActivatedKey | None:
    """Activate a pending key; its predecessor retires. Returns None if no pending key has this ``kid``.

    Args:
        overlap: minimum seconds for which the predecessor stays published.
    """
    return one(ActivatedKey, await fetchrow(_ACTIVATE, kid, overlap))


async def revoke(kid: str) -> bool:
    """Revoke a key. Returns False if there is no such key, or it is already revoked."""
    return bool(await execute(_REVOKE, kid))


async def destroy(kid: str) -> bool:
    """Erase the private part of a retired key. Returns False if there is none."""
    return bool(await execute(_DESTROY, kid))


async def list_keys(now: datetime) -> list[StoredKey]:
    """Return all keys by algorithm, oldest first."""
    return many(StoredKey, await fetch(_LIST, now))


async def published_keys() -> list[PublishedKey]:
    """Return the keys that are not retired, in order of activation."""
    return many(PublishedKey, await fetch(_NOT_RETIRED))


async def retired_jwks(seconds: float) -> list[str]:
    """Return the public parts of keys that retired within the last ``seconds`` and were not revoked."""
    return [row["public_jwk"] for row in await fetch(_RETIRED, seconds)]


async def public_jwks() -> list[str]:
    """Return the public parts of all keys, which are kept forever."""
    return [row["public_jwk"] for row in await fetch(_PUBLIC_JWKS)]


async def add_use(kid: str, tokens: int, expires_at: datetime) -> None:
    """Add to the number of tokens that a key has signed.

    Args:
        expires_at: when the last of these tokens expires.
    """
    await execute(_ADD_USE, kid, tokens, expires_at)


async def outlived_by_tokens() -> bool:
    """Return whether a retiring key leaves the JWKS before its last token expires."""
    return await fetchrow(_HAS_OUTLIVED) is not None


async def extend_publication() -> None:
    """Keep retiring keys published until their last token has expired."""
    await execute(_EXTEND_PUBLICATION)


async def old_algorithms(seconds: float) -> list[str]:
    """Return the algorithms whose active key is older than ``seconds`` and has no pending successor."""
    return [row["alg"] for row in await fetch(_OLD, seconds)]


async def obsolete_kids(seconds: float) -> list[str]:
    """Return the keys with a private part that retired more than so many seconds ago."""
    return [row["kid"] for row in await fetch(_OBSOLETE, seconds)]


async def has_signing_key() -> bool:
    """Return whether there is a signing key, in any state."""
    return await fetchrow(_HAS_SIGNING_KEY) is not None


KEYS = Listing(
    source="signing_key AS k",
    columns="k.kid, k.alg, k.created_at, k.deadline_at, k.activates_at, k.retires_at, k.revoked_at,"
    " k.destroyed_at, k.signed, k.last_token_expires_at, (SELECT o.kid FROM signing_key AS o"
    " WHERE o.alg = k.alg AND o.activates_at <= now() AND (o.retires_at IS NULL OR o.retires_at > now())"
    " ORDER BY o.activates_at DESC LIMIT 1) AS signing",
    key=Sort("k.kid", "text"),
    sorts={"created_at": Sort("k.created_at")},
    default_sort="-created_at",
    filters={"alg": Filter("k.alg = {}", help="Of one algorithm."), "kid": Filter("k.kid = {}", help="One key.")},
)
