"""Connections that are held between statements, with the statements prepared on them.

To lend a connection of the pool for one statement, and to take it back, costs more than the statement itself. So most
connections are borrowed once and kept here; the rest stay in the pool, for Piccolo's queries.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

#: As many statements are kept prepared on a connection. There are fewer; this only bounds a mistake.
MAX_STATEMENTS = 500


class Line:
    """One connection."""

    __slots__ = ("connection", "statements")

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.statements: dict[str, Any] = {}

    async def fetch(self, statement: str, arguments: tuple[object, ...]) -> tuple[list[asyncpg.Record], str]:
        """Run a statement. Returns its rows and its status, as ``UPDATE 1``."""
        try:
            prepared = await self._prepared(statement)
            return await prepared.fetch(*arguments), prepared.get_statusmsg()
        except asyncpg.InvalidCachedStatementError:
            # A migration changed what the statement returns.
            self.statements.clear()
            if self.connection.is_in_transaction():
                raise
            prepared = await self._prepared(statement)
            return await prepared.fetch(*arguments), prepared.get_statusmsg()

    async def _prepared(self, statement: str) -> Any:
        found = self.statements.get(statement)
        if found is None:
            if len(self.statements) >= MAX_STATEMENTS:
                self.statements.clear()
            found = self.statements[statement] = await self.connection.prepare(statement)
        return found


class Lines:
    """The connections that are held of one pool."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._free: list[Line] = []
        size = pool.get_max_size()
        self._places = asyncio.Semaphore(max(1, size - max(1, size // 4)))

    @asynccontextmanager
    async def line(self) -> AsyncIterator[Line]:
        """One to use alone. It goes back to the pool, which looks after it, if what happens leaves it in doubt."""
        async with self._places:
            line, in_doubt = await self._take(), False
            try:
                yield line
            except (asyncio.CancelledError, OSError, asyncpg.InterfaceError, asyncpg.InternalClientError):
                in_doubt = True
                raise
            finally:
                await self._put_back(line, in_doubt)

    async def _take(self) -> Line:
        while self._free:
            line = self._free.pop()
            if not line.connection.is_closed():
                return line
            await self._pool.release(line.connection)
        return Line(await self._pool.acquire())

    async def _put_back(self, line: Line, in_doubt: bool) -> None:
        if in_doubt or line.connection.is_closed() or line.connection.is_in_transaction():
            await self._pool.release(line.connection)
        else:
            self._free.append(line)

    async def close(self) -> None:
        """Give all of them back."""
        while self._free:
            await self._pool.release(self._free.pop().connection)
