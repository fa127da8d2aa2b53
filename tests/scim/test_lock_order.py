"""A change of a group over SCIM locks users, then the directory, then groups, as everything else does."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import copy_context
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import pytest

from idp.accounts.repository.admin_roles import grant_role
from idp.accounts.repository.users import lock_user
from idp.accounts.tables import User
from idp.directory import groups as directory
from idp.directory import provisioned
from idp.directory.provisioned import Given
from idp.infra.db.engine import fetch, transaction
from idp.scim import groups
from idp.scim.access import Caller
from idp.scim.errors import NotAllowedError
from tests.conftest import MakeUser
from tests.signin.test_lock_order import take, waiting
from tests.support.directory import a_group

CALLER = Caller("scim:test", writes=True)
REVISION = "SELECT FROM revision WHERE topic = 'directory'"


def _members(*users: UUID) -> list[dict[str, str]]:
    return [{"value": str(user)} for user in users]


def _operations(name: str, *users: UUID) -> dict[str, Any]:
    operations = [
        {"op": "replace", "path": "displayName", "value": name},
        {"op": "add", "path": "members", "value": _members(*users)},
    ]
    return {"Operations": operations}


async def _patch(group_id: UUID, user: UUID, name: str) -> object:
    return await groups.patch(CALLER, group_id, _operations(name, user), [])


async def _patch_this_version(group_id: UUID, user: UUID, name: str) -> object:
    version = (await groups.show(CALLER, group_id, with_members=False))["meta"]["version"]
    return await groups.patch(CALLER, group_id, _operations(name, user), [version])


async def _replace(group_id: UUID, user: UUID, name: str) -> object:
    return await groups.replace(CALLER, group_id, {"displayName": name, "members": _members(user)}, [])


async def _create(group_id: UUID, user: UUID, name: str) -> object:
    return await groups.create(CALLER, {"displayName": name, "members": _members(user, group_id)})


@pytest.mark.parametrize("change", [_patch, _patch_this_version, _replace, _create])
async def test_users_are_locked_first(alice: User, change: Callable[[UUID, UUID, str], Awaitable[object]]) -> None:
    group = await a_group()

    async def work() -> object:
        return await change(group.id, alice.id, f"Renamed {uuid4()}")

    async with waiting(partial(lock_user, alice.id), work(), copy_context()) as working:
        await take("SELECT FROM groups WHERE id = $1", group.id)
        await take(REVISION)
    await working


async def test_an_administrator_is_not_waited_for(alice: User, make_user: MakeUser) -> None:
    """Requests of administrators hold their own row, and then want the directory."""
    group, admin = await a_group(), await make_user()
    await grant_role(admin.id, "auditor", "test")
    async with asyncio.timeout(30):

        async def refused() -> None:
            with pytest.raises(NotAllowedError):
                await _patch(group.id, admin.id, f"Renamed {uuid4()}")

        await _while_locked(admin.id, refused)
    assert (await fetch("SELECT name FROM groups WHERE id = $1", group.id))[0]["name"] == group.name


async def _while_locked(user_id: UUID, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    context = copy_context()
    async with transaction():
        await lock_user(user_id)
        await asyncio.get_running_loop().create_task(work(), context=context)


async def test_renamed_groups_and_their_members_at_once(make_user: MakeUser) -> None:
    """Renames with members, moves, and what else locks the same users and groups. A deadlock would be an error."""
    made = [await a_group() for _ in range(3)]
    users = [(await make_user(password=None)).id for _ in range(6)]

    async def scim(number: int) -> None:
        group, other = made[number % 3], made[(number + 1) % 3]
        some = users[number % 4 :: (-1) ** number]
        body = {"displayName": f"{group.name} {number}", "members": _members(*some)}
        await groups.replace(CALLER, group.id, body, [])
        await directory.add_members(other.id, some)
        await directory.remove_members(group.id, some[:2])

    async def upstream(number: int) -> None:
        given = Given({each.id for each in made[: number % 4]})
        async with transaction():
            await lock_user(users[number % 6])
            await provisioned.replace(users[number % 6], "upstream:test", groups=given)

    async with asyncio.timeout(60):
        await asyncio.gather(*(scim(number) for number in range(12)), *(upstream(number) for number in range(24)))


async def test_of_two_changes_of_one_version_one_is_made(make_user: MakeUser) -> None:
    group, users = await a_group(), [(await make_user(password=None)).id for _ in range(4)]
    version = (await groups.show(CALLER, group.id, with_members=False))["meta"]["version"]

    async def add(user: UUID) -> None:
        operations = [{"op": "add", "path": "members", "value": _members(user)}]
        await groups.patch(CALLER, group.id, {"Operations": operations}, [version])

    done = await asyncio.gather(*map(add, users), return_exceptions=True)
    assert [type(each).__name__ for each in done if each is not None] == ["OutdatedError"] * 3
    assert len(await fetch("SELECT FROM group_member WHERE group_id = $1", group.id)) == 1
