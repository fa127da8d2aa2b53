"""Jobs: what they do to each user, who may ask, and how they end. `test_killed.py` kills the server meanwhile."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from uuid import UUID

import msgspec
import pytest

from idp import clock, ids
from idp.accounts import users
from idp.accounts.repository.users import user_by_id
from idp.admin.bulk import kinds, retention, service, worker
from idp.admin.bulk.kinds import InGroup, NoParameters, kind_of
from idp.admin.bulk.models import Selection, State
from idp.admin.bulk.repository import jobs
from idp.admin.bulk.service import (
    JobEndedError,
    NobodyChosenError,
    TooManyItemsError,
    TooManyJobsError,
    UnknownJobError,
    WrongNumberError,
)
from idp.admin.incidents import contain_upstream, contain_user
from idp.admin.roles import Role, revoke
from idp.directory import groups
from idp.directory.errors import UnknownGroupError
from idp.errors import PermissionDeniedError
from idp.federation import registry
from idp.federation.repository import insert_identity
from idp.infra.db.engine import engine, execute, fetch, fetchrow, transaction
from idp.infra.db.listing import InvalidQueryError
from idp.oauth.credentials import credentials_changed
from idp.settings import settings
from tests.admin.bulk.conftest import PERSONS, administrator, events, finish, one_batch_a_turn, people, reasons, start
from tests.support.rows import session_row

pytestmark = pytest.mark.usefixtures("empty")


async def _disabled() -> int:
    row = await fetchrow("SELECT count(*) AS number FROM users WHERE disabled_at IS NOT NULL")
    assert row is not None
    return int(row["number"])


async def test_a_job_disables_everybody_it_was_asked_for() -> None:
    """Each as a single act: sessions end, and an event names the user, the administrator and the job."""
    _, owner = await administrator(Role.OWNER)
    chosen = await people(20)
    await people(3, "other")
    await session_row(chosen[4]).save()
    await users.disable_user(chosen[0], credentials_changed)
    job = await start("disable", PERSONS, owner)
    assert (job.state, job.total, job.done) == (State.QUEUED, 20, 0)
    done = await finish(job)
    assert (done.state, done.done, done.changed, done.unchanged, done.failed) == (State.FINISHED, 20, 19, 1, 0)
    assert await _disabled() == 20
    (session,) = await fetch("SELECT ended_at, ended_reason FROM session")
    assert session["ended_at"] is not None
    assert session["ended_reason"] == "user_disabled"
    acts = [each for each in await events("user_disabled") if each["request_id"] == str(job.id)]
    assert sorted(str(each["user_id"]) for each in acts) == sorted(map(str, chosen[1:]))
    assert {each["actor"] for each in acts} == {owner.actor}
    assert [each["outcome"] for each in await events("bulk_job_created")] == ["success"]
    assert [each["outcome"] for each in await events("bulk_job_finished")] == ["success"]
    assert await fetch("SELECT FROM bulk_item") == []
    enabled = await finish(await start("enable", PERSONS, owner))
    assert (enabled.changed, await _disabled()) == (20, 0)


async def test_signing_out_ends_sessions() -> None:
    (person,) = await people(1)
    await session_row(person).save()
    job = await finish(await start("sign_out", PERSONS))
    assert (job.state, job.changed) == (State.FINISHED, 1)
    assert await fetch("SELECT FROM session WHERE ended_at IS NULL") == []


async def test_members_of_a_group() -> None:
    group = await groups.create("Staff")
    chosen = await people(10)
    await groups.add_members(group.id, chosen[:3])
    for kind, changed, left in (("add_to_group", 7, 10), ("remove_from_group", 10, 0)):
        job = await finish(await service.create(None, kind_of(kind), InGroup(group.id), PERSONS))
        assert (job.state, job.changed, job.failed) == (State.FINISHED, changed, 0)
        assert len(await fetch("SELECT FROM group_member")) == left


async def test_a_group_that_is_deleted_meanwhile_ends_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    one_batch_a_turn(monkeypatch)
    group = await groups.create("Staff")
    await people(20)
    job = await service.create(None, kind_of("add_to_group"), InGroup(group.id), PERSONS)
    await worker.work()
    await groups.delete(group.id)
    ended = await finish(job)
    assert (ended.state, ended.done, ended.failed) == (State.FAILED, 7, 0)
    assert ended.error == "There is no such group."
    with pytest.raises(UnknownGroupError):
        await service.create(None, kind_of("add_to_group"), InGroup(group.id), PERSONS)


async def test_a_deletion_needs_the_number() -> None:
    _, owner = await administrator(Role.OWNER)
    await people(9)
    for expected in (None, 8):
        with pytest.raises(WrongNumberError, match="9 users"):
            await start("delete", PERSONS, owner, expected)
    assert await fetch("SELECT FROM bulk_job") == []
    job = await finish(await start("delete", PERSONS, owner, 9))
    assert (job.state, job.changed) == (State.FINISHED, 9)
    assert len(await events("user_deleted")) == 9
    assert len(await fetch("SELECT FROM users")) == 1


async def test_users_by_name() -> None:
    """Named twice is chosen once; an unknown one fails alone."""
    chosen = await people(3)
    names = (
        "PERSON0@example.com",
        " person0@example.com ",
        str(chosen[1]),
        "person1@example.com",
        "x@y.example",
        "x",
        "",
    )
    # The number that a confirmation shows is the one that is done.
    assert await service.count(Selection(names=names)) == 4
    job = await finish(await start("disable", Selection(names=names), expected=4))
    assert (job.total, job.changed, job.failed) == (4, 2, 2)
    assert await reasons(job) == dict.fromkeys(("x@y.example", "x"), "There is no such user.")
    assert await _disabled() == 2


async def test_a_user_who_is_deleted_meanwhile_fails_alone() -> None:
    await people(3)
    job = await start("disable", PERSONS)
    await execute("DELETE FROM users WHERE email = 'person1@example.com'")
    assert (await finish(job)).changed == 2
    assert await reasons(job) == {"person1@example.com": "There is no such user."}


async def test_every_match_of_a_search_is_chosen() -> None:
    """The list of users shows at most 300 of each kind."""
    await people(350)
    assert await service.count(PERSONS) == 350
    assert (await start("enable", PERSONS)).total == 350
    assert await service.count(Selection({"disabled": "true", "q": "person"}, names=("a", "a"))) == 1
    with pytest.raises(InvalidQueryError):
        await service.count(Selection({"disabled": "perhaps"}))
    with pytest.raises(InvalidQueryError):
        await start("enable", Selection({"nonsense": "1"}))


async def test_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDP_BULK_MAX_ITEMS", "5")
    settings.cache_clear()
    await people(6)
    for selection in (PERSONS, Selection(names=tuple("abcdef"))):
        with pytest.raises(TooManyItemsError):
            await service.count(selection)
        with pytest.raises(TooManyItemsError):
            await start("enable", selection)
    for selection in (Selection({"q": "nobody"}), Selection(names=("", " "))):
        with pytest.raises(NobodyChosenError):
            await start("enable", selection)
    cancelled = await start("enable", Selection(names=("b",)))
    await service.cancel(cancelled.id, None)
    monkeypatch.setattr(service, "MAX_UNFINISHED", 1)
    await start("enable", Selection(names=("a",)))
    with pytest.raises(TooManyJobsError):
        await service.resume(cancelled.id, None)
    with pytest.raises(TooManyJobsError):
        await start("enable", Selection(names=("a",)))
    assert len(await fetch("SELECT FROM bulk_item")) == 2
    monkeypatch.undo()
    settings.cache_clear()


async def test_who_may_ask() -> None:
    (person,) = await people(1)
    _, auditor = await administrator(Role.AUDITOR)
    _, support = await administrator(Role.SUPPORT)
    _, group_admin = await administrator(Role.GROUP_ADMIN)
    group = await groups.create("Staff")
    for kind in kinds.acts():
        parameters = InGroup(group.id) if kind.parameters is InGroup else NoParameters()
        for caller, allowed in ((auditor, False), (support, kind.parameters is NoParameters),
                                (group_admin, kind.parameters is InGroup)):  # fmt: skip
            if allowed:
                await service.create(caller, kind, parameters, PERSONS, expected=1)
                continue
            with pytest.raises(PermissionDeniedError):
                await service.create(caller, kind, parameters, PERSONS, expected=1)
    job = await start("disable", PERSONS, support)
    for act in (service.cancel, service.resume):
        with pytest.raises(PermissionDeniedError):
            await act(job.id, group_admin)
    assert await user_by_id(person) is not None


async def test_only_an_owner_acts_on_administrators_and_nobody_on_themselves() -> None:
    owner_user, owner = await administrator(Role.OWNER)
    support_user, support = await administrator(Role.SUPPORT)
    await people(2)
    job = await finish(await start("disable", Selection(), support))
    assert (job.total, job.changed) == (4, 2)
    assert await reasons(job) == {
        owner_user.email: "Only an owner may do this to a user who has a role.",
        support_user.email: "This is the administrator who asked, who is left out.",
    }
    again = await finish(await start("disable", Selection(), owner))
    assert (again.changed, list(await reasons(again))) == (1, [owner_user.email])


@pytest.mark.parametrize("kind", ["disable", "delete"])
async def test_the_last_owner_stays(kind: str) -> None:
    """Also if the command line asks, which leaves nobody out."""
    for _ in range(3):
        await administrator(Role.OWNER)
    job = await finish(await start(kind, Selection(), expected=3))
    assert (job.state, job.changed, job.failed) == (State.FINISHED, 2, 1)
    assert set((await reasons(job)).values()) == {"This is the last owner. Make another user an owner first."}
    assert len(await fetch("SELECT FROM users WHERE disabled_at IS NULL")) == 1


@pytest.mark.parametrize("lost", ["role", "account", "deleted"])
async def test_a_role_that_is_lost_ends_the_job(lost: str, monkeypatch: pytest.MonkeyPatch) -> None:
    one_batch_a_turn(monkeypatch)
    _, other = await administrator(Role.OWNER)
    asker, caller = await administrator(Role.SUPPORT)
    await people(20)
    job = await start("disable", PERSONS, caller)
    assert await worker.work()
    if lost == "role":
        await revoke(asker.id, Role.SUPPORT)
    elif lost == "account":
        await users.disable_user(asker.id, credentials_changed)
    else:
        await execute("DELETE FROM users WHERE id = $1", asker.id)
    ended = await finish(job)
    assert (ended.state, ended.done) == (State.FAILED, 7)
    assert ended.error.startswith("A role" if lost == "role" else "The account")
    assert [each["outcome"] for each in await events("bulk_job_finished")] == ["failure"]
    # Another administrator goes on, under their own authority.
    await service.resume(job.id, other)
    monkeypatch.setattr(worker, "TURN_SECONDS", 60.0)
    resumed = await finish(job)
    assert (resumed.state, resumed.done, resumed.changed, resumed.error) == (State.FINISHED, 20, 20, "")


async def test_a_cancelled_job_stops_between_batches_and_can_be_resumed(monkeypatch: pytest.MonkeyPatch) -> None:
    one_batch_a_turn(monkeypatch)
    await people(20)
    job = await start("disable", PERSONS)
    await worker.work()
    cancelled = await service.cancel(job.id, None)
    assert (cancelled.state, cancelled.done) == (State.CANCELLED, 7)
    assert not await worker.work()
    assert await _disabled() == 7
    with pytest.raises(JobEndedError):
        await service.cancel(job.id, None)
    await service.resume(job.id, None)
    with pytest.raises(JobEndedError):
        await service.resume(job.id, None)
    assert (await finish(job)).changed == 20
    with pytest.raises(JobEndedError):
        await service.resume(job.id, None)
    with pytest.raises(UnknownJobError):
        await service.cancel(ids.uuid7(), None)


async def test_a_batch_of_a_job_that_was_cancelled_meanwhile_is_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of one that another process has taken over after the lease."""
    await people(7)
    original = kinds.KINDS["disable"]
    for statement in (
        "UPDATE bulk_job SET state = 'cancelled', finished_at = now(), holder = NULL WHERE id = $1",
        "UPDATE bulk_job SET holder = gen_random_uuid() WHERE id = $1",
    ):
        job = await start("disable", PERSONS)

        async def act(user_id: UUID, parameters: NoParameters, job_id: UUID = job.id, text: str = statement) -> bool:
            # On another connection, as another process.
            with _elsewhere():
                await execute(text, job_id)
            return await original.act(user_id, parameters)

        monkeypatch.setitem(kinds.KINDS, "disable", msgspec.structs.replace(original, act=act))
        await worker.work()
        assert await _disabled() == 0
        assert (await service.found(job.id)).done == 0
        await execute("DELETE FROM bulk_job")


@contextmanager
def _elsewhere() -> Iterator[None]:
    """Leave the current transaction for the duration of a block."""
    token = engine.current_transaction.set(None)
    yield
    engine.current_transaction.reset(token)


async def test_an_unexpected_error_stops_only_its_item(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = await people(10)
    original = kinds.KINDS["disable"]

    async def act(user_id: UUID, parameters: NoParameters) -> bool:
        if user_id == chosen[5]:
            await execute("SELECT 1 / 0")
        return await original.act(user_id, parameters)

    monkeypatch.setitem(kinds.KINDS, "disable", msgspec.structs.replace(original, act=act))
    job = await finish(await start("disable", PERSONS))
    assert (job.state, job.changed, job.failed) == (State.FINISHED, 9, 1)
    assert list(await reasons(job)) == ["person5@example.com"]


async def test_jobs_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """A short one does not wait for the end of a long one, and one process works at a time."""
    one_batch_a_turn(monkeypatch)
    await people(30)
    long = await start("disable", PERSONS)
    short = await start("disable", Selection(names=("person0@example.com",)))
    await worker.work()
    await worker.work()
    assert ((await service.found(short.id)).state, (await service.found(long.id)).done) == (State.FINISHED, 7)
    async with transaction():
        assert await jobs.claim(ids.uuid7()) is not None
    await start("disable", Selection(names=("person0@example.com",)))
    assert not await worker.work()
    assert await jobs.claim(ids.uuid7()) is None
    await execute("UPDATE bulk_job SET leased_until = now() WHERE finished_at IS NULL")
    assert (await finish(long)).state == State.FINISHED


async def test_a_kind_of_a_newer_release_ends_the_job() -> None:
    await people(1)
    job = await start("disable", PERSONS)
    await execute("UPDATE bulk_job SET kind = 'promote'")
    ended = await finish(job)
    assert (ended.state, ended.error.startswith("There is no such kind")) == (State.FAILED, True)


async def test_jobs_are_deleted_some_time_after_their_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "BATCH", 3)
    await people(8)
    kept = await start("disable", PERSONS)
    gone = await start("disable", Selection(names=tuple("abcdefgh")))
    one_batch_a_turn(monkeypatch)
    await worker.work()
    await worker.work()
    await service.cancel(gone.id, None)
    assert not await retention.delete_expired_jobs()
    past = clock.now() - timedelta(seconds=1)
    await execute("UPDATE bulk_job SET kept_until = $2 WHERE id = $1", gone.id, past)
    with pytest.raises(JobEndedError):
        await service.resume(gone.id, None)
    assert not await retention.delete_expired_jobs()
    for table in ("bulk_job", "bulk_item", "bulk_error"):
        rows = await fetch(f"SELECT * FROM {table}")
        assert {row["id" if table == "bulk_job" else "job_id"] for row in rows} <= {kept.id}
    assert await service.found(kept.id)


async def test_unfinished_jobs_are_counted() -> None:
    await people(1)
    assert await jobs.count() == jobs.Count(0, 0, 0.0)
    await start("disable", PERSONS)
    await execute("UPDATE bulk_job SET created_at = now() - interval '1 minute'")
    found = await jobs.count()
    assert (found.queued, found.running) == (1, 0)
    assert 60 <= found.waiting < 90


async def test_jobs_that_are_created_at_the_same_moment_count_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "MAX_UNFINISHED", 2)
    chosen = Selection(names=("a",))
    cancelled = await start("enable", chosen)
    await service.cancel(cancelled.id, None)
    runs = [start("enable", chosen) for _ in range(6)] + [service.resume(cancelled.id, None)]
    found = await asyncio.gather(*runs, return_exceptions=True)
    assert sorted(type(each).__name__ for each in found) == ["Job"] * 2 + ["TooManyJobsError"] * 5


async def test_the_jobs_of_administrators_at_a_contained_upstream_end() -> None:
    """It may have signed a stranger in as one of them."""
    admin, owner = await administrator(Role.OWNER)
    _, other = await administrator(Role.OWNER)
    provider = registry.configure(kind="oidc", id="acme", name="Acme", issuer="https://op.example.com", client_id="x")
    await registry.add(provider)
    await insert_identity(admin.id, "https://op.example.com", "1", upstream_id="acme")
    await people(20)
    theirs = await start("disable", PERSONS, other)
    job = await start("disable", PERSONS, owner)
    assert (await contain_upstream("acme")).ended["bulk_jobs"] == 1
    assert (await finish(job)).state is State.CANCELLED
    assert (await finish(theirs)).state is State.FINISHED


@pytest.mark.parametrize("disable", [True, False])
async def test_the_jobs_of_an_administrator_who_is_contained_end(disable: bool) -> None:
    """Also if the account stays enabled with its roles: somebody else may have asked for them."""
    admin, owner = await administrator(Role.OWNER)
    _, other = await administrator(Role.OWNER)
    await people(20)
    theirs = await start("disable", PERSONS, other)
    job = await start("disable", PERSONS, owner)
    assert (await contain_user(admin.id, disable=disable)).ended["bulk_jobs"] == 1
    assert (await finish(job)).state is State.CANCELLED
    assert (await finish(theirs)).state is State.FINISHED
    assert "bulk_job_cancelled" in {event["event"] for event in await fetch("SELECT event FROM audit_event")}
