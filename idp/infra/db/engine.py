"""The connection to PostgreSQL: one engine and one pool per process.

Tables and most queries go through Piccolo. The few hot statements go directly to asyncpg by :func:`fetchrow`,
:func:`fetch` and :func:`execute`, on held connections (:mod:`idp.infra.db.connections`). Both take part in a
transaction opened with :func:`transaction`.
"""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import Any, cast

import asyncpg
from piccolo.engine.postgres import PostgresEngine, PostgresTransaction
from piccolo.querystring import QueryString

from idp.infra.db import citus, outages
from idp.infra.db.connections import STATEMENTS, HeldConnection, HeldConnections, in_transaction, renew, text_of
from idp.infra.db.dsn import connect_options
from idp.infra.db.hosts import connect
from idp.infra.db.outages import DatabaseClosedError, DatabaseUnavailableError
from idp.infra.tracing import spans
from idp.settings import settings

#: Checks the authority for the changes of the current request. Called first in each of its transactions, it locks what
#: must stay true until the commit, and raises an error to refuse
#: (docs/decisions/0029-authority-is-part-of-the-change.md).
authority: ContextVar[Callable[[], Awaitable[None]] | None] = ContextVar("authority", default=None)


def begin_with(lock: Callable[[], Awaitable[object]]) -> None:
    """Begin each later transaction of the request with a lock, before the check of :data:`authority`."""
    before = authority.get()

    async def both() -> None:
        await lock()
        if before is not None:
            await before()

    authority.set(both)


class _Engine(PostgresEngine):
    """Piccolo's engine without the connection that it makes when it is created: importing must not connect."""

    async def check_version(self) -> None: ...

    async def prep_database(self) -> None: ...

    async def run_querystring(self, querystring: QueryString, in_pool: bool = True) -> Any:
        if self.current_transaction.get() is not None or not _needs_authority(str(querystring)):
            return await super().run_querystring(querystring, in_pool)
        async with transaction():
            return await super().run_querystring(querystring, in_pool)

    #: The held connections of the open pool, which :func:`fetchrow`, :func:`fetch` and :func:`execute` use.
    lines: HeldConnections | None = None

    async def get_new_connection(self) -> Any:
        return await _connect(self.config)

    async def _run_in_pool(self, query: str, args: Sequence[Any] | None = None) -> Any:
        if self.lines is not None:
            self.lines.require_answers()
        try:
            return await super()._run_in_pool(query, args)
        except OSError as error:
            raise DatabaseUnavailableError("PostgreSQL cannot be reached.") from error
        except asyncpg.PostgresError as error:
            if self.lines is not None:
                await self.lines.after(error)
            raise


engine = _Engine(config={})


async def _connect(config: dict[str, Any]) -> Any:
    """Open a connection outside of the pool.

    Raises:
        DatabaseUnavailableError: PostgreSQL cannot be reached.
    """
    try:
        return await connect(**config)
    except OSError as error:
        raise DatabaseUnavailableError("PostgreSQL cannot be reached.") from error


class _Connection(asyncpg.Connection):  # type: ignore[misc]
    """A connection that returns to the pool without the round trip of a reset, because no setting outlives a
    transaction.

    Piccolo's statements run by :meth:`fetch`, transactions begin and end by :meth:`execute`.
    """

    def get_reset_query(self) -> str:
        # A request cancelled between BEGIN and COMMIT can leave a transaction open.
        return "ROLLBACK" if self.is_in_transaction() else ""

    async def fetch(self, query: str, *args: Any, **options: Any) -> Any:
        started = time.perf_counter()
        try:
            with spans.statement(query):
                return await self._fetch_renewed(query, *args, **options)
        except OSError as error:  # Also TimeoutError
            raise DatabaseUnavailableError("PostgreSQL did not answer.") from error
        finally:
            STATEMENTS.observe(time.perf_counter() - started)

    async def _fetch_renewed(self, query: str, *args: Any, **options: Any) -> Any:
        text = text_of(query)
        try:
            return await self._fetch_on_one_server(text, *args, **options)
        except asyncpg.InvalidCachedStatementError:
            # asyncpg has prepared the same text again, which does not help behind a pooler.
            renew(query, text)
            if self.is_in_transaction():
                raise
            return await self._fetch_on_one_server(text_of(query), *args, **options)

    async def _fetch_on_one_server(self, query: str, *args: Any, **options: Any) -> Any:
        if settings().database_prepared_statements:
            return await super().fetch(query, *args, **options)
        async with in_transaction(self):
            return await super().fetch(query, *args, **options)

    async def execute(self, query: str, *args: Any, **options: Any) -> Any:
        try:
            with spans.statement(query):
                return await super().execute(query, *args, **options)
        except OSError as error:
            raise DatabaseUnavailableError("PostgreSQL did not answer.") from error


def configure(dsn: str) -> None:
    """Set the database that every table and statement uses from now on.

    Raises:
        SettingsError: the URL is malformed.
    """
    engine.config = {
        **connect_options(dsn),
        "connection_class": _Connection,
        "statement_cache_size": 100 if settings().database_prepared_statements else 0,
    }


async def open_pool(size: int) -> None:
    """Connect.

    Raises:
        DatabaseUnavailableError: no connection could be made.
    """
    try:
        await engine.start_connection_pool(min_size=1, max_size=size, connect=connect, command_timeout=30)
        distributed = await _distributed(engine.pool)
    except ValueError as error:
        # The text of the error may quote the password.
        raise DatabaseUnavailableError(
            "PostgreSQL cannot be reached: IDP_DATABASE_URL is not one such as postgresql://user:password@host/database."
        ) from error
    except outages.ERRORS as error:
        named = " See IDP_DATABASE_URL." if settings().database_url is not None else ""
        raise DatabaseUnavailableError(f"PostgreSQL cannot be reached: {str(error).rstrip('.')}.{named}") from error
    engine.lines = HeldConnections(
        engine.pool,
        lifetime=settings().database_connection_lifetime,
        prepared=settings().database_prepared_statements,
        distributed=distributed,
    )


async def _distributed(pool: Any) -> frozenset[str]:
    """Return the tables that are distributed by Citus."""
    if not await pool.fetchval(citus.HAS_CITUS):
        return frozenset()
    return frozenset(await pool.fetchval(citus.DISTRIBUTED_TABLES))


async def close_pool() -> None:
    if engine.lines is not None:
        await engine.lines.close()
        engine.lines = None
    if engine.pool is not None:
        await engine.close_connection_pool()


@asynccontextmanager
async def connected(size: int = 2) -> AsyncIterator[None]:
    """Open a pool for the duration of a block, for commands."""
    await open_pool(size)
    try:
        yield
    finally:
        await close_pool()


class _Transaction(PostgresTransaction):
    """A transaction on a held connection, which Piccolo's queries join."""

    def __init__(self, line: HeldConnection) -> None:
        super().__init__(engine)
        self.line = line
        self.connection = line.connection


@contextmanager
def statements_on(line: HeldConnection) -> Iterator[None]:
    """Send all statements inside, Piccolo's and our own, to a connection that the caller holds."""
    token = engine.current_transaction.set(_Transaction(line))
    try:
        yield
    finally:
        engine.current_transaction.reset(token)


@asynccontextmanager
async def transaction_on(line: HeldConnection) -> AsyncIterator[None]:
    """Open a transaction on a connection that the caller holds."""
    async with line.connection.transaction():
        with statements_on(line):
            yield


@asynccontextmanager
async def transaction() -> AsyncIterator[None]:
    """One transaction for all statements inside, Piccolo's and our own; rolled back if the block raises.

    Inside another transaction it joins that one. It begins with a check of :data:`authority`.
    """
    if engine.current_transaction.get() is not None:
        yield
        return
    async with lines().line() as line, transaction_on(line):
        if (check := authority.get()) is not None:
            await check()
        yield


def in_own_transaction() -> bool:
    """Return whether a transaction is open here, and so a connection is held."""
    return engine.current_transaction.get() is not None


def _needs_authority(statement: str) -> bool:
    """Return whether a single statement needs a transaction with a check of :data:`authority`: the statement may change
    something, and the request has an authority.
    """
    return authority.get() is not None and not statement.lstrip().upper().startswith("SELECT")


@asynccontextmanager
async def long_transaction() -> AsyncIterator[None]:
    """Open a transaction on a separate connection, because those of the pool cancel slow statements."""
    connection = await engine.get_new_connection()
    try:
        async with transaction_on(HeldConnection(connection, distributed=lines().distributed)):
            yield
    finally:
        await connection.close()


class _StatementConnection(_Connection):
    """A connection on which each of Piccolo's statements is sent as one message, outside of transactions.

    Preparing a statement first is another message, which needs a transaction behind a pooler. Returns no rows.
    """

    async def fetch(self, query: str, *args: Any, **options: Any) -> Any:
        await self.execute(query, *args, **options)
        return []


@asynccontextmanager
async def outside_transactions() -> AsyncIterator[None]:
    """Open a separate connection on which Piccolo's statements run outside of transactions, without a time limit.

    Raises:
        DatabaseUnavailableError: PostgreSQL cannot be reached, or did not answer a statement.
    """
    connection = await _connect(engine.config | {"connection_class": _StatementConnection})
    try:
        with statements_on(HeldConnection(connection)):
            yield
    finally:
        await connection.close()


def lines() -> HeldConnections:
    if engine.lines is None:
        raise DatabaseClosedError("The database is not open.")
    return engine.lines


def is_distributed() -> bool:
    """Return whether the tables of users are distributed by Citus."""
    return bool(lines().distributed)


async def _run(statement: str, arguments: tuple[object, ...]) -> tuple[list[asyncpg.Record], str]:
    current = cast(_Transaction | None, engine.current_transaction.get())
    if current is not None:
        return await current.line.fetch(statement, arguments)
    if _needs_authority(statement):
        async with transaction():
            return await _run(statement, arguments)
    async with lines().line() as line:
        return await line.fetch(statement, arguments)


async def fetchrow(statement: str, *arguments: object) -> asyncpg.Record | None:
    """Run one statement and return its first row, if any."""
    rows, _ = await _run(statement, arguments)
    return rows[0] if rows else None


async def fetch(statement: str, *arguments: object) -> list[asyncpg.Record]:
    """Run one statement and return its rows."""
    rows, _ = await _run(statement, arguments)
    return rows


async def fetch_once(statement: str, *arguments: object) -> list[asyncpg.Record]:
    """Run one statement that reads, and whose text is made for one request or which is planned for its values."""
    current = engine.current_transaction.get()
    if current is not None:
        return await cast(_Transaction, current).line.fetch_once(statement, arguments)
    # In a transaction, so that a pooler does not change the connection between the steps.
    async with lines().line() as line, line.connection.transaction():
        return await line.fetch_once(statement, arguments)


async def ping() -> None:
    """Run an empty query, to see whether the database answers.

    Raises:
        DatabaseUnavailableError: it does not.
    """
    await fetchrow("SELECT 1")


async def is_writable() -> bool:
    """Return whether the database accepts writes. A standby does not."""
    row = await fetchrow("SELECT current_setting('transaction_read_only') = 'off' AS writable")
    return row is not None and bool(row["writable"])


async def execute(statement: str, *arguments: object) -> int:
    """Run one statement and return how many rows it changed."""
    _, status = await _run(statement, arguments)
    count = status.rpartition(" ")[2]
    return int(count) if count.isdigit() else 0
