"""Attributes become searchable, and are deleted, in batches: whatever happens meanwhile, no value is passed over."""

import asyncio
from collections.abc import Callable
from uuid import UUID

import msgspec
import pytest

from idp import ids
from idp.accounts.attributes import declaration, repository, search, service
from idp.accounts.attributes.errors import AttributeBeingDeletedError, NotSearchableYetError
from idp.accounts.attributes.jobs import repository as jobs
from idp.accounts.attributes.jobs import runner
from idp.accounts.attributes.jobs.repository import Job, Kind
from idp.accounts.attributes.jobs.runner import Runner
from idp.accounts.attributes.models import Audience
from idp.accounts.repository.users import EVERY_USER, USERS
from idp.infra.db.engine import execute, fetch, transaction
from idp.infra.db.listing import count_rows, list_page
from tests.support.attributes import held_up, values_changed
from tests.support.server import Server

NAME, PEOPLE = "department", 120

_PEOPLE = """
WITH n AS (SELECT * FROM unnest($1::uuid[], $2::text[]) AS n (id, email)),
u AS (INSERT INTO users (id, email, origin) SELECT id, email, 'import' FROM n)
INSERT INTO user_email (email, user_id) SELECT email, id FROM n
"""
_WRONG = "SELECT FROM user_attribute WHERE attribute = $1 AND search_key IS DISTINCT FROM lower(text_value)"
_KEYED = "SELECT FROM user_attribute WHERE attribute = $1 AND search_key IS NOT NULL"
_ALL = "SELECT FROM user_attribute WHERE attribute = $1"


@pytest.fixture
async def people(own_database: str, monkeypatch: pytest.MonkeyPatch) -> list[UUID]:
    """Users with two values each, and jobs that begin only when the test, or its server, works on them."""
    monkeypatch.setattr(runner, "AT_ONCE_SECONDS", 0.0)
    users = [ids.uuid7() for _ in range(PEOPLE)]
    await execute(_PEOPLE, users, [f"person{n}@example.com" for n in range(PEOPLE)])
    await _declare()
    await _give(users)
    return users


async def _declare(*, searchable: bool = False) -> None:
    await declaration.declare(
        name=NAME, type="string", label={"default": "Department"}, multivalued=True, searchable=searchable
    )


async def _give(users: list[UUID]) -> None:
    async with transaction():
        declared = (await repository.hold_attributes([NAME]))[NAME]
        await repository.insert_values((user, declared, [f"Sales {n % 5}", "All"]) for n, user in enumerate(users))


async def _note(kind: Kind) -> None:
    """Note a job of a kind, of all values."""
    if kind == "delete":
        await declaration.delete(NAME)
        return
    if kind == "unindex":
        await declaration.update(NAME, searchable=True)
        await values_changed(NAME)
    await declaration.update(NAME, searchable=kind == "index")


async def _some() -> Job:
    """Do some batches of the job, and return it."""
    some = Runner()
    for _ in range(4):
        some.size = 10
        assert await some.work(NAME)
    job = await jobs.job(NAME)
    assert job is not None
    assert 0 < job.done < job.total
    return job


async def _found(text: str) -> set[UUID]:
    listing = msgspec.structs.replace(USERS, filters=await search.filters(Audience.OWNER))
    page = await list_page(listing, {f"attributes.{NAME}": text}, limit=200)
    return {row["id"] for row in page.rows}


async def _check(kind: Kind, users: list[UUID]) -> None:
    """Check the values after a job of a kind has ended."""
    assert await jobs.jobs() == []
    if kind == "delete":
        assert await fetch(_ALL, NAME) == []
        assert await fetch("SELECT FROM attribute WHERE name = $1", NAME) == []
    elif kind == "unindex":
        assert await fetch(_KEYED, NAME) == []
        assert len(await fetch(_ALL, NAME)) == 2 * len(users)
    else:
        assert await fetch(_WRONG, NAME) == []
        assert await _found("all") == set(users)


@pytest.mark.parametrize("kind", ["index", "unindex", "delete"])
async def test_a_job_survives_the_servers_that_work_on_it(
    people: list[UUID], own_database: str, start_server: Callable[..., Server], kind: Kind
) -> None:
    await _note(kind)
    async with held_up(NAME):
        doomed = await asyncio.to_thread(start_server, IDP_DATABASE_URL=own_database)
        async with asyncio.timeout(30):
            while (job := await jobs.job(NAME)) is None or not job.done:
                await asyncio.sleep(0.02)
        doomed.kill()
    job = await jobs.job(NAME)
    assert job is not None
    assert (job.kind, 0 < job.done < job.total == 2 * PEOPLE) == (kind, True)
    if kind == "index":
        with pytest.raises(NotSearchableYetError):
            await _found("all")
        every = msgspec.structs.replace(EVERY_USER, filters=await search.filters(Audience.OWNER))
        with pytest.raises(NotSearchableYetError):
            await count_rows(every, {f"attributes.{NAME}": "all"}, limit=1)
    await asyncio.gather(
        *(asyncio.to_thread(start_server, "--workers", "2", IDP_DATABASE_URL=own_database) for _ in range(2))
    )
    async with asyncio.timeout(30):
        while await jobs.job(NAME) is not None:
            await asyncio.sleep(0.02)
    await _check(kind, people)


@pytest.mark.parametrize("kind", ["index", "unindex", "delete"])
async def test_several_processes_share_a_job(people: list[UUID], kind: Kind) -> None:
    await _note(kind)
    several = [Runner() for _ in range(4)]

    async def work(one: Runner) -> None:
        while await jobs.job(NAME) is not None:
            one.size = 7
            if not await one.work():
                await asyncio.sleep(0.01)

    async with asyncio.timeout(30):
        await asyncio.gather(*map(work, several))
    await _check(kind, people)


@pytest.mark.parametrize("kind", ["index", "unindex"])
async def test_values_are_changed_meanwhile(people: list[UUID], kind: Kind) -> None:
    """Before the place of the job, after it, and of new users."""
    await _note(kind)
    await _some()
    changed, emptied, added = [people[0], people[-1]], [people[1], people[-2]], [ids.uuid7() for _ in range(3)]
    for user in changed:
        await service.change(user, {NAME: ["Finance", "All"]})
    for user in emptied:
        await service.change(user, {NAME: []})
    await execute(_PEOPLE, added, [f"added{n}@example.com" for n in range(3)])
    await _give(added)
    await values_changed(NAME)
    left = [*(user for user in people if user not in emptied), *added]
    await _check(kind, left)
    if kind == "index":
        assert await _found("finance") == set(changed)


@pytest.mark.parametrize(("before", "after"), [("index", "unindex"), ("unindex", "index"), ("index", "delete")])
async def test_another_job_takes_its_place(people: list[UUID], before: Kind, after: Kind) -> None:
    await _note(before)
    await _some()
    if after == "delete":
        await declaration.delete(NAME)
    else:
        await declaration.update(NAME, searchable=after == "index")
    job = await jobs.job(NAME)
    assert job is not None
    assert (job.kind, job.done) == (after, 0)
    await values_changed(NAME)
    await _check(after, people)


async def test_a_job_that_was_replaced_does_not_end_the_new_one(people: list[UUID]) -> None:
    await _note("index")
    old = await jobs.job(NAME)
    await declaration.update(NAME, searchable=False)
    await declaration.update(NAME, searchable=True)
    assert old is not None
    assert not await jobs.end(old)
    assert (await jobs.job(NAME)) != old


async def test_a_deleted_attribute_is_gone_at_once_and_its_values_never_come_back(people: list[UUID]) -> None:
    await declaration.delete(NAME)
    assert len(await fetch(_ALL, NAME)) == 2 * PEOPLE
    assert await repository.attributes() == []
    assert await service.stored_values(people[0]) == {}
    with pytest.raises(AttributeBeingDeletedError):
        await _declare()
    await _some()
    with pytest.raises(AttributeBeingDeletedError):
        await _declare()
    await values_changed(NAME)
    await _declare(searchable=True)
    assert await service.stored_values(people[0]) == {}
    assert await _found("all") == set()


async def test_few_values_are_changed_before_the_change_returns(
    people: list[UUID], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "AT_ONCE_SECONDS", 30.0)
    await declaration.update(NAME, searchable=True)
    await _check("index", people)
    await declaration.delete(NAME)
    await _check("delete", people)


async def test_no_job_is_done_in_a_transaction_of_the_caller(
    people: list[UUID], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The locks of all its batches would be kept until its end."""
    monkeypatch.setattr(runner, "AT_ONCE_SECONDS", 30.0)
    async with transaction():
        await declaration.update(NAME, searchable=True)
    job = await jobs.job(NAME)
    assert job is not None
    assert job.done == 0


async def test_batches_become_smaller_while_they_are_slow(people: list[UUID], monkeypatch: pytest.MonkeyPatch) -> None:
    await _note("index")
    one = Runner()
    one.size = 20
    assert await one.work()
    assert one.size == 40
    monkeypatch.setattr(runner, "BATCH_SECONDS", 0.0)
    assert await one.work()
    assert one.size == 20
    # So they do while a value is being changed.
    async with held_up(NAME):
        one.size = 2 * PEOPLE
        assert await one.work()
        assert one.size == PEOPLE
    await values_changed(NAME)
    await _check("index", people)
