"""What changes while the hook answers decides, at every grant: a user who may get no token any more gets none."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest

from idp.accounts.tables import User
from idp.accounts.users import disable_user
from idp.directory import groups
from idp.oauth.credentials import credentials_changed
from idp.oauth.sign_out import sign_out_everywhere
from tests.conftest import MakeClient, MakeUser
from tests.support.access_policies import DOORS, Door, set_policy
from tests.support.browser import Browser
from tests.support.receivers import Receivers
from tests.support.token_hooks import says, set_hook

#: Makes a user one who may get tokens, and returns what ends that.
Begin = Callable[[Door, User], Awaitable[Callable[[], Awaitable[object]]]]


async def _disabled(_: Door, user: User) -> Callable[[], Awaitable[object]]:
    return lambda: disable_user(user.id, credentials_changed)


async def _signed_out(_: Door, user: User) -> Callable[[], Awaitable[object]]:
    return lambda: sign_out_everywhere(user.id, "signed_out_by_user")


async def _out_of_the_group(door: Door, user: User) -> Callable[[], Awaitable[object]]:
    group = await groups.create(f"Staff {secrets.token_hex(4)}")
    await groups.add_members(group.id, [user.id])
    await set_policy(door.party, groups=[group.id])
    return lambda: groups.remove_members(group.id, [user.id])


CASES: list[tuple[str, Begin]] = [
    *((name, begin) for name in DOORS for begin in (_disabled, _out_of_the_group)),
    # What they present depends on the session.
    *((name, _signed_out) for name in ("exchange", "identity assertion")),
]


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


@pytest.mark.parametrize(("name", "begin"), CASES, ids=[f"{name}-{begin.__name__[1:]}" for name, begin in CASES])
async def test_what_changes_while_the_hook_answers_decides(
    name: str,
    begin: Begin,
    make_client: MakeClient,
    browser: Browser,
    make_user: MakeUser,
    stack: AsyncExitStack,
    receivers: Receivers,
) -> None:
    user = await make_user()
    door = await DOORS[name][2](make_client, browser, user, stack)
    end = await begin(door, user)
    await set_hook(door.party, receivers.url("hook"))
    receivers.behaviours["hook"] = f"held {says({})}"
    asking = asyncio.create_task(door.ask())
    await receivers.entered.wait()
    await end()
    receivers.go_on.set()
    response = await asking
    assert response.status_code == 400, response.text
    assert response.json()["error"] in ("invalid_grant", "invalid_request", "access_denied")
