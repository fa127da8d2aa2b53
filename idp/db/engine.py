"""The connection to PostgreSQL: one engine, one pool a process.

Tables and everyday queries go through Piccolo; the few hot statements go straight to asyncpg by :func:`fetchrow`
and its kin, on connections that are held (:mod:`idp.db.lines`). Both take part in a transaction opened with
:func:`transaction`.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import asyncpg
from piccolo.engine.postgres import PostgresEngine, PostgresTransaction

from idp.db.lines import Line, Lines


class _Engine(PostgresEngine):
    """Piccolo's engine, less the connection that it makes when it is created: importing must not connect."""

    async def check_version(self) -> None: ...

    async def prep_database(self) -> None: ...

    #: The connections that :func:`fetchrow` and its kin use, of the pool that is open.
    lines: Lines | None = None


engine = _Engine(config={})


class DatabaseUnavailable(Exception):
    """PostgreSQL cannot be reached, or refuses us. The message is one plain sentence."""


class _Connection(asyncpg.Connection):  # type: ignore[misc]
    """A connection given back to the pool without the round trip of a reset: nothing that we set on it outlives us."""

    def get_reset_query(self) -> str:
        # A request cancelled between BEGIN and COMMIT is the one thing that may be left over.
        return "ROLLBACK" if self.is_in_transaction() else ""


def configure(dsn: str) -> None:
    """Name the database that every table and statement uses from now on."""
    engine.config = {"dsn": dsn, "server_settings": {"application_name": "idp"}}


async def open_pool(size: int) -> None:
    """Connect.

    Raises:
        DatabaseUnavailable: no connection could be made.
    """
    try:
        await engine.start_connection_pool(
            min_size=1, max_size=size, connection_class=_Connection, timeout=10, command_timeout=30
        )
        engine.lines = Lines(engine.pool)
    except ValueError as error:
        # The text of the error may quote the password.
        raise DatabaseUnavailable(
            "PostgreSQL cannot be reached: the URL is not one such as postgresql://user:password@host/database."
        ) from error
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise DatabaseUnavailable(f"PostgreSQL cannot be reached: {error}.") from error


async def close_pool() -> None:
    if engine.lines is not None:
        await engine.lines.close()
        engine.lines = None
    if engine.pool is not None:
        await engine.close_connection_pool()


@asynccontextmanager
async def connected(size: int = 2) -> AsyncIterator[None]:
    """A pool for the length of a block: for commands, which live shortly."""
    await open_pool(size)
    try:
        yield
    finally:
        await close_pool()


class _Transaction(PostgresTransaction):
    """A transaction on a line, which Piccolo's queries take part in."""

    def __init__(self, line: Line) -> None:
        super().__init__(engine)
        self.line = line
        self.connection = line.connection


@asynccontextmanager
async def transaction_on(line: Line) -> AsyncIterator[None]:
    """A transaction on a connection that the caller holds."""
    async with line.connection.transaction():
        token = engine.current_transaction.set(_Transaction(line))
        try:
            yield
        finally:
            engine.current_transaction.reset(token)


@asynccontextmanager
async def transaction() -> AsyncIterator[None]:
    """One transaction for all statements inside, Piccolo's and our own; rolled back if the block raises.

    Inside another one it is part of that.
    """
    if engine.current_transaction.get() is not None:
        yield
        return
    async with lines().line() as line, transaction_on(line):
        yield


def lines() -> Lines:
    if engine.lines is None:
        raise DatabaseUnavailable("The database is not open.")
    return engine.lines


async def _run(statement: str, arguments: tuple[object, ...]) -> tuple[list[asyncpg.Record], str]:
    current = cast(_Transaction | None, engine.current_transaction.get())
    if current is not None:
        return await current.line.fetch(statement, arguments)
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


async def execute(statement: str, *arguments: object) -> int:
    """Run one statement and return how many rows it changed."""
    _, status = await _run(statement, arguments)
    count = status.rpartition(" ")[2]
    return int(count) if count.isdigit() else 0
