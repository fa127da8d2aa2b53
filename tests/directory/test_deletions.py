"""Deleted groups, roles and organizations do not count at once; their memberships are deleted in the background."""

import asyncio
from collections.abc import Awaitable, Callable
from uuid import UUID

import pytest

from idp.accounts.tables import User
from idp.directory import deletions, effective, groups, organizations, roles
from idp.directory.repository import deletions as repository
from idp.directory.why import explained
from idp.housekeeping import round_of_deletions
from idp.infra.db.engine import execute, fetch
from idp.oauth.clients.service import delete_client
from tests.conftest import MakeClient, MakeUser
from tests.support.directory import a_group, a_role, a_role_in, all_deleted, an_organization

_COUNT = {
    "groups": "SELECT count(*) AS number FROM group_member WHERE group_id = $1",
    "role": "SELECT count(*) AS number FROM user_role WHERE role_id = $1",
    "organization": "SELECT count(*) AS number FROM organization_member WHERE organization_id = $1",
}


async def _group(*users: User) -> UUID:
    return (await a_group(*users)).id


async def _role(*users: User) -> UUID:
    return (await a_role(*users)).id


async def _organization(*users: User) -> UUID:
    organization = await an_organization(*users)
    await a_role_in(organization, *users)
    return organization.id


KINDS: dict[str, tuple[Callable[..., Awaitable[UUID]], Callable[[UUID], Awaitable[object]]]] = {
    "groups": (_group, groups.delete),
    "role": (_role, roles.delete),
    "organization": (_organization, organizations.delete),
}


async def _left(kind: str, id: UUID) -> int:
    (row,) = await fetch(_COUNT[kind], id)
    return int(row["number"])


@pytest.mark.parametrize("kind", KINDS)
async def test_what_is_deleted_does_not_count(
    kind: str, alice: User, make_user: MakeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, delete = KINDS[kind]
    users = [alice, *[await make_user(password=None) for _ in range(4)]]
    gone, kept = await make(*users), await make(alice)
    await delete(gone)
    await effective.empty()
    after = await effective.memberships(alice.id)
    held = {*after.groups, *after.role_ids, *after.organizations}
    assert (gone in held, kept in held) == (False, True)
    why = await explained(alice.id)
    assert gone not in {each.id for each in why.groups} | {each.id for each in why.roles}
    # Interrupted, and continued; a user may be deleted meanwhile.
    monkeypatch.setattr(deletions, "BATCH", 2)
    assert await repository.delete_some(repository.Deletion(gone, kind), 2) <= 2
    await execute("DELETE FROM users WHERE id = $1", users[-1].id)
    await all_deleted(gone)
    assert (await _left(kind, gone), await _left(kind, kept)) == (0, 1)
    assert not await fetch("SELECT FROM user_role WHERE organization_id = $1", gone)
    await delete(kept)
    await all_deleted(kept)
    assert await _left(kind, kept) == 0


async def test_roles_go_with_their_client(alice: User, make_client: MakeClient) -> None:
    client_id = (await make_client()).client_id
    role = await a_role(alice, client_id=client_id)
    await delete_client(client_id)
    await effective.empty()
    assert role.id not in (await effective.memberships(alice.id)).role_ids
    await all_deleted(role.id)
    assert await _left("role", role.id) == 0


async def test_nobody_joins_what_is_deleted(make_user: MakeUser) -> None:
    """A membership that is added meanwhile would stay for ever."""
    for _ in range(5):
        group, role, user = await a_group(), await a_role(), await make_user(password=None)
        await asyncio.gather(
            groups.add_members(group.id, [user.id]), groups.delete(group.id),
            roles.give(role.id, [user.id]), roles.delete(role.id), return_exceptions=True,
        )  # fmt: skip
        await all_deleted(group.id)
        await all_deleted(role.id)
        assert (await _left("groups", group.id), await _left("role", role.id)) == (0, 0)


async def test_housekeeping_deletes_them(alice: User) -> None:
    gone = await _group(alice)
    await groups.delete(gone)
    async with asyncio.timeout(60):
        while await _left("groups", gone):
            await round_of_deletions()
