"""Isolation for tests of one module: a database, a master key, a movable clock."""

import base64
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from idp import clock
from idp.infra.db import engine
from idp.keys import root_key as keys_root_key
from idp.keys import vault
from idp.settings import settings
from tests.support.postgres import Cluster

MoveClock = Callable[[float], None]
UseMasterKey = Callable[[bytes], None]


@asynccontextmanager
async def isolated(dsn: str, *, migrated: bool = True) -> AsyncIterator[str]:
    """Let the engine of this process use another database for the duration of a block.

    A fixture of a module that does this needs ``db``: begun later, the session's connections would never be closed.
    """
    config, pool, lines = engine.engine.config, engine.engine.pool, engine.engine.lines
    engine.engine.pool = engine.engine.lines = None
    engine.configure(dsn)
    root_key = vault._root_key
    try:
        if migrated:
            # Like at a start, but without changing the revisions, which tests count.
            async with engine.connected():
                await keys_root_key.unlock()
                await engine.execute("DELETE FROM revision")
        async with engine.connected(size=10):
            yield dsn
    finally:
        vault.unlock(root_key)
        engine.engine.config, engine.engine.pool, engine.engine.lines = config, pool, lines


@pytest.fixture
async def empty_database(cluster: Cluster) -> AsyncIterator[str]:
    """An empty database for this test only, without tables."""
    async with isolated(await cluster.create_database(template=None), migrated=False) as dsn:
        yield dsn


@pytest.fixture
async def own_database(cluster: Cluster, template: str) -> AsyncIterator[str]:
    """A migrated database for this test only."""
    async with isolated(await cluster.create_database(template)) as dsn:
        yield dsn


@pytest.fixture
def move_clock() -> Iterator[MoveClock]:
    """Move the clock of this process by so many seconds from the real time."""

    def move(seconds: float) -> None:
        clock.offset = timedelta(seconds=seconds)

    yield move
    clock.offset = timedelta()


@pytest.fixture
def use_master_key() -> Iterator[UseMasterKey]:
    """Set another master key in this process until the test ends."""
    with pytest.MonkeyPatch.context() as environment:

        def use(key: bytes) -> None:
            environment.setenv("IDP_MASTER_KEY", base64.urlsafe_b64encode(key).decode())
            settings.cache_clear()
            vault.master_key.cache_clear()

        yield use
    settings.cache_clear()
    vault.master_key.cache_clear()
