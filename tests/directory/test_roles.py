"""Roles: what they contain, and who has them."""

import secrets
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from idp.accounts.tables import User
from idp.directory import effective, groups, roles
from idp.directory.errors import (
    CycleError,
    NameTakenError,
    UnknownClientError,
    UnknownMemberError,
    UnknownRoleError,
)
from idp.directory.models import Role
from idp.directory.repository import roles as repository
from idp.errors import VersionConflictError
from idp.infra.db.engine import fetch, fetchrow
from idp.oauth.clients.registry import registry
from idp.oauth.clients.service import delete_client
from tests.conftest import MakeClient

NOBODY = UUID(int=1)


async def make(client_id: str | None = None) -> Role:
    return await roles.create(f"role {secrets.token_hex(6)}", client_id)


async def version_of(user: User) -> int:
    row = await fetchrow("SELECT directory_version FROM users WHERE id = $1", user.id)
    assert row is not None
    return int(row["directory_version"])


async def roles_of(user: User) -> set[str]:
    return set((await effective.memberships(user.id)).roles)


async def test_roles_contain_roles(db: str, alice: User) -> None:
    admin, editor, reader, other = [await make() for _ in range(4)]
    assert await roles.contain(admin.id, editor.id)
    assert not await roles.contain(admin.id, editor.id)
    assert await roles.contain(editor.id, reader.id)
    await roles.give(admin.id, [alice.id])
    assert await roles_of(alice) == {admin.name, editor.name, reader.name}
    assert [role.id for role in await repository.contained_roles(admin.id)] == [editor.id]
    assert await roles.release(admin.id, editor.id)
    assert not await roles.release(admin.id, editor.id)
    await effective.empty()
    assert await roles_of(alice) == {admin.name}
    await roles.delete(admin.id)
    await effective.empty()
    assert await roles_of(alice) == set()
    assert other.name not in await roles_of(alice)


async def test_a_role_never_contains_itself(db: str) -> None:
    one, two, three = [await make() for _ in range(3)]
    await roles.contain(one.id, two.id)
    await roles.contain(two.id, three.id)
    for role in (one, two, three):
        with pytest.raises(CycleError):
            await roles.contain(three.id, role.id)


async def test_roles_by_groups(db: str, alice: User) -> None:
    """A role of a group is had by all in it, and in those below it."""
    role, contained = await make(), await make()
    await roles.contain(role.id, contained.id)
    top = await groups.create(f"top {secrets.token_hex(6)}")
    low = await groups.create(f"low {secrets.token_hex(6)}", parent_id=top.id)
    assert await groups.give_role(top.id, role.id)
    assert not await groups.give_role(top.id, role.id)
    await groups.add_members(low.id, [alice.id])
    assert await roles_of(alice) == {role.name, contained.name}
    assert await groups.take_role(top.id, role.id)
    assert not await groups.take_role(top.id, role.id)
    await effective.empty()
    assert await roles_of(alice) == set()


async def test_roles_of_clients(db: str, alice: User, make_client: MakeClient) -> None:
    one, other = await make_client(), await make_client()
    of_server = await make()
    named = [await roles.create("editor", client.client_id) for client in (one, other)]
    with pytest.raises(NameTakenError):
        await roles.create("EDITOR", one.client_id)
    for role in (of_server, *named):
        await roles.give(role.id, [alice.id])
    found = await effective.memberships(alice.id)
    assert found.roles == (of_server.name,)
    assert found.client_roles == {one.client_id: ("editor",), other.client_id: ("editor",)}
    assert found.role_ids == {of_server.id, *(role.id for role in named)}
    await registry.load()
    version = await version_of(alice)
    assert (await effective.memberships(alice.id, version)) == found
    await delete_client(one.client_id)
    await registry.load()
    assert (await effective.memberships(alice.id, version)).client_roles == {other.client_id: ("editor",)}
    await effective.empty()
    assert (await effective.memberships(alice.id)).client_roles == {other.client_id: ("editor",)}


async def test_what_is_unknown(db: str, alice: User) -> None:
    role = await make()
    with pytest.raises(UnknownClientError):
        await roles.create("editor", "nobody")
    for change in (
        roles.update(NOBODY, name="x"),
        roles.delete(NOBODY),
        roles.contain(role.id, NOBODY),
        roles.contain(NOBODY, role.id),
        roles.release(NOBODY, role.id),
        roles.give(NOBODY, [alice.id]),
        roles.take(NOBODY, [alice.id]),
    ):
        with pytest.raises(UnknownRoleError):
            await change
    with pytest.raises(UnknownMemberError):
        await roles.give(role.id, [alice.id, NOBODY])


async def test_a_role_is_renamed(db: str) -> None:
    role, other = await make(), await make()
    with pytest.raises(NameTakenError):
        await roles.update(role.id, name=other.name.upper())
    renamed = await roles.update(role.id, name=role.name.upper(), description="Reads", expected=role)
    assert (renamed.name, renamed.description) == (role.name.upper(), "Reads")
    with pytest.raises(VersionConflictError):
        await roles.update(role.id, description="Outdated", expected=role)
    with pytest.raises(VersionConflictError):
        await roles.delete(role.id, expected=role)


async def test_every_change_is_recorded(db: str, alice: User) -> None:
    role, other = await make(), await make()
    await roles.update(role.id, description="Changed")
    await roles.contain(role.id, other.id)
    await roles.release(role.id, other.id)
    await roles.give(role.id, [alice.id])
    await roles.take(role.id, [alice.id])
    await roles.delete(role.id)
    rows = await fetch(
        "SELECT event, user_id FROM audit_event WHERE detail ->> 'role_id' = $1 ORDER BY at, id", str(role.id)
    )
    assert [(row["event"], row["user_id"]) for row in rows] == [
        ("role_created", None),
        ("role_updated", None),
        ("role_contained_added", None),
        ("role_contained_removed", None),
        ("user_role_granted", alice.id),
        ("user_role_revoked", alice.id),
        ("role_deleted", None),
    ]


@settings(max_examples=20)
@given(edges=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=12), held=st.integers(0, 4))
async def test_what_is_had_is_what_can_be_reached(
    db: str, alice: User, edges: list[tuple[int, int]], held: int
) -> None:
    made = [await make() for _ in range(5)]
    contained: dict[int, set[int]] = {number: set() for number in range(5)}
    for outer, inner in edges:
        try:
            await roles.contain(made[outer].id, made[inner].id)
        except CycleError:
            assert outer in _reached(contained, inner)
        else:
            assert outer not in _reached(contained, inner)
            contained[outer].add(inner)
    await roles.give(made[held].id, [alice.id])
    found = (await effective.memberships(alice.id)).role_ids & {role.id for role in made}
    assert found == {made[number].id for number in _reached(contained, held)}
    for role in made:
        await roles.delete(role.id)


def _reached(contained: dict[int, set[int]], start: int) -> set[int]:
    found, left = set[int](), [start]
    while left:
        number = left.pop()
        if number not in found:
            found.add(number)
            left += contained[number]
    return found
