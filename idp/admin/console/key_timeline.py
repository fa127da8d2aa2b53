"""The life of a signing key in order: published, fetched, signs from, signs until, verifies until, erased."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise

from idp import clock
from idp.admin.console.components import Cell, Table
from idp.keys import lifecycle, rotation_job
from idp.keys.lifecycle import KeyInfo, State
from idp.keys.propagation import Witness
from idp.settings import settings


def timeline(key: KeyInfo, keys: Sequence[KeyInfo], servers: Sequence[Witness]) -> Table:
    """Return the steps of a key, each with its time or what it waits for, and whether it has happened.

    Args:
        keys: all keys.
        servers: the resource servers whose tokens it signs.
    """
    steps = [
        ("Published", Cell(at=key.created_at)),
        ("Fetched by the resource servers", _fetched(servers)),
        ("Signs from", signs_from(key, servers)),
        ("Signs until", _signs_until(key, keys)),
        ("Verifies until", verifies_until(key)),
    ]
    steps += [("Revoked", Cell(at=key.revoked_at))] if key.revoked_at else []
    steps += [("Private part erased", Cell(at=key.destroyed_at))] if key.destroyed_at else []
    done = [key.created_at, None, key.activates_at, _successor_at(key, keys), key.retires_at]
    done += [key.revoked_at] if key.revoked_at else []
    done += [key.destroyed_at] if key.destroyed_at else []
    states = [_state(at) for at in done]
    states[1] = Cell("done", mood="good") if not _waits_for(servers) else Cell("to come", mood="plain")
    rows = [[Cell(what), when, state] for (what, when), state in zip(steps, states, strict=True)]
    return Table("Timeline", ("Step", "When", "State"), rows)


def _state(at: datetime | None) -> Cell:
    return Cell("done", mood="good") if at is not None and at <= clock.now() else Cell("to come", mood="plain")


def _waits_for(servers: Sequence[Witness]) -> list[str]:
    return [server.name or server.identifier for server in servers if server.witnessed and not server.seen]


def _fetched(servers: Sequence[Witness]) -> Cell:
    awaited = [server for server in servers if server.witnessed]
    if not awaited:
        return Cell("none is waited for")
    return Cell(f"{sum(server.seen for server in awaited)} of {len(awaited)}")


def signs_from(key: KeyInfo, servers: Sequence[Witness]) -> Cell:
    """Return when a key signs, or what it waits for."""
    if key.activates_at is not None or key.state != State.PENDING:
        return Cell(at=key.activates_at) if key.activates_at is not None else Cell("never")
    waits, earliest = _waits_for(servers), key.created_at + timedelta(seconds=rotation_job.publication())
    if not waits:
        # All have fetched it. Caches that have it not may still be valid.
        return Cell("now, within seconds") if earliest <= clock.now() else Cell(at=earliest, exact=True)
    latest = f", at the latest on {key.deadline_at:%Y-%m-%d %H:%M} UTC" if key.deadline_at else ""
    names = ", ".join(waits[:3]) + (f" and {len(waits) - 3} more" if len(waits) > 3 else "")
    return Cell(f"when {names} fetched it{latest}")


def _successor_at(key: KeyInfo, keys: Sequence[KeyInfo]) -> datetime | None:
    """Return when the next key of the algorithm began to sign."""
    began = sorted(each.activates_at for each in keys if each.alg == key.alg and each.activates_at is not None)
    return next((after for before, after in pairwise(began) if before == key.activates_at), None)


def _signs_until(key: KeyInfo, keys: Sequence[KeyInfo]) -> Cell:
    if (at := _successor_at(key, keys)) is not None:
        return Cell(at=at)
    interval = settings().key_rotation_interval
    if key.state == State.ACTIVE and key.activates_at is not None and interval:
        due = key.activates_at + timedelta(seconds=interval)
        return Cell(f"its successor signs; one is published on {due:%Y-%m-%d}")
    return Cell("revoked" if key.revoked_at else "its successor signs")


def verifies_until(key: KeyInfo) -> Cell:
    """Return when a key leaves the JWKS."""
    if key.retires_at is not None:
        return Cell(at=key.retires_at)
    return Cell(f"{lifecycle.overlap() / 60:.0f} minutes after its successor signs")
