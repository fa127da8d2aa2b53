"""The environment of the benchmarks: a separate PostgreSQL, clients and keys, and the product on it."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

from bench import product, sample
from bench.figures import Bench
from idp.infra.db import engine, migrate
from idp.infra.db.embedded import EmbeddedPostgres
from idp.keys import lifecycle, root_key
from idp.keys.key_set import key_set
from idp.oauth.clients.registry import registry

#: PostgreSQL as configured for a machine with a few GiB. Commits are durable.
POSTGRES = {
    "shared_buffers": "512MB",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
    "wal_compression": "on",
    "max_connections": "100",
}
#: Connections of this process.
POOL = 4


@asynccontextmanager
async def prepared(port: int, seconds: float, rounds: int) -> AsyncIterator[Bench]:
    """Prepare everything that a figure needs, for the duration of a block.

    Args:
        port: the port of the product, from :func:`bench.product.run`.
    """
    with tempfile.TemporaryDirectory(prefix="idp-bench-") as name:
        folder = Path(name)
        with EmbeddedPostgres.start(folder / "postgres", options=POSTGRES) as postgres:
            engine.configure(postgres.dsn)
            async with engine.connected(POOL):
                people = await _set_up()
                await engine.execute("CREATE TABLE bench_commit (id bytea PRIMARY KEY, value bytea NOT NULL)")
                with product.running(folder, postgres.dsn, port=port) as running:
                    yield Bench(folder, postgres.dsn, running, people, seconds, rounds)


@asynccontextmanager
async def beside(bench: Bench, **settings: str) -> AsyncIterator[Bench]:
    """Run another server on an empty database of the same PostgreSQL, to measure in turn with the first one.

    Call :func:`turn_to` before each measurement. This process uses the empty database at first.

    Args:
        settings: of that server.
    """
    await engine.execute("CREATE DATABASE bench_empty")
    dsn = urlsplit(bench.dsn)._replace(path="/bench_empty").geturl()
    await _connect(dsn)
    people = await _set_up()
    with product.running(bench.folder, dsn, port=bench.product.other_port, **settings) as running:
        yield Bench(bench.folder, dsn, running, people, bench.seconds, bench.rounds)
    await turn_to(bench)
    await engine.execute("DROP DATABASE bench_empty")


async def turn_to(bench: Bench) -> None:
    """Use the database of this product from now on."""
    await _connect(bench.dsn)
    await root_key.unlock()


async def _connect(dsn: str) -> None:
    await engine.close_pool()
    engine.configure(dsn)
    await engine.open_pool(POOL)


async def _set_up() -> sample.Sample:
    await migrate.upgrade()
    await root_key.unlock()
    await lifecycle.ensure_signing_key("RS256")
    people = await sample.prepare()
    await key_set.load()
    await registry.load()
    return people
