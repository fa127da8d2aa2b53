"""At least one enabled owner remains, also after concurrent changes."""

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from uuid import UUID

import pytest

from idp.accounts.last_owner import LastOwnerError
from idp.accounts.profile import delete_user
from idp.accounts.repository.users import lock_user
from idp.accounts.tables import User
from idp.accounts.users import create_user, disable_user
from idp.admin import roles
from idp.admin.incidents import contain_user
from idp.admin.roles import Role
from idp.infra.db.engine import fetch, transaction
from idp.oauth.sign_out import sign_out_for_deletion, sign_out_user

pytestmark = pytest.mark.fault(14)


async def _disable(user_id: UUID) -> None:
    await disable_user(user_id, sign_out_user)


async def _demote(user_id: UUID) -> None:
    await roles.revoke(user_id, Role.OWNER)


#: Every action that can remove an owner.
LOSSES: dict[str, Callable[[UUID], Awaitable[object]]] = {
    "disabled": _disable,
    "deleted": lambda user_id: delete_user(user_id, sign_out_for_deletion),
    "contained": contain_user,
    "demoted": _demote,
}
_ENABLED = (
    "SELECT FROM admin_role AS r JOIN users AS u ON u.id = r.user_id WHERE role = 'owner' AND disabled_at IS NULL"
)


async def _owner(email: str) -> User:
    user = await create_user(email, None)
    await roles.grant(user.id, Role.OWNER)
    return user


@pytest.mark.parametrize("how", LOSSES)
async def test_the_last_owner_stays(own_database: str, how: str) -> None:
    first, other = await _owner("first@example.com"), await create_user("other@example.com", None)
    with pytest.raises(LastOwnerError):
        await LOSSES[how](first.id)
    assert len(await fetch(_ENABLED)) == 1
    # A disabled owner does not count.
    second = await _owner("second@example.com")
    await disable_user(second.id, sign_out_user)
    with pytest.raises(LastOwnerError):
        await LOSSES[how](first.id)
    if how != "demoted":
        await LOSSES[how](other.id)
    await roles.grant(other.id, Role.OWNER) if how == "demoted" else await _owner("third@example.com")
    await LOSSES[how](first.id)
    assert len(await fetch(_ENABLED)) == 1


@pytest.mark.parametrize("how", LOSSES)
async def test_two_owners_who_remove_each_other_at_once(own_database: str, how: str) -> None:
    owners = [await _owner(f"{number}@example.com") for number in range(2)]
    results = await asyncio.gather(*(LOSSES[how](owner.id) for owner in owners), return_exceptions=True)
    assert sorted(isinstance(result, LastOwnerError) for result in results) == [False, True], results
    assert len(await fetch(_ENABLED)) == 1


async def test_the_command_line_may_contain_the_last_owner(own_database: str) -> None:
    """The account may be compromised, and the command line can make another owner."""
    owner = await _owner("first@example.com")
    await contain_user(owner.id, keep_owner=False)
    assert await fetch(_ENABLED) == []


@pytest.mark.parametrize("how", LOSSES)
async def test_others_do_not_wait_for_an_owner_who_is_locked(own_database: str, how: str) -> None:
    """Whose rows a request of the owner holds, which may be about to lock the other."""
    owner, other = await _owner("first@example.com"), await create_user("other@example.com", None)
    outside = copy_context()
    async with transaction(), asyncio.timeout(30):
        await lock_user(owner.id)
        await asyncio.get_running_loop().create_task(_lose(how, other.id), context=outside)


async def _lose(how: str, user_id: UUID) -> None:
    await LOSSES[how](user_id)
