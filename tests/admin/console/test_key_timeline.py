"""What the timeline of a key says at each stage."""

from datetime import datetime, timedelta

import msgspec
import pytest

from idp import clock
from idp.admin.console import keys
from idp.admin.console.components import Cell
from idp.admin.console.key_timeline import signs_from, timeline
from idp.keys import rotation_job
from idp.keys.lifecycle import KeyInfo, State
from idp.keys.propagation import Witness
from idp.keys.repository.jwks_fetches import Instance

NOW = clock.now()
PENDING = KeyInfo("new", "ES256", State.PENDING, NOW, NOW + timedelta(days=1), None, None, None, None, 0, None)
ACTIVE = msgspec.structs.replace(PENDING, kid="old", state=State.ACTIVE, activates_at=NOW - timedelta(days=9))


def server(name: str, *, seen: bool, witnessed: bool = True) -> Witness:
    return Witness(f"https://{name}.example", name, witnessed, seen, [])


def steps(key: KeyInfo, keys: list[KeyInfo], servers: list[Witness]) -> dict[str, tuple[str | datetime, str]]:
    table = timeline(key, keys, servers)
    return {what.text: (when.text or when.at or "", state.text) for what, when, state in table.rows}


def test_a_pending_key_names_what_it_waits_for() -> None:
    servers = [server("Orders", seen=False), server("Stock", seen=True), server("Mail", seen=False, witnessed=False)]
    found = steps(PENDING, [ACTIVE, PENDING], servers)
    assert found["Fetched by the resource servers"] == ("1 of 2", "to come")
    text, state = found["Signs from"]
    assert str(text).startswith("when Orders fetched it, at the latest on ")
    assert (state, found["Signs until"]) == ("to come", ("its successor signs", "to come"))


def test_a_pending_key_that_all_have_fetched_says_when_it_signs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rotation_job, "publication", lambda: 3600)
    all_seen = [server("Orders", seen=True)]
    cell = signs_from(PENDING, all_seen)
    assert cell.exact
    assert cell.at is not None
    assert cell.at > PENDING.created_at
    old = msgspec.structs.replace(PENDING, created_at=NOW - timedelta(days=2))
    assert signs_from(old, all_seen) == Cell("now, within seconds")


@pytest.mark.parametrize("successor", [None, NOW - timedelta(hours=1)])
def test_an_active_key_signs_until_its_successor_does(successor: datetime | None) -> None:
    later = msgspec.structs.replace(ACTIVE, kid="later", activates_at=successor) if successor else PENDING
    at, state = steps(ACTIVE, [ACTIVE, later], [])["Signs until"]
    assert (state, at) == ("done", successor) if successor else state == "to come"


def test_instances_are_named_by_their_programs() -> None:
    """Several of them may have one address."""
    agents = {"curl/8.14": True, "python-httpx/0.28": False, "": True}
    instances = [
        Instance("192.0.2.7", agent, [], fetches=1, period=None, first_at=NOW, last_at=NOW, live=live)
        for agent, live in agents.items()
    ]
    *_, shown = keys._witness(Witness("https://api.example", "Orders", True, False, instances))
    assert shown.lines == [
        "curl/8.14 at 192.0.2.7", "python-httpx/0.28 at 192.0.2.7 (gone)", "a program without a name at 192.0.2.7",
    ]  # fmt: skip
    *_, shown = keys._witness(server("Orders", seen=False))
    assert shown.lines == ["never fetched"]
