"""Groups at a target: their names, and those of their members who are there."""

import pytest

from idp.accounts import users
from idp.directory import groups
from idp.infra.db.engine import fetch, transaction
from idp.oauth.credentials import credentials_changed
from idp.provisioning import group_delivery, targets
from tests.provisioning.conftest import deliver, make_due, target, user
from tests.provisioning.fake import Answer, Asked, FakeScim


def _members(scim: FakeScim, name: str) -> set[str]:
    """Return the users in a group there, by the ids here."""
    (group,) = [each for each in scim.groups.values() if each["displayName"] == name]
    return {scim.users[member["value"]]["externalId"] for member in group.get("members", [])}


async def test_a_group_is_pushed_with_its_members(scim: FakeScim) -> None:
    """Members of groups below it are members."""
    above = await groups.create("All staff")
    below = await groups.create("Sales", parent_id=above.id)
    direct, indirect, other = await user(), await user(), await user()
    await groups.add_members(above.id, [direct.id])
    await groups.add_members(below.id, [indirect.id])
    await target(scim, pushed_groups=[str(above.id)])
    await deliver()
    assert len(scim.users) == 3
    assert _members(scim, "All staff") == {str(direct.id), str(indirect.id)}
    await groups.add_members(below.id, [other.id])
    await groups.remove_members(above.id, [direct.id])
    await deliver()
    assert _members(scim, "All staff") == {str(indirect.id), str(other.id)}
    assert scim.count("POST", "/Groups") == 1


async def test_a_change_of_one_member_sends_one(scim: FakeScim) -> None:
    group = await groups.create("Staff")
    people = [await user() for _ in range(20)]
    await groups.add_members(group.id, [person.id for person in people])
    await target(scim, pushed_groups=[str(group.id)])
    await deliver()
    assert len(_members(scim, "Staff")) == 20
    newcomer = await user()
    scim.asked.clear()
    await groups.add_members(group.id, [newcomer.id])
    await deliver()
    (patch,) = [asked for asked in scim.asked if asked.method == "PATCH" and asked.path.startswith("/Groups")]
    assert len(patch.body["Operations"][0]["value"]) == 1


async def test_a_group_is_renamed_and_deleted(scim: FakeScim) -> None:
    group = await groups.create("Before")
    target_id = await target(scim, pushed_groups=[str(group.id)])
    await deliver()
    await groups.update(group.id, name="After")
    await deliver()
    assert [each["displayName"] for each in scim.groups.values()] == ["After"]
    await groups.delete(group.id)
    await deliver()
    assert scim.groups == {}
    other = await groups.create("Other")
    await targets.update(target_id, {"pushed_groups": [str(other.id)]})
    await deliver()
    assert [each["displayName"] for each in scim.groups.values()] == ["Other"]
    await targets.update(target_id, {"pushed_groups": []})
    await deliver()
    assert scim.groups == {}
    assert not await fetch("SELECT FROM provisioned_group")


async def test_a_stranger_group_is_not_deleted(scim: FakeScim) -> None:
    scim.add("groups", displayName="Theirs")
    group = await groups.create("Ours")
    await target(scim, pushed_groups=[str(group.id)])
    await deliver()
    await groups.delete(group.id)
    await deliver()
    assert [each["displayName"] for each in scim.groups.values()] == ["Theirs"]


async def test_a_group_with_the_name_is_adopted_with_its_members(scim: FakeScim) -> None:
    stranger = scim.add(userName="stranger", externalId="theirs")
    scim.add("groups", displayName="Staff", members=[{"value": stranger["id"]}])
    group, person = await groups.create("Staff"), await user()
    await groups.add_members(group.id, [person.id])
    await target(scim, pushed_groups=[str(group.id)])
    await deliver()
    assert _members(scim, "Staff") == {"theirs", str(person.id)}


async def test_a_disabled_user_leaves_the_groups(scim: FakeScim) -> None:
    group, person = await groups.create("Staff"), await user()
    await groups.add_members(group.id, [person.id])
    await target(scim, pushed_groups=[str(group.id)])
    await deliver()
    async with transaction():
        await users.disable_user(person.id, credentials_changed)
    await deliver()
    assert _members(scim, "Staff") == set()
    await users.enable_user(person.id)
    await deliver()
    assert _members(scim, "Staff") == {str(person.id)}


async def test_a_group_that_was_deleted_there_is_created_again(scim: FakeScim) -> None:
    group, person = await groups.create("Staff"), await user()
    await groups.add_members(group.id, [person.id])
    await target(scim, pushed_groups=[str(group.id)])
    await deliver()
    scim.groups.clear()
    other = await user()
    await groups.add_members(group.id, [other.id])
    await deliver()
    await make_due()
    await deliver()
    assert _members(scim, "Staff") == {str(person.id), str(other.id)}


async def test_a_group_that_is_listed_and_not_there(scim: FakeScim) -> None:
    """It is looked for once more. Otherwise an attempt would never end."""
    scim.add("groups", displayName="Staff")
    scim.behave = lambda asked: (404, {}, b"") if asked.path.startswith("/Groups/") else None
    group = await groups.create("Staff")
    await target(scim, pushed_groups=[str(group.id)])
    await deliver()
    assert sum(asked.method == "GET" and asked.path.startswith("/Groups/") for asked in scim.asked) == 2
    (row,) = await fetch("SELECT state, response FROM delivery WHERE kind LIKE '%group%'")
    assert (row["state"], row["response"]) == ("deferred", "It lists a group that it does not have.")


async def test_one_member_that_is_refused_does_not_hold_up_the_others(scim: FakeScim) -> None:
    """The account is compared with the target again, and so created again."""
    group = await groups.create("Staff")
    people = [await user() for _ in range(9)]
    await target(scim, pushed_groups=[str(group.id)])
    await deliver()
    lost = str(people[4].id)
    gone = next(each["id"] for each in scim.users.values() if each["externalId"] == lost)
    del scim.users[gone]

    def refuse(asked: Asked) -> Answer | None:
        if asked.method == "PATCH" and any(
            member["value"] not in scim.users for member in asked.body["Operations"][0].get("value", ())
        ):
            return 400, {}, b'{"detail": "There is no such user."}'
        return None

    scim.behave = refuse
    await groups.add_members(group.id, [person.id for person in people])
    await deliver()
    await make_due()
    await deliver()
    assert _members(scim, "Staff") == {str(person.id) for person in people}


async def test_many_members_are_sent_in_parts(scim: FakeScim, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_delivery, "BATCH", 3)
    monkeypatch.setattr(group_delivery, "TURN_SECONDS", 0.001)
    group = await groups.create("Staff")
    people = [await user() for _ in range(10)]
    await groups.add_members(group.id, [person.id for person in people])
    await target(scim, pushed_groups=[str(group.id)])
    await deliver()
    assert len(_members(scim, "Staff")) == 10
    sizes = [
        len(asked.body["Operations"][0]["value"])
        for asked in scim.asked
        if asked.method == "PATCH" and asked.path.startswith("/Groups")
    ]
    assert max(sizes) <= 3


async def test_a_server_without_patch_gets_the_whole_group(scim: FakeScim) -> None:
    scim.patch = False
    group, person, other = await groups.create("Staff"), await user(), await user()
    await groups.add_members(group.id, [person.id])
    await target(scim, pushed_groups=[str(group.id)])
    await deliver()
    assert _members(scim, "Staff") == {str(person.id)}
    await groups.add_members(group.id, [other.id])
    await groups.update(group.id, name="People")
    await deliver()
    assert _members(scim, "People") == {str(person.id), str(other.id)}
