"""Deletes rows that expire, in small batches with pauses for requests and for autovacuum.

A repository declares its tables with rows that expire in a tuple ``EXPIRING``. :mod:`idp.housekeeping` cleans them.

No other commits do without a wait for the disk and for standbys: a row that comes back after a crash is still expired,
and is deleted again. It would stay locked as long as the wait.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from piccolo.columns import Column
from piccolo.table import Table

from idp.infra.db.engine import execute, fetch, fetchrow

#: Maximum number of rows of one table in a round. They are found by one statement, which locks nothing.
ROUND = 2000
#: Maximum and initial number of rows of one DELETE. They stay locked until it ends.
BATCH, FIRST_BATCH = 100, 25
#: Target duration of one DELETE, in seconds: after a slower one the next batch is smaller.
LOCKED_SECONDS = 0.01
#: Length of a pause as a multiple of the work before it, so that requests have priority on the disk and the indexes.
PAUSE = 2
#: A table with more dead rows than both, a number and a part of its rows, is not cleaned until autovacuum has removed
#: them. Autovacuum begins at 2 % (migrations/m0001_first_schema.sql).
MAX_DEAD, MAX_DEAD_PART = 10_000, 0.05
BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)

#: True. From now on to its end, the transaction does not wait for the disk.
_LAZILY = "(SELECT set_config('synchronous_commit', 'off', true)) = 'off'"

#: The values of the key columns of a row.
Key = tuple[object, ...]


def _nothing() -> int:
    return 0


class Expiring(NamedTuple):
    """A table whose rows expire.

    Attributes:
        kept: how long a row is kept after expiry, as an interval of PostgreSQL.
        key: the columns of the primary key, if there are several.
        expiry: the column with the time of expiry.
        further: returns additional seconds for which a row is kept.
        unless: a condition on the row ``t`` under which it is kept.
    """

    table: type[Table]
    kept: str
    key: tuple[str, ...] = ()
    expiry: str = "expires_at"
    further: Callable[[], int] = _nothing
    unless: str = ""

    @property
    def name(self) -> str:
        """The name of the table in SQL."""
        return self.table._meta.tablename

    @property
    def find(self) -> str:
        """Return the statement that finds the oldest expired rows. $1: the end of the previous round, before which
        deleted rows still fill the index.
        """
        # Without the order, PostgreSQL may read the whole table.
        return (
            f"SELECT {self._keys('t')}, t.{self.expiry} AS expired_at FROM {self.name} AS t"  # noqa: S608
            f" WHERE {self._expired} AND t.{self.expiry} >= $1 ORDER BY t.{self.expiry} LIMIT {ROUND}"
        )

    @property
    def delete(self) -> str:
        """Return the statement that deletes expired rows, skipping locked ones. Its commit does not wait for the disk.
        $1, $2, …: the values of each key column.
        """
        arrays = ", ".join(f"${at}::{column.column_type}[]" for at, column in enumerate(self._columns, start=1))
        return (
            f"WITH old AS MATERIALIZED (SELECT {self._keys('t')} FROM unnest({arrays}) AS k ({self._keys()})"  # noqa: S608
            f" JOIN {self.name} AS t ON ({self._keys('t')}) = ({self._keys('k')})"
            f" WHERE {_LAZILY} AND {self._expired} FOR UPDATE OF t SKIP LOCKED)"
            f" DELETE FROM {self.name} AS t USING old WHERE ({self._keys('t')}) = ({self._keys('old')})"
            f" AND {self._expired}"
        )

    @property
    def _expired(self) -> str:
        expired = f"t.{self.expiry} < now() - interval '{self.kept}'"
        if further := self.further():
            expired += f" - interval '{further} seconds'"
        return f"{expired} AND NOT ({self.unless})" if self.unless else expired

    @property
    def _columns(self) -> list[Column]:
        meta = self.table._meta
        return [meta.get_column_by_name(name) for name in self.key] or [meta.primary_key]

    def _keys(self, alias: str = "") -> str:
        prefix = f"{alias}." if alias else ""
        return ", ".join(prefix + column._meta.db_column_name for column in self._columns)


# By the statistics that autovacuum reads. If it is off, nothing would end the wait.
_WAITS_FOR_VACUUM = """
SELECT current_setting('autovacuum') = 'on' AND dead > $2 AND dead > $3::float8 * (dead + live) AS waits
FROM (SELECT pg_stat_get_dead_tuples(t) AS dead, pg_stat_get_live_tuples(t) AS live
      FROM (SELECT to_regclass($1)::oid) AS named (t)) AS statistics
"""

#: Where a round ended in the tables that it did not finish.
_reached: dict[str, datetime] = {}


async def find(table: Expiring) -> tuple[list[Key], datetime | None]:
    """Return the keys of the oldest expired rows, at most ``ROUND``; if there are that many, also the last expiry."""
    rows = await fetch(table.find, _reached.pop(table.name, BEGINNING))
    return [tuple(row.values())[:-1] for row in rows], rows[-1]["expired_at"] if len(rows) == ROUND else None


async def delete(table: Expiring, keys: Sequence[Key]) -> int:
    """Delete the given rows. Returns how many were deleted.

    Not in a transaction with other changes, whose commit would not wait for the disk either.
    """
    return await execute(table.delete, *map(list, zip(*keys, strict=True)))


async def waits_for_vacuum(table: Expiring) -> bool:
    """Return whether a table has so many dead rows that more of them would slow down its statements."""
    row = await fetchrow(_WAITS_FOR_VACUUM, table.name, MAX_DEAD, MAX_DEAD_PART)
    return row is not None and bool(row["waits"])


async def clean(table: Expiring) -> bool:
    """Delete expired rows of a table, up to the maximum, with pauses between batches.

    Returns:
        whether there may be more to delete now.
    """
    if await waits_for_vacuum(table):
        return False
    keys, reached = await find(table)
    size = FIRST_BATCH
    while keys:
        batch, keys = keys[:size], keys[size:]
        started = time.perf_counter()
        if not await delete(table, batch):
            # Another worker is cleaning this table, and would find the same rows.
            return False
        took = time.perf_counter() - started
        size = max(1, size // 2) if took > LOCKED_SECONDS else min(BATCH, 2 * size)
        await asyncio.sleep(PAUSE * took)
    if reached is None:
        return False
    _reached[table.name] = reached
    return True
