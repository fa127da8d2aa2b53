"""The size of the replay store while values are used and expire: ``python -m bench.replay [ROWS]``.

Ten million values of one minute each are used within an hour of simulated time, by the product's own statement, and the
product's own clean-up runs each minute. The clock of the statements is a table here. For comparison a plain table with
the same rows is cleaned by DELETE and VACUUM.

Bloat is the share of a table and its index that a fresh copy of the same rows would not need.
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch
from uuid import uuid4

from bench.setting import POSTGRES
from idp.infra.db import engine, migrate
from idp.infra.db.embedded import EmbeddedPostgres
from idp.infra.db.engine import execute, fetchrow
from idp.oauth.replay import repository

BEGIN = datetime(2030, 1, 1, tzinfo=UTC)
MINUTES = 60
LIFE = timedelta(minutes=1)
#: Values in one run of the statement, more than :data:`idp.infra.db.coalescing.MAX_SHARING`, to be done sooner.
BATCH = 1000
#: Maximum share of bloat, as for the other tables.
BLOAT_PERCENT = 30

_CLOCK = "(SELECT at FROM bench_clock)"
_PLAIN = """
INSERT INTO plain (key, expires_at) SELECT * FROM unnest($1::uuid[], $2::timestamptz[]) ON CONFLICT DO NOTHING
"""


class Size(NamedTuple):
    """The size of a table with its index, in MB, and that of a fresh copy."""

    rows: int
    megabytes: float
    dense: float

    @property
    def bloat(self) -> float:
        return 100 * (1 - self.dense / self.megabytes) if self.megabytes else 0.0

    def __str__(self) -> str:
        sizes = f"{self.megabytes:8.1f} MB  fresh copy {self.dense:8.1f} MB"
        return f"{self.rows:>10,} rows  {sizes}  bloat {self.bloat:3.0f} %"


def _by_table(statement: str) -> str:
    return statement.replace("clock_timestamp()", _CLOCK).replace("now()", _CLOCK)


async def _turn_to(moment: datetime) -> None:
    await execute("UPDATE bench_clock SET at = $1", moment)


async def size(table: str, *, partitioned: bool = False) -> Size:
    """Measure a table, and a fresh copy of its rows with its indexes."""
    parts = [f"{table}_{n}" for n in range(repository.SLOTS)] if partitioned else [table]
    rows, actual, dense = 0, 0.0, 0.0
    for part in parts:
        await execute(f"CREATE TABLE fresh (LIKE {part} INCLUDING ALL)")
        rows += await execute(f"INSERT INTO fresh SELECT * FROM {part} ORDER BY key")
        await execute("REINDEX TABLE fresh")
        actual, dense = actual + await _megabytes(part), dense + await _megabytes("fresh")
        await execute("DROP TABLE fresh")
    return Size(rows, actual, dense)


async def _megabytes(table: str) -> float:
    row = await fetchrow("SELECT pg_total_relation_size($1::text::regclass) AS size", table)
    return float(row["size"]) / 1e6 if row is not None else 0.0


async def _use(statement: str, number: int, moment: datetime) -> None:
    await _turn_to(moment)
    while number > 0:
        batch = min(BATCH, number)
        await execute(statement, [uuid4() for _ in range(batch)], [moment + LIFE] * batch)
        number -= batch


async def _delete(moment: datetime) -> None:
    await execute("DELETE FROM plain WHERE expires_at < $1", moment)
    await execute("VACUUM plain")


async def simulate(rows: int, statement: str, clean: Callable[[datetime], Awaitable[None]]) -> None:
    """Use so many values in :data:`MINUTES` minutes, cleaning after each."""
    for minute in range(MINUTES):
        moment = BEGIN + timedelta(minutes=minute)
        await _use(statement, rows // MINUTES, moment)
        await clean(moment)


async def _make_clock() -> None:
    await execute("CREATE TABLE bench_clock (at timestamptz NOT NULL)")
    await execute("INSERT INTO bench_clock VALUES (now())")


async def product(rows: int) -> tuple[Size, Size]:
    """Return the size of the replay store at the end of the hour, and when all values have expired."""
    await _make_clock()

    async def empty(moment: datetime) -> None:
        await repository.empty_past_slots()

    with patch.object(repository, "_PAST", _by_table(repository._PAST)):
        await simulate(rows, _by_table(repository._USE.text), empty)
        at_the_end = await size("used_jwt", partitioned=True)
        for slot in range(repository.SLOTS):
            await _turn_to(BEGIN + timedelta(hours=2, seconds=slot * repository.SLOT))
            await repository.empty_past_slots()
        return at_the_end, await size("used_jwt", partitioned=True)


async def plain(rows: int) -> tuple[Size, Size]:
    """Return the sizes of a plain table, at the same moments. Call it after :func:`product`."""
    await execute("CREATE TABLE plain (key uuid PRIMARY KEY, expires_at timestamptz NOT NULL)")
    await execute("CREATE INDEX ON plain (expires_at)")
    await simulate(rows, _PLAIN, _delete)
    at_the_end = await size("plain")
    await _delete(BEGIN + timedelta(hours=2))
    return at_the_end, await size("plain")


async def _main(rows: int) -> None:
    with (
        tempfile.TemporaryDirectory(prefix="idp-bench-") as folder,
        EmbeddedPostgres.start(Path(folder) / "postgres", options=POSTGRES) as postgres,
    ):
        engine.configure(postgres.dsn)
        async with engine.connected(2):
            await migrate.upgrade()
            for name, measure in (("replay store", product), ("plain table", plain)):
                started = time.perf_counter()
                at_the_end, later = await measure(rows)
                print(f"{name}, {time.perf_counter() - started:.0f} s", at_the_end, f"expired: {later}", sep="\n  ")


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1]) if sys.argv[1:] else 10_000_000))
