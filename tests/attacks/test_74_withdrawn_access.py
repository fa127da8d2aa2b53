"""Row 74: who may not use an application any more gets no token by what was given before."""

import asyncio
import secrets
from contextlib import AsyncExitStack

import pytest

from idp.accounts.tables import User
from idp.directory import groups
from idp.directory.models import Group
from idp.infra.db.engine import fetch
from idp.oauth.access_policies import registration as policies
from idp.oauth.clients.registry import registry
from tests.conftest import MakeClient, MakeUser
from tests.support.access_policies import DOORS, set_policy
from tests.support.browser import Browser, Page, Redirect, as_page
from tests.support.exchange import a_service, allow, an_api, an_app, exchange, refusal, sign_in
from tests.support.oauth import PASSWORD, RelyingParty


@pytest.fixture
async def staff(alice: User) -> Group:
    """A group with Alice."""
    group = await groups.create(f"Staff {secrets.token_hex(6)}")
    await groups.add_members(group.id, [alice.id])
    return group


@pytest.mark.parametrize("name", DOORS)
async def test_74_whoever_is_taken_out_of_the_group_gets_nothing(
    name: str, make_client: MakeClient, browser: Browser, alice: User, staff: Group
) -> None:
    """Between the authorization and the token. Nothing is used up: back in the group, the same code is accepted."""
    async with AsyncExitStack() as stack:
        door = await DOORS[name][2](make_client, browser, alice, stack)
        await set_policy(door.party, groups=[staff.id])
        await groups.remove_members(staff.id, [alice.id])
        await door.refused()
        await door.refused()
        await groups.add_members(staff.id, [alice.id])
        await door.opened()
    query = """
    SELECT user_id, outcome, detail ->> 'reason' FROM audit_event WHERE event = 'access_denied' AND client_id = $1
    """
    async with asyncio.timeout(30):
        while len(rows := await fetch(query, door.party.client_id)) < 2:
            await asyncio.sleep(0.05)
    assert [tuple(row) for row in rows] == [(alice.id, "denied", "not_in_group")] * 2


async def test_74_a_consent_page_that_was_open(
    make_client: MakeClient, browser: Browser, alice: User, staff: Group
) -> None:
    party = await make_client()
    await set_policy(party, groups=[staff.id])
    page = as_page(await browser.sign_in(as_page(await party.authorize(browser)), alice.email, PASSWORD))
    assert "consent-allow" in page.ids
    await groups.remove_members(staff.id, [alice.id])
    page = as_page(await browser.submit(page, "consent-allow"))
    assert "access-denied" in page.ids


async def test_74_refreshes_while_the_access_is_withdrawn(
    make_client: MakeClient, browser: Browser, alice: User, staff: Group
) -> None:
    """No request that begins after the change gets a token, and no token is lost or used twice."""
    party = await make_client(skip_consent=True)
    await set_policy(party, groups=[staff.id])
    withdrawn = asyncio.Event()

    async def refresh_until_refused(token: str) -> str:
        while True:
            before = not withdrawn.is_set()
            response = await party.refresh(token)
            if response.status_code != 200:
                assert response.json()["error"] == "invalid_grant", response.text
                return token
            assert before, "A token was issued after the access was withdrawn."
            token = response.json()["refresh_token"]

    first = [(await party.tokens(browser, alice.email))["refresh_token"] for _ in range(4)]
    tasks = [asyncio.create_task(refresh_until_refused(token)) for token in first]
    while not await fetch("SELECT FROM refresh_token WHERE user_id = $1 AND rotated_at IS NOT NULL", alice.id):
        await asyncio.sleep(0.01)
    await groups.remove_members(staff.id, [alice.id])
    withdrawn.set()
    tokens = await asyncio.gather(*tasks)
    await groups.add_members(staff.id, [alice.id])
    for token in tokens:
        assert (await party.refresh(token)).status_code == 200


async def test_74_a_form_of_the_page_is_for_its_user(
    make_client: MakeClient, client: RelyingParty, browser: Browser, alice: User, staff: Group
) -> None:
    """A form that another site, or another user in this browser, fills in does nothing."""
    await groups.remove_members(staff.id, [alice.id])
    party = await make_client()
    await set_policy(party, groups=[staff.id])
    await client.sign_in(browser, alice.email)
    page = as_page(await party.authorize(browser))
    for forged in ({"csrf_token": ""}, {"csrf_token": "0" * 43}):
        answer: Page | Redirect = await browser.post(page.path, forged | {"action": "back"})
        assert "access-denied" not in as_page(answer).ids
    # It is still unanswered.
    assert "access-denied" in as_page(await browser.get(page.path)).ids


async def test_74_nobody_acts_by_a_client_that_they_may_not_use(alice: User, make_user: MakeUser, staff: Group) -> None:
    """Not as the user of the subject token, and not as that of the actor token."""
    bob = await make_user()
    app, support = await an_app("openid read"), await a_service("read")
    apis = [await an_api("read", client=support), await an_api("read")]
    await allow(support, apis[1], scope="read")
    of_alice, of_bob = [(await sign_in(app, user, (apis[0],))).access_token for user in (alice, bob)]
    assert (await exchange(support, of_alice, resource=apis[1], actor_token=of_bob)).access_token
    await policies.set_policy(support.client_id, groups=[staff.id])
    await registry.load()
    refused = ("invalid_request", "not_in_group")
    assert await refusal(support, of_bob, resource=apis[1]) == refused
    assert await refusal(support, of_alice, resource=apis[1], actor_token=of_bob) == refused
    assert (await exchange(support, of_alice, resource=apis[1])).access_token
