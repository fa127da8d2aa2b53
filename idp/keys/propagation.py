"""JWKS propagation: which resource server has fetched which key.

Fetches are counted in memory and written in batches, not once a request. Instances of a resource server are
distinguished by address and user agent. A key has propagated once every live instance has fetched it.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime

import msgspec

from idp import clock, ids
from idp.infra.db.engine import execute, fetch

#: Maximum of instances held until the next write, and of instances stored for one resource server.
MAX_NOTES, MAX_INSTANCES = 10_000, 1_000
#: Length to which a User-Agent is cut.
MAX_USER_AGENT = 120

# An instance that has fetched nothing for three of its periods, and for an hour, is gone, or fetches before it next
# verifies. One that has fetched once has no known period and counts as live for a day.
_LIVE = "f.last_at > now() - make_interval(secs => coalesce(greatest(3 * f.period, 3600), 86400))"
_OF_SERVER = "f.resource_server = s.identifier"

#: Whether the resource server ``s`` has fetched the key ``k``: an instance has, and every live one has.
SEEN = f"""(
    EXISTS (SELECT FROM jwks_fetch AS f WHERE {_OF_SERVER} AND k.kid = ANY (f.kids))
    AND NOT EXISTS (SELECT FROM jwks_fetch AS f WHERE {_OF_SERVER} AND NOT k.kid = ANY (f.kids) AND {_LIVE})
)"""  # noqa: S608
#: Whether the key ``k`` waits for the resource server ``s``, because it signs tokens for it.
CONCERNED = "s.witnessed AND s.access_token_signed_response_alg = k.alg"

_UNSEEN = f"""
SELECT s.identifier FROM signing_key AS k, resource_server AS s
WHERE k.kid = $1 AND {CONCERNED} AND NOT {SEEN} ORDER BY s.identifier
"""  # noqa: S608
_VIEW = f"""
SELECT s.identifier, s.name, s.witnessed, {SEEN} AS seen
FROM signing_key AS k, resource_server AS s
WHERE k.kid = $1 AND s.access_token_signed_response_alg = k.alg ORDER BY s.name, s.identifier
"""  # noqa: S608
_INSTANCES = f"""
SELECT f.resource_server, f.address, f.user_agent, f.kids, f.fetches, f.period, f.first_at, f.last_at, {_LIVE} AS live
FROM jwks_fetch AS f WHERE f.resource_server = ANY ($1::text[]) ORDER BY f.last_at DESC
"""  # noqa: S608

#: Average seconds between the fetches since the last write.
_OBSERVED = "extract(epoch FROM excluded.last_at - f.last_at)::float8 / excluded.fetches"

# $1 id  $2 resource_server  $3 instance  $4 address  $5 user_agent  $6 kids, separated by spaces  $7 fetches
# $8 first_at  $9 last_at; arrays, one element an instance. An older fetch, written later by a slower worker, does not
# replace a newer one.
_WRITE = f"""
INSERT INTO jwks_fetch AS f (id, resource_server, instance, address, user_agent, kids, fetches, period, first_at,
                             last_at)
SELECT id, server, instance, address, agent, string_to_array(kids, ' '), fetches,
       CASE WHEN fetches > 1 THEN extract(epoch FROM last_at - first_at)::float8 / (fetches - 1) END, first_at, last_at
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[], $8::timestamptz[],
            $9::timestamptz[]) AS new (id, server, instance, address, agent, kids, fetches, first_at, last_at)
WHERE EXISTS (SELECT FROM resource_server AS s WHERE s.identifier = new.server)
  AND (EXISTS (SELECT FROM jwks_fetch AS o WHERE o.resource_server = new.server AND o.instance = new.instance)
       OR (SELECT count(*) FROM jwks_fetch AS o WHERE o.resource_server = new.server) < {MAX_INSTANCES})
ORDER BY server, instance
ON CONFLICT (resource_server, instance) DO UPDATE SET
    kids = CASE WHEN excluded.last_at >= f.last_at THEN excluded.kids ELSE f.kids END,
    fetches = f.fetches + excluded.fetches,
    period = CASE WHEN excluded.last_at <= f.last_at THEN f.period
                  ELSE (coalesce(f.period, {_OBSERVED}) + {_OBSERVED}) / 2 END,
    last_at = greatest(f.last_at, excluded.last_at)
"""  # noqa: S608


#: After 90 days a row is of no use: an instance that never fetches again is not live.
_FORGET = """
DELETE FROM jwks_fetch AS f WHERE f.last_at < now() - interval '90 days'
   OR NOT EXISTS (SELECT FROM resource_server AS s WHERE s.identifier = f.resource_server)
"""


class Instance(msgspec.Struct, frozen=True):
    """One instance of a resource server.

    Attributes:
        fetches: number of its fetches of the JWKS.
        period: smoothed seconds between its fetches, which is how long it caches. None before the second.
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


class Witness(msgspec.Struct, frozen=True):
    """Whether one key has reached one resource server.

    Attributes:
        witnessed: whether new keys wait for it.
        seen: an instance has fetched the key, and every live one has.
    """

    identifier: str
    name: str
    witnessed: bool
    seen: bool
    instances: list[Instance]

    @property
    def last_at(self) -> datetime | None:
        """Time of its last fetch; None if there was none."""
        return max((instance.last_at for instance in self.instances), default=None)

    @property
    def period(self) -> float | None:
        """Longest cache time of its instances, in seconds; None while not known."""
        return max((instance.period for instance in self.instances if instance.period is not None), default=None)


class _Note(msgspec.Struct):
    """Fetches of one instance since the last write."""

    kids: str
    fetches: int
    first_at: datetime
    last_at: datetime


_notes: dict[tuple[str, str, str], _Note] = {}


def note(identifiers: Iterable[str], address: str, user_agent: str, kids: str) -> None:
    """Note that resource servers have fetched the JWKS now.

    Args:
        identifiers: the resource servers that the fetch may come from.
        kids: the ``kid`` of each key in the JWKS, separated by spaces.
    """
    now = clock.now()
    agent = "".join(c for c in user_agent[:MAX_USER_AGENT] if " " <= c <= "~")
    for identifier in identifiers:
        key = (identifier, address, agent)
        known = _notes.get(key)
        if known is not None:
            known.kids, known.last_at = kids, now
            known.fetches += 1
        elif len(_notes) < MAX_NOTES:
            _notes[key] = _Note(kids, 1, now, now)


async def write() -> None:
    """Write the noted fetches. What cannot be written is kept for the next write."""
    if not _notes:
        return
    taken = dict(_notes)
    _notes.clear()
    try:
        await execute(_WRITE, *_columns(taken))
    except BaseException:
        for key, note in taken.items():
            newer = _notes.get(key)
            _notes[key] = note if newer is None else _joined(note, newer)
        raise


def _joined(older: _Note, newer: _Note) -> _Note:
    return _Note(newer.kids, older.fetches + newer.fetches, older.first_at, newer.last_at)


def _columns(notes: dict[tuple[str, str, str], _Note]) -> Sequence[list[object]]:
    rows = [
        (ids.uuid7(), server, f"{address} {agent}", address, agent, n.kids, n.fetches, n.first_at, n.last_at)
        for (server, address, agent), n in notes.items()
    ]
    return [list(column) for column in zip(*rows, strict=True)]


async def forget() -> None:
    """Delete instances without a fetch for 90 days, and those of deleted resource servers."""
    await execute(_FORGET)


async def unseen(kid: str) -> list[str]:
    """The resource servers that a pending key still waits for."""
    return [row["identifier"] for row in await fetch(_UNSEEN, kid)]


async def view(kid: str) -> list[Witness]:
    """Every resource server whose tokens the key signs or will sign, and whether it has fetched the key.

    Empty for an unknown ``kid``.
    """
    servers = await fetch(_VIEW, kid)
    instances: dict[str, list[Instance]] = {row["identifier"]: [] for row in servers}
    for row in await fetch(_INSTANCES, list(instances)):
        values = dict(row)
        instances[values.pop("resource_server")].append(Instance(**values))
    return [Witness(instances=instances[row["identifier"]], **dict(row)) for row in servers]
