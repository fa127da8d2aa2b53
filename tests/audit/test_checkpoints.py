"""Checkpoints: created one after the other by any worker, complete, and exported."""

import asyncio
import subprocess
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from idp import clock, ids
from idp.audit import checkpoint_export, checkpoints, retention, row_hmac, verification, worker
from idp.audit.checkpoint_claims import TYPE, CheckpointClaims, parse
from idp.audit.events import note, record
from idp.audit.repository import audit_checkpoints, audit_events
from idp.infra.db import embedded, engine
from idp.infra.db.engine import execute, fetch, fetchrow, transaction
from idp.infra.db.partitions import PartitionBusyError
from idp.infra.outbound import CallFailed
from idp.keys import checkpoint_signer, jose
from idp.keys.key_set import key_set
from idp.settings import settings
from tests.audit.conftest import Trail, verified
from tests.audit.receiver import Receiver
from tests.support.isolated import MoveClock, isolated
from tests.support.postgres import Cluster
from tests.support.server import Server

StartServer = Callable[..., Server]
TrailAt = Callable[[datetime, int], Awaitable[None]]
DAY = 86400


async def statements() -> list[CheckpointClaims]:
    rows = await fetch("SELECT statement FROM audit_checkpoint ORDER BY number")
    return [statement for row in rows if (statement := parse(row["statement"]))]


async def test_a_checkpoint_can_be_read_by_any_library(trail: Trail) -> None:
    await trail(3)
    row = await fetchrow("SELECT * FROM audit_checkpoint WHERE number = 2")
    assert row is not None
    claims = jose.verify(row["statement"], key_set.verification(), TYPE)
    assert claims["iss"] == settings().issuer
    assert (claims["number"], claims["first_seq"], claims["last_seq"]) == (2, 2, 4)
    assert (row["first_seq"], row["last_seq"], row["at"].timestamp()) == (2, 4, claims["iat"])


async def test_no_checkpoint_without_new_rows(trail: Trail) -> None:
    assert await checkpoints.create(checkpoint_signer.sign) is None
    assert len(await statements()) == 1


async def test_when_one_is_due(trail: Trail, move_clock: MoveClock) -> None:
    await record("sign_in")
    assert not await checkpoints.is_due()
    move_clock(settings().audit_checkpoint_interval + 1)
    assert await checkpoints.is_due()
    # A future time written into the last checkpoint delays nothing.
    await execute("UPDATE audit_checkpoint SET at = now() + interval '9 years'")
    assert await checkpoints.is_due()
    await checkpoints.create(checkpoint_signer.sign)
    assert not await checkpoints.is_due()


async def test_a_row_that_came_late_is_in_the_next_one(trail: Trail) -> None:
    """Its id is older than those of rows that have their places already."""
    written, sealed = asyncio.Event(), asyncio.Event()

    async def slow() -> None:
        async with transaction():
            await record("sign_in", client_id="slow")
            written.set()
            await sealed.wait()

    task = asyncio.create_task(slow())
    await written.wait()
    await trail(3)
    sealed.set()
    await task
    assert await checkpoints.create(checkpoint_signer.sign) is not None
    row = await fetchrow("SELECT seq, max(seq) OVER () AS last FROM audit_event WHERE client_id = 'slow'")
    assert row is not None
    assert row["seq"] == 5
    assert (await verified()).intact


async def test_two_at_once_leave_no_gap(trail: Trail, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "MAX_ROWS", 7)
    for _ in range(60):
        await record("sign_in")
    await asyncio.gather(*(checkpoints.create(checkpoint_signer.sign) for _ in range(12)))
    found = await statements()
    assert [s.number for s in found] == list(range(1, len(found) + 1))
    assert [s.rows for s in found] == [1, *[7] * 8, 4]
    assert (await verified()).intact


async def test_one_that_was_interrupted_left_nothing(trail: Trail, monkeypatch: pytest.MonkeyPatch) -> None:
    """At each of its steps."""
    for _ in range(5):
        await record("sign_in")
    for step in range(1, 6):
        await _interrupted(step, monkeypatch)
        assert len(await statements()) == 1
        assert await fetchrow("SELECT FROM audit_event WHERE seq > 1") is None
    assert await checkpoints.create(checkpoint_signer.sign) is not None
    assert (await verified()).intact


async def _interrupted(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cancel the creation of a checkpoint after so many statements."""
    count = 0

    def counted(call: Any) -> Any:
        async def counting(*arguments: Any) -> Any:
            nonlocal count
            result = await call(*arguments)
            count += 1
            if count == step:
                raise asyncio.CancelledError
            return result

        return counting

    with monkeypatch.context() as patched:
        patched.setattr(checkpoints, "lock", counted(checkpoints.lock))
        for name in ("fetchrow", "fetch", "execute"):
            for module in (audit_checkpoints, audit_events):
                patched.setattr(module, name, counted(getattr(module, name)))
        with pytest.raises(asyncio.CancelledError):
            await checkpoints.create(checkpoint_signer.sign)


@pytest.mark.fault(14)
async def test_a_waiting_row_is_changed_and_its_hash_removed(trail: Trail) -> None:
    """A verification reports it immediately, and after the checkpoint that covers the row."""
    await record("sign_in")
    assert (await verified()).intact
    await execute("UPDATE audit_event SET outcome = 'failure', hash = NULL WHERE seq IS NULL AND event = 'sign_in'")
    assert [problem.kind for problem in (await verified()).problems] == ["row_changed"]
    made = await checkpoints.create(checkpoint_signer.sign)
    assert made is not None
    assert made.unsealed == 1
    (problem,) = (await verified()).problems
    assert (problem.kind, problem.seq, problem.last_seq) == ("rows_unsealed", made.first_seq, made.first_seq)


@pytest.mark.fault(14)
async def test_no_row_is_written_without_the_master_key(trail: Trail, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(row_hmac, "_key", None)
        with pytest.raises(row_hmac.LockedError):
            await record("sign_in")
        with pytest.raises(row_hmac.LockedError):
            note("sign_in")
    assert (await verified()).waiting == 0


# Outside


async def test_a_file_of_checkpoints(trail: Trail, tmp_path: Path) -> None:
    path = tmp_path / "checkpoints"
    await trail(1, 1)
    assert await checkpoint_export.write_file(path) == 3
    assert await checkpoint_export.write_file(path) == 0
    await trail(2)
    # A crash in the middle of a line.
    row = await fetchrow("SELECT statement FROM audit_checkpoint WHERE number = 4")
    assert row is not None
    with path.open("a") as file:
        file.write(row["statement"][:100])
    assert await checkpoint_export.write_file(path) == 1
    await trail(1)
    assert await checkpoint_export.write_file(path) == 1
    with path.open() as lines:
        known = verification.read_file(lines, await checkpoint_signer.reader())
    assert sorted(known) == [1, 2, 3, 4, 5]
    assert (await verified(known)).intact


async def test_two_workers_write_one_file(trail: Trail, tmp_path: Path) -> None:
    path = tmp_path / "checkpoints"
    await trail(*[1] * 20)
    await asyncio.gather(*(checkpoint_export.write_file(path) for _ in range(8)))
    assert [s.number for line in path.read_text().splitlines() if (s := parse(line))] == list(range(1, 22))


async def test_a_file_of_a_database_that_was_taken_back(trail: Trail, tmp_path: Path) -> None:
    path = tmp_path / "checkpoints"
    await trail(1, 1)
    await checkpoint_export.write_file(path)
    before = path.read_bytes()
    await execute("DELETE FROM audit_checkpoint WHERE number = 3")
    with pytest.raises(checkpoint_export.DatabaseRolledBackError):
        await checkpoint_export.write_file(path)
    assert path.read_bytes() == before


async def test_a_server_that_is_down_and_up_again(trail: Trail) -> None:
    async with Receiver() as receiver:
        await trail(1, 1)
        assert await checkpoint_export.send(receiver.url) == 3
        receiver.status = 503
        await trail(1, 1)
        for _ in range(3):
            with pytest.raises(CallFailed):
                await checkpoint_export.send(receiver.url)
        receiver.status = 204
        assert await checkpoint_export.send(receiver.url) == 2
        assert await checkpoint_export.send(receiver.url) == 0
        accepted = receiver.accepted
    assert [s.number for body in accepted if (s := parse(body))] == [1, 2, 3, 4, 5]
    known = verification.read_file((f"{body}\n" for body in accepted), await checkpoint_signer.reader())
    assert (await verified(known)).intact


async def test_only_one_sends_at_a_time(trail: Trail) -> None:
    async with Receiver() as receiver:
        await trail(*[1] * 9)
        sent = await asyncio.gather(*(checkpoint_export.send(receiver.url) for _ in range(5)))
        assert sorted(sent) == [0, 0, 0, 0, 10]
        assert len(receiver.accepted) == 10


async def test_a_server_that_knows_more_than_the_database(trail: Trail) -> None:
    async with Receiver() as receiver:
        await trail(1, 1)
        await checkpoint_export.send(receiver.url)
        await execute("DELETE FROM audit_checkpoint WHERE number = 3")
        with pytest.raises(checkpoint_export.DatabaseRolledBackError):
            await checkpoint_export.send(receiver.url)


# Retention


@pytest.fixture
def kept_for_a_day(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("IDP_AUDIT_RETENTION", str(DAY))
    settings.cache_clear()
    yield
    monkeypatch.undo()
    settings.cache_clear()


@pytest.mark.usefixtures("kept_for_a_day")
async def test_old_rows_are_deleted_by_whole_checkpoints(trail: Trail, move_clock: MoveClock) -> None:
    await trail(4, 5)
    move_clock(DAY / 2)
    await trail(6)
    move_clock(DAY + 60)
    await record("sign_in")
    assert await retention.apply(checkpoint_signer.sign, await checkpoint_signer.reader()) == 10
    assert await retention.apply(checkpoint_signer.sign, await checkpoint_signer.reader()) == 0
    report = await verified()
    assert report.intact
    assert (report.deleted_to, report.rows, report.checkpoints) == (10, 8, 5)
    row = await fetchrow("SELECT detail ->> 'deleted_to' AS until FROM audit_event WHERE event = 'audit_rows_deleted'")
    assert row is not None
    assert row["until"] == "10"
    # One more than stated: a row was removed.
    await execute("DELETE FROM audit_event WHERE seq = 11")
    report = await verified()
    assert [(p.kind, p.seq, p.last_seq) for p in report.problems] == [("rows_missing", 11, 11)]


@pytest.mark.usefixtures("kept_for_a_day")
async def test_deleting_that_was_interrupted_goes_on(
    trail: Trail, move_clock: MoveClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await trail(9)
    move_clock(DAY + 60)
    await trail(1)
    monkeypatch.setattr(retention, "BATCH", 3)
    monkeypatch.setattr(retention, "BATCHES_A_ROUND", 1)
    assert await retention.apply(checkpoint_signer.sign, await checkpoint_signer.reader()) == 3
    assert (await verified()).intact
    assert await retention.apply(checkpoint_signer.sign, await checkpoint_signer.reader()) == 3
    assert (await verified()).intact


@pytest.mark.usefixtures("kept_for_a_day")
async def test_a_time_in_the_table_deletes_nothing(trail: Trail) -> None:
    """A person with access to the database makes rows look old."""
    await trail(4, 4)
    await execute("UPDATE audit_checkpoint SET at = now() - interval '9 years'")
    await execute("UPDATE audit_event SET at = now() - interval '9 years'")
    assert await retention.apply(checkpoint_signer.sign, await checkpoint_signer.reader()) == 0


@pytest.fixture
def trail_at(trail: Trail, move_clock: MoveClock, monkeypatch: pytest.MonkeyPatch) -> TrailAt:
    """Writes so many rows and a checkpoint at a moment, with ids of that moment. Their month has a partition.

    Retention is 400 days.
    """
    assert settings().audit_retention == 400 * DAY
    made = ids.uuid7

    def uuid7() -> UUID:
        return UUID(int=int(clock.now().timestamp() * 1000) << 80 | made().int & ((1 << 80) - 1))

    monkeypatch.setattr(ids, "uuid7", uuid7)

    async def write(moment: datetime, rows: int) -> None:
        move_clock((moment - clock.system()).total_seconds())
        await audit_events.create_months(moment)
        await trail(rows)

    return write


async def _partitions() -> dict[str, int]:
    """The number of rows in each partition that has any."""
    rows = await fetch("SELECT tableoid::regclass::text AS name, count(*) FROM audit_event GROUP BY 1 ORDER BY 1")
    return {row["name"].removeprefix("audit_event_"): row["count"] for row in rows}


async def test_a_long_retention_ends_by_months(trail_at: TrailAt) -> None:
    """A month is dropped a day after all of it is old. The rows of that day are deleted one by one."""
    for table in ("audit_event", "audit_checkpoint"):
        await execute(f"DELETE FROM {table}")
    await trail_at(datetime(2031, 1, 31, 23, 50, tzinfo=UTC), 2)
    # A row of January in a checkpoint of February.
    await record("sign_in")
    await trail_at(datetime(2031, 2, 1, 0, 10, tzinfo=UTC), 2)
    await trail_at(datetime(2031, 2, 20, tzinfo=UTC), 4)
    january_ends = datetime(2031, 2, 1, tzinfo=UTC) + timedelta(days=400)
    await trail_at(january_ends + timedelta(hours=23), 1)
    sign, reader = checkpoint_signer.sign, await checkpoint_signer.reader()
    assert await retention.apply(sign, reader) == 0
    before = await _partitions()
    assert (before["203101"], before["203102"]) == (3, 6)
    await trail_at(january_ends + timedelta(hours=25), 1)
    assert await retention.apply(sign, reader) == 2
    after = await _partitions()
    assert "203101" not in after
    assert after["203102"] == 4
    assert await fetch("SELECT FROM pg_class WHERE relname = 'audit_event_203101'") == []
    report = await verified()
    assert report.intact
    assert report.deleted_to == 5
    # February goes a month later, and by its partition alone.
    await trail_at(january_ends + timedelta(days=30), 1)
    assert await retention.apply(sign, reader) == 0
    assert "203102" not in await _partitions()
    assert (await verified()).intact


async def test_a_month_that_is_in_use_waits_for_the_next_round(
    trail_at: TrailAt, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its rows are not deleted one by one meanwhile."""
    await trail_at(datetime(2031, 1, 20, tzinfo=UTC), 3)
    await trail_at(datetime(2032, 6, 1, tzinfo=UTC), 1)

    async def busy(*_: object) -> list[str]:
        raise PartitionBusyError("audit_event")

    sign, reader = checkpoint_signer.sign, await checkpoint_signer.reader()
    with monkeypatch.context() as patched:
        patched.setattr(audit_events, "drop_months", busy)
        assert await retention.apply(sign, reader) == 0
    assert (await _partitions())["203101"] == 3
    assert (await verified()).intact
    await retention.apply(sign, reader)
    assert "203101" not in await _partitions()


async def test_a_month_with_a_row_that_no_checkpoint_covers_stays(trail_at: TrailAt) -> None:
    """One whose transaction took long. The others are deleted one by one."""
    await trail_at(datetime(2031, 1, 20, tzinfo=UTC), 3)
    await trail_at(datetime(2032, 6, 1, tzinfo=UTC), 1)
    await execute("UPDATE audit_event SET seq = NULL WHERE seq = 3")
    assert await retention.apply(checkpoint_signer.sign, await checkpoint_signer.reader()) == 3
    assert (await _partitions())["203101"] == 1


async def test_a_dump_is_restored_with_its_partitions(trail_at: TrailAt, own_database: str, cluster: Cluster) -> None:
    """The trail is the same, and goes on."""
    await trail_at(datetime(2031, 1, 20, tzinfo=UTC), 3)
    await trail_at(datetime(2032, 6, 1, tzinfo=UTC), 1)
    before, programs = await _partitions(), embedded.find_programs()
    assert programs is not None
    copy = await cluster.create_database(template=None)
    dump = await asyncio.to_thread(subprocess.check_output, [programs / "pg_dump", own_database])
    restore = [programs / "psql", "--quiet", "--set=ON_ERROR_STOP=1", copy]
    await asyncio.to_thread(subprocess.run, restore, input=dump, check=True, stdout=subprocess.DEVNULL)
    async with isolated(copy):
        await key_set.load()
        assert await _partitions() == before
        assert (await verified()).intact
        await trail_at(datetime(2032, 7, 1, tzinfo=UTC), 1)
        await retention.apply(checkpoint_signer.sign, await checkpoint_signer.reader())
        assert "203101" not in await _partitions()
        assert (await verified()).intact
    assert await _partitions() == before


async def test_a_worker_makes_the_partitions_at_once(own_database: str) -> None:
    task = asyncio.create_task(worker.run(checkpoint_signer.sign, checkpoint_signer.reader))
    try:
        async with asyncio.timeout(60):
            while len(await fetch("SELECT FROM pg_inherits WHERE inhparent = 'audit_event'::regclass")) < 4:
                await asyncio.sleep(0.05)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_without_an_end_nothing_is_deleted(trail: Trail, move_clock: MoveClock, monkeypatch: Any) -> None:
    await trail(4)
    move_clock(9999 * DAY)
    monkeypatch.setattr(retention, "settings", lambda: settings().model_copy(update={"audit_retention": 0}))
    assert await retention.apply(checkpoint_signer.sign, await checkpoint_signer.reader()) == 0


# Served


async def test_two_servers_and_one_that_is_killed(trail: Trail, start_server: StartServer, tmp_path: Path) -> None:
    """Both create checkpoints; the remaining one continues without a gap, and one file has all of them."""
    path = tmp_path / "checkpoints"
    async with Receiver() as receiver:
        options = {
            "IDP_DATABASE_URL": engine.engine.config["dsn"],
            "IDP_AUDIT_CHECKPOINT_INTERVAL": "1",
            "IDP_AUDIT_CHECKPOINT_FILE": str(path),
            "IDP_AUDIT_CHECKPOINT_URL": receiver.url,
            "IDP_OUTBOUND_ALLOW_HTTP": "true",
            "IDP_OUTBOUND_ALLOWED_HOSTS": "127.0.0.0/8",
        }
        servers = [start_server(**options), start_server(**options)]
        for number in range(60):
            if number == 20:
                servers[0].kill()
            await record("sign_in")
            await asyncio.sleep(0.1)
        await _until_sealed()
        for _ in range(300):
            if len(receiver.accepted) >= len(await statements()) and len(path.read_text().splitlines()) >= len(
                await statements()
            ):
                break
            await asyncio.sleep(0.1)
        servers[1].stop()
        found = await statements()
        assert len(found) > 3
        lines = path.read_text().splitlines()
        assert [s.number for line in lines if (s := parse(line))] == [s.number for s in found]
        assert {s.number for body in receiver.accepted if (s := parse(body))} == {s.number for s in found}
    assert (await verified(dict(enumerate(lines, start=1)))).intact


async def _until_sealed() -> None:
    for _ in range(300):
        if await fetchrow("SELECT FROM audit_event WHERE seq IS NULL") is None:
            return
        await asyncio.sleep(0.1)
    raise AssertionError("Rows wait for a checkpoint for ever.")
