"""Stops a migration that blocks the writers of a table for too long.

A lock is held until the end of the transaction, so a migration that takes a strong lock and then works for a minute
stops every request on that table for a minute. `idp db rehearse` finds that before (docs/upgrades.md).
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from idp.errors import OperatorError
from idp.infra.db.engine import engine, fetch, fetchrow

#: Longest time for which a migration may block the writers of a table.
LIMIT_SECONDS = 2.0
#: Interval at which the locks are read.
LOOK_SECONDS = 0.2
#: Modes that conflict with writing (PostgreSQL documentation, table 13.2), weakest first.
BLOCKING_MODES = ("ShareLock", "ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock")

# Tables that the transaction itself created are not visible here.
_FIND_BLOCKED = """
SELECT DISTINCT relname AS name FROM pg_locks JOIN pg_class ON pg_class.oid = relation
WHERE pid = $1 AND granted AND mode = ANY($2) AND relkind IN ('r', 'p')
AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


class BlockedTooLongError(OperatorError):
    """A migration blocked the writers of a table for too long. The transaction must be rolled back.

    Attributes:
        table: the name of one such table.
    """

    def __init__(self, table: str) -> None:
        super().__init__(f"The table {table} was blocked for too long.")
        self.table = table


@asynccontextmanager
async def limited() -> AsyncIterator[None]:
    """Limit the time for which the statements inside may block the writers of a table. They run on one connection.

    Raises:
        BlockedTooLongError: it was too long. The statement that ran is cancelled.
    """
    row = await fetchrow("SELECT pg_backend_pid() AS pid")
    assert row is not None  # noqa: S101 -- the statement always returns a row
    watch: asyncio.Task[str] | None = None
    try:
        async with asyncio.timeout(None) as limit:
            watch = asyncio.create_task(_watch(row["pid"], limit))
            try:
                yield
            finally:
                watch.cancel()
                await asyncio.wait([watch])
    except TimeoutError as error:
        if watch is None or not limit.expired():
            raise
        raise BlockedTooLongError(watch.result()) from error


async def _watch(pid: int, limit: asyncio.Timeout) -> str:
    """End the limit when one table was blocked for too long, and return its name."""
    # A connection of the pool, and not the one that is watched.
    engine.current_transaction.set(None)
    since: dict[str, float] = {}
    while True:
        now = asyncio.get_running_loop().time()
        rows = await fetch(_FIND_BLOCKED, pid, BLOCKING_MODES)
        since = {row["name"]: since.get(row["name"], now) for row in rows}
        for table, began in since.items():
            if now - began >= LIMIT_SECONDS:
                limit.reschedule(now)
                return table
        await asyncio.sleep(LOOK_SECONDS)
