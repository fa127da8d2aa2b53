"""Request coalescing: one run of a statement serves many concurrent requests.

While a statement runs, further requests for it queue, and its next run serves all of them: one round trip and one
commit for many (docs/decisions/0026-requests-share-statements.md). A request without concurrent ones does not wait.
"""

import asyncio
from collections.abc import Iterable
from typing import Any, NamedTuple

import asyncpg

from idp.infra.db import citus
from idp.infra.db.connections import HeldConnections
from idp.infra.db.engine import engine, fetch, lines
from idp.infra.db.named_queries import in_order
from idp.infra.db.outages import outage
from idp.infra.request_context import span
from idp.infra.tracing import spans

#: Maximum concurrent runs of one statement in a process: one is answered while the next one starts.
MAX_RUNS = 2
#: Maximum number of requests that share one run.
MAX_SHARING = 64

Values = tuple[Any, ...]
Row = dict[str, Any]


class CoalescedQuery:
    """A statement that serves many requests. Each gets at most one row.

    It reads the values of the requests from a table ``asked``, one row per request, and returns with each row the
    ``number`` of its request. The result for one request must not depend on the others.

    Args:
        columns: the columns of ``asked`` with their types, such as ``jti uuid, scope text``. Arrays are not allowed.
            Requests are sorted by the first column, so that two runs lock rows in the same order (no deadlock).
        text: begins with ``WITH`` or ``SELECT``.
    """

    def __init__(self, columns: str, text: str) -> None:
        types = dict(column.split() for column in columns.split(","))
        self.names = tuple(types)
        # Subqueries keep the plan independent of the number of requests, so that PostgreSQL can cache it.
        arrays = ", ".join(f"(SELECT ${number}::{kind}[])" for number, kind in enumerate(types.values(), start=1))
        asked = f"SELECT * FROM unnest({arrays}) WITH ORDINALITY AS asked ({', '.join(types)}, number)"  # noqa: S608
        first, _, rest = text.strip().partition(" ")
        rest = f"{', ' if first == 'WITH' else f' {first} '}{rest}"
        #: The text in PostgreSQL's syntax.
        self.text = f"WITH asked AS MATERIALIZED ({asked}){rest}"
        #: The text for one request on Citus.
        self.single = citus.for_one(types, rest)
        self._queue: _Queue | None = None

    async def fetchrow(self, **values: Any) -> Row | None:
        """Run the statement, perhaps for other requests too, and return the row of this one. Needs a value per column.

        Inside a transaction it runs there and is not shared. On Citus it is not shared either: the requests of several
        users would concern all nodes.
        """
        request = in_order(self.names, values)
        if lines().distributed:
            return _by_number(await fetch(self.single, *request)).get(1)
        if engine.current_transaction.get() is not None:
            return _by_number(await fetch(self.text, *([value] for value in request))).get(1)
        pool = lines()
        if self._queue is None or self._queue.pool is not pool:
            # A closed pool has no waiting requests.
            self._queue = _Queue(self.text, pool)
        return await self._queue.ask(request)


def _by_number(rows: Iterable[asyncpg.Record]) -> dict[int, Row]:
    found = [dict(row) for row in rows]
    return {row.pop("number"): row for row in found}


class _Request(NamedTuple):
    """The values of a request, its future row, and the span in which it waits."""

    values: Values
    answer: asyncio.Future[Row | None]
    span: "spans.Span | None"


class _Queue:
    """The queued requests for one statement on one pool."""

    def __init__(self, statement: str, pool: HeldConnections) -> None:
        self.pool = pool
        self._statement = statement
        self._waiting: list[_Request] = []
        self._runs: set[asyncio.Task[None] | None] = set()

    async def ask(self, values: Values) -> Row | None:
        answer: asyncio.Future[Row | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Request(values, answer, span.get()))
        if len(self._runs) < MAX_RUNS:
            # A separate task, so that cancelling the first caller does not cancel the others.
            self._runs.add(asyncio.create_task(self._run()))
        return await answer

    async def _run(self) -> None:
        try:
            while self._waiting:
                requests, self._waiting = self._waiting[:MAX_SHARING], self._waiting[MAX_SHARING:]
                await self._answer(requests)
        finally:
            # Here and not when the task is done: a request that arrives in between would start no run.
            self._runs.discard(asyncio.current_task())

    async def _answer(self, requests: list[_Request]) -> None:
        try:
            requests.sort(key=lambda request: request.values[0])
            with spans.shared([request.span for request in requests]):
                found = _by_number(await self._fetch([request.values for request in requests]))
        except Exception as error:
            if len(requests) > 1 and _was_refused(error):
                # One request may have caused the error. It must not fail the others.
                await asyncio.gather(*(self._answer([request]) for request in requests))
            else:
                _fail(requests, error)
        else:
            for number, request in enumerate(requests, start=1):
                if not request.answer.done():
                    request.answer.set_result(found.get(number))

    async def _fetch(self, asked: list[Values]) -> list[asyncpg.Record]:
        async with self.pool.line() as line:
            rows, _ = await line.fetch(self._statement, tuple(zip(*asked, strict=True)))
        return rows


def _was_refused(error: Exception) -> bool:
    """Return whether nothing was changed and each request may succeed alone.

    After a lost connection it is unknown whether something was changed.
    """
    found = outage(error)
    return isinstance(error, asyncpg.PostgresError) and (found is None or not found.discard)


def _fail(requests: list[_Request], error: Exception) -> None:
    for request in requests:
        if not request.answer.done():
            request.answer.set_exception(error)
