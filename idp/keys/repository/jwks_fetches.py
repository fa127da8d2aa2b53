"""The statements on fetches of the JWKS by resource servers, and on the propagation of keys."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from idp.infra.db.engine import execute, fetch
from idp.infra.db.rows import many

#: Maximum number of live instances of one resource server that are stored, and of those that are gone.
MAX_INSTANCES = 1_000

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
  AND k.created_at + make_interval(secs => $1) <= now()
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
# Arrays, one element per instance; kids are separated by spaces. An older fetch, written later by a slower worker, does
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
       OR (SELECT count(*) FROM jwks_fetch AS f WHERE f.resource_server = new.server AND {_LIVE}) < {MAX_INSTANCES})
ORDER BY server, address, agent
ON CONFLICT (resource_server, instance) DO UPDATE SET
    kids = CASE WHEN excluded.last_at >= f.last_at THEN excluded.kids ELSE f.kids END,
    fetches = f.fetches + excluded.fetches,
    period = CASE WHEN excluded.last_at <= f.last_at THEN f.period
                  ELSE (coalesce(f.period, {_OBSERVED}) + {_OBSERVED}) / 2 END,
    last_at = greatest(f.last_at, excluded.last_at)
"""  # noqa: S608
# After 90 days a row is useless: an instance that never fetches again is not live.
_DELETE_OLD_FETCHES = f"""
WITH gone AS (
    SELECT f.id, row_number() OVER (PARTITION BY f.resource_server ORDER BY f.last_at DESC) AS place
    FROM jwks_fetch AS f WHERE NOT {_LIVE}
)
DELETE FROM jwks_fetch AS f WHERE f.last_at < now() - interval '90 days'
   OR NOT EXISTS (SELECT FROM resource_server AS s WHERE s.identifier = f.resource_server)
   OR f.id IN (SELECT id FROM gone WHERE place > {MAX_INSTANCES})
"""  # noqa: S608


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


async def propagating_keys(publication: float) -> list[PropagatingKey]:
    """Return the pending keys that were published for so many seconds. No deadline makes one due before that."""
    return many(PropagatingKey, await fetch(_PROPAGATED, publication))


async def unseen(kid: str) -> list[str]:
    """Return the resource servers for which a pending key still waits."""
    return [row["identifier"] for row in await fetch(_UNSEEN, kid)]


async def servers(kid: str) -> list[Server]:
    """Return the resource servers whose tokens a key signs or will sign, by name."""
    return many(Server, await fetch(_SERVERS, kid))


async def instances(identifiers: Iterable[str]) -> dict[str, list[Instance]]:
    """Return the instances of resource servers by identifier, each list ordered by the last fetch, newest first."""
    found: dict[str, list[Instance]] = {identifier: [] for identifier in identifiers}
    rows = await fetch(_INSTANCES, list(found))
    for row, instance in zip(rows, many(Instance, rows), strict=True):
        found[row["resource_server"]].append(instance)
    return found


async def add_fetches(fetches: Sequence[Fetches]) -> None:
    """Add fetches by instances of known resource servers, each instance once."""
    await execute(_ADD_FETCHES, *([getattr(each, name) for each in fetches] for name in Fetches.__struct_fields__))


async def delete_old_fetches() -> None:
    """Delete instances without a fetch for 90 days, those of deleted resource servers, and the oldest of many that are
    gone.
    """
    await execute(_DELETE_OLD_FETCHES)
