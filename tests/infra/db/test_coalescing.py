"""Statements that serve several requests: each gets its own result, and an error of one does not affect others."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import asyncpg
import pytest

from idp.infra.db import engine
from idp.infra.db.coalescing import MAX_RUNS, MAX_SHARING, CoalescedQuery, _Queue
from idp.infra.db.connections import HeldConnections
from idp.infra.db.engine import fetch, fetchrow, transaction
from tests.support.isolated import own_database

__all__ = ["own_database"]

pytestmark = pytest.mark.usefixtures("own_database")

#: For even numbers: half of the number, and the time at which the run began. For zero, it raises an error.
HALF = CoalescedQuery(
    "even int", "SELECT number, 2 / even AS none, even / 2 AS half, now() AS run FROM asked WHERE even % 2 = 0"
)
#: A run takes 0.2 seconds, however many callers share it.
SLOW = CoalescedQuery("name text", "SELECT number, name, now() AS run FROM asked, pg_sleep(0.2)")
PLACE = CoalescedQuery("value int", "SELECT number, number AS place FROM asked")
_REVOKE = """
WITH revoked AS (
    INSERT INTO revoked_access_token (jti, expires_at) SELECT jti, now() FROM asked{slowly}
    ON CONFLICT DO NOTHING RETURNING jti
)
SELECT number, revoked.jti FROM asked JOIN revoked USING (jti)
"""
REVOKE = CoalescedQuery("jti text", _REVOKE.format(slowly=""))
REVOKE_SLOWLY = CoalescedQuery("jti text", _REVOKE.format(slowly=", pg_sleep(1)"))


async def test_each_request_gets_its_own_row() -> None:
    rows = await asyncio.gather(*(HALF.fetchrow(even=even) for even in range(1, 100)))
    assert [row and row["half"] for row in rows] == [even // 2 if even % 2 == 0 else None for even in range(1, 100)]


async def test_requests_share_runs() -> None:
    """The first ones start at once; those that arrive in the meantime share the next run."""
    first = []
    for _ in range(MAX_RUNS):
        first.append(asyncio.create_task(SLOW.fetchrow(name="first")))
        await asyncio.sleep(0.05)
    rows = await asyncio.gather(*(SLOW.fetchrow(name="later") for _ in range(MAX_SHARING)))
    begun = {row["run"] for row in await asyncio.gather(*first) if row}
    assert len(begun) == MAX_RUNS
    assert len({row["run"] for row in rows if row} - begun) == 1
    rows = await asyncio.gather(*(HALF.fetchrow(even=2) for _ in range(MAX_SHARING)))
    assert len({row["run"] for row in rows if row}) == 1
    rows = await asyncio.gather(*(HALF.fetchrow(even=2) for _ in range(MAX_SHARING * 3)))
    assert len({row["run"] for row in rows if row}) == 3


async def test_requests_are_put_in_order() -> None:
    """No two runs lock the same rows in different orders and wait for each other."""
    rows = await asyncio.gather(*(PLACE.fetchrow(value=value) for value in (5, 3, 9)))
    assert [row and row["place"] for row in rows] == [2, 1, 3]


async def test_a_single_request_does_not_wait() -> None:
    async with asyncio.timeout(30):
        for _ in range(20):
            assert await HALF.fetchrow(even=2)


async def test_an_error_of_one_request_does_not_fail_the_others() -> None:
    asked = [2, 0, 4, 0, 6]
    answers = await asyncio.gather(*(HALF.fetchrow(even=even) for even in asked), return_exceptions=True)
    found = [answer["half"] if isinstance(answer, dict) else type(answer) for answer in answers]
    failed = asyncpg.DivisionByZeroError
    assert found == [1, failed, 2, failed, 3]


async def test_a_mistake_is_told_to_all_that_share_a_run() -> None:
    async with asyncio.timeout(30):
        answers = await asyncio.gather(HALF.fetchrow(even=2), HALF.fetchrow(even="two"), return_exceptions=True)
    assert [type(answer) for answer in answers] == [TypeError, TypeError]


async def test_a_cancelled_request_does_not_cancel_the_others() -> None:
    async with asyncio.timeout(30):
        impatient = asyncio.create_task(SLOW.fetchrow(name="impatient"))
        patient = asyncio.create_task(SLOW.fetchrow(name="patient"))
        await asyncio.sleep(0.05)
        impatient.cancel()
        row = await patient
        assert row is not None
        assert row["name"] == "patient"
        assert await SLOW.fetchrow(name="next")


class _Line:
    """A connection on which each statement runs until the test ends it, and returns no rows."""

    def __init__(self) -> None:
        self.running: list[asyncio.Future[None]] = []

    @asynccontextmanager
    async def line(self) -> AsyncIterator["_Line"]:
        yield self

    async def fetch(self, _statement: str, _arguments: tuple[object, ...]) -> tuple[list[asyncpg.Record], str]:
        self.running.append(asyncio.get_running_loop().create_future())
        await self.running[-1]
        return [], "SELECT 0"


async def test_a_request_that_arrives_when_all_runs_end_is_answered() -> None:
    """Each run has seen that nothing waits, and is still counted as a run."""
    line = _Line()
    queue = _Queue("SELECT", cast("HeldConnections", line))
    arrives = asyncio.get_running_loop().create_future()

    async def late() -> object:
        await arrives
        return await queue.ask((0,))

    asked = [asyncio.create_task(late())]
    for number in range(MAX_RUNS):
        asked.append(asyncio.create_task(queue.ask((number,))))
        while len(line.running) <= number:
            await asyncio.sleep(0)
    for ends in (*line.running, arrives):
        ends.set_result(None)
    async with asyncio.timeout(30):
        while len(line.running) == MAX_RUNS:
            await asyncio.sleep(0.001)
        line.running[-1].set_result(None)
        assert await asyncio.gather(*asked) == [None] * len(asked)


async def test_of_equal_requests_one_gets_the_row() -> None:
    rows = await asyncio.gather(*(REVOKE.fetchrow(jti=jti) for jti in ["a", "b", "a", "a"]))
    assert len([row for row in rows if row and row["jti"] == "b"]) == 1
    assert await fetchrow("SELECT count(*) FROM revoked_access_token") == (2,)


async def _revoke_and_fail() -> None:
    async with transaction():
        assert await REVOKE.fetchrow(jti="a")
        raise ZeroDivisionError


async def test_inside_a_transaction_it_is_part_of_that() -> None:
    with pytest.raises(ZeroDivisionError):
        await _revoke_and_fail()
    assert await fetch("SELECT FROM revoked_access_token") == []


async def test_a_plan_serves_any_number_of_requests() -> None:
    """Otherwise each run would be planned again, which costs more than the run."""
    one = await fetch("EXPLAIN " + HALF.text.replace("$1", "ARRAY[2]"))
    many = await fetch("EXPLAIN " + HALF.text.replace("$1", "ARRAY[2, 4, 6]"))
    assert one == many


async def test_a_statement_with_unknown_result_is_not_repeated() -> None:
    """A connection is lost during a run: all requests of the run fail, and PostgreSQL completes it."""
    async with asyncio.timeout(20):
        sharing = [asyncio.create_task(REVOKE_SLOWLY.fetchrow(jti=jti)) for jti in "abc"]
        await asyncio.sleep(0.2)
        for holder in engine.lines()._pool._holders:
            if holder._con is not None:
                holder._con._transport.abort()
        answers = await asyncio.gather(*sharing, return_exceptions=True)
        assert [type(answer) for answer in answers] == [asyncpg.ConnectionDoesNotExistError] * 3
        while await fetchrow("SELECT count(*) FROM revoked_access_token") != (3,):
            await asyncio.sleep(0.1)
        assert await HALF.fetchrow(even=2)


async def test_a_pool_that_is_closed_leaves_nothing_to_the_next() -> None:
    assert await HALF.fetchrow(even=2)
    await engine.close_pool()
    with pytest.raises(engine.DatabaseUnavailableError):
        await HALF.fetchrow(even=2)
    await engine.open_pool(4)
    assert await HALF.fetchrow(even=2)


async def test_its_columns_are_named() -> None:
    with pytest.raises(TypeError, match="odd"):
        await HALF.fetchrow(even=2, odd=1)
