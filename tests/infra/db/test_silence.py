"""A PostgreSQL that does not answer: statements fail instead of waiting, until a new connection is answered."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial

import pytest
from structlog.testing import capture_logs

from idp.infra.db import cache_invalidation, silence
from idp.infra.db.engine import fetchrow, lines, transaction
from idp.infra.db.outages import ERRORS, DatabaseUnavailableError
from idp.infra.db.tables import Revision
from idp.settings import load
from tests.support.isolated import isolated
from tests.support.proxy import Proxy, proxy_to
from tests.support.server import free_port

#: Longer than a test: a statement that waits for its own time limit fails it.
WITHIN_SECONDS = 20.0
BACKENDS = "SELECT pg_backend_pid() AS pid"


@pytest.fixture
async def proxy(own_database: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Proxy]:
    """A network before PostgreSQL, which can lose what PostgreSQL sends."""
    monkeypatch.setattr(silence, "PROBE_SECONDS", 0.3)
    async with proxy_to(own_database) as proxy, isolated(proxy.dsn):
        yield proxy


async def _in_transaction() -> None:
    async with transaction():
        await fetchrow(BACKENDS)


@pytest.mark.fault(47)
async def test_statements_fail_until_it_answers(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    before = await fetchrow(BACKENDS)
    await Revision.count()
    proxy.withhold = True
    waiting = [asyncio.create_task(fetchrow(BACKENDS)), asyncio.create_task(_in_transaction())]
    await asyncio.sleep(0)
    with capture_logs() as logs:
        for _ in range(2):
            with pytest.raises(DatabaseUnavailableError):
                await silence.probe()
    assert [entry["event"] for entry in logs] == ["database_silent"]
    async with asyncio.timeout(WITHIN_SECONDS):
        for statement in (*waiting, fetchrow(BACKENDS), _in_transaction(), Revision.count()):
            with pytest.raises(ERRORS):
                await statement

    proxy.withhold = False
    monkeypatch.setattr(silence, "PROBE_SECONDS", WITHIN_SECONDS)
    with capture_logs() as logs:
        await silence.probe()
    assert [entry["event"] for entry in logs] == ["database_answers"]
    async with asyncio.timeout(WITHIN_SECONDS):
        # On new connections: the network may have forgotten the old ones, and the server may be another one.
        assert await fetchrow(BACKENDS) not in (None, before)
        assert await Revision.count() == 0


async def test_slow_statements_are_no_silence(own_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All connections are in use, so a poll gets no answer. A new connection does."""
    monkeypatch.setattr(silence, "PROBE_SECONDS", WITHIN_SECONDS)
    async with isolated(own_database):
        slow = [asyncio.create_task(fetchrow("SELECT pg_sleep(0.5)")) for _ in range(20)]
        await asyncio.sleep(0)
        await silence.probe()
        assert not lines().silent
        await asyncio.gather(*slow)


async def test_an_error_is_an_answer(own_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is down refuses connections, and statements fail at once without our help."""
    async with isolated(own_database):
        monkeypatch.setitem(silence.engine.config, "dsn", f"postgresql://postgres@127.0.0.1:{free_port()}/idp")
        await silence.probe()
        assert not lines().silent


async def test_the_poll_finds_it_out(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection for notices is replaced too: it would wait for a server that may have been replaced."""
    values = load().model_copy(update={"reload_interval": 0.02})
    monkeypatch.setattr(cache_invalidation, "settings", lambda: values)
    monkeypatch.setattr(cache_invalidation, "TIMEOUT_SECONDS", 0.3)
    loaded = 0

    async def count() -> None:
        nonlocal loaded
        loaded += 1

    watching = asyncio.create_task(cache_invalidation.watch({"keys": count}))
    try:
        async with asyncio.timeout(WITHIN_SECONDS):
            while (watch := cache_invalidation.current()) is None or watch._notices is None:
                await asyncio.sleep(0.01)
            notices, before = watch._notices, loaded
            proxy.withhold = True
            while not lines().silent:
                await asyncio.sleep(0.01)
            assert notices.is_closed()
            proxy.withhold = False
            while lines().silent or watch._notices in (None, notices) or loaded == before:
                await asyncio.sleep(0.01)
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


async def test_a_load_finds_it_out(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """The network fails after the answer to the poll. Otherwise each topic waits for the limit of its statement."""
    monkeypatch.setattr(cache_invalidation, "TIMEOUT_SECONDS", 0.3)
    values = load().model_copy(update={"reload_interval": 0.02})
    monkeypatch.setattr(cache_invalidation, "settings", lambda: values)
    called, loaded = list[str](), list[str]()

    async def load_topic(topic: str) -> None:
        if not called:
            proxy.withhold = True
        called.append(topic)
        await fetchrow(BACKENDS)
        loaded.append(topic)

    handlers = {topic: partial(load_topic, topic) for topic in ("keys", "clients", "realms")}
    watching = asyncio.create_task(cache_invalidation.watch(handlers))
    try:
        async with asyncio.timeout(WITHIN_SECONDS):
            while not (called and lines().silent):
                await asyncio.sleep(0.01)
            assert (called, loaded) == (["keys"], [])
            proxy.withhold = False
            while set(loaded) != set(handlers):
                await asyncio.sleep(0.01)
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
