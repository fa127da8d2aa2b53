"""No grant gives tokens by a sign-in that does not meet the policy of its organization."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from idp.accounts.repository.users import increase_directory_version
from idp.accounts.tables import User
from idp.directory.models import Organization
from idp.directory.sign_in_policy_changes import set_policy
from idp.infra.db.engine import execute, transaction
from tests.conftest import MakeClient
from tests.support.access_policies import DOORS, Door
from tests.support.browser import Browser
from tests.support.directory import an_organization
from tests.support.oauth import RelyingParty

#: Those whose tokens are not by a sign-in here, and so not for an organization.
WITHOUT_ORGANIZATION = {"JWT bearer"}
#: Where requests begin that name an organization.
REQUESTS = {"/device_authorization", "/backchannel-authentication"}
#: The tables with the time of a sign-in, by door; not those whose time is in a signed token.
TIMES = {
    "code": "authorization_code",
    "code of a public client": "authorization_code",
    "refresh": "token_family",
    "repeated refresh": "token_family",
    "device": "device_authorization",
    "CIBA": "backchannel_request",
}


@dataclass
class Member(RelyingParty):
    """A client whose requests name an organization."""

    organization: str = ""

    def parameters(self, **changes: str | None) -> dict[str, str]:
        return super().parameters(organization=self.organization, **changes)

    async def post(self, path: str, headers: dict[str, str] | None = None, **form: str | None) -> httpx.Response:
        named = {"organization": self.organization} if path in REQUESTS else {}
        return await super().post(path, headers, **(form | named))


@pytest.fixture
async def acme(alice: User) -> Organization:
    return await an_organization(alice)


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
def make_member(make_client: MakeClient, acme: Organization) -> MakeClient:
    async def make(**metadata: Any) -> RelyingParty:
        return Member(**vars(await make_client(**metadata)), organization=acme.slug)

    return make


async def change(acme: Organization, user: User, **policy: Any) -> None:
    """Set the policy. With another version, the server forgets what it remembers of the user."""
    await set_policy(acme.id, **policy)
    async with transaction():
        await increase_directory_version([user.id])


async def refused(door: Door) -> None:
    answer = await door.ask()
    assert (answer.status_code, answer.json()["error"]) == (400, door.error), answer.text


MakeDoor = Callable[[MakeClient, Browser, User, AsyncExitStack], Any]


@pytest.mark.parametrize("policy", [{"second_factor": True}, {"ways": ["passkey", "upstream"]}], ids=["factor", "way"])
@pytest.mark.parametrize("name", DOORS)
async def test_a_sign_in_that_does_not_meet_it(
    name: str,
    policy: dict[str, Any],
    make_member: MakeClient,
    browser: Browser,
    alice: User,
    acme: Organization,
    stack: AsyncExitStack,
) -> None:
    """A refusal consumes nothing, so that the door opens when the policy allows it."""
    door: Door = await DOORS[name][2](make_member, browser, alice, stack)
    await change(acme, alice, **policy)
    if name not in WITHOUT_ORGANIZATION:
        await refused(door)
        await change(acme, alice)
    await door.opened()


@pytest.mark.parametrize("name", TIMES)
async def test_a_sign_in_that_is_too_old(
    name: str, make_member: MakeClient, browser: Browser, alice: User, acme: Organization, stack: AsyncExitStack
) -> None:
    door: Door = await DOORS[name][2](make_member, browser, alice, stack)
    await change(acme, alice, session_max_age=3600)
    aged = f"UPDATE {TIMES[name]} SET auth_time = auth_time - interval '2 hours' WHERE user_id = $1"
    await execute(aged, alice.id)
    await refused(door)
    await change(acme, alice, session_max_age=14_400)
    await door.opened()


def test_every_door_is_tried() -> None:
    """The table of doors has every grant (tests/oauth/access_policies/test_doors.py)."""
    assert TIMES.keys() <= DOORS.keys()
    assert DOORS.keys() >= WITHOUT_ORGANIZATION
