"""Held connections: statements are prepared once, no state is left behind, and every wait has a limit."""

import asyncio
import socket
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from urllib.parse import urlsplit

import asyncpg
import pytest

from idp.infra.db import connections as lines_module
from idp.infra.db import engine
from idp.infra.db.connections import HeldConnection
from idp.infra.db.dsn import connect_options
from idp.infra.db.engine import (
    close_pool,
    execute,
    fetch,
    fetchrow,
    lines,
    long_transaction,
    outside_transactions,
    transaction,
)
from idp.infra.db.outages import DatabaseUnavailableError
from idp.infra.db.tables import Revision
from tests.support.isolated import own_database
from tests.support.postgres import Cluster

__all__ = ["own_database"]

pytestmark = pytest.mark.usefixtures("own_database")

PID = "SELECT pg_backend_pid() AS pid"


async def test_a_statement_is_prepared_once() -> None:
    for _ in range(3):
        await fetchrow("SELECT 1 + $1::int", 1)
    rows = await fetch("SELECT statement FROM pg_prepared_statements WHERE statement LIKE 'SELECT 1 +%'")
    assert len(rows) == 1


async def test_statements_are_prepared_again_after_a_migration() -> None:
    """A statement that was prepared before works, and in a transaction it works from the next one on."""
    await execute("INSERT INTO revoked_access_token (jti, expires_at) VALUES ('a', now())")
    statement = "SELECT * FROM revoked_access_token WHERE jti = $1"
    before = await fetchrow(statement, "a")
    await execute("ALTER TABLE revoked_access_token ADD COLUMN more int DEFAULT 1")
    after = await fetchrow(statement, "a")
    assert before is not None
    assert after is not None
    assert set(after.keys()) - set(before.keys()) == {"more"}
    await execute("ALTER TABLE revoked_access_token DROP COLUMN more")
    with pytest.raises(asyncpg.InvalidCachedStatementError):
        async with transaction():
            await fetchrow(statement, "a")
    assert await fetchrow(statement, "a") == before


async def test_a_lost_connection_is_replaced() -> None:
    row = await fetchrow(PID)
    assert row is not None
    async with engine.engine.pool.acquire() as other:  # type: ignore[union-attr]
        await other.execute("SELECT pg_terminate_backend($1)", row["pid"])
    async with asyncio.timeout(30):
        for _ in range(100):
            try:
                assert await fetchrow(PID) != row
                break
            except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError):
                """The news had not arrived."""


async def test_one_that_is_in_use_when_all_are_given_back_is_not_kept() -> None:
    """A statement shared by requests may use it, and outlives them. The pool waits for it, and for nothing else."""
    async with lines().line():
        closing = asyncio.create_task(close_pool())
        await asyncio.sleep(0.1)
        assert not closing.done()
    await asyncio.wait_for(closing, 10)


async def _delete_and_linger() -> None:
    async with transaction():
        await execute("DELETE FROM users")
        await fetchrow("SELECT pg_sleep(5)")


async def _insert_and_fail() -> None:
    async with transaction():
        async with transaction():
            await Revision.insert(Revision(topic="x", number=1))
        raise ZeroDivisionError


async def test_a_cancelled_statement_leaves_nothing_behind() -> None:
    for _ in range(30):
        for waiting in (fetchrow("SELECT pg_sleep(5)"), _delete_and_linger()):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(waiting, 0.01)
    left = (
        "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%'"
        " AND pid <> pg_backend_pid()"
    )
    async with asyncio.timeout(30):
        while await fetch(left):
            await asyncio.sleep(0.02)
        assert await fetchrow("SELECT 1") is not None


async def test_many_at_once() -> None:
    """More than there are connections, of either kind, and of both in one transaction."""

    async def one(number: int) -> None:
        await fetchrow("SELECT pg_sleep(0.005)")
        await Revision.count()
        async with transaction():
            await execute("SELECT 1")
            await Revision.insert(Revision(topic=str(number), number=1))
            await fetchrow("SELECT pg_sleep(0.005)")

    async with asyncio.timeout(30):
        await asyncio.gather(*map(one, range(100)))
    assert await Revision.count() == 100


async def test_a_transaction_inside_another_is_part_of_it() -> None:
    with pytest.raises(ZeroDivisionError):
        await _insert_and_fail()
    assert await Revision.count() == 0


async def test_without_a_database() -> None:
    lines, engine.engine.lines = engine.engine.lines, None
    try:
        with pytest.raises(engine.DatabaseUnavailableError):
            await fetchrow("SELECT 1")
    finally:
        engine.engine.lines = lines


@pytest.mark.fault(18)
@pytest.mark.parametrize("how", ["held", "Piccolo's"])
async def test_connections_to_a_server_that_became_read_only_are_replaced(
    cluster: Cluster, own_database: str, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """As after a failover that leaves the old primary running: existing sessions stay read-only, new ones do not."""
    monkeypatch.setattr(lines_module, "EXPIRE_AT_MOST_EVERY", 0.0)
    name = urlsplit(own_database).path.strip("/")
    await cluster.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    await lines().expire()

    async def write() -> None:
        if how == "held":
            await execute("INSERT INTO revision (topic, number) VALUES ('a', 1)")
        else:
            await Revision.insert(Revision(topic="a", number=1))

    with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
        await write()
    await cluster.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = off")
    # Whichever connection it was, all are replaced.
    with suppress(asyncpg.ReadOnlySQLTransactionError):
        await write()
    await execute("DELETE FROM revision")
    await write()


@pytest.mark.fault(18)
async def test_a_connection_is_replaced_at_its_age() -> None:
    before = await fetchrow(PID)
    assert await fetchrow(PID) == before
    lines()._lifetime = 0.0
    after = await fetchrow(PID)
    assert after != before
    lines()._lifetime = 3600.0
    assert await fetchrow(PID) == after


BLOCKS = pytest.mark.parametrize("block", [transaction, long_transaction, outside_transactions])
Block = Callable[[], AbstractAsyncContextManager[None]]


@BLOCKS
async def test_an_error_of_the_disk_is_none_of_the_database(block: Block) -> None:
    """File access in a block may fail too. Only errors of the database mean that the database is unavailable."""
    with pytest.raises(FileNotFoundError):
        async with block():
            raise FileNotFoundError


@BLOCKS
async def test_a_connection_that_breaks_in_a_block(block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    async def breaks(*_: object, **__: object) -> None:
        raise ConnectionResetError

    async with AsyncExitStack() as stack:
        await stack.enter_async_context(block())
        with monkeypatch.context() as broken:
            broken.setattr(asyncpg.Connection, "execute", breaks)
            broken.setattr(asyncpg.Connection, "fetch", breaks)
            with pytest.raises(DatabaseUnavailableError):
                await Revision.raw("SELECT 1")


@pytest.mark.parametrize("block", [long_transaction, outside_transactions])
async def test_a_block_without_a_database(block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        dsn = f"postgresql://idp@127.0.0.1:{closed.getsockname()[1]}/idp"
        monkeypatch.setattr(engine.engine, "config", engine.engine.config | connect_options(dsn))
        with pytest.raises(DatabaseUnavailableError):
            async with block():
                pytest.fail("It was entered.")


@pytest.mark.fault(41)
async def test_the_wait_for_a_connection_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines_module, "WAIT_SECONDS", 0.05)
    async with AsyncExitStack() as held:
        for _ in range(8):  # all but a quarter of ten
            await held.enter_async_context(lines().line())
        for _ in range(3):
            with pytest.raises(DatabaseUnavailableError, match="in use"):
                await fetchrow(PID)
    assert await fetchrow(PID) is not None


class _FailsOnce:
    """A connection whose first statement ends with an error."""

    def __init__(self, error: Exception, *, transaction: bool = False) -> None:
        self.errors = [error]
        self.transaction = transaction

    def is_in_transaction(self) -> bool:
        return self.transaction

    async def prepare(self, text: str) -> "_FailsOnce":
        return self

    async def fetch(self, *_: object) -> list[asyncpg.Record]:
        if self.errors:
            raise self.errors.pop()
        return []

    def get_statusmsg(self) -> str:
        return "SELECT 0"


@pytest.mark.fault(41)
async def test_a_statement_that_lost_a_deadlock_is_run_again() -> None:
    """Nothing of it was committed, so a single statement succeeds in the end; a transaction is left to its caller."""
    failing = _FailsOnce(asyncpg.DeadlockDetectedError("deadlock detected"))
    assert await HeldConnection(failing).fetch("SELECT 1", ()) == ([], "SELECT 0")
    failing = _FailsOnce(asyncpg.DeadlockDetectedError("deadlock detected"), transaction=True)
    with pytest.raises(asyncpg.DeadlockDetectedError):
        await HeldConnection(failing).fetch("SELECT 1", ())
