"""Why a user is in a group, and has a role."""

import secrets
from uuid import UUID

from idp.accounts.tables import User
from idp.directory import effective, groups, organizations, roles, why
from idp.directory.models import Group, Named, Role
from tests.conftest import MakeClient


def _named(*found: Group | Role) -> list[Named]:
    return sorted((Named(each.id, each.name) for each in found), key=lambda each: (each.name, each.id))


async def test_every_reason_is_named(db: str, alice: User, make_client: MakeClient) -> None:
    mark, client = secrets.token_hex(6), await make_client()
    top = await groups.create(f"1 top {mark}")
    low = await groups.create(f"2 low {mark}", parent_id=top.id)
    lower = await groups.create(f"3 lower {mark}", parent_id=low.id)
    admin = await roles.create(f"1 admin {mark}")
    editor = await roles.create(f"2 editor {mark}")
    reader = await roles.create("3 reader", client.client_id)
    await roles.contain(admin.id, editor.id)
    await roles.contain(editor.id, reader.id)
    await roles.contain(admin.id, reader.id)
    await groups.add_members(low.id, [alice.id])
    await groups.add_members(lower.id, [alice.id])
    await groups.give_role(top.id, editor.id)
    await groups.give_role(low.id, reader.id)
    await roles.give(admin.id, [alice.id])
    await roles.give(reader.id, [alice.id])

    found = await why.explained(alice.id)
    assert [(each.id, each.direct, each.through_groups) for each in found.groups] == [
        (top.id, False, _named(low, lower)),
        (low.id, True, _named(lower)),
        (lower.id, True, []),
    ]
    assert [
        (each.id, each.client_id, each.direct, each.through_groups, each.through_roles) for each in found.roles
    ] == [
        (admin.id, None, True, [], []),
        (editor.id, None, False, _named(top), _named(admin)),
        (reader.id, client.client_id, True, _named(low), _named(admin, editor)),
    ]
    computed = await effective.memberships(alice.id)
    assert {each.id for each in found.groups} == computed.groups.keys()
    assert {each.id for each in found.roles} == computed.role_ids


async def test_roles_of_an_organization(db: str, alice: User) -> None:
    """Those of a disabled one do not count."""
    organization = await organizations.create(f"o-{secrets.token_hex(6)}", "Customer")
    outer, inner = [await roles.create(name, organization_id=organization.id) for name in ("1 outer", "2 inner")]
    await roles.contain(outer.id, inner.id)
    await organizations.add_members(organization.id, [alice.id])
    await roles.give(outer.id, [alice.id])
    found = await why.explained(alice.id)
    assert [(each.id, each.organization_id, each.through_roles) for each in found.roles] == [
        (outer.id, organization.id, []),
        (inner.id, organization.id, _named(outer)),
    ]
    await organizations.disable(organization.id)
    assert (await why.explained(alice.id)).roles == []


async def test_an_unknown_user_has_none(db: str) -> None:
    found = await why.explained(UUID(int=1))
    assert (found.groups, found.roles) == ([], [])
