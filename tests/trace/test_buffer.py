"""The buffer of recorded requests: bounded in size and rate, and without what looks like a secret."""

import secrets
from typing import Any, NoReturn

import msgspec
import pytest

from idp import clock, ids
from idp.infra import logs, observers
from idp.infra.db.engine import fetch
from idp.infra.event_limits import EventLimit
from idp.settings import settings
from idp.trace import buffer, recorder
from idp.trace.buffer import Recorded
from idp.trace.kinds import KINDS

pytestmark = pytest.mark.usefixtures("db")


@pytest.fixture(autouse=True)
def empty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove what other tests left in memory."""
    monkeypatch.setattr(buffer, "_waiting", [])
    monkeypatch.setattr(buffer, "_limit", EventLimit())


def recorded(**changes: Any) -> Recorded:
    """A refused request of a client of its own."""
    request_id = secrets.token_hex(8)
    values = {
        "id": ids.uuid7(), "at": clock.now(), "request_id": request_id, "trace_id": request_id, "outcome": "refused",
        "method": "POST", "route": "/token", "status": 400, "duration_ms": 1, "error": "invalid_grant",
        "reason": "expired", "hint": None, "user_id": None, "client_id": f"c-{request_id}", "session_id": None,
        "family_id": None, "ip_address": "203.0.113.1", "steps": [],
    }  # fmt: skip
    return Recorded(**(values | changes))


async def stored(request: Recorded) -> dict[str, Any]:
    (row,) = await fetch("SELECT * FROM trace WHERE request_id = $1", request.request_id)
    return dict(row) | {"steps": msgspec.json.decode(row["steps"])}


async def test_values_are_bounded_and_never_look_like_secrets() -> None:
    token, long = secrets.token_urlsafe(32), "a word " * 1_000
    fields = {
        "received": f"https://app.example/{token}",
        "differs_in": [token, *("part",) * 100],
        "nearest_registered": long,
        "registered_uris": 3,
        "not_declared": "x",
    }
    request = recorded(
        hint=f"It was {token}.", steps=[(3, "redirect_uri_mismatch", fields)], client_id="\0" + "c" * 999
    )
    buffer.add(request)
    await buffer.write()
    row = await stored(request)
    ((ms, kind, shown),) = row["steps"]
    assert (ms, kind, shown.keys()) == (3, "redirect_uri_mismatch", fields.keys() - {"not_declared"})
    assert shown["received"] == "https://app.example/[left out]"
    assert shown["differs_in"] == ["[left out]", *("part",) * (buffer.MAX_VALUES - 1)]
    assert len(shown["nearest_registered"]) == buffer.MAX_LENGTH
    assert row["hint"] == "It was [left out]."
    assert len(row["client_id"]) <= 200
    jwt = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.c2ln"
    assert buffer._value(f"Bearer {jwt}") == "Bearer [left out]"
    assert buffer._value("x " * (buffer.MAX_LENGTH // 2 - 10) + token).endswith("x [left out]")


class _Hostile(str):
    """A value that cannot be used at all."""

    __slots__ = ()

    def _fail(self, *_: object) -> NoReturn:
        raise RuntimeError

    __eq__ = __hash__ = __len__ = __getitem__ = __iter__ = __str__ = _fail  # type: ignore[assignment]


@pytest.mark.parametrize("kind", KINDS)
async def test_an_explanation_that_fails_fails_nothing_else(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the request, nor the records of others."""
    monkeypatch.setattr(logs, "strict", False)
    recorder.begin()
    recorder.step(kind, **{name: _Hostile("x") for name in KINDS[kind].fields})
    recorder.step("no_such_kind")
    recorder.finish("GET", "/authorize", 200, 0.1)
    before, others = recorded(), recorded()
    buffer._waiting.insert(0, before)
    buffer.add(others)
    assert len(buffer._waiting) == 3
    await buffer.write()
    assert buffer._waiting == []
    assert await stored(before)
    assert await stored(others)
    assert observers.take_failures()["flow_recorder"] == 1


async def test_nobody_fills_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one client or address a tenth of the limit is recorded; of all together the limit."""
    limited = settings().model_copy(update={"trace_failure_limit": 50, "trace_success_limit": 0})
    monkeypatch.setattr(buffer, "settings", lambda: limited)
    for _ in range(100):
        buffer.add(recorded(client_id="noisy"))
        buffer.add(recorded(outcome="success"))
    assert len(buffer._waiting) == 5
    for number in range(100):
        buffer.add(recorded(ip_address=f"203.0.113.{number}"))
    assert len(buffer._waiting) == 50


async def test_one_address_does_not_use_up_the_limit_of_successes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Anyone can begin sign-ins. Those of known users are recorded nevertheless."""
    limited = settings().model_copy(update={"trace_success_limit": 50, "address_limits": True})
    monkeypatch.setattr(buffer, "settings", lambda: limited)
    for _ in range(100):
        buffer.add(recorded(outcome="success"))
    assert len(buffer._waiting) == 5
    for _ in range(20):
        buffer.add(recorded(outcome="success", user_id=ids.uuid7()))
    assert len(buffer._waiting) == 25


async def test_a_stranger_does_not_use_up_the_limit_of_a_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """Anyone can name a client at the authorization endpoint."""
    limited = settings().model_copy(update={"trace_failure_limit": 50, "address_limits": True})
    monkeypatch.setattr(buffer, "settings", lambda: limited)
    for _ in range(100):
        buffer.add(recorded(client_id="shop", ip_address="203.0.113.66"))
    assert len(buffer._waiting) == 5
    buffer.add(recorded(client_id="shop", ip_address="203.0.113.7"))
    assert len(buffer._waiting) == 6
    for _ in range(100):
        steps = [(0, "client_authenticated", {"auth_method": "client_secret_basic"})]
        buffer.add(recorded(client_id="shop", ip_address="203.0.113.66", steps=steps))
    assert len(buffer._waiting) == 11


async def test_a_full_table_and_a_full_buffer_leave_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buffer, "full", True)
    buffer.add(recorded())
    assert not buffer._waiting
    monkeypatch.setattr(buffer, "full", False)
    monkeypatch.setattr(buffer, "MAX_WAITING", 2)
    for _ in range(5):
        buffer.add(recorded())
    assert len(buffer._waiting) == 2


async def test_what_cannot_be_written_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(_rows: object) -> None:
        raise ConnectionError

    request = recorded()
    buffer.add(request)
    with monkeypatch.context() as patch:
        patch.setattr(buffer.repository, "insert", fails)
        with pytest.raises(ConnectionError):
            await buffer.write()
    await buffer.write()
    assert (await stored(request))["reason"] == "expired"
    assert not buffer._waiting
