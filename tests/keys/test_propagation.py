"""Which resource servers have fetched a key, and which keys wait for them."""

import asyncio
import secrets
from datetime import timedelta

import httpx
import pytest
from structlog.testing import capture_logs

from idp.infra.db.engine import engine, execute, fetch
from idp.infra.db.outages import DatabaseUnavailableError
from idp.keys import lifecycle, propagation, rotation_job
from idp.keys.key_set import key_set
from idp.keys.lifecycle import State
from idp.keys.repository import jwks_fetches, signing_keys
from idp.oauth.clients import jwks_consumers
from idp.oauth.clients.models import ResourceServer
from idp.oauth.clients.registration import register_resource_server
from idp.oauth.clients.registry import registry
from idp.settings import Settings, settings
from tests.support.routes import application

pytestmark = pytest.mark.usefixtures("own_database")

ALG = "ES256"


async def api(name: str = "Orders", alg: str = ALG, **columns: object) -> str:
    """Register a resource server and return its identifier."""
    identifier = f"https://{secrets.token_hex(4)}.example.com"
    await register_resource_server(identifier, name, access_token_signed_response_alg=alg)
    for column, value in columns.items():
        await execute(f"UPDATE resource_server SET {column} = $2 WHERE identifier = $1", identifier, value)
    return identifier


async def fetched(identifier: str, *kids: str, address: str = "192.0.2.1", ago: float = 0, times: int = 1) -> None:
    """Record a fetch of the JWKS by an instance, so many seconds ago."""
    for _ in range(times):
        propagation.note([identifier], address, "jose/1", " ".join(kids))
    await propagation.write()
    await execute(
        "UPDATE jwks_fetch SET last_at = last_at - $2::interval, first_at = first_at - $2::interval WHERE address = $1",
        address,
        timedelta(seconds=ago),
    )


@pytest.fixture
async def pending() -> str:
    """The next key, published a moment ago; the one before is `old`."""
    await lifecycle.ensure_signing_key(ALG)
    return await lifecycle.rotate(ALG)


@pytest.fixture(autouse=True)
def no_lead(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests are about fetches, not about the minimum time of publication."""
    config: Settings = settings().model_copy(update={"key_publication": 0})
    monkeypatch.setattr(rotation_job, "settings", lambda: config)
    propagation._notes.clear()


async def state(kid: str) -> State:
    await rotation_job.activate_due()
    return next(key.state for key in await lifecycle.list_keys() if key.kid == kid)


async def test_without_resource_servers_there_is_no_wait(pending: str) -> None:
    assert await state(pending) == State.ACTIVE


async def test_a_key_waits_for_everybody(pending: str) -> None:
    servers = [await api(), await api()]
    for server in servers:
        await fetched(server, "old", ago=60)
    assert await propagation.unseen(pending) == sorted(servers)
    assert await state(pending) == State.PENDING
    await fetched(servers[0], "old", pending)
    assert await propagation.unseen(pending) == [servers[1]]
    assert await state(pending) == State.PENDING
    await fetched(servers[1], "old", pending)
    assert await state(pending) == State.ACTIVE


async def test_one_that_never_fetched_blocks_and_is_named(pending: str) -> None:
    server = await api()
    assert await state(pending) == State.PENDING
    assert await propagation.unseen(pending) == [server]


async def test_those_of_other_algorithms_and_those_that_do_not_validate_are_not_waited_for(pending: str) -> None:
    await api(alg="RS256")
    await api(witnessed=False)
    assert await propagation.unseen(pending) == []
    assert await state(pending) == State.ACTIVE


async def test_every_instance_must_have_fetched_it(pending: str) -> None:
    server = await api()
    await fetched(server, "old", pending, address="192.0.2.1")
    await fetched(server, "old", address="192.0.2.2", ago=60)
    assert await state(pending) == State.PENDING
    await fetched(server, "old", pending, address="192.0.2.2")
    assert await state(pending) == State.ACTIVE


async def test_a_machine_that_is_gone_is_not_waited_for(pending: str) -> None:
    """It was silent for longer than it ever cached, and another instance is live."""
    server = await api()
    await fetched(server, "old", address="192.0.2.2", ago=3700)
    await execute("UPDATE jwks_fetch SET period = 300")
    await fetched(server, "old", pending, address="192.0.2.1")
    assert await state(pending) == State.ACTIVE


async def test_one_that_caches_for_ever_blocks_however_long_it_is_silent(pending: str) -> None:
    server = await api()
    await fetched(server, "old", ago=10 * 86400, times=4)
    assert await state(pending) == State.PENDING
    assert await propagation.unseen(pending) == [server]


async def test_the_deadline_ends_the_waiting_loudly(pending: str) -> None:
    server = await api()
    await execute("UPDATE signing_key SET deadline_at = now() WHERE kid = $1", pending)
    with capture_logs() as logs:
        assert await state(pending) == State.ACTIVE
    (row,) = await fetch(
        "SELECT detail -> 'unseen' ->> 0 AS unseen FROM audit_event"
        " WHERE event = 'key_activated' AND detail ->> 'kid' = $1",
        pending,
    )
    assert row["unseen"] == server
    (said,) = (line for line in logs if line["event"] == "key_activated_unseen")
    assert said["resource_servers"] == [server]


async def test_the_wait_is_logged_once_an_hour(pending: str) -> None:
    server = await api()
    with capture_logs() as logs:
        for _ in range(3):
            await rotation_job.activate_due()
    (said,) = (line for line in logs if line["event"] == "key_waits")
    assert said["resource_servers"] == [server]


@pytest.mark.parametrize("deadline", ["NULL", "now() - interval '1 hour'"])
async def test_a_key_is_published_for_a_while_even_if_all_have_seen_it(
    pending: str, monkeypatch: pytest.MonkeyPatch, deadline: str
) -> None:
    """Clients that verify ID tokens, and caches between, are not registered anywhere. A deadline is no exception."""
    monkeypatch.setattr(rotation_job, "settings", settings)
    await execute(f"UPDATE signing_key SET deadline_at = {deadline} WHERE kid = $1", pending)
    assert rotation_job.publication() == settings().jwks_max_age + signing_keys.MARGIN
    assert await state(pending) == State.PENDING
    await execute(
        "UPDATE signing_key SET created_at = created_at - make_interval(secs => $1)", rotation_job.publication()
    )
    assert await state(pending) == State.ACTIVE


async def test_many_keepers_activate_once(pending: str) -> None:
    await asyncio.gather(*(rotation_job.activate_due() for _ in range(10)))
    (row,) = await fetch(
        "SELECT count(*) FROM audit_event WHERE detail ->> 'kid' = $1 AND event = 'key_activated'", pending
    )
    assert row["count"] == 1


# What is measured


async def test_the_cache_period_is_measured(pending: str) -> None:
    server = await api()
    await fetched(server, "old", ago=600)
    assert (await propagation.view(pending))[0].period is None
    await fetched(server, "old", pending)
    (seen,) = await propagation.view(pending)
    assert seen.period == pytest.approx(600, abs=5)
    assert (seen.seen, seen.instances[0].fetches, seen.instances[0].live) == (True, 2, True)
    await execute("UPDATE jwks_fetch SET last_at = last_at - interval '100 s'")
    await fetched(server, pending)
    assert (await propagation.view(pending))[0].period == pytest.approx(350, abs=5)


async def test_an_older_fetch_does_not_replace_a_newer_one(pending: str) -> None:
    server = await api()
    await fetched(server, "old", pending)
    key = (server, "192.0.2.1", "jose/1")
    propagation.note([server], *key[1:], "old")
    propagation._notes[key].last_at -= timedelta(seconds=10)
    await propagation.write()
    (seen,) = await propagation.view(pending)
    assert seen.seen
    assert seen.instances[0].fetches == 2


async def test_nothing_noted_is_lost_while_the_database_is_away(pending: str) -> None:
    server = await api()
    lines, engine.lines = engine.lines, None
    propagation.note([server], "192.0.2.1", "jose/1", "old")
    with pytest.raises(DatabaseUnavailableError):
        await propagation.write()
    propagation.note([server], "192.0.2.1", "jose/1", f"old {pending}")
    engine.lines = lines
    await propagation.write()
    (seen,) = await propagation.view(pending)
    assert (seen.seen, seen.instances[0].fetches) == (True, 2)


async def test_fetches_are_written_in_batches(pending: str) -> None:
    servers = [await api() for _ in range(3)]
    for _ in range(1000):
        propagation.note(servers, "192.0.2.1", "jose/1", pending)
    assert await fetch("SELECT FROM jwks_fetch") == []
    await propagation.write()
    rows = await fetch("SELECT fetches FROM jwks_fetch")
    assert [row["fetches"] for row in rows] == [1000] * 3


async def test_strangers_cannot_fill_the_memory_or_the_table(pending: str, monkeypatch: pytest.MonkeyPatch) -> None:
    server = await api()
    await execute(
        "INSERT INTO jwks_fetch (id, resource_server, instance, address, user_agent, kids, fetches, first_at, last_at)"
        " SELECT gen_random_uuid(), $1, n::text, '', '', '{}', 1, now(), now()"
        " FROM generate_series(1, $2::int) AS n",
        server,
        jwks_fetches.MAX_INSTANCES,
    )
    monkeypatch.setattr(propagation, "MAX_NOTES", 100)
    for number in range(200):
        propagation.note([server], f"192.0.2.{number}", "x" * 10_000, pending)
    assert len(propagation._notes) == 100
    assert max(len(agent) for _, _, agent in propagation._notes) == propagation.MAX_USER_AGENT
    await propagation.write()
    (row,) = await fetch("SELECT count(*) FROM jwks_fetch")
    assert row["count"] == jwks_fetches.MAX_INSTANCES


async def test_machines_that_are_gone_leave_places_for_others(pending: str) -> None:
    """Of those that are gone as many are kept as there are places."""
    server = await api()
    await execute(
        "INSERT INTO jwks_fetch (id, resource_server, instance, address, user_agent, kids, fetches, first_at, last_at)"
        " SELECT gen_random_uuid(), $1, n::text, n::text, '', ARRAY[$3], 1, now(), now() - interval '3 days' -"
        " make_interval(secs => n) FROM generate_series(1, $2::int + 5) AS n",
        server,
        jwks_fetches.MAX_INSTANCES,
        pending,
    )
    await fetched(server, "old", address="192.0.2.1")
    assert await state(pending) == State.PENDING
    await propagation.forget()
    rows = await fetch("SELECT address FROM jwks_fetch WHERE resource_server = $1", server)
    assert len(rows) == jwks_fetches.MAX_INSTANCES + 1
    left = {row["address"] for row in rows}
    assert {"192.0.2.1", "1"} <= left
    assert str(jwks_fetches.MAX_INSTANCES + 1) not in left


async def test_old_instances_are_deleted(pending: str) -> None:
    server, gone = await api(), await api()
    await fetched(server, "old", address="192.0.2.1", ago=91 * 86400)
    await fetched(server, "old", address="192.0.2.2")
    await fetched(gone, "old", address="192.0.2.3")
    await execute("DELETE FROM resource_server WHERE identifier = $1", gone)
    await propagation.forget()
    assert [row["address"] for row in await fetch("SELECT address FROM jwks_fetch")] == ["192.0.2.2"]


# Rotation by age


async def test_an_old_key_is_replaced_by_one_of_many_replicas(pending: str) -> None:
    await lifecycle.activate(pending)
    await key_set.load()
    await rotation_job.rotate_old()
    assert len(await lifecycle.list_keys()) == 2
    await execute("UPDATE signing_key SET activates_at = now() - interval '91 days' WHERE kid = $1", pending)
    await asyncio.gather(*(rotation_job.rotate_old() for _ in range(5)))
    await rotation_job.rotate_old()
    keys = await lifecycle.list_keys()
    assert [key.state for key in keys] == [State.RETIRING, State.ACTIVE, State.PENDING]
    assert keys[2].deadline_at is not None
    assert keys[2].deadline_at - keys[2].created_at == timedelta(seconds=settings().key_rotation_deadline)


async def test_a_replacement_has_the_size_of_its_predecessor() -> None:
    await lifecycle.ensure_signing_key("RS256", 3072)
    await execute("UPDATE signing_key SET activates_at = now() - interval '91 days'")
    await key_set.load()
    await rotation_job.rotate_old()
    await key_set.load()
    assert {key.size for key in key_set.verification().values()} == {3072}


async def test_keys_that_retired_long_ago_are_destroyed(pending: str) -> None:
    await lifecycle.activate(pending)
    await execute("UPDATE signing_key SET retires_at = now() - interval '29 days' WHERE kid <> $1", pending)
    await rotation_job.destroy_obsolete()
    assert [key.state for key in await lifecycle.list_keys()] == [State.RETIRED, State.ACTIVE]
    await execute("UPDATE signing_key SET retires_at = now() - interval '31 days' WHERE kid <> $1", pending)
    await rotation_job.destroy_obsolete()
    assert [key.state for key in await lifecycle.list_keys()] == [State.DESTROYED, State.ACTIVE]


async def test_a_retiring_key_stays_for_tokens_of_a_slow_worker(pending: str) -> None:
    await key_set.load()
    old = key_set.signing(ALG).kid
    await lifecycle.activate(pending)
    before = next(key.retires_at for key in await lifecycle.list_keys() if key.kid == old)
    assert before is not None
    exp = int(before.timestamp()) + 1000
    key_set.sign(ALG, "at+jwt", {"exp": exp})  # this process does not know the successor yet
    await rotation_job.write_use()
    after = next(key.retires_at for key in await lifecycle.list_keys() if key.kid == old)
    assert after is not None
    assert int(after.timestamp()) == exp + signing_keys.MARGIN


# Recognition


@pytest.mark.parametrize(
    ("address", "agent", "found"),
    [
        ("10.1.2.3", "PyJWT/2", {"a", "b"}),
        ("10.1.2.3", "curl/8", {"b"}),
        ("10.2.2.3", "PyJWT/2", set()),
        ("2001:db8::1", "x", {"b"}),
        ("", "PyJWT/2", set()),
    ],
)
def test_a_resource_server_is_known_by_where_it_comes_from(
    address: str, agent: str, found: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    servers = {
        "a": ResourceServer(identifier="a", name="A", networks=("10.1.0.0/16",), user_agent="PyJWT"),
        "b": ResourceServer(identifier="b", name="B", networks=("10.1.2.0/24", "2001:db8::/32")),
        "c": ResourceServer(identifier="c", name="C", user_agent="PyJWT"),
    }
    monkeypatch.setattr(type(registry), "resource_servers", property(lambda _: servers))
    assert set(jwks_consumers.by_origin(address, agent)) == found


async def test_asking_for_headers_alone_is_no_fetch() -> None:
    """A response to HEAD contains no key."""
    identifier = await api()
    await registry.load()
    jwks_id = registry.resource_servers[identifier].jwks_id
    transport = httpx.ASGITransport(application())  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url=settings().issuer) as web:
        assert (await web.head(f"/jwks/{jwks_id}")).is_success
        assert not propagation._notes
        assert (await web.get(f"/jwks/{jwks_id}")).is_success
    assert [key[0] for key in propagation._notes] == [identifier]
