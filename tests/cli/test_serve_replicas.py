"""Several servers on one database: they may start at the same time, and act as one."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import asyncpg
import httpx
import pytest

from tests.conftest import MASTER_KEY
from tests.support.postgres import Cluster
from tests.support.server import Server

REPLICAS = 5


@pytest.fixture
async def empty(cluster: Cluster) -> str:
    """A database without tables."""
    return await cluster.create_database(template=None)


async def _fetch(dsn: str, query: str) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(dsn)
    try:
        rows: list[asyncpg.Record] = await connection.fetch(query)
        return rows
    finally:
        await connection.close()


async def test_replicas_that_start_at_once(
    start_server: Callable[..., Server], empty: str, http: httpx.AsyncClient
) -> None:
    """All come up, with one signing key between them, and every migration was applied once."""
    servers = [start_server(wait=False, IDP_DATABASE_URL=empty) for _ in range(REPLICAS)]
    for server in servers:
        await asyncio.to_thread(server.wait_until_ready)
    jwks = [(await http.get(f"{server.url}/.well-known/jwks.json")).content for server in servers]
    assert len(set(jwks)) == 1
    assert len(await _fetch(empty, "SELECT kid FROM signing_key")) == 1
    applied = [row["name"] for row in await _fetch(empty, "SELECT name FROM migration")]
    assert len(applied) == len(set(applied)) > 0
    for server in servers:
        assert await asyncio.to_thread(server.stop) == 0
        assert "error" not in server.log
        assert "Traceback" not in server.log


async def test_development_mode_starts_twice(tmp_path: Path, empty: str) -> None:
    """On one database, and then the sample data is there once."""
    settings = {"IDP_DATABASE_URL": empty, "IDP_MASTER_KEY": MASTER_KEY}
    first = Server(tmp_path / "first", "--dev", **settings)
    assert first.stop() == 0
    second = Server(tmp_path / "second", "--dev", **settings)
    assert second.stop() == 0
    assert len(await _fetch(empty, "SELECT id FROM users")) == 1
