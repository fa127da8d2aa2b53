"""Every statement on keys, JWKS fetches and the mark of the database (docs/decisions/0045-repositories.md)."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from idp.infra.db.engine import execute, fetch, fetchrow
from idp.infra.db.listing import Filter, Listing, Sort
from idp.infra.db.rows import many, one

#: Seconds added to every wait: clocks differ between machines, and a response is cached from when it arrives.
MARGIN = 60
#: Maximum number of instances stored for one resource server.
MAX_INSTANCES = 1_000
#: Seconds of operation after which the number of the database rises by one.
STEP_SECONDS = 5

# Signing keys

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

# JWKS fetches

# An instance that has fetched nothing for three of its periods, and for an hour, is gone, or fetches before it next
# verifies. One that has fetched once has no known period and counts as live for a day.
_LIVE = "f.last_at > now() - make_interval(secs => coalesce(greatest(3 * f.period, 3600), 86400))"
_OF_SERVER = "f.resource_server = s.identifier"
# Whether the resource server s has fetched the key k: at least one instance has, and so has every live instance.
_SEEN = f"""(
    EXISTS (SELECT FROM jwks_fetch AS f WHERE {_OF_SERVER} AND k.kid = ANY (f.kids))
    AND NOT EXISTS (SELECT FROM jwks_fetch AS f WHERE {_OF_SERVER} AND NOT k.kid = ANY (f.kids) AND {_LIVE})
)"""  # noqa: S608
# Whether the key k waits for the resource server s, because it signs tokens for it.
_AWAITED = "s.witnessed AND s.access_token_signed_response_alg = k.alg"

# $1 minimum seconds for which a key is published before it signs
_PROPAGATED = f"""
SELECT k.kid, coalesce(k.deadline_at <= now(), false)
       OR NOT EXISTS (SELECT FROM resource_server AS s WHERE {_AWAITED} AND NOT {_SEEN}) AS due
FROM signing_key AS k
WHERE k.activates_at IS NULL AND k.retires_at IS NULL
  AND (k.created_at + make_interval(secs => $1) <= now() OR k.deadline_at <= now())
"""  # noqa: S608
_UNSEEN = f"""
SELECT s.identifier FROM signing_key AS k, resource_server AS s
WHERE k.kid = $1 AND {_AWAITED} AND NOT {_SEEN} ORDER BY s.identifier
"""  # noqa: S608
_SERVERS = f"""
SELECT s.identifier, s.name, s.witnessed, {_SEEN} AS seen
FROM signing_key AS k, resource_server AS s
WHERE k.kid = $1 AND s.access_token_signed_response_alg = k.alg ORDER BY s.name, s.identifier
"""  # noqa: S608
_INSTANCES = f"""
SELECT f.resource_server, f.address, f.user_agent, f.kids, f.fetches, f.period, f.first_at, f.last_at, {_LIVE} AS live
FROM jwks_fetch AS f WHERE f.resource_server = ANY ($1::text[]) ORDER BY f.last_at DESC
"""  # noqa: S608

# Average seconds between the fetches since the last write.
_OBSERVED = "extract(epoch FROM excluded.last_at - f.last_at)::float8 / excluded.fetches"
# Arrays, one element an instance; kids are separated by spaces. An older fetch, written later by a slower worker, does
# not replace a newer one.
_ADD_FETCHES = f"""
INSERT INTO jwks_fetch AS f (id, resource_server, instance, address, user_agent, kids, fetches, period, first_at,
                             last_at)
SELECT id, server, address || ' ' || agent, address, agent, string_to_array(kids, ' '), fetches,
       CASE WHEN fetches > 1 THEN extract(epoch FROM last_at - first_at)::float8 / (fetches - 1) END, first_at, last_at
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::timestamptz[],
            $8::timestamptz[]) AS new (id, server, address, agent, kids, fetches, first_at, last_at)
WHERE EXISTS (SELECT FROM resource_server AS s WHERE s.identifier = new.server)
  AND (EXISTS (SELECT FROM jwks_fetch AS o
               WHERE o.resource_server = new.server AND o.instance = new.address || ' ' || new.agent)
       OR (SELECT count(*) FROM jwks_fetch AS o WHERE o.resource_server = new.server) < {MAX_INSTANCES})
ORDER BY server, address, agent
ON CONFLICT (resource_server, instance) DO UPDATE SET
    kids = CASE WHEN excluded.last_at >= f.last_at THEN excluded.kids ELSE f.kids END,
    fetches = f.fetches + excluded.fetches,
    period = CASE WHEN excluded.last_at <= f.last_at THEN f.period
                  ELSE (coalesce(f.period, {_OBSERVED}) + {_OBSERVED}) / 2 END,
    last_at = greatest(f.last_at, excluded.last_at)
"""  # noqa: S608
# After 90 days a row is of no use: an instance that never fetches again is not live.
_DELETE_OLD_FETCHES = """
DELETE FROM jwks_fetch AS f WHERE f.last_at < now() - interval '90 days'
   OR NOT EXISTS (SELECT FROM resource_server AS s WHERE s.identifier = f.resource_server)
"""

# The root key

_FIND_ROOT_KEY = "SELECT sealed FROM root_key WHERE master_key_id = $1"
_INSERT_ROOT_KEY = """
INSERT INTO root_key (master_key_id, sealed, created_at) VALUES ($1, $2, now()) ON CONFLICT DO NOTHING
"""
_HAS_ROOT_KEY = "SELECT FROM root_key LIMIT 1"
_DELETE_OTHER_ROOT_KEYS = "DELETE FROM root_key WHERE master_key_id <> $1 RETURNING master_key_id"
_HAS_SIGNING_KEY = "SELECT FROM signing_key LIMIT 1"

# The mark of the database

_FIND_POSITION = "SELECT epoch, begun, number, at, restored_at FROM database_mark WHERE id = 1"
# The second condition is for a clock that was set back.
_ADVANCE = f"""
INSERT INTO database_mark AS m (id, epoch, begun, number, at) VALUES (1, 0, 0, 1, now())
ON CONFLICT (id) DO UPDATE SET number = m.number + 1, at = now()
WHERE m.at < now() - interval '{STEP_SECONDS} seconds' OR m.at > now()
RETURNING epoch, begun, number, at, restored_at
"""  # noqa: S608
_BEGIN_EPOCH = """
INSERT INTO database_mark AS m (id, epoch, begun, number, at, restored_at) VALUES (1, $1, $2, $2, now(), now())
ON CONFLICT (id) DO UPDATE SET epoch = greatest(m.epoch + 1, $1), begun = greatest(m.number, $2),
                               number = greatest(m.number, $2), at = now(), restored_at = now()
RETURNING epoch, begun, number, at, restored_at
"""


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


class PropagatingKey(msgspec.Struct, frozen=True):
    """A pending key. It is due if it has propagated, or its deadline has passed."""

    kid: str
    due: bool


class Server(msgspec.Struct, frozen=True):
    """A resource server, and whether it has fetched a key. ``witnessed``: whether new keys wait for it."""

    identifier: str
    name: str
    witnessed: bool
    seen: bool


class Instance(msgspec.Struct, frozen=True):
    """One instance of a resource server.

    Attributes:
        fetches: number of its fetches of the JWKS.
        period: smoothed seconds between its fetches, which is how long it caches. None before the second fetch.
        live: whether a new key waits for it. False after a long time without a fetch.
    """

    address: str
    user_agent: str
    kids: list[str]
    fetches: int
    period: float | None
    first_at: datetime
    last_at: datetime
    live: bool


class Fetches(msgspec.Struct, frozen=True):
    """Fetches of the JWKS by one instance. ``kids`` of the last one are separated by spaces."""

    id: UUID
    resource_server: str
    address: str
    user_agent: str
    kids: str
    fetches: int
    first_at: datetime
    last_at: datetime


class Position(msgspec.Struct, frozen=True):
    """Epoch and number of a database.

    Attributes:
        begun: the number at which the epoch began.
        at: when the number last rose, by the database's clock.
        restored_at: when a restore was last dealt with.
    """

    epoch: int
    begun: int
    number: int
    at: datetime
    restored_at: datetime | None


# Signing keys


async def find_key(kid: str) -> KeyParts | None:
    return one(KeyParts, await fetchrow(_FIND_KEY, kid))


async def active_kid(alg: str) -> str | None:
    """The ``kid`` of the active key of an algorithm."""
    row = await fetchrow(_ACTIVE_KID, alg)
    return str(row["kid"]) if row is not None else None


async def pending_key(alg: str) -> PendingKey | None:
    """The pending key of an algorithm."""
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
    """Returns False if there is no such key, or it is revoked already."""
    return bool(await execute(_REVOKE, kid))


async def destroy(kid: str) -> bool:
    """Erase the private part of a retired key. Returns False if there is none."""
    return bool(await execute(_DESTROY, kid))


async def list_keys(now: datetime) -> list[StoredKey]:
    """All keys by algorithm, oldest first."""
    return many(StoredKey, await fetch(_LIST, now))


async def published_keys() -> list[PublishedKey]:
    """The keys that are not retired, in order of activation."""
    return many(PublishedKey, await fetch(_NOT_RETIRED))


async def retired_jwks(seconds: float) -> list[str]:
    """The public parts of keys that retired within the last ``seconds`` and were not revoked."""
    return [row["public_jwk"] for row in await fetch(_RETIRED, seconds)]


async def public_jwks() -> list[str]:
    """The public parts of all keys, which are kept for ever."""
    return [row["public_jwk"] for row in await fetch(_PUBLIC_JWKS)]


async def add_use(kid: str, tokens: int, expires_at: datetime) -> None:
    """Add to the number of tokens that a key has signed.

    Args:
        expires_at: when the last of these tokens expires.
    """
    await execute(_ADD_USE, kid, tokens, expires_at)


async def outlived_by_tokens() -> bool:
    """Whether a retiring key leaves the JWKS before its last token expires."""
    return await fetchrow(_HAS_OUTLIVED) is not None


async def extend_publication() -> None:
    """Keep retiring keys published until their last token has expired."""
    await execute(_EXTEND_PUBLICATION)


async def old_algorithms(seconds: float) -> list[str]:
    """The algorithms whose active key is older than ``seconds`` and has no pending successor."""
    return [row["alg"] for row in await fetch(_OLD, seconds)]


async def obsolete_kids(seconds: float) -> list[str]:
    """The keys with a private part that retired more than so many seconds ago."""
    return [row["kid"] for row in await fetch(_OBSOLETE, seconds)]


# JWKS fetches


async def propagating_keys(publication: float) -> list[PropagatingKey]:
    """The pending keys that were published for so many seconds, or whose deadline has passed."""
    return many(PropagatingKey, await fetch(_PROPAGATED, publication))


async def unseen(kid: str) -> list[str]:
    """The resource servers that a pending key still waits for."""
    return [row["identifier"] for row in await fetch(_UNSEEN, kid)]


async def servers(kid: str) -> list[Server]:
    """The resource servers whose tokens a key signs or will sign, by name."""
    return many(Server, await fetch(_SERVERS, kid))


async def instances(identifiers: Iterable[str]) -> dict[str, list[Instance]]:
    """The instances of resource servers by identifier; for each, the one that fetched last is the first."""
    found: dict[str, list[Instance]] = {identifier: [] for identifier in identifiers}
    rows = await fetch(_INSTANCES, list(found))
    for row, instance in zip(rows, many(Instance, rows), strict=True):
        found[row["resource_server"]].append(instance)
    return found


async def add_fetches(fetches: Sequence[Fetches]) -> None:
    """Add fetches by instances of known resource servers, each instance once."""
    await execute(_ADD_FETCHES, *([getattr(each, name) for each in fetches] for name in Fetches.__struct_fields__))


async def delete_old_fetches() -> None:
    """Delete instances without a fetch for 90 days, and those of deleted resource servers."""
    await execute(_DELETE_OLD_FETCHES)


# The root key


async def find_root_key(master_key_id: bytes) -> bytes | None:
    """The root key, encrypted under this master key."""
    row = await fetchrow(_FIND_ROOT_KEY, master_key_id)
    return bytes(row["sealed"]) if row is not None else None


async def has_root_key() -> bool:
    """Whether there is a root key, under any master key."""
    return await fetchrow(_HAS_ROOT_KEY) is not None


async def has_signing_key() -> bool:
    """Whether there is a signing key, in any state."""
    return await fetchrow(_HAS_SIGNING_KEY) is not None


async def insert_root_key(master_key_id: bytes, encrypted: bytes) -> None:
    """Insert the root key under a master key, unless it is there."""
    await execute(_INSERT_ROOT_KEY, master_key_id, encrypted)


async def delete_other_root_keys(master_key_id: bytes) -> list[bytes]:
    """Delete the root key under all other master keys. Returns their ids."""
    return [bytes(row["master_key_id"]) for row in await fetch(_DELETE_OTHER_ROOT_KEYS, master_key_id)]


# The mark of the database


async def position() -> Position | None:
    """The position of the database; None if it has never been in use."""
    return one(Position, await fetchrow(_FIND_POSITION))


async def advance() -> Position | None:
    """Raise the number and return the new position. None if it was raised in the last seconds."""
    return one(Position, await fetchrow(_ADVANCE))


async def begin_epoch(epoch: int, number: int) -> Position:
    """Begin an epoch. Its epoch and number are at least these values."""
    return many(Position, await fetch(_BEGIN_EPOCH, epoch, number))[0]


# The list for administrators

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
