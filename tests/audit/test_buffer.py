"""The buffer of events, tokens and counts: bounded, written in batches, and kept when a connection is lost."""

import asyncio
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from idp import clock, ids
from idp.audit import activity, buffer, checkpoints, unauthenticated_limit
from idp.audit.buffer import token_issued
from idp.audit.events import note, note_left_out, record
from idp.audit.repository import audit_events, hourly_counts
from idp.infra import event_limits
from idp.infra.db.engine import execute, fetch
from idp.infra.event_limits import EventLimit
from idp.infra.request_context import actor, client_address, request_id
from idp.keys import checkpoint_signer, jose
from idp.keys.key_set import key_set
from idp.settings import settings
from tests.audit.conftest import Trail, verified
from tests.conftest import MakeClient
from tests.support.oauth import RelyingParty
from tests.support.server import Server

pytestmark = pytest.mark.usefixtures("db")


@pytest.fixture(autouse=True)
def empty(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Remove what other tests left in memory."""
    for name, value in {"_rows": [], "_tokens": {}, "_waiting": 0, "_left_out": 0}.items():
        monkeypatch.setattr(buffer, name, value)
    monkeypatch.setattr(activity, "_counts", {})
    monkeypatch.setattr(unauthenticated_limit, "_limit", EventLimit())
    yield
    request_id.set("")
    client_address.set("")


async def told(client_id: str) -> list[dict[str, Any]]:
    rows = await fetch("SELECT * FROM audit_event WHERE client_id = $1 ORDER BY id", client_id)
    return [dict(row) | {"detail": msgspec.json.decode(row["detail"])} for row in rows]


async def test_tokens_of_one_client_and_grant_are_one_event() -> None:
    client_id, users = ids.uuid7_text(), [ids.uuid7(), ids.uuid7()]
    session_id, family_id = ids.uuid7(), ids.uuid7()
    client_address.set("203.0.113.1")
    for number, user_id in enumerate(users):
        request_id.set(f"request {number}")
        grant = {"user_id": user_id, "session_id": session_id, "family_id": family_id}
        token_issued("refresh_token", client_id, f"jti {number}", **grant)
    token_issued("client_credentials", client_id, "alone")
    await buffer.write()
    two, one = sorted(await told(client_id), key=lambda row: row["detail"]["grant_type"], reverse=True)
    assert (two["event"], two["outcome"], two["detail"]["grant_type"]) == ("token_issued", "success", "refresh_token")
    assert [token.pop("at")[:4] for token in two["detail"]["issued"]] == [str(clock.now().year)] * 2
    assert two["detail"]["issued"] == [
        {
            "client_id": client_id,
            "jti": f"jti {number}",
            "user_id": str(user_id),
            "session_id": str(session_id),
            "family_id": str(family_id),
            "ip_address": "203.0.113.1",
            "request_id": f"request {number}",
        }
        for number, user_id in enumerate(users)
    ]
    # The columns hold the values that all of them share.
    assert (two["user_id"], two["session_id"]) == (None, session_id)
    assert (two["ip_address"], two["request_id"]) == ("203.0.113.1", "")
    assert (one["user_id"], one["request_id"]) == (None, "request 1")


async def test_a_token_is_found_by_its_id_and_its_user() -> None:
    client_id, users = ids.uuid7_text(), [ids.uuid7(), ids.uuid7()]
    for number, user_id in enumerate(users):
        token_issued("refresh_token", client_id, f"{client_id} {number}", user_id=user_id)
    await buffer.write()
    for filters in ({"jti": f"{client_id} 1"}, {"token_user_id": str(users[1])}):
        (row,) = await audit_events.latest_events(filters, limit=10)
        assert row.client_id == client_id
    assert await audit_events.latest_events({"jti": f"{client_id} 2"}, limit=10) == []


async def test_tokens_of_many_clients_share_events() -> None:
    clients = [ids.uuid7_text() for _ in range(300)]
    for client_id in clients:
        token_issued("refresh_token", client_id, "x")
    await buffer.write()
    rows = [await audit_events.latest_events({"token_client_id": client_id}, limit=2) for client_id in clients[:3]]
    assert [len(found) for found in rows] == [1, 1, 1]
    assert rows[0] == rows[1]
    assert rows[0][0].client_id is None


async def test_many_tokens_are_several_events() -> None:
    client_id = ids.uuid7_text()
    for number in range(501):
        token_issued("client_credentials", client_id, str(number))
    await buffer.write()
    rows = await told(client_id)
    assert sorted(len(row["detail"]["issued"]) for row in rows) == [101, 200, 200]
    assert sorted(int(token["jti"]) for row in rows for token in row["detail"]["issued"]) == list(range(501))
    assert buffer._waiting == 0


async def test_buffered_events_are_in_the_next_checkpoint(trail: Trail) -> None:
    for number in range(3):
        token_issued("client_credentials", "shop", str(number))
    note("client_authentication", outcome="failure", client_id="a\0\ud800", detail={"reason": "\0"})
    await buffer.write()
    assert await checkpoints.create(checkpoint_signer.sign) is not None
    report = await verified()
    assert report.intact
    assert report.rows == 3
    await execute("UPDATE audit_event SET detail = '{}' WHERE event = 'token_issued'")
    assert [p.kind for p in (await verified()).problems] == ["row_changed"]


async def test_events_that_cannot_be_written_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    client_id = ids.uuid7_text()

    async def lost(*_: object) -> None:
        raise ConnectionResetError

    for number in range(300):
        token_issued("refresh_token", client_id, str(number))
        note("token_refused", client_id=client_id)
    with monkeypatch.context() as patched:
        for module in (audit_events, hourly_counts):
            patched.setattr(module, "execute", lost)
        for write in (buffer.write, buffer.write, activity.write):
            with pytest.raises(ConnectionResetError):
                await write()
    token_issued("refresh_token", client_id, "300")
    await buffer.write()
    rows = await told(client_id)
    tokens = [int(token["jti"]) for row in rows for token in row["detail"].get("issued", ())]
    assert sorted(tokens) == list(range(301))
    assert sum(row["event"] == "token_refused" for row in rows) == 300


async def test_the_buffer_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    client_id = ids.uuid7_text()
    monkeypatch.setattr(buffer, "MAX_WAITING", 10)
    for number in range(15):
        token_issued("client_credentials", client_id, str(number))
    await buffer.write()
    (row,) = await told(client_id)
    assert len(row["detail"]["issued"]) == 10
    token_issued("client_credentials", client_id, "later")
    await buffer.write()
    assert len(await told(client_id)) == 2


async def test_an_outage_is_bounded_in_tokens_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trying to write again and again makes no room for more of them."""

    async def lost(*_: object) -> None:
        raise ConnectionResetError

    monkeypatch.setattr(audit_events, "execute", lost)
    monkeypatch.setattr(buffer, "MAX_WAITING", 3_000)
    for number in range(600):
        for _ in range(10):
            note("token_refused") if number < 30 else token_issued("client_credentials", "shop", "x")
        if number % 10 == 0:
            with pytest.raises(ConnectionResetError):
                await buffer.write()
    tokens = sum(len(waiting) for waiting in buffer._tokens.values())
    assert tokens + len(buffer._rows) == buffer._waiting == 3_000
    assert buffer._left_out == 3_000


async def test_tokens_need_not_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are counted nevertheless."""
    client_id, grant_type = ids.uuid7_text(), ids.uuid7_text()
    quiet = settings().model_copy(update={"audit_tokens": False})
    monkeypatch.setattr(buffer, "settings", lambda: quiet)
    token_issued(grant_type, client_id, "jti")
    await buffer.write()
    await activity.write()
    assert await told(client_id) == []
    assert (await activity.series([f"token:{grant_type}"], 1)) == {f"token:{grant_type}": [1]}


# The actor


async def test_the_actor_is_recorded() -> None:
    client_id = ids.uuid7_text()
    token = actor.set("user:\0somebody")
    try:
        await record("client_disabled", client_id=client_id)
    finally:
        actor.reset(token)
    (row,) = await told(client_id)
    assert row["actor"] == "user:somebody"


# Attempts of strangers


async def test_strangers_cannot_fill_the_trail(monkeypatch: pytest.MonkeyPatch) -> None:
    event, limited = ids.uuid7_text(), settings().model_copy(update={"audit_failure_limit": 50})
    monkeypatch.setattr(unauthenticated_limit, "settings", lambda: limited)
    for _ in range(20):
        await record(event, outcome="failure", limit_key="alice")
    for number in range(100):
        await record(event, outcome="failure", limit_key=f"somebody {number}")
    assert len(await fetch("SELECT FROM audit_event WHERE event = $1", event)) == 50
    note_left_out()
    note_left_out()
    await buffer.write()
    rows = await fetch("SELECT detail FROM audit_event WHERE detail ->> 'event' = $1", event)
    assert [msgspec.json.decode(row["detail"]) for row in rows] == [{"event": event, "number": 70}]
    # All are counted, and a minute later some are written again.
    await activity.write()
    assert (await activity.series([f"{event}:failure"], 1)) == {f"{event}:failure": [120]}
    monkeypatch.setattr(unauthenticated_limit._limit, "_since", -event_limits.WINDOW_SECONDS)
    await record(event, outcome="failure", limit_key="alice")
    assert len(await fetch("SELECT FROM audit_event WHERE event = $1", event)) == 51


@pytest.mark.parametrize(("limits", "subjects"), [(True, ("user", "203.0.113.1")), (False, ("user", "a-request"))])
def test_the_limit_key_of_a_failure(monkeypatch: pytest.MonkeyPatch, limits: bool, subjects: tuple[str, str]) -> None:
    config = settings().model_copy(update={"address_limits": limits})
    monkeypatch.setattr(unauthenticated_limit, "settings", lambda: config)
    client_address.set("203.0.113.1")
    request_id.set("a-request")
    assert (unauthenticated_limit.limit_key("user"), unauthenticated_limit.limit_key()) == subjects


# Counts


async def test_counts_by_the_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    kind, other = ids.uuid7_text(), ids.uuid7_text()
    for hours, number in ((2, 3), (1, 1), (0, 2), (7, 9)):
        with monkeypatch.context() as patched:
            patched.setattr(clock, "offset", timedelta(hours=-hours))
            for _ in range(number):
                activity.count(kind)
        await activity.write()
    activity.count(kind, 40)
    await asyncio.gather(activity.write(), activity.write())
    assert await activity.series([kind, other], 4) == {kind: [0, 3, 1, 42], other: [0, 0, 0, 0]}


async def test_old_counts_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    kind = ids.uuid7_text()
    for days in (89, 91):
        with monkeypatch.context() as patched:
            patched.setattr(clock, "offset", timedelta(days=-days))
            activity.count(kind)
    await activity.write()
    await activity.delete_old()
    assert len(await fetch("SELECT FROM activity WHERE kind = $1", kind)) == 1


# Served

StartServer = Callable[..., Server]


async def until_told(client_id: str, event: str, number: int = 1) -> list[dict[str, Any]]:
    for _ in range(600):
        found = [row for row in await told(client_id) if row["event"] == event]
        if len(found) >= number:
            return found
        await asyncio.sleep(0.05)
    raise AssertionError(f"{event} is not in the trail.")


async def test_actions_of_a_client_are_recorded(client: RelyingParty, make_client: MakeClient) -> None:
    service = await make_client(grant_types=["client_credentials"], redirect_uris=[], scope="orders")
    response = await service.post("/token", grant_type="client_credentials")
    jti = jose.verify(response.json()["access_token"], key_set.verification(), "at+jwt")["jti"]
    (row,) = await until_told(service.client_id, "token_issued")
    assert row["detail"]["grant_type"] == "client_credentials"
    assert [token["jti"] for token in row["detail"]["issued"]] == [jti]
    assert (await client.post("/token", grant_type="refresh_token", refresh_token="x")).status_code == 400
    (row,) = await until_told(client.client_id, "token_refused")
    assert (row["outcome"], row["actor"]) == ("failure", f"client:{client.client_id}")
    client.client_secret = "wrong"
    assert (await client.post("/token", grant_type="client_credentials")).status_code == 401
    (row,) = await until_told(client.client_id, "client_authentication")
    assert (row["outcome"], row["detail"]) == ("failure", {"reason": "wrong_secret"})


async def test_the_buffer_is_written_when_a_server_stops(start_server: StartServer, make_client: MakeClient) -> None:
    server = start_server()
    service = await make_client(server, grant_types=["client_credentials"], redirect_uris=[], scope="orders")
    for _ in range(20):
        assert (await service.post("/token", grant_type="client_credentials")).status_code == 200
    server.stop()
    rows = [row for row in await told(service.client_id) if row["event"] == "token_issued"]
    assert sum(len(row["detail"]["issued"]) for row in rows) == 20
