"""Held connections: kept between statements with their prepared statements.

Acquiring a connection from the pool for one statement and releasing it costs more than the statement itself. So most
connections are acquired once and held here; the rest stay in the pool for Piccolo's queries.

A connection is replaced at the age of ``lifetime`` seconds, and when PostgreSQL is read-only: after a failover the old
primary may still run while the host name or the list of hosts already leads to the new one.
"""

import asyncio
import contextlib
import secrets
import time
from collections.abc import Collection
from typing import Any

import asyncpg

from idp.infra.db import citus
from idp.infra.db.outages import ERRORS, READ_ONLY, DatabaseUnavailableError, outage
from idp.infra.metrics.declared import Gauge, Histogram
from idp.infra.tracing import spans

STATEMENTS = Histogram("idp_database_statement_duration_seconds", "Duration of statements, with their round trip.")
WAIT = Histogram("idp_database_connection_wait_seconds", "Time that statements waited for a connection.")
LEASED = Gauge("idp_database_connections_leased", "Connections that statements and transactions use.", mode="livesum")
LIMIT = Gauge("idp_database_connections_limit", "Connections that may be leased at the same time.", mode="livesum")

#: Maximum number of prepared statements per connection. Fewer are expected; the limit catches mistakes.
MAX_STATEMENTS = 500
#: Minimum seconds between reconnections to a server that stays read-only.
EXPIRE_AT_MOST_EVERY = 1.0
#: Seconds that a statement waits for a connection. All are busy for that long only if PostgreSQL does not respond.
WAIT_SECONDS = 15.0
#: Seconds that a connection may take to cancel a statement. After that it is closed.
RELEASE_SECONDS = 2.0


#: Errors after which the state of a connection is unknown.
_DOUBTS = (asyncio.CancelledError, OSError)

#: For each statement whose prepared form a migration made stale, an equivalent text. A pooler may keep one prepared
#: statement per text, and would use the stale one for the same text.
_renewed: dict[str, str] = {}


def text_of(statement: str) -> str:
    """Return the statement as it is prepared."""
    return _renewed.get(statement, statement)


def renew(statement: str, stale: str) -> None:
    """Prepare a statement with a new text from now on, unless another caller has already renewed the stale one."""
    if text_of(statement) == stale:
        _renewed[statement] = f"{statement} /* {secrets.token_hex(4)} */"


#: Errors after which a statement outside a transaction has changed nothing and is retried once.
REPEATED = (asyncpg.InvalidCachedStatementError, asyncpg.SerializationError, asyncpg.DeadlockDetectedError)

Result = tuple[list[asyncpg.Record], str]


class HeldConnection:
    """One connection.

    Args:
        prepared: whether a statement stays prepared between two uses.
        age: the number of times that the pool had replaced its connections when this one was made.
        distributed: the tables that Citus distributes, if any.
    """

    __slots__ = ("age", "connection", "distributed", "prepared", "statements")

    def __init__(
        self, connection: Any, *, prepared: bool = True, age: int = 0, distributed: Collection[str] = ()
    ) -> None:
        self.connection = connection
        self.prepared = prepared
        self.age = age
        self.distributed = distributed
        #: Prepared statements, each with the text with which it was prepared.
        self.statements: dict[str, tuple[str, Any]] = {}

    async def fetch(self, statement: str, arguments: tuple[object, ...]) -> Result:
        """Run a statement. Returns its rows and its status, such as ``UPDATE 1``.

        Raises:
            DatabaseUnavailableError: PostgreSQL did not respond.
        """
        run, started = self._fetch if self.prepared else self._fetch_unprepared, time.perf_counter()
        try:
            if self.distributed:
                statement, arguments = await self._adapted(statement, arguments)
            with spans.statement(statement):
                try:
                    return await run(statement, arguments)
                except REPEATED as error:
                    if isinstance(error, asyncpg.InvalidCachedStatementError):
                        text, _ = self.statements.pop(statement, (text_of(statement), None))
                        renew(statement, text)
                    if self.connection.is_in_transaction():
                        raise
                    return await run(statement, arguments)
        except OSError as error:  # Also TimeoutError
            raise DatabaseUnavailableError("PostgreSQL did not answer.") from error
        finally:
            STATEMENTS.observe(time.perf_counter() - started)

    async def fetch_once(self, statement: str, arguments: tuple[object, ...]) -> list[asyncpg.Record]:
        """Run a statement whose text is made for one request, in a transaction. It is planned for its arguments, and
        takes no place of those that stay prepared.

        Raises:
            DatabaseUnavailableError: PostgreSQL did not respond.
        """
        try:
            if self.distributed:
                statement, arguments = await self._adapted(statement, arguments)
            with spans.statement(statement):
                return (await self._fetch_unprepared(statement, arguments))[0]
        except OSError as error:
            raise DatabaseUnavailableError("PostgreSQL did not answer.") from error

    async def _adapted(self, statement: str, arguments: tuple[object, ...]) -> tuple[str, tuple[object, ...]]:
        found = citus.adapted(statement, self.distributed)
        if found.clock is None:
            return found.text, arguments
        return found.text, (*arguments, await self.connection.fetchval(found.clock))

    async def _fetch(self, statement: str, arguments: tuple[object, ...]) -> Result:
        found = self.statements.get(statement)
        _, prepared = found or await self._prepare(statement)
        return await prepared.fetch(*arguments), prepared.get_statusmsg()

    async def _prepare(self, statement: str) -> tuple[str, Any]:
        if len(self.statements) >= MAX_STATEMENTS:
            self.statements.clear()
        text = text_of(statement)
        found = self.statements[statement] = text, await self.connection.prepare(text)
        return found

    async def _fetch_unprepared(self, statement: str, arguments: tuple[object, ...]) -> Result:
        async with in_transaction(self.connection):
            prepared = await self.connection.prepare(text_of(statement), name="")
            return await prepared.fetch(*arguments), prepared.get_statusmsg()


def in_transaction(connection: Any) -> Any:
    """Open a transaction if there is none. Parsing and running a statement are two messages, which a pooler sends to
    the same server only within a transaction.
    """
    return contextlib.nullcontext() if connection.is_in_transaction() else connection.transaction()


class HeldConnections:
    """The held connections of one pool.

    Args:
        lifetime: seconds after which a connection is replaced.
        prepared: whether statements stay prepared on the connections.
        distributed: the tables that Citus distributes, if any.
    """

    def __init__(
        self, pool: asyncpg.Pool, *, lifetime: float = 3600, prepared: bool = True, distributed: Collection[str] = ()
    ) -> None:
        self.distributed = distributed
        self._pool = pool
        self._prepared = prepared
        self._free: list[HeldConnection] = []
        self._closed = False
        self._lifetime = lifetime
        #: How often all connections were replaced, and the time of the last replacement.
        self._age = 0
        self._renewed_at = time.monotonic()
        size = pool.get_max_size()
        self._limit = max(1, size - max(1, size // 4))
        self._places = asyncio.Semaphore(self._limit)
        #: The leased connections.
        self._leased: set[HeldConnection] = set()
        #: Whether PostgreSQL does not answer. All statements fail at once then (:mod:`idp.infra.db.silence`).
        self.silent = False

    def read_load(self) -> None:
        """Set the gauges of connections in this worker."""
        LEASED.set(len(self._leased))
        LIMIT.set(self._limit)

    def line(self) -> "_Lease":
        """Lease a connection for the duration of a block."""
        return _Lease(self)

    async def take(self) -> HeldConnection:
        """Lease a free connection, waiting for one if needed.

        Raises:
            DatabaseUnavailableError: no connection could be made, or none became free in time.
        """
        if self._places.locked():
            started = time.perf_counter()
            try:
                with spans.part("wait for a database connection"):
                    async with asyncio.timeout(WAIT_SECONDS):
                        await self._places.acquire()
            except TimeoutError as error:
                raise DatabaseUnavailableError("All connections to PostgreSQL are in use.") from error
            finally:
                WAIT.observe(time.perf_counter() - started)
        else:
            await self._places.acquire()
        try:
            line = await self._connected()
        except OSError as error:
            self._places.release()
            raise DatabaseUnavailableError("PostgreSQL cannot be reached.") from error
        except BaseException:
            self._places.release()
            raise
        self._leased.add(line)
        return line

    async def _connected(self) -> HeldConnection:
        self.require_answers()
        if time.monotonic() - self._renewed_at > self._lifetime:
            await self.expire()
        while self._free:
            line = self._free.pop()
            if line.age == self._age and _open(line):
                return line
            await self._release(line)
        age = self._age
        with spans.part("open a database connection"):
            connection = await self._pool.acquire()
        return HeldConnection(connection, prepared=self._prepared, age=age, distributed=self.distributed)

    async def put_back(self, line: HeldConnection, error: BaseException | None) -> None:
        """Take back a connection from :meth:`take`. If its state is unknown, it goes to the pool, which resets or
        replaces it. After :meth:`close` all go to the pool, because closing the pool waits for them.

        Args:
            error: the error with which its use ended, if any.
        """
        try:
            if error is not None:
                await self.after(error)
            if self._closed or line.age != self._age or (error is not None and _doubtful(line, error)):
                await self._release(line)
            else:
                self._free.append(line)
        finally:
            self._leased.discard(line)
            self._places.release()

    async def after(self, error: BaseException) -> None:
        """Replace all connections if an error says that the server is read-only."""
        if outage(error) is READ_ONLY:
            await self.read_only()

    async def read_only(self) -> None:
        """Replace all connections, because PostgreSQL is read-only, unless that was just done."""
        if time.monotonic() - self._renewed_at > EXPIRE_AT_MOST_EVERY:
            await self.expire()

    async def silence(self) -> None:
        """Fail all statements, those that run and those to come, because PostgreSQL does not answer."""
        self.silent = True
        await self.expire()
        for line in (*self._free, *self._leased):
            # Without waiting for the server, as closing it would. The pool notices it.
            with contextlib.suppress(asyncpg.InterfaceError):
                line.connection.terminate()

    def require_answers(self) -> None:
        """Check that PostgreSQL answers, as far as is known.

        Raises:
            DatabaseUnavailableError: it does not.
        """
        if self.silent:
            raise DatabaseUnavailableError("PostgreSQL does not answer.")

    async def expire(self) -> None:
        """Replace every connection, including those in use and the pool's own, at its next use."""
        self._age += 1
        self._renewed_at = time.monotonic()
        await self._pool.expire_connections()

    async def close(self) -> None:
        """Give all connections back to the pool, those in use when they are released."""
        self._closed = True
        while self._free:
            await self._release(self._free.pop())

    async def _release(self, line: HeldConnection) -> None:
        """Give a connection to the pool. Closes it if it cannot be reset in time."""
        with contextlib.suppress(*ERRORS):
            await self._pool.release(line.connection, timeout=RELEASE_SECONDS)


def _open(line: HeldConnection) -> bool:
    try:
        return not line.connection.is_closed()
    except asyncpg.InterfaceError:  # the pool has already noticed that it is closed
        return False


def _doubtful(line: HeldConnection, error: BaseException) -> bool:
    found = outage(error)
    return isinstance(error, _DOUBTS) or (found is not None and found.discard) or line.connection.is_in_transaction()


class _Lease:
    """A class, because a generator would add some microseconds to every statement."""

    __slots__ = ("_line", "_lines")

    def __init__(self, lines: HeldConnections) -> None:
        self._lines = lines

    async def __aenter__(self) -> HeldConnection:
        self._line = await self._lines.take()
        return self._line

    async def __aexit__(self, _: object, error: BaseException | None, __: object) -> None:
        await self._lines.put_back(self._line, error)
