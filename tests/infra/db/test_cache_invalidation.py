"""How a worker learns of changes: by revision number, faster by notice, and after PostgreSQL was away or read-only."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from urllib.parse import urlsplit

import pytest
from structlog.testing import capture_logs

from idp.infra.db import cache_invalidation, engine
from idp.infra.db.cache_invalidation import lock_and_announce, watch
from idp.infra.db.engine import execute, fetch, fetchrow, lines, transaction
from idp.infra.db.locks import lock
from idp.settings import load
from tests.support.isolated import isolated
from tests.support.postgres import Cluster
from tests.support.proxy import proxy_to

pytestmark = pytest.mark.usefixtures("own_database")

WITHIN_SECONDS = 30.0

PollEvery = Callable[[float], None]


@pytest.fixture
def poll_every(monkeypatch: pytest.MonkeyPatch) -> PollEvery:
    """Sets the seconds between two polls."""

    def set_interval(seconds: float) -> None:
        values = load().model_copy(update={"reload_interval": seconds})
        monkeypatch.setattr(cache_invalidation, "settings", lambda: values)

    return set_interval


class Handler:
    """Counts its calls, and fails as often as configured."""

    def __init__(self) -> None:
        self.calls = 0
        self.failures = 0

    async def __call__(self) -> None:
        self.calls += 1
        if self.failures > 0:
            self.failures -= 1
            raise RuntimeError("no")


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WITHIN_SECONDS):
        while not condition():
            await asyncio.sleep(0.005)


@asynccontextmanager
async def watching(**handlers: Callable[[], Awaitable[None]]) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(watch(handlers))
    try:
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def listening() -> bool:
    current = cache_invalidation.current()
    return current is not None and current.listening is True


def not_listening() -> bool:
    current = cache_invalidation.current()
    return current is not None and current.listening is False


async def listeners() -> list[int]:
    rows = await fetch(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() "
        "AND pid <> pg_backend_pid() AND query LIKE 'LISTEN%'"
    )
    return [row["pid"] for row in rows]


async def test_announcing_counts_up() -> None:
    for _ in range(3):
        await lock_and_announce("keys")
    await lock_and_announce("clients")
    rows = await fetch("SELECT topic, number FROM revision ORDER BY topic")
    assert [tuple(row) for row in rows] == [("clients", 1), ("keys", 3)]


async def test_an_announcement_is_part_of_its_transaction() -> None:
    with suppress(RuntimeError):
        async with transaction():
            await lock_and_announce("keys")
            raise RuntimeError
    assert await fetch("SELECT * FROM revision") == []


async def test_announcements_of_a_topic_happen_one_after_the_other() -> None:
    """:mod:`idp.keys.lifecycle` relies on this."""
    running = most = 0

    async def change() -> None:
        nonlocal running, most
        async with transaction():
            await lock_and_announce("keys")
            running += 1
            most = max(most, running)
            await asyncio.sleep(0.01)
            running -= 1

    await asyncio.gather(*(change() for _ in range(8)))
    assert most == 1
    row = await fetchrow("SELECT number FROM revision")
    assert row is not None
    assert row["number"] == 8


async def test_a_notice_calls_the_handler_of_its_topic_at_once(
    poll_every: PollEvery,
) -> None:
    poll_every(3600.0)
    keys, clients = Handler(), Handler()
    async with watching(keys=keys, clients=clients):
        await until(lambda: keys.calls == clients.calls == 1)
        await lock_and_announce("keys")
        await until(lambda: keys.calls == 2)
        await lock_and_announce("unknown")
        await lock_and_announce("keys")
        await until(lambda: keys.calls == 3)
        assert clients.calls == 1


async def test_without_notices_the_number_is_seen(poll_every: PollEvery) -> None:
    poll_every(0.05)
    keys = Handler()
    async with watching(keys=keys):
        await until(lambda: keys.calls == 1)
        await execute("INSERT INTO revision (topic, number) VALUES ('keys', 1)")
        await until(lambda: keys.calls == 2)
        await execute("UPDATE revision SET number = 7")
        await until(lambda: keys.calls == 3)
        await asyncio.sleep(0.2)
        assert keys.calls == 3


async def test_a_failing_handler_is_called_again_and_logged_once(
    poll_every: PollEvery,
) -> None:
    poll_every(0.02)
    keys, clients = Handler(), Handler()
    keys.failures = 4
    with capture_logs() as logs:
        async with watching(keys=keys, clients=clients):
            await until(lambda: keys.calls == 5)
            await asyncio.sleep(0.1)
            assert keys.calls == 5
            assert clients.calls == 1
    assert [(entry["event"], entry.get("topic")) for entry in logs] == [("reload_failed", "keys")]


async def test_an_unexpected_error_does_not_end_the_poll(
    poll_every: PollEvery, monkeypatch: pytest.MonkeyPatch
) -> None:
    poll_every(0.02)
    keys = Handler()
    failures = iter([True] * 3)

    async def fails(statement: str) -> Sequence[object]:
        if next(failures, False):
            raise ZeroDivisionError
        return await fetch(statement)

    monkeypatch.setattr(cache_invalidation, "fetch", fails)
    with capture_logs() as logs:
        async with watching(keys=keys):
            await until(lambda: keys.calls == 1)
    assert [(line["event"], line.get("error")) for line in logs] == [
        ("polling_failed", "ZeroDivisionError"),
        ("polling_resumed", None),
    ]


@pytest.mark.fault(41)
async def test_the_age_grows_while_a_topic_cannot_be_reloaded(poll_every: PollEvery) -> None:
    """Readiness depends on this age."""
    poll_every(0.02)
    keys, clients = Handler(), Handler()
    keys.failures = 1_000_000
    async with watching(keys=keys, clients=clients):
        await until(lambda: keys.calls > 3)
        seen = cache_invalidation.current()
        assert seen is not None
        before, calls = seen.age, keys.calls
        await until(lambda: keys.calls > calls + 2)
        assert seen.age > before
        keys.failures = 0
        await until(lambda: not seen.failing)
        calls = keys.calls
        await until(lambda: seen.age < before)
        assert keys.calls == calls


async def test_a_change_during_the_reload_is_not_lost(poll_every: PollEvery) -> None:
    poll_every(3600.0)
    calls = 0

    async def slow() -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            await lock_and_announce("keys")

    async with watching(keys=slow):
        await until(lambda: calls == 1)
        await lock_and_announce("keys")
        await until(lambda: calls == 3)


async def test_a_lost_connection_is_made_again_and_everything_reloaded(
    poll_every: PollEvery, monkeypatch: pytest.MonkeyPatch
) -> None:
    poll_every(3600.0)
    monkeypatch.setattr(cache_invalidation, "FIRST_WAIT", 0.02)
    keys, clients = Handler(), Handler()
    with capture_logs() as logs:
        async with watching(keys=keys, clients=clients):
            await until(listening)
            await until(lambda: min(keys.calls, clients.calls) >= 1)
            (pid,) = await listeners()
            before = keys.calls, clients.calls
            await execute("SELECT pg_terminate_backend($1)", pid)
            await until(lambda: keys.calls > before[0] and clients.calls > before[1])
            again = keys.calls
            await lock_and_announce("keys")
            await until(lambda: keys.calls > again)
    assert [entry["event"] for entry in logs] == ["notices_interrupted", "notices_resumed"]


@pytest.mark.fault(40)
async def test_without_connections_for_notices_polling_goes_on(
    cluster: Cluster, own_database: str, poll_every: PollEvery, monkeypatch: pytest.MonkeyPatch
) -> None:
    poll_every(0.02)
    monkeypatch.setattr(cache_invalidation, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(cache_invalidation, "LONGEST_WAIT", 0.02)
    # A poll that takes long on a loaded machine is not interrupted.
    monkeypatch.setattr(cache_invalidation, "TIMEOUT_SECONDS", 60.0)
    name = urlsplit(own_database).path.strip("/")
    keys = Handler()
    with capture_logs() as logs:
        async with watching(keys=keys):
            await until(listening)
            async with AsyncExitStack() as stack:
                # Connections are made now: none can be made later.
                for _ in range(6):
                    await stack.enter_async_context(lines().line())
            (pid,) = await listeners()
            await cluster.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
            await execute("SELECT pg_terminate_backend($1)", pid)
            await until(lambda: len(logs) > 0)
            before = keys.calls
            await execute("INSERT INTO revision (topic, number) VALUES ('keys', 7)")
            await until(lambda: keys.calls > before)
            await cluster.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
            await until(listening)
    assert [entry["event"] for entry in logs] == ["notices_interrupted", "notices_resumed"], logs


@pytest.mark.fault(40)
@pytest.mark.parametrize("how", ["refused", "cut"])
async def test_without_listen_the_number_is_seen(own_database: str, poll_every: PollEvery, how: str) -> None:
    """An engine or a pooler answers LISTEN with an error, or by ending the connection. It is logged once."""
    poll_every(0.02)
    keys = Handler()
    async with proxy_to(own_database) as proxy, isolated(proxy.dsn):
        proxy.listen = how
        with capture_logs() as logs:
            async with watching(keys=keys):
                await until(not_listening)
                calls = keys.calls
                for number in (1, 2):
                    await lock_and_announce("keys")
                    await until(lambda wanted=calls + number: keys.calls == wanted)  # type: ignore[misc]
    assert [entry["event"] for entry in logs] == ["notices_refused"]


@pytest.mark.fault(41)
async def test_a_database_that_does_not_answer_is_noticed(
    own_database: str, poll_every: PollEvery, monkeypatch: pytest.MonkeyPatch
) -> None:
    poll_every(0.02)
    keys = Handler()
    async with proxy_to(own_database) as proxy, isolated(proxy.dsn):
        with capture_logs() as logs:
            async with watching(keys=keys):
                await until(lambda: keys.calls == 1)
                proxy.withhold = True
                with monkeypatch.context() as hasty:
                    hasty.setattr(cache_invalidation, "TIMEOUT_SECONDS", 0.2)
                    await until(lambda: "polling_interrupted" in {entry["event"] for entry in logs})
                proxy.withhold = False
                # The withheld notices and the connections are lost.
                await until(lambda: keys.calls >= 2)
                await until(lambda: "polling_resumed" in {entry["event"] for entry in logs})


async def test_the_end_is_clean() -> None:
    keys = Handler()
    async with watching(keys=keys) as task:
        await until(listening)
        assert len(await listeners()) == 1
    assert task.cancelled()
    async with asyncio.timeout(WITHIN_SECONDS):
        while await listeners():
            await asyncio.sleep(0.01)


async def test_the_pool_lends_it_no_connection() -> None:
    keys = Handler()
    assert engine.engine.pool is not None
    async with watching(keys=keys):
        await until(listening)
        pool = engine.engine.pool
        # The one through which the numbers are read.
        assert pool.get_size() == 1


# Locks


async def test_transactions_that_take_a_lock_run_one_after_the_other() -> None:
    running = most = 0

    async def change() -> None:
        nonlocal running, most
        async with transaction():
            await lock("checkpoints")
            running += 1
            most = max(most, running)
            await asyncio.sleep(0.01)
            running -= 1

    await asyncio.gather(*(change() for _ in range(8)))
    assert most == 1
    assert await fetch("SELECT FROM revision") == []
