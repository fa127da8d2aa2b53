"""JWKS propagation: which resource server has fetched which key.

Fetches are counted in memory and written in batches. Instances of a resource server are distinguished by address and
user agent. A key has propagated once every live instance has fetched it.
"""

from collections.abc import Iterable
from datetime import datetime

import msgspec

from idp import clock, ids
from idp.keys.repository import jwks_fetches
from idp.keys.repository.jwks_fetches import Fetches, Instance

#: Maximum number of instances held until the next write.
MAX_NOTES = 10_000
#: Maximum length of a stored User-Agent.
MAX_USER_AGENT = 120


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
        """The time of its last fetch, or None."""
        return max((instance.last_at for instance in self.instances), default=None)

    @property
    def period(self) -> float | None:
        """The longest cache time of its instances, in seconds, or None if unknown."""
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
    """Write the noted fetches. On failure they are kept for the next write."""
    if not _notes:
        return
    taken = dict(_notes)
    _notes.clear()
    try:
        await jwks_fetches.add_fetches([_fetches(key, note) for key, note in taken.items()])
    except BaseException:
        for key, note in taken.items():
            newer = _notes.get(key)
            _notes[key] = note if newer is None else _joined(note, newer)
        raise


def _joined(older: _Note, newer: _Note) -> _Note:
    return _Note(newer.kids, older.fetches + newer.fetches, older.first_at, newer.last_at)


def _fetches(key: tuple[str, str, str], note: _Note) -> Fetches:
    server, address, agent = key
    return Fetches(ids.uuid7(), server, address, agent, note.kids, note.fetches, note.first_at, note.last_at)


async def forget() -> None:
    """Delete instances without a fetch for 90 days, and those of deleted resource servers."""
    await jwks_fetches.delete_old_fetches()


async def unseen(kid: str) -> list[str]:
    """Return the resource servers that a pending key still waits for."""
    return await jwks_fetches.unseen(kid)


async def view(kid: str) -> list[Witness]:
    """Return every resource server whose tokens the key signs or will sign, and whether it has fetched the key.

    Empty for an unknown ``kid``.
    """
    servers = await jwks_fetches.servers(kid)
    instances = await jwks_fetches.instances(server.identifier for server in servers)
    return [
        Witness(server.identifier, server.name, server.witnessed, server.seen, instances[server.identifier])
        for server in servers
    ]
