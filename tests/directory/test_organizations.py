"""Organizations, their members, and the roles there."""

import asyncio
import secrets
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from idp.accounts.repository.users import delete_user
from idp.accounts.tables import User
from idp.directory import effective, groups, organizations, roles
from idp.directory.errors import (
    NameTakenError,
    NotMemberError,
    OtherOwnerError,
    SlugTakenError,
    UnknownMemberError,
    UnknownOrganizationError,
)
from idp.directory.models import Organization, OrganizationMembership, Role
from idp.directory.repository import organizations as repository
from idp.errors import VersionConflictError
from idp.infra.db.engine import execute, fetch, fetchrow
from tests.conftest import MakeUser
from tests.support.directory import all_deleted

NOBODY = UUID(int=1)


async def make(name: str = "Acme") -> Organization:
    return await organizations.create(f"acme-{secrets.token_hex(6)}", name)


async def make_role(organization: Organization | None) -> Role:
    return await roles.create(
        f"role {secrets.token_hex(6)}", organization_id=organization.id if organization is not None else None
    )


async def organizations_of(user: User) -> list[OrganizationMembership]:
    return list((await effective.memberships(user.id)).organizations.values())


async def test_members(db: str, alice: User, make_user: MakeUser) -> None:
    organization, other = await make(), await make()
    bob = await make_user()
    assert await organizations.add_members(organization.id, [alice.id, bob.id]) == 2
    assert await organizations.add_members(organization.id, [alice.id]) == 0
    assert await organizations_of(alice) == [
        OrganizationMembership(id=organization.id, slug=organization.slug, name="Acme")
    ]
    await organizations.add_members(other.id, [alice.id])
    found = [each.slug for each in await organizations_of(alice)]
    assert found == sorted([organization.slug, other.slug])
    assert await organizations.remove_members(organization.id, [alice.id, bob.id]) == 2
    assert await organizations.remove_members(organization.id, [alice.id]) == 0
    assert [each.id for each in await organizations_of(alice)] == [other.id]


async def test_roles_of_an_organization(db: str, alice: User, make_user: MakeUser) -> None:
    """They are those of members, and end with the membership."""
    organization, other = await make(), await make()
    editor, reader, of_server = await make_role(organization), await make_role(organization), await make_role(None)
    await roles.contain(editor.id, reader.id)
    outsider = await make_user()
    await organizations.add_members(organization.id, [alice.id])
    await organizations.add_members(other.id, [alice.id, outsider.id])
    for users in ([outsider.id], [alice.id, outsider.id]):
        with pytest.raises(NotMemberError):
            await roles.give(editor.id, users)
    assert await organizations_of(alice) == sorted(
        (OrganizationMembership(id=each.id, slug=each.slug, name="Acme") for each in (organization, other)),
        key=lambda each: each.slug,
    )
    assert await roles.give(editor.id, [alice.id]) == 1
    await roles.give(of_server.id, [alice.id, outsider.id])
    found = await effective.memberships(alice.id)
    assert found.organizations[organization.id].roles == tuple(sorted([editor.name, reader.name]))
    assert found.organizations[other.id].roles == ()
    assert found.roles == (of_server.name,)
    assert found.role_ids == {editor.id, reader.id, of_server.id}
    await organizations.remove_members(organization.id, [alice.id])
    assert (await effective.memberships(alice.id)).role_ids == {of_server.id}
    await organizations.add_members(organization.id, [alice.id])
    assert (await effective.memberships(alice.id)).organizations[organization.id].roles == ()


async def test_roles_stay_inside_of_their_organization(db: str) -> None:
    """Otherwise somebody would have one who is not a member, or a member one that an admin of the server gives."""
    organization, other = await make(), await make()
    of_one, of_other, of_server = await make_role(organization), await make_role(other), await make_role(None)
    for role, contained in (
        (of_one, of_other), (of_one, of_server), (of_server, of_one), (of_server, of_other),
    ):  # fmt: skip
        with pytest.raises(OtherOwnerError):
            await roles.contain(role.id, contained.id)
    group = await groups.create(f"group {secrets.token_hex(6)}")
    with pytest.raises(OtherOwnerError):
        await groups.give_role(group.id, of_one.id)
    with pytest.raises(OtherOwnerError):
        await roles.create("x", "client", organization_id=organization.id)


async def test_the_statements_refuse_without_the_service(db: str, alice: User) -> None:
    organization = await make()
    role = await make_role(organization)
    assert await roles.repository.insert_user_roles(role.id, [alice.id], "admin") == []
    group = await groups.create(f"group {secrets.token_hex(6)}")
    assert not await groups.repository.insert_group_role(group.id, role.id)


async def test_names_of_roles_are_of_one_organization(db: str) -> None:
    organization, other = await make(), await make()
    for each in (organization, other):
        await roles.create("Editor", organization_id=each.id)
    with pytest.raises(NameTakenError):
        await roles.create("EDITOR", organization_id=organization.id)
    with pytest.raises(UnknownOrganizationError):
        await roles.create("Editor", organization_id=NOBODY)


async def test_a_disabled_organization_does_not_count(db: str, alice: User) -> None:
    organization = await make()
    role = await make_role(organization)
    await organizations.add_members(organization.id, [alice.id])
    await roles.give(role.id, [alice.id])
    assert await organizations.disable(organization.id)
    assert not await organizations.disable(organization.id)
    await effective.empty()
    found = await effective.memberships(alice.id)
    assert (found.organizations, found.role_ids) == ({}, frozenset())
    assert await organizations.enable(organization.id)
    assert not await organizations.enable(organization.id)
    await effective.empty()
    assert (await organizations_of(alice))[0].roles == (role.name,)


async def test_a_deleted_organization_leaves_its_users(db: str, alice: User) -> None:
    organization = await make()
    role = await make_role(organization)
    await organizations.add_members(organization.id, [alice.id])
    await roles.give(role.id, [alice.id])
    await organizations.delete(organization.id)
    await effective.empty()
    assert await organizations_of(alice) == []
    assert await roles.repository.role_by_id(role.id) is None
    assert await fetchrow("SELECT FROM users WHERE id = $1", alice.id) is not None


async def test_a_deleted_user_leaves_the_organization(db: str, make_user: MakeUser) -> None:
    organization = await make()
    role, user = await make_role(organization), await make_user()
    await organizations.add_members(organization.id, [user.id])
    await roles.give(role.id, [user.id])
    await delete_user(user.id)
    assert await repository.members_among(organization.id, [user.id]) == set()


async def test_administrators_are_members(db: str, alice: User) -> None:
    organization = await make()
    with pytest.raises(NotMemberError):
        await organizations.set_admin(organization.id, alice.id, admin=True)
    await organizations.add_members(organization.id, [alice.id])
    assert await organizations.set_admin(organization.id, alice.id, admin=True)
    assert not await organizations.set_admin(organization.id, alice.id, admin=True)
    assert await organizations.set_admin(organization.id, alice.id, admin=False)


async def test_a_slug_is_used_once_and_a_name_again(db: str) -> None:
    organization = await make("Acme")
    with pytest.raises(SlugTakenError):
        await organizations.create(organization.slug, "Another")
    other = await make("Acme")
    renamed = await organizations.rename(other.id, "Acme 2", other.updated_at)
    assert (renamed.slug, renamed.name) == (other.slug, "Acme 2")
    with pytest.raises(VersionConflictError):
        await organizations.rename(other.id, "Acme 3", other.updated_at)
    assert await organizations.rename(other.id, "Acme 2", renamed.updated_at) == renamed


async def test_only_what_was_seen_is_deleted_or_managed(alice: User) -> None:
    organization = await make()
    await organizations.add_members(organization.id, [alice.id])
    seen = (await fetch("SELECT created_at FROM organization_member WHERE user_id = $1", alice.id))[0]["created_at"]
    renamed = await organizations.rename(organization.id, "Acme 2")
    with pytest.raises(VersionConflictError):
        await organizations.delete(organization.id, organization.updated_at)
    await organizations.remove_members(organization.id, [alice.id])
    await organizations.add_members(organization.id, [alice.id])
    with pytest.raises(VersionConflictError):
        await organizations.set_admin(organization.id, alice.id, admin=True, expected_at=seen)
    assert not await fetch("SELECT FROM organization_member WHERE user_id = $1 AND admin", alice.id)
    await organizations.delete(organization.id, renamed.updated_at)


async def test_what_is_unknown(db: str, alice: User) -> None:
    organization = await make()
    for change in (
        organizations.rename(NOBODY, "x"),
        organizations.disable(NOBODY),
        organizations.enable(NOBODY),
        organizations.delete(NOBODY),
        organizations.add_members(NOBODY, [alice.id]),
        organizations.remove_members(NOBODY, [alice.id]),
        organizations.set_admin(NOBODY, alice.id, admin=True),
    ):
        with pytest.raises(UnknownOrganizationError):
            await change
    with pytest.raises(UnknownMemberError):
        await organizations.add_members(organization.id, [alice.id, NOBODY])
    assert await organizations_of(alice) == []


async def test_every_change_is_recorded(db: str, alice: User) -> None:
    organization = await make()
    await organizations.rename(organization.id, "Changed")
    await organizations.add_members(organization.id, [alice.id])
    await organizations.set_admin(organization.id, alice.id, admin=True)
    await organizations.set_admin(organization.id, alice.id, admin=False)
    role = await make_role(organization)
    await roles.give(role.id, [alice.id])
    await organizations.remove_members(organization.id, [alice.id])
    await organizations.disable(organization.id)
    await organizations.enable(organization.id)
    await organizations.delete(organization.id)
    rows = await fetch(
        "SELECT event, user_id FROM audit_event WHERE detail ->> 'organization_id' = $1 ORDER BY at, id",
        str(organization.id),
    )
    assert [(row["event"], row["user_id"]) for row in rows] == [
        ("organization_created", None),
        ("organization_updated", None),
        ("organization_member_added", alice.id),
        ("organization_admin_granted", alice.id),
        ("organization_admin_revoked", alice.id),
        ("role_created", None),
        ("user_role_granted", alice.id),
        ("organization_member_removed", alice.id),
        ("organization_disabled", None),
        ("organization_enabled", None),
        ("organization_deleted", None),
    ]


async def test_the_cache_knows_every_change_of_a_member(db: str, alice: User) -> None:
    """By the version of the user, without a notice."""

    async def now() -> list[tuple[str, tuple[str, ...]]]:
        row = await fetchrow("SELECT directory_version FROM users WHERE id = $1", alice.id)
        assert row is not None
        found = await effective.memberships(alice.id, row["directory_version"])
        return [(each.slug, each.roles) for each in found.organizations.values()]

    organization = await make()
    role = await make_role(organization)
    assert await now() == []
    await organizations.add_members(organization.id, [alice.id])
    assert await now() == [(organization.slug, ())]
    await roles.give(role.id, [alice.id])
    assert await now() == [(organization.slug, (role.name,))]
    await organizations.remove_members(organization.id, [alice.id])
    assert await now() == []


async def test_members_are_added_while_the_organization_is_deleted(db: str, make_user: MakeUser) -> None:
    """Each addition finds the organization or says that there is none."""
    for _ in range(5):
        organization = await make()
        users = [(await make_user()).id for _ in range(4)]
        found = await asyncio.gather(
            *(organizations.add_members(organization.id, [user]) for user in users),
            organizations.delete(organization.id),
            return_exceptions=True,
        )
        assert {type(result) for result in found} <= {int, type(None), UnknownOrganizationError}
        await all_deleted(organization.id)
        assert await repository.members_among(organization.id, users) == set()


async def test_a_role_is_given_while_the_member_is_removed(db: str, make_user: MakeUser) -> None:
    """Afterwards nobody has it who is not a member."""
    organization = await make()
    role = await make_role(organization)
    users = [(await make_user()).id for _ in range(6)]
    await organizations.add_members(organization.id, users)
    found = await asyncio.gather(
        *(roles.give(role.id, users) for _ in range(3)),
        *(organizations.remove_members(organization.id, [user]) for user in users),
        return_exceptions=True,
    )
    assert {type(result) for result in found} <= {int, NotMemberError}
    assert await fetch("SELECT FROM user_role WHERE role_id = $1", role.id) == []


_CHANGES = st.tuples(st.sampled_from(["add", "remove", "give", "take", "disable", "enable"]), st.integers(0, 1))


@settings(max_examples=15)
@given(changes=st.lists(_CHANGES, max_size=14))
async def test_what_a_member_has(db: str, alice: User, changes: list[tuple[str, int]]) -> None:
    """After any changes of two organizations, the same as in a model of sets."""
    made = [await make(), await make()]
    given_roles = [await make_role(each) for each in made]
    members, holders, disabled = set[int](), set[int](), set[int]()
    for change, number in changes:
        organization, role = made[number], given_roles[number]
        match change:
            case "add":
                await organizations.add_members(organization.id, [alice.id])
                members.add(number)
            case "remove":
                await organizations.remove_members(organization.id, [alice.id])
                members.discard(number)
                holders.discard(number)
            case "give":
                try:
                    await roles.give(role.id, [alice.id])
                    holders.add(number)
                except NotMemberError:
                    pass
                assert (number in holders) == (number in members)
            case "take":
                await roles.take(role.id, [alice.id])
                holders.discard(number)
            case "disable":
                await organizations.disable(organization.id)
                disabled.add(number)
            case "enable":
                await organizations.enable(organization.id)
                disabled.discard(number)
    await effective.empty()
    found = (await effective.memberships(alice.id)).organizations
    assert {each.id: each.roles for each in found.values()} == {
        made[number].id: ((given_roles[number].name,) if number in holders else ()) for number in members - disabled
    }
    await execute("DELETE FROM organization WHERE id = ANY ($1)", [each.id for each in made])
