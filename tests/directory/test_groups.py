"""Groups: their tree, their members, and what follows for users."""

import asyncio
import secrets
from uuid import UUID

import pytest

from idp.accounts.tables import User
from idp.directory import effective, groups, roles
from idp.directory.errors import (
    CycleError,
    NameTakenError,
    NotEmptyError,
    TooDeepError,
    UnknownGroupError,
    UnknownMemberError,
)
from idp.directory.groups import MAX_DEPTH
from idp.directory.models import Group
from idp.directory.repository import groups as repository
from idp.directory.repository.groups import GROUPS
from idp.errors import IdpError, VersionConflictError
from idp.infra.db.engine import fetch, fetchrow
from idp.infra.db.listing import list_page
from tests.conftest import MakeUser
from tests.support.directory import all_deleted

NOBODY = UUID(int=1)


async def make(parent: Group | None = None, name: str = "group") -> Group:
    return await groups.create(f"{name} {secrets.token_hex(6)}", parent_id=parent.id if parent else None)


async def names_of(user: User) -> set[str]:
    return set((await effective.memberships(user.id)).group_names)


async def test_members_are_in_the_groups_above(db: str, alice: User) -> None:
    top = await make()
    middle = await make(top)
    low, beside = await make(middle), await make(top)
    assert await groups.add_members(low.id, [alice.id]) == 1
    assert await names_of(alice) == {top.name, middle.name, low.name}
    assert await groups.add_members(low.id, [alice.id]) == 0
    assert beside.path == [top.id, beside.id]
    assert await groups.remove_members(low.id, [alice.id]) == 1
    assert await groups.remove_members(low.id, [alice.id]) == 0
    assert await names_of(alice) == set()


async def test_a_group_moves_with_those_below_it(db: str, alice: User) -> None:
    one, other = await make(), await make()
    moved = await make(one)
    low = await make(moved)
    await groups.add_members(low.id, [alice.id])
    await groups.update(moved.id, parent_id=other.id)
    await effective.empty()
    assert await names_of(alice) == {other.name, moved.name, low.name}
    stored = await repository.group_by_id(low.id)
    assert stored is not None
    assert stored.path == [other.id, moved.id, low.id]
    assert stored.parent_id == moved.id
    await groups.update(moved.id, parent_id=None)
    await effective.empty()
    assert await names_of(alice) == {moved.name, low.name}


async def test_a_group_is_never_below_itself(db: str) -> None:
    top = await make()
    middle = await make(top)
    low = await make(middle)
    for parent in (top, middle, low):
        with pytest.raises(CycleError):
            await groups.update(top.id, parent_id=parent.id)
    assert await repository.group_by_id(low.id) == low


async def test_two_moves_at_once_make_no_cycle(db: str) -> None:
    one, other = await make(), await make()
    found = await asyncio.gather(
        groups.update(one.id, parent_id=other.id), groups.update(other.id, parent_id=one.id), return_exceptions=True
    )
    assert sorted(type(result).__name__ for result in found) == ["CycleError", "Group"]


async def test_the_depth_is_bounded(db: str) -> None:
    chain = [await make()]
    while len(chain) < MAX_DEPTH:
        chain.append(await make(chain[-1]))
    with pytest.raises(TooDeepError):
        await make(chain[-1])
    pair = await make()
    await make(pair)
    with pytest.raises(TooDeepError):
        await groups.update(pair.id, parent_id=chain[-2].id)
    await groups.update(pair.id, parent_id=chain[-3].id)


async def test_a_name_is_used_once(db: str) -> None:
    group = await make(name="Team")
    with pytest.raises(NameTakenError):
        await groups.create(group.name.upper())
    other = await make()
    with pytest.raises(NameTakenError):
        await groups.update(other.id, name=group.name.lower())
    renamed = await groups.update(group.id, name=group.name.upper())
    assert renamed.name == group.name.upper()


async def test_a_list_finds_a_name_however_it_is_written(db: str) -> None:
    group = await make(name="Straße Äpfel")
    for written in (group.name, "STRASSE A\u0308PFEL", "straße"):
        found = await list_page(GROUPS, {"q": written}, limit=200)
        assert str(group.id) in {str(row["id"]) for row in found.rows}
    assert not (await list_page(GROUPS, {"q": f"{group.name}x"})).rows


async def test_what_is_unknown(db: str, alice: User) -> None:
    group = await make()
    with pytest.raises(UnknownGroupError):
        await groups.create(f"x {secrets.token_hex(6)}", parent_id=NOBODY)
    for change in (
        groups.update(NOBODY, name="x"),
        groups.update(group.id, parent_id=NOBODY),
        groups.delete(NOBODY),
        groups.add_members(NOBODY, [alice.id]),
        groups.remove_members(NOBODY, [alice.id]),
    ):
        with pytest.raises(UnknownGroupError):
            await change
    with pytest.raises(UnknownMemberError):
        await groups.add_members(group.id, [alice.id, NOBODY])
    assert await names_of(alice) == set()


async def test_an_outdated_change_is_refused(db: str) -> None:
    group = await make()
    changed = await groups.update(group.id, description="New")
    with pytest.raises(VersionConflictError):
        await groups.update(group.id, description="Newer", expected=group)
    with pytest.raises(VersionConflictError):
        await groups.delete(group.id, expected=group)
    assert (await groups.update(group.id, description="Newer", expected=changed)).description == "Newer"


async def test_a_group_with_others_in_it_is_not_deleted(db: str, alice: User) -> None:
    top = await make()
    low = await make(top)
    await groups.add_members(low.id, [alice.id])
    with pytest.raises(NotEmptyError):
        await groups.delete(top.id)
    assert await groups.delete(low.id) == 1
    assert await groups.delete(top.id) == 0
    await effective.empty()
    assert await names_of(alice) == set()


async def test_every_change_is_recorded(db: str, alice: User) -> None:
    role = await roles.create(f"role {secrets.token_hex(6)}")
    group = await make()
    await groups.update(group.id, description="Changed")
    await groups.add_members(group.id, [alice.id])
    await groups.give_role(group.id, role.id)
    await groups.take_role(group.id, role.id)
    await groups.remove_members(group.id, [alice.id])
    await groups.delete(group.id)
    rows = await fetch(
        "SELECT event, user_id FROM audit_event WHERE detail ->> 'group_id' = $1 ORDER BY at, id", str(group.id)
    )
    assert [(row["event"], row["user_id"]) for row in rows] == [
        ("group_created", None),
        ("group_updated", None),
        ("group_member_added", alice.id),
        ("group_role_granted", None),
        ("group_role_revoked", None),
        ("group_member_removed", alice.id),
        ("group_deleted", None),
    ]


async def test_the_cache_knows_every_change_of_a_user(db: str, alice: User, make_user: MakeUser) -> None:
    """By the version of the user, without a notice."""

    async def version() -> int:
        row = await fetchrow("SELECT directory_version FROM users WHERE id = $1", alice.id)
        assert row is not None
        return int(row["directory_version"])

    group, role = await make(), await roles.create(f"role {secrets.token_hex(6)}")
    first = await effective.memberships(alice.id, await version())
    assert first.group_names == ()
    assert await effective.memberships(alice.id, await version()) is first
    await groups.add_members(group.id, [alice.id, (await make_user()).id])
    assert (await effective.memberships(alice.id, await version())).group_names == (group.name,)
    await roles.give(role.id, [alice.id])
    assert (await effective.memberships(alice.id, await version())).roles == (role.name,)
    await roles.take(role.id, [alice.id])
    await groups.remove_members(group.id, [alice.id])
    last = await effective.memberships(alice.id, await version())
    assert (last.group_names, last.roles) == ((), ())


async def test_an_unknown_user_has_nothing(db: str) -> None:
    assert (await effective.memberships(NOBODY)).group_names == ()


async def test_changes_of_members_at_once(db: str, make_user: MakeUser) -> None:
    """In opposite orders, without a deadlock."""
    group, other = await make(), await make()
    members = [(await make_user()).id for _ in range(4)]
    found = await asyncio.gather(
        *(groups.add_members(group.id, members) for _ in range(4)),
        *(groups.add_members(other.id, members[::-1]) for _ in range(4)),
        return_exceptions=True,
    )
    assert not [error for error in found if isinstance(error, IdpError | OSError)]
    assert sorted(found) == [0, 0, 0, 0, 0, 0, 4, 4]


async def test_members_of_a_group_that_is_deleted_meanwhile(db: str, make_user: MakeUser) -> None:
    """They are added before, or not at all."""
    members = [(await make_user()).id for _ in range(3)]
    for _ in range(15):
        group = await make()
        found = await asyncio.gather(
            *(groups.add_members(group.id, [member]) for member in members),
            groups.delete(group.id),
            *(groups.add_members(group.id, [member]) for member in members),
            return_exceptions=True,
        )
        assert not [one for one in found if isinstance(one, Exception) and not isinstance(one, UnknownGroupError)]
        await all_deleted(group.id)
        assert await fetch("SELECT FROM group_member WHERE group_id = $1", group.id) == []
