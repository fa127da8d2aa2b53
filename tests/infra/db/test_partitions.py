"""Partitions by month: made ahead, dropped whole, and none is in the way of those who use the table."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from contextvars import Context
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID

import asyncpg
import pytest
from structlog.testing import capture_logs

from idp import ids
from idp.infra.db import migrate, partitions
from idp.infra.db.engine import execute, fetch
from idp.infra.db.partitions import PartitionBusyError
from tests.support.isolated import isolated

TABLE = "audit_event"
NOVEMBER, DECEMBER, JANUARY = datetime(2026, 11, 30, 23, 59, 59, tzinfo=UTC), "202612", "202701"
KEEP = ("seq IS NULL", "seq > $1")
#: The lock timeout of a server.
LOCK_TIMEOUT_MS = partitions.LOCK_TIMEOUT_MS
WAITS = "SELECT FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid))"
INSERT = (
    "INSERT INTO audit_event (id, at, event, outcome, actor, ip_address, request_id, detail, seq)"
    " VALUES ($1, now(), 'test', 'success', '', '', '', '{}', $2)"
)


def id_at(moment: datetime) -> UUID:
    """A UUIDv7 of a moment."""
    return UUID(int=int(moment.timestamp() * 1000) << 80 | ids.uuid7().int & ((1 << 80) - 1))


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow machine or PostgreSQL's own vacuum blocks nothing for so long."""
    monkeypatch.setattr(partitions, "LOCK_TIMEOUT_MS", 60_000)
    monkeypatch.setattr(partitions, "STATEMENT_TIMEOUT_MS", 60_000)


@pytest.fixture
def gives_up() -> Iterator[pytest.MonkeyPatch]:
    """Waits no longer than a server does, until it is undone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(partitions, "LOCK_TIMEOUT_MS", LOCK_TIMEOUT_MS)
        yield patch


async def add(moment: datetime, seq: int | None = None) -> UUID:
    event = id_at(moment)
    await execute(INSERT, event, seq)
    return event


async def places() -> dict[UUID, str]:
    """The partition of each row, without the name of the table."""
    rows = await fetch("SELECT id, tableoid::regclass::text AS name FROM audit_event WHERE event = 'test'")
    return {row["id"]: row["name"].removeprefix(f"{TABLE}_") for row in rows}


async def months() -> list[str]:
    return [name.removeprefix(f"{TABLE}_") for name in await partitions.existing_partitions(TABLE)]


@asynccontextmanager
async def elsewhere(dsn: str, statement: str, *arguments: Any) -> AsyncIterator[asyncpg.Connection]:
    """A transaction on another connection that has run a statement."""
    connection = await asyncpg.connect(dsn)
    try:
        async with connection.transaction():
            await connection.execute(statement, *arguments)
            yield connection
    finally:
        await connection.close()


@pytest.mark.parametrize(
    ("moment", "month"),
    [
        (NOVEMBER, "202611"),
        (NOVEMBER + timedelta(seconds=1), "202612"),
        (datetime(2027, 1, 1, 0, 30, tzinfo=UTC).astimezone(tz=None), "202701"),
        (datetime(2028, 2, 29, tzinfo=UTC), "202802"),
    ],
)
async def test_an_id_is_in_the_partition_of_its_month(own_database: str, moment: datetime, month: str) -> None:
    for now in (NOVEMBER, moment):
        await partitions.create_ahead(TABLE, now)
    event = await add(moment)
    assert await places() == {event: month}


async def test_partitions_are_made_ahead_once(own_database: str) -> None:
    assert await partitions.create_ahead(TABLE, NOVEMBER) == [f"{TABLE}_{m}" for m in ("202611", DECEMBER, JANUARY)]
    assert await partitions.create_ahead(TABLE, NOVEMBER) == []
    assert await partitions.create_ahead(TABLE, NOVEMBER + timedelta(days=1)) == [f"{TABLE}_202702"]
    assert await months() == ["202611", DECEMBER, JANUARY, "202702"]


async def test_a_partition_has_every_index_of_its_table(own_database: str) -> None:
    await partitions.create_ahead(TABLE, NOVEMBER)
    count = "SELECT count(*) FROM pg_index WHERE indrelid = $1::text::regclass AND indisvalid"
    (of_table,), (of_month,) = await fetch(count, TABLE), await fetch(count, f"{TABLE}_202611")
    assert of_table == of_month
    attached = (
        "SELECT count(*) FROM pg_inherits AS i JOIN pg_index AS x ON x.indexrelid = i.inhrelid WHERE indrelid = $1"
    )
    (row,) = await fetch(f"{attached}::text::regclass", f"{TABLE}_202611")
    assert row["count"] == of_table["count"]


async def test_a_new_index_is_built_on_one_partition_after_the_other(own_database: str) -> None:
    """As docs/migrations.md says. A partition that is created in the meantime has it."""
    await partitions.create_ahead(TABLE, NOVEMBER)
    of_index = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'audit_event_added'::regclass"
    names = [
        row["name"]
        for row in await fetch(
            "SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = 'audit_event'::regclass"
        )
    ]
    await execute("CREATE INDEX audit_event_added ON ONLY audit_event (outcome)")
    await partitions.create_ahead(TABLE, NOVEMBER + timedelta(days=1))
    for name in names:
        await execute(f"CREATE INDEX CONCURRENTLY {name}_added ON {name} (outcome)")
        await execute(f"ALTER INDEX audit_event_added ATTACH PARTITION {name}_added")
    assert await fetch("SELECT FROM pg_index WHERE NOT indisvalid") == []
    (row,) = await fetch(of_index)
    assert row["count"] == len(names) + 1 == 5


async def test_an_id_stays_unique(own_database: str) -> None:
    event = await add(NOVEMBER)
    await partitions.create_ahead(TABLE, NOVEMBER)
    with pytest.raises(asyncpg.UniqueViolationError):
        await execute(INSERT, event, None)


async def test_rows_without_a_partition_wait_in_the_default_one(own_database: str) -> None:
    """They are told, and move as soon as their month has a partition."""
    here, far = await add(NOVEMBER), await add(NOVEMBER + timedelta(days=365))
    assert set((await places()).values()) == {"default"}
    with capture_logs() as lines:
        await partitions.create_ahead(TABLE, NOVEMBER)
    assert await places() == {here: "202611", far: "default"}
    assert [(line["event"], line["count"]) for line in lines if "count" in line] == [("rows_in_default_partition", 1)]
    with capture_logs() as lines:
        await partitions.create_ahead(TABLE, NOVEMBER + timedelta(days=365))
    assert (await places())[far] == "202711"
    assert {line["event"] for line in lines} == {"partition_created"}


async def test_a_large_default_partition_is_left_alone(own_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """To create a partition would lock it for as long as reading it takes."""
    monkeypatch.setattr(partitions, "MAX_DEFAULT", 2)
    for _ in range(3):
        await add(NOVEMBER)
    with capture_logs() as lines:
        assert await partitions.create_ahead(TABLE, NOVEMBER) == []
    assert [line["event"] for line in lines] == ["rows_in_default_partition"]
    monkeypatch.setattr(partitions, "MAX_DEFAULT", 3)
    assert len(await partitions.create_ahead(TABLE, NOVEMBER)) == 3
    assert list((await places()).values()) == ["202611"] * 3


async def test_several_workers_at_once(own_database: str) -> None:
    """Each partition is made by one, and dropped by one."""
    for _ in range(20):
        await add(NOVEMBER, 1)
    made = await asyncio.gather(*(partitions.create_ahead(TABLE, NOVEMBER) for _ in range(5)))
    assert sorted(name for names in made for name in names) == [f"{TABLE}_{m}" for m in ("202611", DECEMBER, JANUARY)]
    assert list((await places()).values()) == ["202611"] * 20
    until = NOVEMBER + timedelta(days=40)
    gone = await asyncio.gather(*(partitions.drop(TABLE, until, KEEP, 1) for _ in range(5)))
    assert sorted(name for names in gone for name in names) == [f"{TABLE}_202611", f"{TABLE}_202612"]
    assert await months() == [JANUARY]


async def test_a_partition_is_made_while_others_write(own_database: str) -> None:
    await partitions.create_ahead(TABLE, NOVEMBER)
    async with elsewhere(own_database, INSERT, id_at(NOVEMBER), None):
        assert await partitions.create_ahead(TABLE, NOVEMBER + timedelta(days=1)) == [f"{TABLE}_202702"]


async def test_what_others_hold_is_made_later(own_database: str, gives_up: pytest.MonkeyPatch) -> None:
    """The failed attempt leaves nothing behind."""
    async with elsewhere(own_database, "SELECT FROM audit_event"):
        with pytest.raises(PartitionBusyError):
            await partitions.create_ahead(TABLE, NOVEMBER)
        assert await fetch("SELECT FROM pg_class WHERE relname = $1", f"{TABLE}_202611") == []
    gives_up.undo()
    assert len(await partitions.create_ahead(TABLE, NOVEMBER)) == 3


async def test_months_that_ended_are_dropped(own_database: str) -> None:
    await partitions.create_ahead(TABLE, NOVEMBER)
    await add(NOVEMBER, 7)
    kept = await add(NOVEMBER + timedelta(days=20), 7)
    assert await partitions.drop(TABLE, NOVEMBER, KEEP, 7) == []
    assert await partitions.drop(TABLE, NOVEMBER + timedelta(seconds=1), KEEP, 7) == [f"{TABLE}_202611"]
    assert await places() == {kept: DECEMBER}


@pytest.mark.parametrize("seq", [None, 8])
async def test_a_month_with_a_row_to_keep_stays(own_database: str, seq: int | None) -> None:
    """The others go nevertheless."""
    await partitions.create_ahead(TABLE, NOVEMBER)
    kept = await add(NOVEMBER, seq)
    await add(NOVEMBER, 7)
    await add(NOVEMBER + timedelta(days=20), 7)
    assert await partitions.drop(TABLE, NOVEMBER + timedelta(days=60), KEEP, 7) == [f"{TABLE}_202612"]
    assert (await places())[kept] == "202611"


async def test_a_row_that_was_written_meanwhile_is_kept(own_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the question before the lock and the lock."""
    await partitions.create_ahead(TABLE, NOVEMBER)
    drop = partitions._drop

    async def late(*arguments: Any) -> bool:
        await add(NOVEMBER)
        return await drop(*arguments)

    monkeypatch.setattr(partitions, "_drop", late)
    assert await partitions.drop(TABLE, NOVEMBER + timedelta(days=1), KEEP, 7) == []
    assert list((await places()).values()) == ["202611"]


async def _create_while(
    monkeypatch: pytest.MonkeyPatch, other: Callable[[], Coroutine[Any, Any, Any]]
) -> list[asyncio.Task[Any]]:
    """Create partitions, and start a task when rows have moved to the first one, and it is not attached yet."""
    run, started = partitions.execute, list[asyncio.Task[Any]]()

    async def late(statement: str, *arguments: object) -> int:
        if statement.startswith("ALTER TABLE") and not started:
            started.append(asyncio.create_task(other(), context=Context()))
            async with asyncio.timeout(30):
                while not await fetch(WAITS):
                    assert not started[0].done(), started[0]
                    await asyncio.sleep(0.01)
        return await run(statement, *arguments)

    monkeypatch.setattr(partitions, "execute", late)
    await partitions.create_ahead(TABLE, NOVEMBER)
    return started


async def test_a_row_that_waits_for_its_new_partition_is_stored(
    own_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not fail on its way to the default partition, which does not take its month any more."""

    async def write() -> None:
        async with elsewhere(own_database, INSERT, id_at(NOVEMBER), None):
            pass

    (writer,) = await _create_while(monkeypatch, write)
    await writer
    assert list((await places()).values()) == ["202611"]


async def test_a_row_that_moves_is_never_missed(own_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that waited for the default partition would look there only: an event would never be published."""
    event = await add(NOVEMBER)

    async def read() -> list[UUID]:
        async with elsewhere(own_database, "SELECT") as connection:
            found = await connection.fetch("SELECT id FROM audit_event WHERE id = ANY ($1::uuid[])", [event])
            return [row["id"] for row in found]

    (reader,) = await _create_while(monkeypatch, read)
    assert await reader == [event]


@pytest.mark.parametrize("statement", ["SELECT FROM audit_event", "DELETE FROM audit_event WHERE seq = 0"])
async def test_a_drop_that_is_blocked_gives_up_and_is_tried_later(
    own_database: str, gives_up: pytest.MonkeyPatch, statement: str
) -> None:
    """Writers do not wait for the transaction that blocks the drop."""
    await partitions.create_ahead(TABLE, NOVEMBER)
    until = NOVEMBER + timedelta(days=1)
    async with elsewhere(own_database, statement):
        with pytest.raises(PartitionBusyError):
            await partitions.drop(TABLE, until, KEEP, 7)
        await add(NOVEMBER + timedelta(days=10))
        assert "202611" in await months()
    gives_up.undo()
    assert await partitions.drop(TABLE, until, KEEP, 7) == [f"{TABLE}_202611"]


async def test_who_does_not_own_the_table_is_told(own_database: str) -> None:
    """And goes on with the rows one by one."""
    await partitions.create_ahead(TABLE, NOVEMBER)
    role = f"role_{secrets.token_hex(8)}"
    await execute(f"CREATE ROLE {role} LOGIN")
    try:
        await execute(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}")
        url = urlsplit(own_database)
        dsn = urlunsplit(url._replace(netloc=f"{role}@{url.netloc.rpartition('@')[2]}"))
        async with isolated(dsn, migrated=False):
            with capture_logs() as lines:
                assert await partitions.drop(TABLE, NOVEMBER + timedelta(days=1), KEEP, 7) == []
            assert [line["event"] for line in lines] == ["partition_not_owned"]
    finally:
        await execute(f"DROP OWNED BY {role}")
        await execute(f"DROP ROLE {role}")
    assert await months() == ["202611", DECEMBER, JANUARY]


async def test_a_migrated_database_has_the_default_one(empty_database: str) -> None:
    """No insert fails before a server has started."""
    await migrate.upgrade()
    event = await add(NOVEMBER)
    assert await places() == {event: "default"}
