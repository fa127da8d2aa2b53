"""A server that is killed in the middle of a job, and started again: everything is done exactly once."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from idp.admin.bulk import service
from idp.admin.bulk.models import Job, State
from idp.admin.roles import Role
from idp.infra.db.engine import execute, fetch
from tests.admin.bulk.conftest import PERSONS, administrator, people, start
from tests.conftest import MASTER_KEY
from tests.support.server import Server

#: Users of the job. More: `TEST_BULK=2000 make test ARGS=tests/admin/bulk/test_killed.py`.
PEOPLE = int(os.environ.get("TEST_BULK", "300"))

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


async def _until(job: Job, done: int) -> Job:
    async with asyncio.timeout(30 + PEOPLE / 10):
        while (now := await service.found(job.id)).done < done or (done == PEOPLE and not now.is_over):
            await asyncio.sleep(0.01)
    return now


async def test_everybody_is_disabled_once_although_servers_are_killed(serve: Callable[[], Server]) -> None:
    _, owner = await administrator(Role.OWNER)
    await people(PEOPLE)
    job = await start("disable", PERSONS, owner)
    for part in (0.2, 0.6):
        server = await asyncio.to_thread(serve)
        seen = await _until(job, int(part * PEOPLE))
        server.kill()
        assert seen.done < PEOPLE
        # As after the lease.
        await execute("UPDATE bulk_job SET leased_until = now() WHERE finished_at IS NULL")
    left = await service.found(job.id)
    rows = await fetch("SELECT count(*) AS number FROM users WHERE disabled_at IS NOT NULL")
    assert (left.state, rows[0]["number"]) == (State.RUNNING, left.done)
    await asyncio.to_thread(serve)
    done = await _until(job, PEOPLE)
    assert (done.state, done.changed, done.failed) == (State.FINISHED, PEOPLE, 0)
    events = await fetch("SELECT user_id FROM audit_event WHERE event = 'user_disabled'")
    assert len(events) == len({row["user_id"] for row in events}) == PEOPLE
    assert len(await fetch("SELECT FROM audit_event WHERE event = 'bulk_job_finished'")) == 1
