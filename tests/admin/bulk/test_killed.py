"""A server that is killed in the middle of a job, and started again: everything is done exactly once."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest

from idp.admin.bulk import service
from idp.admin.bulk.models import Job, State
from idp.admin.roles import Role
from idp.infra.db.engine import execute, fetch
from tests.admin.bulk.conftest import PERSONS, administrator, people, start
from tests.conftest import MASTER_KEY
from tests.support.server import Server

#: Users of the job. More: `TEST_BULK=2000 make test ARGS=tests/admin/bulk/test_killed.py`.
PEOPLE = int(os.environ.get("TEST_BULK", "100"))
#: The servers work with their own sizes of a batch: 20 users, 100 records.
BATCH, RECORDS = 20, 400 if PEOPLE < 1000 else 2000
#: The users at whom a server is killed.
KILLED_AT = (PEOPLE // 2 + 7,) if PEOPLE < 1000 else (PEOPLE // 5 + 3, PEOPLE // 2 + 7, PEOPLE - 5)

pytestmark = pytest.mark.usefixtures("empty")


@pytest.fixture
async def serve(database: str, tmp_path: Path) -> AsyncIterator[Callable[[], Server]]:
    servers: list[Server] = []

    def begin() -> Server:
        values = {"IDP_DATABASE_URL": database, "IDP_MASTER_KEY": MASTER_KEY}
        servers.append(Server(tmp_path / str(len(servers)), **values))
        return servers[-1]

    yield begin
    for server in servers:
        server.kill()


@asynccontextmanager
async def _stuck_at(dsn: str, user_id: UUID) -> AsyncIterator[None]:
    """Hold a user for the duration of a block, so that a server waits in the middle of a batch."""
    connection = await asyncpg.connect(dsn)
    await connection.execute("BEGIN")
    await connection.execute("SELECT FROM users WHERE id = $1 FOR UPDATE", user_id)
    yield
    await connection.close()


@asynccontextmanager
async def _stuck_on(dsn: str, email: str) -> AsyncIterator[None]:
    """Hold an address for the duration of a block, so that a server waits in the middle of a batch of an import."""
    connection = await asyncpg.connect(dsn)
    await connection.execute("BEGIN")
    await connection.execute(
        "WITH u AS (INSERT INTO users (id, email, origin) VALUES (gen_random_uuid(), $1, 'import') RETURNING id)"
        " INSERT INTO user_email (email, user_id) SELECT $1, id FROM u", email,
    )  # fmt: skip
    yield
    await connection.close()


async def _until(job: Job, done: int, *, over: bool = False) -> Job:
    async with asyncio.timeout(30 + PEOPLE / 10):
        while (now := await service.found(job.id)).done < done or now.is_over < over:
            await asyncio.sleep(0.01)
    return now


async def test_everybody_is_disabled_once_although_servers_are_killed(
    serve: Callable[[], Server], database: str
) -> None:
    _, owner = await administrator(Role.OWNER)
    chosen = await people(PEOPLE)
    job = await start("disable", PERSONS, owner)
    for at in KILLED_AT:
        async with _stuck_at(database, chosen[at]):
            server = await asyncio.to_thread(serve)
            stuck = await _until(job, at - at % BATCH)
            server.kill()
        # As after the lease.
        await execute("UPDATE bulk_job SET leased_until = now() WHERE finished_at IS NULL")
        rows = await fetch("SELECT count(*) AS number FROM users WHERE disabled_at IS NOT NULL")
        assert (stuck.state, stuck.done, rows[0]["number"]) == (State.RUNNING, at - at % BATCH, at - at % BATCH)
    await asyncio.to_thread(serve)
    done = await _until(job, PEOPLE, over=True)
    assert (done.state, done.changed, done.failed) == (State.FINISHED, PEOPLE, 0)
    events = await fetch("SELECT user_id FROM audit_event WHERE event = 'user_disabled'")
    assert len(events) == len({row["user_id"] for row in events}) == PEOPLE
    assert len(await fetch("SELECT FROM audit_event WHERE event = 'bulk_job_finished'")) == 1


async def test_everybody_is_imported_once_although_servers_are_killed(
    serve: Callable[[], Server], database: str
) -> None:
    _, owner = await administrator(Role.OWNER)
    content = "email\n" + "".join(f"new{n:05}@example.com\n" for n in range(RECORDS)) + "new00000@example.com\n"
    job = await service.create_import(owner, content.encode())
    async with _stuck_on(database, f"new{RECORDS // 2 + 7:05}@example.com"):
        server = await asyncio.to_thread(serve)
        stuck = await _until(job, RECORDS // 2)
        server.kill()
    await execute("UPDATE bulk_job SET leased_until = now() WHERE finished_at IS NULL")
    rows = await fetch("SELECT count(*) AS number FROM users WHERE origin = 'import'")
    assert (stuck.state, stuck.done, rows[0]["number"]) == (State.RUNNING, RECORDS // 2, RECORDS // 2)
    await asyncio.to_thread(serve)
    done = await _until(job, RECORDS + 1, over=True)
    # The server that went on knows that the last address is on the first line.
    assert (done.state, done.changed, done.unchanged, done.failed) == (State.FINISHED, RECORDS, 0, 1)
    assert len(await fetch("SELECT FROM users WHERE origin = 'import'")) == RECORDS
    assert await fetch("SELECT FROM bulk_chunk") == []
