"""Users at a target: created, adopted, changed, deactivated and deleted, as they are when the delivery is sent."""

from typing import Any

import pytest

from idp.accounts import profile, users
from idp.accounts.repository.users import user_by_id
from idp.accounts.tables import Origin, User
from idp.directory import groups, member_states, organizations
from idp.errors import ValidationError
from idp.infra.db.engine import execute, fetch, transaction
from idp.oauth.credentials import credentials_changed
from idp.oauth.sign_out import sign_out_for_deletion
from idp.provisioning import targets, user_delivery
from idp.provisioning.models import State
from idp.provisioning.repository import subjects
from idp.provisioning.repository.subjects import Sent
from tests.provisioning.conftest import deliver, known, make_due, responses, target, user
from tests.provisioning.fake import Asked, FakeScim


async def _rename(person: User, **claims: str) -> None:
    async with transaction():
        current = await user_by_id(person.id)
        assert current is not None
        entered = {name: getattr(current, name) or "" for name in profile.FIELDS}
        await profile.update_profile(current, entered | claims)


async def _disable(person: User) -> None:
    async with transaction():
        await users.disable_user(person.id, credentials_changed)


async def test_a_new_target_gets_all_users(scim: FakeScim) -> None:
    alice = await user("alice@example.com", name="Alice A.", given_name="Alice", family_name="A.", locale="de")
    gone = await user()
    await _disable(gone)
    await target(scim)
    await deliver()
    (account,) = scim.users.values()
    assert {name: value for name, value in account.items() if name not in ("id", "meta", "schemas")} == {
        "userName": "alice@example.com",
        "externalId": str(alice.id),
        "active": True,
        "displayName": "Alice A.",
        "name": {"formatted": "Alice A.", "givenName": "Alice", "familyName": "A."},
        "emails": [{"value": "alice@example.com", "type": "work", "primary": True}],
        "locale": "de",
    }
    row = await known(alice.id)
    assert row is not None
    assert (row["remote_id"], row["state"], row["error"]) == (account["id"], "active", "")
    assert await known(gone.id) is None


async def test_changes_follow(scim: FakeScim) -> None:
    await target(scim)
    person = await user(name="Before")
    await deliver()
    await _rename(person, name="After")
    await deliver()
    (account,) = scim.users.values()
    assert account["displayName"] == "After"
    (patch,) = [asked for asked in scim.asked if asked.method == "PATCH"]
    assert {operation["path"] for operation in patch.body["Operations"]} == {"displayName", "name.formatted"}


async def test_several_changes_are_one_delivery_of_the_last_state(scim: FakeScim) -> None:
    await target(scim)
    person = await user(name="0")
    await deliver()
    before = len(await responses())
    for number in range(1, 4):
        await _rename(person, name=str(number))
    await deliver()
    (account,) = scim.users.values()
    assert account["displayName"] == "3"
    assert len(await responses()) == before + 1
    assert scim.count("PATCH") == 1


async def test_a_disabled_user_is_deactivated_before_everything_else(scim: FakeScim) -> None:
    await target(scim)
    person = await user()
    await deliver()
    for _ in range(30):
        await user()
    await _disable(person)
    scim.asked.clear()
    await deliver()
    writes = [asked for asked in scim.asked if asked.method in ("POST", "PATCH")]
    row = await known(person.id)
    assert row is not None
    assert row["state"] == "inactive"
    assert (writes[0].method, writes[0].path) == ("PATCH", f"/Users/{row['remote_id']}")
    assert writes[0].body["Operations"] == [{"op": "replace", "path": "active", "value": False}]
    assert scim.users[row["remote_id"]]["active"] is False


async def test_an_enabled_user_is_activated_again(scim: FakeScim) -> None:
    await target(scim)
    person = await user()
    await deliver()
    await _disable(person)
    await deliver()
    await users.enable_user(person.id)
    await deliver()
    (account,) = scim.users.values()
    assert account["active"] is True
    assert scim.count("POST", "/Users") == 1


@pytest.mark.parametrize(("removal", "left"), [("deactivate", [False]), ("delete", [])])
async def test_a_deleted_user_is_removed(scim: FakeScim, removal: str, left: list[bool]) -> None:
    await target(scim, removal=removal)
    person = await user()
    await deliver()
    async with transaction():
        await profile.delete_user(person.id, sign_out_for_deletion)
    await deliver()
    assert [account["active"] for account in scim.users.values()] == left
    assert (await known(person.id) is None) == (removal == "delete")


async def test_who_leaves_the_group_of_a_target_leaves_the_target(scim: FakeScim) -> None:
    above = await groups.create("Above")
    group = await groups.create("Staff", parent_id=above.id)
    person, other = await user(), await user()
    await groups.add_members(group.id, [person.id])
    await target(scim, users="groups", groups=[str(above.id)])
    await deliver()
    assert [account["externalId"] for account in scim.users.values()] == [str(person.id)]
    await groups.add_members(group.id, [other.id])
    await groups.remove_members(group.id, [person.id])
    await deliver()
    states = {account["externalId"]: account["active"] for account in scim.users.values()}
    assert states == {str(person.id): False, str(other.id): True}
    await groups.update(group.id, parent_id=None)
    await deliver()
    assert not any(account["active"] for account in scim.users.values())


async def test_a_target_whose_group_is_gone_removes_nobody_but_the_disabled(scim: FakeScim) -> None:
    group = await groups.create("Staff")
    person, other = await user(), await user()
    await groups.add_members(group.id, [person.id, other.id])
    target_id = await target(scim, users="groups", groups=[str(group.id)])
    await deliver()
    await groups.delete(group.id)
    await _disable(person)
    await deliver()
    states = {account["externalId"]: account["active"] for account in scim.users.values()}
    assert states == {str(person.id): False, str(other.id): True}
    (row,) = await fetch("SELECT failing_reason FROM provisioning_target WHERE id = $1", target_id)
    assert "no longer exists" in row["failing_reason"]
    await targets.update(target_id, {"users": "all"})
    await make_due()
    await deliver()
    (row,) = await fetch("SELECT failing_reason FROM provisioning_target WHERE id = $1", target_id)
    assert row["failing_reason"] == ""


async def test_an_account_that_exists_is_adopted(scim: FakeScim) -> None:
    """What we do not map stays."""
    scim.add(
        userName="ALICE@example.com", nickName="Al", title="Boss", active=True,
        emails=[{"value": "al@home.example", "type": "home", "primary": True}],
    )  # fmt: skip
    alice = await user("alice@example.com", name="Alice")
    await target(scim)
    await deliver()
    (account,) = scim.users.values()
    assert (account["externalId"], account["displayName"]) == (str(alice.id), "Alice")
    assert (account["nickName"], account["title"]) == ("Al", "Boss")
    assert account["emails"] == [
        {"value": "alice@example.com", "type": "work", "primary": True},
        {"value": "al@home.example", "type": "home", "primary": False},
    ]
    assert scim.count("POST") == 0


async def test_matching_by_email(scim: FakeScim) -> None:
    scim.add(userName="asmith", emails=[{"value": "alice@example.com", "type": "work"}])
    await user("alice@example.com")
    await target(scim, match="email")
    await deliver()
    (account,) = scim.users.values()
    assert account["userName"] == "alice@example.com"


async def test_without_matching_a_stranger_is_not_adopted(scim: FakeScim) -> None:
    scim.add(userName="alice@example.com", title="Stranger")
    alice = await user("alice@example.com")
    await target(scim, match="externalId")
    await deliver()
    (account,) = scim.users.values()
    assert "externalId" not in account
    row = await known(alice.id)
    assert row is not None
    assert (row["remote_id"], "409" in row["error"]) == (None, True)


@pytest.mark.parametrize(
    ("match", "mapping"),
    [
        ("userName", {"userName": "preferred_username"}),
        ("userName", {"userName": "display_name"}),
        ("email", {"userName": "id", "emails": "nickname"}),
    ],
)
async def test_accounts_are_not_matched_by_what_users_choose(
    scim: FakeScim, match: str, mapping: dict[str, str]
) -> None:
    """Otherwise a user who enters the name of an administrator there gets that account."""
    with pytest.raises(ValidationError, match="Match by externalId"):
        await target(scim, match=match, mapping=mapping)
    admin = scim.add(userName="admin", emails=[{"value": "admin", "type": "work"}])
    mallory = await user("mallory@example.com")
    target_id = await target(scim, match="externalId", mapping=mapping)
    with pytest.raises(ValidationError, match="Match by externalId"):
        await targets.update(target_id, {"match": match})
    await deliver()
    await _rename(mallory, preferred_username="admin", name="admin", nickname="admin")
    await deliver()
    assert "externalId" not in scim.users[admin["id"]]


async def test_two_accounts_that_match_are_left_alone(scim: FakeScim) -> None:
    scim.add(userName="alice@example.com")
    scim.add(userName="Alice@example.com")
    alice = await user("alice@example.com")
    await target(scim)
    await deliver()
    row = await known(alice.id)
    assert row is not None
    assert "Several accounts" in row["error"]
    assert scim.count("PATCH") == scim.count("POST") == 0


async def test_a_server_without_patch_gets_put(scim: FakeScim) -> None:
    scim.patch = False
    await target(scim)
    person = await user(name="Before")
    await deliver()
    (account,) = scim.users.values()
    account["title"] = "Set there"
    await _rename(person, name="After")
    await deliver()
    assert (account["displayName"], account["title"]) == ("After", "Set there")
    await _disable(person)
    await deliver()
    assert (account["active"], account["title"]) == (False, "Set there")
    assert scim.count("PATCH") == 0


async def test_a_change_by_another_is_not_overwritten_unseen(scim: FakeScim) -> None:
    """If-Match has the version that was read; after 412 the account is read again."""
    scim.etag = True
    await target(scim)
    person = await user(name="Before")
    await deliver()
    (account,) = scim.users.values()
    raced = False

    def race(asked: Asked) -> None:
        nonlocal raced
        if asked.method == "PATCH" and not raced:
            raced = True
            account["meta"] = {"version": 'W/"other"'}

    scim.behave = race
    await _rename(person, name="After")
    await deliver()
    assert account["displayName"] == "After"
    versions = [asked.headers["if-match"] for asked in scim.asked if asked.method == "PATCH"]
    assert len(versions) == 2
    assert versions[1] == 'W/"other"'


async def test_an_account_that_was_deleted_there_is_created_again(scim: FakeScim) -> None:
    await target(scim)
    person = await user(name="Before")
    await deliver()
    scim.users.clear()
    await _rename(person, name="After")
    await deliver()
    (account,) = scim.users.values()
    assert account["displayName"] == "After"
    row = await known(person.id)
    assert row is not None
    assert row["remote_id"] == account["id"]


async def test_a_delivery_that_was_killed_after_creating_makes_no_second_account(scim: FakeScim) -> None:
    """Also if the server does not care about duplicates, and the userName has changed since."""
    scim.unique = False
    await target(scim)
    person = await user("before@example.com")
    await deliver()
    await execute(
        "UPDATE provisioned_user SET remote_id = NULL, state = 'absent', sent_hash = NULL WHERE user_id = $1", person.id
    )
    async with transaction():
        await users.assign_email(person.id, "after@example.com", Origin.OPERATOR, credentials_changed)
    await deliver()
    (account,) = scim.users.values()
    assert account["userName"] == "after@example.com"


async def test_one_that_was_killed_after_creating_is_found_to_be_deactivated(scim: FakeScim) -> None:
    await target(scim)
    person = await user()
    await deliver()
    await execute(
        "UPDATE provisioned_user SET remote_id = NULL, state = 'absent', sent_hash = NULL WHERE user_id = $1", person.id
    )
    await _disable(person)
    await deliver()
    (account,) = scim.users.values()
    assert account["active"] is False


def _cannot_search_by_external_id(asked: Asked) -> tuple[int, dict[str, str], bytes] | None:
    refused = asked.method == "GET" and asked.query.get("filter", "").startswith("externalId")
    return (400, {}, b'{"detail": "Not searchable."}') if refused else None


@pytest.mark.parametrize("match", ["userName", "externalId", "email"])
@pytest.mark.parametrize("unique", [True, False])
@pytest.mark.parametrize("disabled", [True, False])
async def test_one_that_was_killed_at_a_target_that_cannot_search_by_external_id(
    scim: FakeScim, match: str, unique: bool, disabled: bool
) -> None:
    """The account is found by its userName and the externalId that it has, also to be deactivated."""
    scim.unique, scim.behave = unique, _cannot_search_by_external_id
    await target(scim, match=match)
    person = await user()
    await deliver()
    await execute(
        "UPDATE provisioned_user SET remote_id = NULL, state = 'absent', sent_hash = NULL WHERE user_id = $1", person.id
    )
    await (_disable(person) if disabled else _rename(person, name="After"))
    await deliver()
    (account,) = scim.users.values()
    assert account["active"] is not disabled
    assert disabled or account["displayName"] == "After"
    row = await known(person.id)
    assert row is not None
    assert (row["remote_id"], row["error"]) == (account["id"], "")


async def test_a_stranger_with_the_same_name_is_not_deactivated(scim: FakeScim) -> None:
    """At a target that matches by externalId only, also after an attempt that was refused."""
    scim.behave = _cannot_search_by_external_id
    stranger = scim.add(userName="alice@example.com", active=True)
    alice = await user("alice@example.com")
    await target(scim, match="externalId")
    await deliver()
    await _disable(alice)
    await deliver()
    assert stranger["active"] is True
    assert len(scim.users) == 1


async def test_an_attempt_that_comes_too_late_is_sent_again(scim: FakeScim, monkeypatch: pytest.MonkeyPatch) -> None:
    """If another attempt has begun meanwhile, what the target has is unknown: the attempt does not count."""
    await target(scim)
    person = await user(name="Before")
    await deliver()
    record = user_delivery._record

    async def late(*arguments: Any) -> str:
        await execute("UPDATE provisioned_user SET revision = revision + 1 WHERE user_id = $1", person.id)
        return await record(*arguments)

    monkeypatch.setattr(user_delivery, "_record", late)
    await _rename(person, name="After")
    await deliver()
    monkeypatch.undo()
    row = await known(person.id)
    assert row is not None
    assert row["sent_hash"] is None
    await execute("UPDATE provisioned_user SET claimed_until = NULL")
    await make_due()
    await deliver()
    row = await known(person.id)
    assert row is not None
    assert row["sent_hash"] is not None
    assert (await responses())[-1] == "It was up to date."


async def test_a_late_activation_is_taken_back(scim: FakeScim, monkeypatch: pytest.MonkeyPatch) -> None:
    """An attempt that stalls may send that a user is active after a later one has deactivated the account."""
    await target(scim)
    person = await user(name="Before")
    await deliver()
    record = user_delivery._record

    async def late(*arguments: Any) -> str:
        patch.undo()
        await _disable(person)
        await execute(
            "UPDATE provisioned_user SET revision = revision + 1, state = 'inactive', claimed_until = NULL"
            " WHERE user_id = $1",
            person.id,
        )
        return await record(*arguments)

    await _rename(person, name="After")
    with monkeypatch.context() as patch:
        patch.setattr(user_delivery, "_record", late)
        await deliver()
    await make_due()
    await deliver()
    (account,) = scim.users.values()
    row = await known(person.id)
    assert row is not None
    assert (account["active"], row["state"]) == (False, "inactive")


async def test_a_deactivation_during_a_late_activation_does_not_count(scim: FakeScim) -> None:
    """The target may have got them in any order."""
    target_id = await target(scim)
    person = await user()
    await deliver()
    early = await subjects.users.claim(person.id, target_id)
    await execute("UPDATE provisioned_user SET claimed_until = now() - interval '1 second'")
    later = await subjects.users.claim(person.id, target_id)
    assert early is not None
    assert later is not None
    for claim, state in ((early, State.ACTIVE), (later, State.INACTIVE)):
        assert not await subjects.users.record(person.id, target_id, claim, Sent(early.remote_id, state))
    row = await known(person.id)
    assert row is not None
    assert row["state"] == "active"


async def test_two_attempts_do_not_overlap(scim: FakeScim) -> None:
    await target(scim)
    person = await user(name="Before")
    await deliver()
    await execute("UPDATE provisioned_user SET claimed_until = now() + interval '1 minute'")
    scim.asked.clear()
    await _rename(person, name="After")
    await deliver()
    assert scim.asked == []
    await execute("UPDATE provisioned_user SET claimed_until = now()")
    await make_due()
    await deliver()
    assert scim.count("PATCH") == 1


async def test_a_disabled_target_gets_nothing(scim: FakeScim) -> None:
    target_id = await target(scim)
    await deliver()
    await targets.set_enabled(target_id, False)
    scim.asked.clear()
    await user()
    await deliver()
    assert scim.asked == []
    assert not await fetch("SELECT FROM event_feed_kind")
    await targets.set_enabled(target_id, True)
    await deliver()
    assert len(scim.users) == 1


async def test_a_disabled_membership_does_not_count(scim: FakeScim) -> None:
    """Nor does one of an organisation that is disabled: its members are deactivated, not removed."""
    organization = await organizations.create("customer", "Customer")
    person, other = await user(), await user()
    await organizations.add_members(organization.id, [person.id, other.id])
    await target(scim, users="organization", organization_id=str(organization.id), removal="delete")
    await deliver()
    assert len(scim.users) == 2
    await organizations.disable(organization.id)
    await deliver()
    assert [account["active"] for account in scim.users.values()] == [False, False]
    await organizations.enable(organization.id)
    await deliver()
    assert [account["active"] for account in scim.users.values()] == [True, True]
    await member_states.set_enabled(organization.id, person.id, enabled=False)
    await deliver()
    assert [account["externalId"] for account in scim.users.values()] == [str(other.id)]
