"""The replay store: a value is used once, over all servers, and the table does not outlive the values."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest

from bench import replay as bench
from idp import housekeeping
from idp.infra.db.engine import execute, fetch
from idp.oauth.replay import repository
from idp.oauth.replay.service import use_once

SLOTS = repository.SLOTS
SOON = timedelta(minutes=1)
#: The end of a slot.
BOUNDARY = datetime(2030, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def _now() -> datetime:
    return datetime.now(UTC)


async def _rows() -> int:
    (row,) = await fetch("SELECT count(*) FROM used_jwt")
    return int(row["count"])


async def test_a_value_is_used_once(own_database: str) -> None:
    assert await use_once("dpop", "key", "jti", _now() + SOON)
    assert not await use_once("dpop", "key", "jti", _now() + SOON)
    # Even if another value with the same jti lives longer.
    assert not await use_once("dpop", "key", "jti", _now() + 2 * SOON)


@pytest.mark.parametrize(
    "other", [("dpo", "pa", "b"), ("dpop", "ab", ""), ("dpop", "", "ab"), ("dpop", "a", "B"), ("dpop", "a", "b\0")]
)
async def test_different_values_do_not_collide(own_database: str, other: tuple[str, str, str]) -> None:
    assert await use_once("dpop", "a", "b", _now() + SOON)
    assert await use_once(*other, _now() + SOON)


async def test_any_text_is_accepted(own_database: str) -> None:
    for jti in ("\0", "\ud800", "x" * 100_000):
        assert await use_once("dpop", "a", jti, _now() + SOON)
        assert not await use_once("dpop", "a", jti, _now() + SOON)


async def test_an_expired_value_is_refused_and_not_stored(own_database: str) -> None:
    """By the clock of the database."""
    assert not await use_once("dpop", "a", "b", _now() - SECOND)
    assert await _rows() == 0


async def test_a_value_beyond_the_longest_life_is_refused_and_not_stored(own_database: str) -> None:
    far = timedelta(seconds=repository.MAX_LIFETIME + 2 * repository.SLOT)
    assert not await use_once("dpop", "a", "b", _now() + far)
    assert await _rows() == 0
    assert await use_once("dpop", "a", "b", _now() + timedelta(seconds=repository.MAX_LIFETIME - 5))
    assert await _rows() in (6, 7)


async def test_of_concurrent_uses_one_counts(own_database: str) -> None:
    """They share statements, in which the value occurs several times, beside others."""
    keys = [f"jti{number % 10}" for number in range(200)]
    used = await asyncio.gather(*(use_once("dpop", "a", jti, _now() + SOON) for jti in keys))
    assert sorted(jti for jti, first in zip(keys, used, strict=True) if first) == sorted(set(keys))


class Servers:
    """Two connections with transactions of their own, each at a given time."""

    def __init__(self, *connections: asyncpg.Connection) -> None:
        self.connections = connections

    async def use(self, server: int, key: UUID, expires_at: datetime, now: datetime) -> bool:
        text = repository._USE.text.replace("now()", f"'{now.isoformat()}'::timestamptz")
        return await self.connections[server].fetchrow(text, [key], [expires_at]) is not None


@pytest.fixture
async def servers(own_database: str) -> AsyncIterator[Servers]:
    connections = [await asyncpg.connect(own_database) for _ in range(2)]
    yield Servers(*connections)
    for connection in connections:
        await connection.close()


@pytest.mark.parametrize("kept", [True, False])
async def test_a_use_waits_for_that_of_another_server(servers: Servers, kept: bool) -> None:
    """Nothing is decided by a read: the second one waits until the first one commits, or rolls back."""
    key, now = uuid4(), BOUNDARY
    first = servers.connections[0].transaction()
    await first.start()
    assert await servers.use(0, key, now + SOON, now)
    second = asyncio.create_task(servers.use(1, key, now + SOON, now))
    await _until_waiting(servers.connections[1].get_server_pid())
    await (first.commit() if kept else first.rollback())
    assert await second != kept


async def _until_waiting(pid: int) -> None:
    async with asyncio.timeout(20):
        while not await fetch("SELECT FROM pg_locks WHERE pid = $1 AND NOT granted", pid):
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("first", "second"),
    [*itertools.permutations((-SECOND, timedelta(0), timedelta(minutes=9), timedelta(minutes=11)), 2)],
)
async def test_a_value_that_reaches_into_further_slots(servers: Servers, first: timedelta, second: timedelta) -> None:
    """Two servers use it on two sides of the end of a slot, in either order: a statement can be late."""
    key, expiry = uuid4(), BOUNDARY + timedelta(minutes=30)
    assert await servers.use(0, key, expiry, BOUNDARY + first)
    assert not await servers.use(1, key, expiry, BOUNDARY + second)


async def test_a_value_that_expires_with_its_slot(servers: Servers) -> None:
    key = uuid4()
    assert await servers.use(0, key, BOUNDARY - SECOND, BOUNDARY - SOON)
    assert not await servers.use(1, key, BOUNDARY - SECOND, BOUNDARY - 2 * SECOND)
    assert [row["slot"] for row in await fetch("SELECT slot FROM used_jwt")] == [(_slot(BOUNDARY) - 1) % SLOTS]


def _slot(moment: datetime) -> int:
    return int(moment.timestamp()) // repository.SLOT


async def _fill(per_slot: int = 3) -> None:
    await execute(
        f"INSERT INTO used_jwt SELECT n % {SLOTS}, gen_random_uuid() FROM generate_series(1, {SLOTS * per_slot}) AS n"
    )


async def test_past_slots_are_emptied(own_database: str) -> None:
    """A value that is still valid is kept, also one of the slot before and one of the longest life."""
    await _fill()
    before = await repository._past()
    await housekeeping.round_of_deletions()
    past = await repository._past()
    left = {row["slot"] for row in await fetch("SELECT DISTINCT slot FROM used_jwt")}
    # The slot may end during the test.
    assert {*range(SLOTS)} - {*before, *past} <= left <= {*range(SLOTS)} - {*before}.intersection(past)
    assert (await fetch("SELECT pg_relation_size($1::text::regclass)", f"used_jwt_{past[1]}"))[0][0] == 0


async def test_a_slot_that_is_no_longer_past_is_not_emptied(own_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clean-up waited for the lock, or its process was stopped, until the slot was in use again."""
    await _fill()
    (slot, _) = await repository._past()
    past: list[list[int]] = [[slot], []]

    async def moves_on() -> list[int]:
        return past.pop(0)

    monkeypatch.setattr(repository, "_past", moves_on)
    await repository.empty_past_slots()
    assert past == []
    assert await _rows() == 3 * SLOTS


async def test_a_slot_in_use_is_left_for_the_next_round(own_database: str) -> None:
    await _fill()
    reader = await asyncpg.connect(own_database)
    transaction = reader.transaction()
    await transaction.start()
    await reader.fetch("SELECT FROM used_jwt")
    async with asyncio.timeout(20):
        await repository.empty_past_slots()
    assert await _rows() == 3 * SLOTS
    await transaction.rollback()
    await reader.close()
    await repository.empty_past_slots()
    assert await _rows() < 3 * SLOTS


async def test_values_are_used_while_a_slot_is_emptied(own_database: str) -> None:
    """The clean-up locks only the partition that it empties."""
    connection = await asyncpg.connect(own_database)
    transaction = connection.transaction()
    await transaction.start()
    for slot in await repository._past():
        await connection.execute(f"LOCK TABLE ONLY used_jwt_{slot} IN ACCESS EXCLUSIVE MODE")
    async with asyncio.timeout(20):
        assert await use_once("dpop", "a", "b", _now() + SOON)
    await transaction.rollback()
    await connection.close()


async def test_an_hour_of_use_leaves_no_bloat(own_database: str) -> None:
    """At a scale of 1:500 of ``bench/replay.py``. What stays is the use of the last minutes, and then nothing."""
    rows = 20_000
    at_the_end, expired = await bench.product(rows)
    assert at_the_end.bloat < bench.BLOAT_PERCENT
    assert rows / 60 <= at_the_end.rows < rows * 15 / 60
    assert expired.rows == 0
    assert expired.megabytes <= 0.1
