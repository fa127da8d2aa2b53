"""Connections that are held between statements, with the statements prepared on them.

To lend a connection of the pool for one statement, and to take it back, costs more than the statement itself. So most
connections are borrowed once and kept here; the rest stay in the pool, for Piccolo's queries.
"""

import asyncio
from typing import Any

import asyncpg

#: As many statements are kept prepared on a connection. There are fewer; this only bounds a mistake.
MAX_STATEMENTS = 500


#: What a connection may not be used any more after.
_DOUBTS = (
    asyncio.CancelledError,
    OSError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
)


class Line:
    """One connection."""

    __slots__ = ("connection", "statements")

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.statements: dict[str, Any] = {}

    async def fetch(self, statement: str, arguments: tuple[object, ...]) -> tuple[list[asyncpg.Record], str]:
        """Run a statement. Returns its rows and its status, as ``UPDATE 1``."""
        try:
            prepared = self.statements.get(statement) or await self._prepare(statement)
            return await prepared.fetch(*arguments), prepared.get_statusmsg()
        except asyncpg.InvalidCachedStatementError:
            # A migration changed what the statement returns.
            self.statements.clear()
            if self.connection.is_in_transaction():
                raise
            prepared = await self._prepare(statement)
            return await prepared.fetch(*arguments), prepared.get_statusmsg()

    async def _prepare(self, statement: str) -> Any:
        if len(self.statements) >= MAX_STATEMENTS:
            self.statements.clear()
        found = self.statements[statement] = await self.connection.prepare(statement)
        return found


class Lines:
    """The connections that are held of one pool."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._free: list[Line] = []
        self._closed = False
        size = pool.get_max_size()
        self._places = asyncio.Semaphore(max(1, size - max(1, size // 4)))

    def line(self) -> "_Lent":
        """One to use alone, for the length of a block."""
        return _Lent(self)

    async def take(self) -> Line:
        """One that nobody uses; waits for one."""
        await self._places.acquire()
        try:
            while self._free:
                line = self._free.pop()
                if not line.connection.is_closed():
                    return line
                await self._pool.release(line.connection)
            return Line(await self._pool.acquire())
        except BaseException:
            self._places.release()
            raise

    async def put_back(self, line: Line, error: BaseException | None) -> None:
        """What :meth:`take` gave. It goes back to the pool, which looks after it, if what happened leaves it in doubt.

        So it does once all are given back: the pool ends when it has all.

        Args:
            error: what its use ended with.
        """
        try:
            if self._closed or (
                error is not None and (isinstance(error, _DOUBTS) or line.connection.is_in_transaction())
            ):
                await self._pool.release(line.connection)
            else:
                self._free.append(line)
        finally:
            self._places.release()

    async def close(self) -> None:
        """Give all of them back, those in use as soon as that ends."""
        self._closed = True
        while self._free:
            await self._pool.release(self._free.pop().connection)


class _Lent:
    """A class, because a generator would cost every statement some microseconds."""

    __slots__ = ("_line", "_lines")

    def __init__(self, lines: Lines) -> None:
        self._lines = lines

    async def __aenter__(self) -> Line:
        self._line = await self._lines.take()
        return self._line

    async def __aexit__(self, _: object, error: BaseException | None, __: object) -> None:
        await self._lines.put_back(self._line, error)
