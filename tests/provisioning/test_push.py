"""The push of all users: in steps, stopped, resumed, killed, and to a real SCIM server."""

import asyncio
import os
import sys
from asyncio.subprocess import Process
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from idp import ids
from idp.accounts import users
from idp.directory import groups
from idp.infra.db.engine import execute, fetch, fetchrow, transaction
from idp.oauth.access_policies.registration import set_policy
from idp.oauth.clients.registration import register_client
from idp.oauth.credentials import credentials_changed
from idp.provisioning import jobs, push, targets
from idp.provisioning.repository import jobs as repository
from idp.provisioning.repository.jobs import Job
from idp.provisioning.targets import NoJobError
from idp.scim import tokens
from tests.conftest import MASTER_KEY
from tests.provisioning.conftest import deliver, make_due, target, user
from tests.provisioning.fake import FakeScim
from tests.support.isolated import isolated
from tests.support.postgres import Cluster
from tests.support.server import TLS, Server

PEOPLE = int(os.environ.get("TEST_PROVISIONED", "150"))


async def _people(number: int) -> None:
    """Insert users, without their events."""
    rows = [(ids.uuid7(), f"person{n}@example.com", f"Person {n}") for n in range(number)]
    async with transaction():
        await execute(
            "WITH n AS (SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[]) AS n (id, email, name)),"
            " u AS (INSERT INTO users (id, email, name, origin) SELECT id, email, name, 'import' FROM n)"
            " INSERT INTO user_email (email, user_id) SELECT email, id FROM n",
            *map(list, zip(*rows, strict=True)),
        )


async def test_a_push_is_made_in_steps(scim: FakeScim, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(push, "BATCH", 7)
    await _people(30)
    target_id = await target(scim)
    await deliver()
    assert len(scim.users) == 30
    job = await repository.job(target_id, "push")
    assert job is not None
    assert (job.state, job.done, job.total, job.counts) == ("done", 30, 30, {"queued": 30})
    scim.asked.clear()
    await targets.start(target_id, "push")
    await deliver()
    assert scim.asked == []


@pytest.mark.parametrize("removal", ["deactivate", "delete"])
async def test_a_push_that_would_remove_many_stops(
    scim: FakeScim, monkeypatch: pytest.MonkeyPatch, removal: str
) -> None:
    """Before the first one, until an administrator resumes it. Those who are disabled here go in any case."""
    monkeypatch.setattr(push, "BATCH", 4)
    staff, people = await groups.create("Staff"), [await user() for _ in range(12)]
    other = await groups.create("Other")
    await groups.add_members(staff.id, [each.id for each in people])
    await groups.add_members(other.id, [people[0].id])
    target_id = await target(scim, users="groups", groups=[staff.id], removal=removal, mends=True)
    await deliver()
    assert len(scim.users) == 12
    # One may always leave.
    await groups.remove_members(staff.id, [people[11].id])
    await deliver()
    await targets.update(target_id, {"groups": [other.id]})
    await users.disable_user(people[1].id, credentials_changed)
    await deliver()

    def active() -> int:
        return sum(account["active"] for account in scim.users.values())

    async def job() -> Job:
        found = await repository.job(target_id, "push")
        assert found is not None
        return found

    stopped = await job()
    assert (stopped.state, active()) == ("stopped", 10)
    assert stopped.error.startswith("9 of 1")
    (event,) = await fetch(
        "SELECT outcome, detail ->> 'cause' AS cause FROM audit_event WHERE event = 'provisioning_job_stopped'"
        " AND detail ->> 'target_id' = $1", str(target_id),
    )  # fmt: skip
    assert (event["outcome"], event["cause"]) == ("failure", stopped.error)
    # A check that mends, and another push, do not remove them either.
    await targets.start(target_id, "check", mend=True)
    await deliver()
    await targets.start(target_id, "push")
    await deliver()
    assert ((await job()).state, active()) == ("stopped", 10)
    await targets.resume(target_id, "push")
    await deliver()
    assert ((await job()).state, active()) == ("done", 1)


async def test_a_corrected_assignment_removes_nobody(scim: FakeScim) -> None:
    staff, other, people = await groups.create("Staff"), await groups.create("Other"), [await user() for _ in range(4)]
    await groups.add_members(staff.id, [each.id for each in people])
    target_id = await target(scim, users="groups", groups=[staff.id])
    await deliver()
    await targets.update(target_id, {"groups": [other.id]})
    await deliver()
    await targets.update(target_id, {"groups": [staff.id]})
    await targets.start(target_id, "push")
    await deliver()
    job = await repository.job(target_id, "push")
    assert job is not None
    assert (job.state, job.error) == ("done", "")
    assert all(account["active"] for account in scim.users.values())


async def test_a_push_waits_while_much_is_queued(scim: FakeScim, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(push, "BATCH", 5)
    monkeypatch.setattr(push, "WAITING", 10)
    await _people(40)
    await target(scim)
    while await jobs.work():
        pass
    (row,) = await fetch("SELECT count(*) AS number FROM delivery")
    assert 10 <= row["number"] <= 15
    for _ in range(20):
        await deliver()
        await make_due()
    assert len(scim.users) == 40


async def test_a_push_is_stopped_and_resumed(scim: FakeScim, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(push, "BATCH", 5)
    monkeypatch.setattr(jobs, "TURN_SECONDS", 0.0)
    await _people(20)
    target_id = await target(scim)
    for _ in range(3):
        await jobs.work()
    await targets.stop(target_id, "push")
    stopped = await repository.job(target_id, "push")
    assert stopped is not None
    assert 0 < stopped.done < 20
    assert not await jobs.work()
    with pytest.raises(NoJobError):
        await targets.stop(target_id, "push")
    await targets.resume(target_id, "push")
    resumed = await repository.job(target_id, "push")
    assert resumed is not None
    assert (resumed.state, resumed.done) == ("running", stopped.done)
    await deliver()
    assert len(scim.users) == 20


@pytest.mark.parametrize("stopped", [False, True])
async def test_a_target_that_was_disabled_during_a_push_gets_everybody(
    scim: FakeScim, monkeypatch: pytest.MonkeyPatch, stopped: bool
) -> None:
    """Also if an administrator had stopped the push before."""
    monkeypatch.setattr(push, "BATCH", 5)
    monkeypatch.setattr(jobs, "TURN_SECONDS", 0.0)
    await _people(20)
    target_id = await target(scim)
    for _ in range(3):
        await jobs.work()
    if stopped:
        await targets.stop(target_id, "push")
    await targets.set_enabled(target_id, False)
    await deliver()
    assert scim.users == {}
    await targets.set_enabled(target_id, True)
    await deliver()
    job = await repository.job(target_id, "push")
    assert job is not None
    assert (job.state, job.error, len(scim.users)) == ("done", "", 20)


async def test_pushes_begin_again_after_a_day(scim: FakeScim) -> None:
    """None of a disabled target does: it would be under way for ever."""
    ids = [await target(scim), await target(scim), await target(scim)]
    await deliver()
    await targets.set_enabled(ids[2], False)
    before = [await repository.job(each, "push") for each in ids]
    await execute(
        "UPDATE provisioning_job SET finished_at = now() - make_interval(secs => $1)", jobs.REPEAT_SECONDS + 1
    )
    await repository.repeat(jobs.REPEAT_SECONDS)
    after = [await repository.job(each, "push") for each in ids]
    assert [job.state for job in after if job is not None] == ["running", "running", "done"]
    assert len({job.id for job in before + after if job is not None}) == 5


async def test_a_change_during_a_push_lets_it_begin_again(scim: FakeScim, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(push, "BATCH", 5)
    monkeypatch.setattr(jobs, "TURN_SECONDS", 0.0)
    await _people(20)
    target_id = await target(scim)
    for _ in range(3):
        await jobs.work()
    await targets.update(target_id, {"mapping": {"userName": "email", "title": "name"}})
    await deliver()
    assert all(account["title"].startswith("Person") for account in scim.users.values())
    assert len(scim.users) == 20


async def test_who_may_use_a_client(scim: FakeScim) -> None:
    """The personal conditions of the policy, and its changes."""
    client, _ = await register_client(client_name="Wiki", redirect_uris=["https://wiki.example/cb"])
    group, other = await groups.create("Staff"), await groups.create("Guests")
    person, guest = await user(), await user()
    await groups.add_members(group.id, [person.id])
    await groups.add_members(other.id, [guest.id])
    await set_policy(client.client_id, groups=[str(group.id)], networks=["192.0.2.0/24"])
    await target(scim, users="client", client_id=client.client_id)
    await deliver()
    assert {account["externalId"] for account in scim.users.values()} == {str(person.id)}
    await set_policy(client.client_id, groups=[str(other.id)])
    await deliver()
    states = {account["externalId"]: account["active"] for account in scim.users.values()}
    assert states == {str(person.id): False, str(guest.id): True}


class _Real(NamedTuple):
    server: Server
    token: str

    @property
    def url(self) -> str:
        return f"{self.server.issuer}/scim/v2"

    async def users(self) -> list[str]:
        """Return the userName of every account."""
        found: list[str] = []
        cursor: str | None = ""
        async with httpx.AsyncClient(verify=TLS, timeout=30) as http:
            while cursor is not None:
                query = {"cursor": cursor, "count": "200"}
                answer = await http.get(
                    f"{self.url}/Users", params=query, headers={"Authorization": f"Bearer {self.token}"}
                )
                found += [each["userName"] for each in answer.json()["Resources"]]
                cursor = answer.json().get("nextCursor")
        return found


@pytest.fixture
async def real(cluster: Cluster, template: str, tmp_path: Path) -> AsyncIterator[_Real]:
    """Another server of ours, on a database of its own."""
    async with isolated(await cluster.create_database(template)) as dsn:
        _, token = await tokens.create("idp")
    settings = {"IDP_DATABASE_URL": dsn, "IDP_MASTER_KEY": MASTER_KEY, "IDP_ADDRESS_LIMITS": "false"}
    server = await asyncio.to_thread(lambda: Server(tmp_path, **settings, IDP_SCIM="true"))
    yield _Real(server, token)
    server.kill()


async def _start(dsn: str) -> Process:
    environment = os.environ | {"IDP_MASTER_KEY": MASTER_KEY, "IDP_DATABASE_URL": dsn}
    return await asyncio.create_subprocess_exec(sys.executable, "-m", "tests.provisioning.child", env=environment)


async def test_a_real_server_gets_everybody_once_although_senders_are_killed(
    scim: FakeScim, real: _Real, database: str
) -> None:
    """`TEST_PROVISIONED=1000 make test ARGS=tests/provisioning/test_push.py` pushes 1,000 users."""
    await _people(PEOPLE)
    target_id = await targets.create("Real", real.url, real.token)
    await targets.set_enabled(target_id, True)
    sender = await _start(database)
    try:
        async with asyncio.timeout(120 + PEOPLE / 2):
            for part in (0.2, 0.5, 0.8):
                while await _sent() < part * PEOPLE:
                    await asyncio.sleep(0.02)
                sender.kill()
                await sender.wait()
                sender = await _start(database)
            while await _sent() < PEOPLE:
                await asyncio.sleep(0.1)
    finally:
        with suppress(ProcessLookupError):
            sender.kill()
        await sender.wait()
    names = Counter(await real.users())
    assert len(names) == PEOPLE
    assert set(names.values()) == {1}


async def _sent() -> int:
    row = await fetchrow("SELECT count(*) AS number FROM provisioned_user WHERE state = 'active'")
    assert row is not None
    return int(row["number"])


async def test_groups_of_a_real_server(scim: FakeScim, real: _Real) -> None:
    group, person, other = await groups.create("Staff"), await user("a@example.com"), await user("b@example.com")
    await groups.add_members(group.id, [person.id, other.id])
    target_id = await targets.create("Real", real.url, real.token, pushed_groups=[str(group.id)])
    assert (await targets.test(target_id)).patch
    await targets.set_enabled(target_id, True)
    await deliver()
    await groups.remove_members(group.id, [other.id])
    await groups.update(group.id, name="People")
    await deliver()
    async with httpx.AsyncClient(verify=TLS, timeout=30) as http:
        answer = await http.get(f"{real.url}/Groups", headers={"Authorization": f"Bearer {real.token}"})
    (found,) = answer.json()["Resources"]
    assert (found["displayName"], found["externalId"], len(found["members"])) == ("People", str(group.id), 1)
    assert not await fetch("SELECT FROM delivery WHERE state = 'dead'")
