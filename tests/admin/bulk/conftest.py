"""A separate database, users in it, and administrators who ask for jobs."""

from collections.abc import AsyncIterator, Iterator
from uuid import UUID

import pytest

from idp import ids
from idp.accounts.tables import Origin, User
from idp.accounts.users import create_user
from idp.admin.access import Caller, person
from idp.admin.bulk import files, service, users, worker
from idp.admin.bulk.kinds import NoParameters, kind_of
from idp.admin.bulk.models import Job, Selection
from idp.admin.roles import Role, grant
from idp.infra.db.engine import execute, fetch, transaction
from idp.infra.request_context import actor
from tests.support.isolated import isolated
from tests.support.postgres import Cluster


@pytest.fixture(scope="module")
async def database(db: str, cluster: Cluster, template: str) -> AsyncIterator[str]:
    """A database for the tests of a module."""
    async with isolated(await cluster.create_database(template)) as dsn:
        yield dsn


@pytest.fixture
async def empty(database: str) -> str:
    """No users, no groups, no jobs."""
    await execute("TRUNCATE users, groups, client, bulk_job, audit_event CASCADE")
    return database


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No pauses, small batches, and the actor of this process."""
    monkeypatch.setattr(worker, "PAUSE", 0.0)
    monkeypatch.setattr(users, "BATCH", 7)
    monkeypatch.setattr(files, "BATCH", 7)
    token = actor.set("cli:tests")
    yield
    actor.reset(token)


def one_batch_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each turn of the worker be one batch, as if another job waited."""

    async def is_one_waiting() -> bool:
        return True

    monkeypatch.setattr(worker, "TURN_SECONDS", 0.0)
    monkeypatch.setattr(worker.jobs, "is_one_waiting", is_one_waiting)


async def people(number: int, prefix: str = "person") -> list[UUID]:
    """Insert users, without their events."""
    rows = [(ids.uuid7(), f"{prefix}{n}@example.com", f"{prefix.title()} {n}") for n in range(number)]
    async with transaction():
        await execute(
            "WITH n AS (SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[]) AS n (id, email, name)),"
            " u AS (INSERT INTO users (id, email, name, origin) SELECT id, email, name, 'import' FROM n)"
            " INSERT INTO user_email (email, user_id) SELECT email, id FROM n",
            *map(list, zip(*rows, strict=True)),
        )
    return [row[0] for row in rows]


async def administrator(role: Role) -> tuple[User, Caller]:
    """A user with a role, and the caller that the user is."""
    user = await create_user(f"{role}-{ids.uuid7()}@admins.example", None, origin=Origin.OPERATOR)
    await grant(user.id, role)
    return user, await person(user.id)


async def start(kind: str, selection: Selection, caller: Caller | None = None, expected: int | None = None) -> Job:
    """Create a job without parameters."""
    if caller is not None:
        actor.set(caller.actor)
    return await service.create(caller, kind_of(kind), NoParameters(), selection, expected=expected)


async def finish(job: Job) -> Job:
    """Work on all jobs. Returns this one as it is then."""
    while await worker.work():
        pass
    return await service.found(job.id)


async def reasons(job: Job) -> dict[str, str]:
    """Return why items failed, by their names."""
    rows = await fetch("SELECT name, reason FROM bulk_error WHERE job_id = $1", job.id)
    return {row["name"]: row["reason"] for row in rows}


async def events(kind: str) -> list[dict[str, object]]:
    rows = await fetch("SELECT actor, user_id, request_id, outcome FROM audit_event WHERE event = $1", kind)
    return [dict(row) for row in rows]


#: All users whose address begins so.
PERSONS = Selection({"q": "person"})
