"""Checks: what differs at a target is found, reported, and mended if that is asked for."""

from typing import Any
from uuid import UUID

import msgspec
import pytest
from structlog.testing import capture_logs

from idp.directory import groups
from idp.infra.db.engine import execute, fetch
from idp.provisioning import jobs, protocol, targets
from idp.provisioning.repository import jobs as repository
from idp.provisioning.repository.jobs import Job
from idp.settings import settings
from tests.provisioning.conftest import deliver, make_due, target, user
from tests.provisioning.fake import Answer, Asked, FakeScim
from tests.provisioning.test_users import _disable


async def _check(target_id: UUID, *, mend: bool = False) -> tuple[Job, list[tuple[Any, ...]]]:
    """Check, and return the job and the differences."""
    await targets.start(target_id, "check", mend=mend)
    while await jobs.work():
        pass
    job = await repository.job(target_id, "check")
    assert job is not None
    rows = await fetch("SELECT kind, user_id, group_id, remote_id, details FROM provisioning_drift ORDER BY kind, id")
    return job, [tuple(row) for row in rows]


def _writes(scim: FakeScim) -> int:
    return sum(asked.method != "GET" for asked in scim.asked)


async def _differing(scim: FakeScim) -> tuple[UUID, dict[str, Any]]:
    """Make a target that differs in every way, and return its users by how they differ."""
    people = {name: await user(name=name) for name in ("missing", "different", "inactive", "active", "fine")}
    target_id = await target(scim)
    await deliver()
    await _disable(people["active"])
    await deliver()
    accounts = {account["externalId"]: account for account in scim.users.values()}
    del scim.users[accounts[str(people["missing"].id)]["id"]]
    accounts[str(people["different"].id)]["displayName"] = "Changed there"
    accounts[str(people["inactive"].id)]["active"] = False
    accounts[str(people["active"].id)]["active"] = True
    scim.add(userName="stranger", displayName="Stranger")
    scim.asked.clear()
    return target_id, people


@pytest.mark.parametrize("cursor", [False, True])
async def test_differences_are_reported(scim: FakeScim, cursor: bool) -> None:
    """Nothing is changed, neither there nor here."""
    scim.cursor = cursor
    target_id, people = await _differing(scim)
    before = await fetch("SELECT user_id, state, sent_hash, remote_id FROM provisioned_user ORDER BY user_id")
    job, found = await _check(target_id)
    assert job.state == "done", job.error
    by_kind = {kind: (user_id, list(details)) for kind, user_id, _, _, details in found}
    assert by_kind == {
        "missing": (people["missing"].id, []),
        "different": (people["different"].id, ["displayName"]),
        "inactive": (people["inactive"].id, ["active"]),
        "active": (people["active"].id, []),
        "unmanaged": (None, []),
    }
    assert job.counts == {"accounts": 5, "missing": 1, "different": 1, "inactive": 1, "active": 1, "unmanaged": 1}
    await deliver()
    assert _writes(scim) == 0
    assert await fetch("SELECT user_id, state, sent_hash, remote_id FROM provisioned_user ORDER BY user_id") == before


async def test_differences_are_mended(scim: FakeScim) -> None:
    """The account of a stranger stays as it is."""
    target_id, people = await _differing(scim)
    await _check(target_id, mend=True)
    await deliver()
    accounts = {account.get("externalId"): account for account in scim.users.values()}
    assert len(scim.users) == 6
    assert accounts[None]["displayName"] == "Stranger"
    assert accounts[str(people["different"].id)]["displayName"] == "different"
    active = {name: accounts[str(person.id)]["active"] for name, person in people.items()}
    assert active == {"missing": True, "different": True, "inactive": True, "active": False, "fine": True}
    _, found = await _check(target_id)
    assert [kind for kind, *_ in found] == ["unmanaged"]


async def test_who_left_is_deleted_if_the_target_deletes(scim: FakeScim) -> None:
    group, person = await groups.create("Staff"), await user()
    await groups.add_members(group.id, [person.id])
    target_id = await target(scim, users="groups", groups=[str(group.id)], removal="delete")
    await deliver()
    (account,) = scim.users.values()
    await groups.remove_members(group.id, [person.id])
    scim.behave = lambda asked: (403, {}, b"{}") if asked.method == "DELETE" else None
    await deliver()
    _, found = await _check(target_id)
    assert [(kind, user_id) for kind, user_id, *_ in found] == [("extra", person.id)]
    assert account["id"] in scim.users
    scim.behave = lambda _: None
    await _check(target_id, mend=True)
    await deliver()
    assert scim.users == {}


@pytest.mark.parametrize("cursor", [False, True])
async def test_many_pages(scim: FakeScim, cursor: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "PAGE", 3)
    scim.cursor = cursor
    for _ in range(10):
        await user()
    target_id = await target(scim)
    await deliver()
    for number in range(10):
        scim.add(userName=f"stranger{number}")
    scim.asked.clear()
    job, found = await _check(target_id)
    assert job.counts == {"accounts": 20, "unmanaged": 10}
    assert len(found) == 10
    assert len([asked for asked in scim.asked if asked.path == "/Users"]) == 7


async def test_a_check_goes_on_where_it_was(scim: FakeScim, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process goes on after the lease of one that was killed, and what was counted is not counted again."""
    monkeypatch.setattr(protocol, "PAGE", 3)
    monkeypatch.setattr(jobs, "TURN_SECONDS", 0.0)
    for number in range(10):
        scim.add(userName=f"stranger{number}")
    target_id = await target(scim)
    await deliver()
    await targets.start(target_id, "check")
    for _ in range(3):
        await jobs.work()
    killed = await repository.take(UUID(int=7))
    assert killed is not None
    assert 0 < killed.done < 10
    assert not await jobs.work()
    await make_due()
    while await jobs.work():
        pass
    job = await repository.job(target_id, "check")
    assert job is not None
    assert (job.state, job.counts["unmanaged"]) == ("done", 10)
    assert len(await fetch("SELECT FROM provisioning_drift")) == 10


def _lie(scim: FakeScim, **changed: Any) -> None:
    """Change members of every list."""

    def behave(asked: Asked) -> Answer | None:
        if asked.path != "/Users" or asked.method != "GET" or "filter" in asked.query:
            return None
        _, _, body = scim._answer(asked)
        return 200, {}, msgspec.json.encode(msgspec.json.decode(body) | changed)

    scim.behave = behave


async def test_a_total_that_is_too_low_makes_nobody_missing(scim: FakeScim, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that were not listed are asked for one by one."""
    monkeypatch.setattr(protocol, "PAGE", 3)
    for _ in range(10):
        await user()
    target_id = await target(scim)
    await deliver()
    list(scim.users.values())[9]["displayName"] = "Changed there"
    _lie(scim, totalResults=1)
    _, found = await _check(target_id)
    assert [(kind, list(details)) for kind, *_, details in found] == [("different", ["displayName"])]


@pytest.mark.parametrize(
    "lie",
    [{"totalResults": 10**9}, {"totalResults": "many"}, {"totalResults": None}, {"totalResults": True}],
)
async def test_a_total_that_is_wrong_ends_with_the_list(scim: FakeScim, lie: dict[str, Any]) -> None:
    await user()
    target_id = await target(scim)
    await deliver()
    _lie(scim, **lie)
    job, found = await _check(target_id)
    assert (job.state, job.counts["accounts"], found) == ("done", 1, [])


@pytest.mark.parametrize("cursor", [False, True])
async def test_pages_that_repeat_end_the_check(scim: FakeScim, cursor: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "ATTEMPTS", 2)
    scim.cursor = cursor
    await user()
    target_id = await target(scim)
    await deliver()
    resources = list(scim.users.values())
    page = {"totalResults": 10**9, "nextCursor": "next", "Resources": resources}
    scim.behave = lambda asked: (200, {}, msgspec.json.encode(page)) if asked.path == "/Users" else None
    await _check(target_id)
    await make_due()
    while await jobs.work():
        pass
    job = await repository.job(target_id, "check")
    assert job is not None
    assert (job.state, "repeat" in job.error) == ("failed", True)
    assert len(scim.asked) < 20
    with pytest.raises(targets.NoJobError):
        await targets.stop(target_id, "check")
    scim.behave = lambda _: None
    await targets.resume(target_id, "check")
    while await jobs.work():
        pass
    job = await repository.job(target_id, "check")
    assert job is not None
    assert job.state == "done"


@pytest.mark.parametrize(
    "body",
    [b"<html>", b"[]", b'{"Resources": 7}', b'{"Resources": [7, null, {}, {"id": 3}, {"id": ".."}]}',
     b'{"Resources": [' + b'{"id": "x"},' * 2000 + b'{"id": "y"}]}'],
)  # fmt: skip
async def test_lists_that_are_none(scim: FakeScim, body: bytes) -> None:
    await user()
    target_id = await target(scim)
    await deliver()
    scim.behave = lambda asked: (200, {}, body) if asked.path == "/Users" else None
    job, found = await _check(target_id)
    assert found == []
    assert job.state in ("running", "done")


async def test_groups(scim: FakeScim) -> None:
    """Members whom nobody here knows stay."""
    group, gone, other = await groups.create("Staff"), await groups.create("Gone"), await groups.create("Other")
    lost, added, fine = await user(), await user(), await user()
    await groups.add_members(group.id, [lost.id, fine.id])
    ours = [str(group.id), str(gone.id), str(other.id)]
    target_id = await target(scim, pushed_groups=ours)
    await deliver()
    there = {each["displayName"]: each for each in scim.groups.values()}
    accounts = {account["externalId"]: account["id"] for account in scim.users.values()}
    stranger = scim.add(userName="stranger")["id"]
    there["Staff"]["members"] = [{"value": accounts[str(each.id)]} for each in (fine, added)] + [{"value": stranger}]
    del scim.groups[there["Gone"]["id"]]
    there["Other"]["displayName"] = "Renamed there"
    scim.add("groups", displayName="Theirs")
    scim.asked.clear()
    _, found = await _check(target_id)
    kinds = {(kind, group_id, tuple(details)) for kind, _, group_id, _, details in found if kind != "unmanaged"}
    assert kinds == {
        ("group_members", group.id, ("1 missing", "1 too many")),
        ("group_missing", gone.id, ()),
        ("group_different", other.id, ("displayName",)),
        ("group_unmanaged", None, ()),
    }
    await deliver()
    assert _writes(scim) == 0
    await _check(target_id, mend=True)
    await deliver()
    await make_due()
    await deliver()
    assert sorted(each["displayName"] for each in scim.groups.values()) == ["Gone", "Other", "Staff", "Theirs"]
    members = {member["value"] for member in there["Staff"]["members"]}
    assert members == {accounts[str(lost.id)], accounts[str(fine.id)], stranger}
    _, found = await _check(target_id)
    assert {kind for kind, *_ in found} == {"unmanaged", "group_unmanaged"}


@pytest.mark.parametrize("members", [5, "x", {"value": "1"}, [7, None, {}, {"value": []}, {"value": {}}, {"Value": 3}]])
async def test_members_that_are_none(scim: FakeScim, members: Any) -> None:
    """A list that is none is not listed; of a list, the ids are compared."""
    group = await groups.create("Staff")
    person = await user()
    await groups.add_members(group.id, [person.id])
    target_id = await target(scim, pushed_groups=[str(group.id)])
    await deliver()
    (there,) = scim.groups.values()
    there["members"] = members
    job, found = await _check(target_id)
    assert (job.state, job.error) == ("done", "")
    assert [(kind, tuple(details)) for kind, _, _, _, details in found] == [
        ("group_members", ("1 missing", "0 too many"))
    ]


async def test_an_unexpected_error_ends_a_check(scim: FakeScim, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is tried again as other errors are, and the log says where it was raised."""

    async def broken(*_: object) -> None:
        raise KeyError("a fault")

    monkeypatch.setitem(jobs.STEPS, "check", broken)
    target_id = await target(scim)
    await deliver()
    with capture_logs() as lines:
        job, _ = await _check(target_id)
        assert (job.state, job.attempts) == ("running", 1)
        assert job.error == "There was an unexpected error, KeyError. The log has it."
        for _ in range(jobs.ATTEMPTS - 1):
            await make_due()
            assert await jobs.work()
    ended = await repository.job(target_id, "check")
    assert ended is not None
    assert ended.state == "failed"
    line = next(line for line in lines if line["event"] == "provisioning_job_failed")
    assert (line["kind"], line["stream"]) == ("check", f"scim:{target_id}")
    assert (line["error"], f"{__file__}:" in line["path"]) == ("KeyError", True)


async def test_who_is_being_sent_is_left_out(scim: FakeScim) -> None:
    person = await user()
    target_id = await target(scim)
    await deliver()
    (account,) = scim.users.values()
    account["displayName"] = "Changed there"
    await execute("UPDATE provisioned_user SET queued_until = now() + interval '1 hour' WHERE user_id = $1", person.id)
    _, found = await _check(target_id)
    assert found == []


async def test_checks_are_made_periodically(scim: FakeScim, monkeypatch: pytest.MonkeyPatch) -> None:
    """And mend if the target says so."""
    await user(name="Name")
    target_id = await target(scim, mends=True)
    await deliver()
    (account,) = scim.users.values()
    account["displayName"] = "Changed there"
    interval = float(settings().provisioning_check_interval)
    assert await repository.start_due_checks(interval) == 0
    await execute("UPDATE provisioning_target SET updated_at = now() - interval '25 hours'")
    assert await repository.start_due_checks(interval) == 1
    assert await repository.start_due_checks(interval) == 0
    await deliver()
    assert account["displayName"] == "Name"
    await execute("UPDATE provisioning_job SET started_at = now() - interval '25 hours'")
    assert await repository.start_due_checks(interval) == 1
    await targets.stop(target_id, "check")
    await execute("UPDATE provisioning_job SET started_at = now() - interval '25 hours'")
    assert await repository.start_due_checks(interval) == 0


async def test_a_disabled_target_is_checked_when_it_is_enabled_again(scim: FakeScim) -> None:
    """Although it was disabled during a check. One that an administrator stopped stays so."""
    target_id = await target(scim)
    await deliver()
    for stopped in (False, True):
        await targets.start(target_id, "check")
        if stopped:
            await targets.stop(target_id, "check")
        await targets.set_enabled(target_id, False)
        await targets.set_enabled(target_id, True)
        await execute("UPDATE provisioning_job SET started_at = now() - interval '25 hours'")
        due = await repository.start_due_checks(float(settings().provisioning_check_interval))
        assert due == (0 if stopped else 1)
