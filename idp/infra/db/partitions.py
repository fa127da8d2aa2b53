"""Partitions by calendar month or day, for tables whose primary key ``id`` is a UUIDv7.

Such an id begins with its time, so the table is partitioned by its primary key, which stays unique over all partitions.
A period is deleted by dropping its partition instead of deleting its rows (docs/decisions/0049-partitions-by-time.md).

The partition of ``audit_event`` for November 2026 is ``audit_event_202611``. An id of a period without a partition is
in ``audit_event_default``, so no insert fails. The functions change one partition per transaction, under a named lock:
several workers may call them concurrently.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

import asyncpg
import structlog

from idp.errors import OperatorError
from idp.infra.db.engine import execute, fetch, fetchrow, transaction
from idp.infra.db.locks import lock

log = structlog.get_logger()

#: Periods after the current one that have a partition.
AHEAD = 2
#: Maximum wait of a change for transactions that use the table. Others queue behind the change for that long.
LOCK_TIMEOUT_MS = 100
#: Maximum duration of one statement of a change.
STATEMENT_TIMEOUT_MS = 5_000
#: With more rows in the default partition, no partition is created: PostgreSQL would lock and read all of them.
MAX_DEFAULT = 10_000

_BUSY = (asyncpg.LockNotAvailableError, asyncpg.QueryCanceledError, asyncpg.DeadlockDetectedError)

_EXISTING = """
SELECT c.relname AS name FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
WHERE i.inhparent = $1::text::regclass AND c.relname ~ '_[0-9]{6,8}$' ORDER BY c.relname
"""
_COLUMNS = """
SELECT attname AS name FROM pg_attribute WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped
"""


class PartitionBusyError(OperatorError):
    """Other transactions use the table, so the change was not made. It is retried later."""

    def __init__(self, table: str) -> None:
        super().__init__(f"The table {table} is in use, so its partitions were not changed.")


def month_of(moment: datetime) -> datetime:
    """Return the first instant of a month in UTC."""
    return day_of(moment).replace(day=1)


def next_month(month: datetime) -> datetime:
    """Return the first instant of the month after this one."""
    return month.replace(year=month.year + month.month // 12, month=month.month % 12 + 1)


def day_of(moment: datetime) -> datetime:
    """Return the first instant of a day in UTC."""
    return moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def next_day(day: datetime) -> datetime:
    """Return the first instant of the day after this one."""
    return day + timedelta(days=1)


class Period(NamedTuple):
    """The length of the partitions of a table.

    Attributes:
        of: returns the first instant of the period of a moment.
        next: returns that of the period after one.
        format: of the end of a partition's name.
    """

    of: Callable[[datetime], datetime]
    next: Callable[[datetime], datetime]
    format: str

    def name(self, table: str, start: datetime) -> str:
        """Return the name of the partition of a period."""
        return f"{table}_{start:{self.format}}"

    def start(self, name: str) -> datetime:
        """Return the first instant of the period of a partition."""
        return datetime.strptime(name.rpartition("_")[2], self.format).replace(tzinfo=UTC)


MONTHS = Period(month_of, next_month, "%Y%m")
DAYS = Period(day_of, next_day, "%Y%m%d")


async def create_ahead(table: str, now: datetime, period: Period = MONTHS) -> list[str]:
    """Create the partitions of this period and the next ones. Returns the names of those that were missing.

    Their rows in the default partition are moved, unless it has more than :data:`MAX_DEFAULT` rows. Remaining rows are
    logged as a warning.

    Raises:
        PartitionBusyError: other transactions use the table.
    """
    existing, created, start = await existing_partitions(table), [], period.of(now)
    for _ in range(1 + AHEAD):
        name = period.name(table, start)
        if (
            name not in existing
            and await _in_default(table) <= MAX_DEFAULT
            and await _create(table, period, start, writes=start == period.of(now))
        ):
            created.append(name)
            log.info("partition_created", table=name)
        start = period.next(start)
    if left := await _in_default(table):
        log.warning("rows_in_default_partition", table=table, count=left)
    return created


async def drop(
    table: str, until: datetime, keep: Sequence[str], *arguments: object, period: Period = MONTHS
) -> list[str]:
    """Drop the partitions of periods that ended by ``until``. Returns their names.

    Args:
        keep: predicates, each with an index. A partition with a row that satisfies one of them is kept.
        arguments: the values of their parameters.

    Raises:
        PartitionBusyError: other transactions use the table.
    """
    dropped = []
    for name in await existing_partitions(table):
        if period.next(period.start(name)) > until:
            break
        rows = " OR ".join(f"EXISTS (SELECT FROM {name} WHERE {predicate})" for predicate in keep) or "false"
        is_kept = f"SELECT {rows} AS kept"
        # Checked before the lock too, so that a partition that is kept causes no lock.
        try:
            if not await _true(is_kept, arguments) and await _drop(table, name, is_kept, arguments):
                dropped.append(name)
                log.info("partition_dropped", table=name)
        except asyncpg.UndefinedTableError:
            # Another worker has dropped it in the meantime.
            continue
        except asyncpg.InsufficientPrivilegeError:
            log.warning("partition_not_owned", table=name)
    return dropped


def _first_id(moment: datetime) -> UUID:
    """Return the least UUIDv7 of an instant (RFC 9562 section 5.7)."""
    return UUID(int=int(moment.timestamp()) * 1000 << 80)


async def _in_default(table: str) -> int:
    """Return the number of rows in the default partition, at most one more than :data:`MAX_DEFAULT`."""
    row = await fetchrow(f"SELECT count(*) FROM (SELECT FROM {table}_default LIMIT {MAX_DEFAULT + 1}) AS counted")  # noqa: S608
    return int(row["count"]) if row is not None else 0


async def existing_partitions(table: str) -> list[str]:
    """Return the names of the partitions of periods, oldest first."""
    return [row["name"] for row in await fetch(_EXISTING, table)]


@asynccontextmanager
async def _change(table: str) -> AsyncIterator[None]:
    """Open a transaction for a change of the partitions of a table.

    Raises:
        PartitionBusyError: the wait for the table was too long.
    """
    try:
        async with transaction():
            await lock(f"partitions:{table}")
            await execute(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}")
            await execute(f"SET LOCAL statement_timeout = {STATEMENT_TIMEOUT_MS}")
            yield
    except _BUSY as error:
        raise PartitionBusyError(table) from error


async def _create(table: str, period: Period, start: datetime, *, writes: bool) -> bool:
    """Create the partition of a period. Returns False if there is one.

    Args:
        writes: rows of this period may be inserted at this moment.
    """
    # An insert that waits for the default partition would fail when the row belongs to the new one, and a reader would
    # miss the rows that move. Both wait for the table instead, and then find the new partition.
    mode = "ACCESS EXCLUSIVE" if writes else "SHARE UPDATE EXCLUSIVE"
    name, first, end = period.name(table, start), _first_id(start), _first_id(period.next(start))
    async with _change(table):
        if name in await existing_partitions(table):
            return False
        # CREATE … PARTITION OF would lock out all readers, also for a period that has no rows yet.
        await execute(f"CREATE TABLE {name} (LIKE {table} INCLUDING ALL)")
        columns = ", ".join(row["name"] for row in await fetch(_COLUMNS, name))
        await execute(f"LOCK TABLE ONLY {table} IN {mode} MODE")
        await execute(f"LOCK TABLE ONLY {table}_default IN ACCESS EXCLUSIVE MODE")
        await execute(
            f"WITH moved AS (DELETE FROM {table}_default WHERE id >= $1 AND id < $2 RETURNING {columns})"  # noqa: S608
            f" INSERT INTO {name} ({columns}) SELECT {columns} FROM moved",
            first,
            end,
        )
        await execute(f"ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES FROM ('{first}') TO ('{end}')")
    return True


async def _drop(table: str, name: str, is_kept: str, arguments: Sequence[object]) -> bool:
    """Drop a partition, unless another worker did, or rows to keep were written in the meantime."""
    async with _change(table):
        # Nothing is written from here on. DROP would take the same lock.
        await execute(f"LOCK TABLE ONLY {table} IN ACCESS EXCLUSIVE MODE")
        if name not in await existing_partitions(table) or await _true(is_kept, arguments):
            return False
        await execute(f"DROP TABLE {name}")
    return True


async def _true(statement: str, arguments: Sequence[object]) -> bool:
    row = await fetchrow(statement, *arguments)
    return row is not None and bool(row["kept"])
