"""Every grant asks the hook of its client before it consumes anything."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from idp.accounts.tables import User
from idp.infra.db.engine import fetch
from idp.oauth.clients.service import update_client
from idp.oauth.token import id_jag
from idp.oauth.token.grants import GRANTS
from idp.oauth.token_hook import registration
from tests.conftest import MakeClient
from tests.support.access_policies import DOORS
from tests.support.browser import Browser
from tests.support.oauth import until_current
from tests.support.receivers import Receivers
from tests.support.token_hooks import bodies, says, set_hook
from tests.support.tokens import claims_of

GOLD = {"claims": {"access_token": {"tier": "gold"}}}


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture(params=DOORS)
def make_door(
    request: pytest.FixtureRequest, make_client: MakeClient, browser: Browser, alice: User, stack: AsyncExitStack
) -> Callable[[], Any]:
    _, _, make = DOORS[request.param]
    return lambda: make(make_client, browser, alice, stack)


async def test_a_denial_consumes_nothing(
    make_door: Callable[[], Any], receivers: Receivers, request: pytest.FixtureRequest, alice: User
) -> None:
    """Nor does a failure. What was refused opens the door later, with the claims of the hook."""
    door = await make_door()
    await set_hook(door.party, receivers.url("hook"))
    receivers.behaviours["hook"] = says({"deny": {"reason": "No subscription."}})
    await door.refused()
    receivers.behaviours["hook"] = "500"
    failed = await door.ask()
    assert (failed.status_code, failed.json()["error"]) == (503, "temporarily_unavailable"), failed.text
    await _audited(door.party.client_id, alice)
    receivers.behaviours["hook"] = says(GOLD)
    opened = await door.ask()
    assert opened.status_code == 200, opened.text
    claims = claims_of(opened.json()["access_token"])
    grant_type, requested, _ = DOORS[request.node.callspec.params["make_door"]]
    assert claims.get("tier") == (None if requested == id_jag.TOKEN_TYPE else "gold")
    if "id_token" in opened.json():
        assert "tier" not in claims_of(opened.json()["id_token"])
    for asked in bodies(receivers):
        assert asked["at"] == (requested if requested == id_jag.TOKEN_TYPE else grant_type)
        assert asked["client_id"] == door.party.client_id
        assert asked["sub"]
    if requested != id_jag.TOKEN_TYPE:
        await _issued(door.party.client_id, grant_type)


async def _audited(client_id: str, user: User) -> None:
    found = []
    for _ in range(200):
        found = await fetch(
            "SELECT event, outcome, detail->>'reason' AS reason, detail->>'said' AS said FROM audit_event"
            " WHERE client_id = $1 AND user_id = $2 AND event IN ('access_denied', 'token_hook_failed')"
            " ORDER BY event, id",
            client_id,
            user.id,
        )
        if len(found) >= 2:
            break
        await asyncio.sleep(0.05)
    assert [tuple(row.values()) for row in found] == [
        ("access_denied", "denied", "denied_by_token_hook", "No subscription."),
        ("token_hook_failed", "failure", "token_hook_failed", None),
    ]


async def _issued(client_id: str, grant_type: str) -> None:
    """Check the grant types in the audit trail: those by which the console counts tokens."""
    found = set[str]()
    for _ in range(200):
        rows = await fetch(
            "SELECT detail->>'grant_type' AS grant_type FROM audit_event"
            " WHERE client_id = $1 AND event = 'token_issued'",
            client_id,
        )
        found = {row["grant_type"] for row in rows}
        if grant_type in found:
            break
        await asyncio.sleep(0.05)
    assert grant_type in found
    assert found <= GRANTS.keys()


async def test_a_grant_without_a_user_is_recorded_by_its_name(make_client: MakeClient) -> None:
    party = await make_client(grant_types=["client_credentials"], redirect_uris=[], scope="orders:read")
    assert (await party.post("/token", grant_type="client_credentials")).status_code == 200
    await _issued(party.client_id, "client_credentials")


async def test_a_hook_that_may_fail(
    browser: Browser, make_client: MakeClient, alice: User, receivers: Receivers
) -> None:
    """Tokens are issued without its claims; a denial is one all the same, whatever else it says."""
    party = await make_client(skip_consent=True)
    token = (await party.tokens(browser, alice.email))["refresh_token"]
    await set_hook(party, receivers.url("hook"), fail_open=True)
    for behaviour in ("500", "redirect", "huge", "drop", says({"claims": {"access_token": {"sub": "bob"}}}), "200 |x"):
        receivers.behaviours["hook"] = behaviour
        # Not paused by the failures before.
        hook, *_ = await fetch("SELECT id FROM token_hook WHERE client_id = $1", party.client_id)
        response = await party.refresh(token)
        assert response.status_code == 200, (behaviour, response.text)
        token = response.json()["refresh_token"]
        assert claims_of(response.json()["access_token"])["sub"] == str(alice.id)
        await registration.remove(hook["id"])
        await set_hook(party, receivers.url("hook"), fail_open=True)
    assert not any(received.path == "elsewhere" for received in receivers.received)
    receivers.behaviours["hook"] = says({"deny": 7, "claims": {"access_token": {"tier": "gold"}}, "more": None})
    refused = await party.refresh(token)
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")


async def test_it_is_told_what_the_tokens_say(
    browser: Browser, make_client: MakeClient, alice: User, receivers: Receivers
) -> None:
    """Without the scopes that the client is not registered for any more, in a refresh for less too."""
    party = await make_client(scope="openid profile email", skip_consent=True)
    token = (await party.tokens(browser, alice.email))["refresh_token"]
    await update_client(party.client_id, scope="openid email")
    await set_hook(party, receivers.url("hook"))
    receivers.behaviours["hook"] = says(GOLD)
    for scope, told in ((None, "openid email"), ("profile openid", "openid")):
        answer = (await party.refresh(token, scope=scope)).json()
        assert answer["scope"] == told
        assert bodies(receivers)[-1]["scope"] == told
        token = answer["refresh_token"]


async def test_the_hook_of_all_others(
    browser: Browser, make_client: MakeClient, alice: User, receivers: Receivers
) -> None:
    """A client with one of its own does not call it, even while that is disabled."""
    with_own, without = await make_client(skip_consent=True), await make_client(skip_consent=True)
    tokens = {
        party.client_id: (await party.tokens(browser, alice.email))["refresh_token"] for party in (with_own, without)
    }
    own, _ = await set_hook(with_own, receivers.url("own"))
    receivers.behaviours |= {"own": says(GOLD), "default": says({"claims": {"access_token": {"tier": "iron"}}})}
    # fail_open: other tests on the shared server must not notice it.
    default, _ = await registration.add(None, receivers.url("default"), fail_open=True)
    try:
        await until_current(with_own)

        async def tier(party: Any) -> Any:
            answer = (await party.refresh(tokens[party.client_id])).json()
            tokens[party.client_id] = answer["refresh_token"]
            return claims_of(answer["access_token"]).get("tier")

        assert (await tier(with_own), await tier(without)) == ("gold", "iron")
        await registration.set_enabled(own, False)
        await until_current(with_own)
        assert (await tier(with_own), await tier(without)) == (None, "iron")
    finally:
        await registration.remove(default)
    await until_current(with_own)
    assert await tier(without) is None


async def test_userinfo_and_introspection(
    browser: Browser, make_client: MakeClient, alice: User, receivers: Receivers
) -> None:
    """They ask at each request, if the hook is asked about them."""
    party = await make_client(skip_consent=True)
    await set_hook(party, receivers.url("hook"), places=["userinfo", "introspection"])
    token = (await party.tokens(browser, alice.email))["access_token"]
    assert receivers.received == []
    receivers.behaviours["hook"] = says({"claims": {"userinfo": {"tier": "gold", "name": "Other"}}})
    found = (await party.userinfo(token)).json()
    assert (found["tier"], found["name"], found["email"]) == ("gold", "Other", alice.email)
    (asked,) = bodies(receivers)
    assert (asked["at"], asked["places"], asked["claims"]["email"]) == ("userinfo", ["userinfo"], alice.email)
    receivers.behaviours["hook"] = says({"claims": {"introspection": {"tier": "gold"}}})
    assert (await party.introspect(token))["tier"] == "gold"
    receivers.behaviours["hook"] = says({"deny": {}})
    assert await party.introspect(token) == {"active": False}
    refused = await party.userinfo(token)
    assert (refused.status_code, refused.json()["error"]) == (401, "invalid_token")
    receivers.behaviours["hook"] = "500"
    assert (await party.userinfo(token)).status_code == 503


async def test_the_sub_and_the_claims_of_the_client(
    browser: Browser, make_client: MakeClient, alice: User, receivers: Receivers
) -> None:
    """Pairwise where the client has that, and no address without its scope."""
    party = await make_client(skip_consent=True, subject_type="pairwise", scope="openid profile")
    party.scope = "openid profile"
    await set_hook(party, receivers.url("hook"))
    receivers.behaviours["hook"] = says({"claims": {"id_token": {"tier": "gold"}}})
    tokens = await party.tokens(browser, alice.email)
    (asked,) = bodies(receivers)
    claims = claims_of(tokens["id_token"])
    assert asked["sub"] == claims["sub"] != str(alice.id)
    assert claims["tier"] == "gold"
    assert "email" not in asked["claims"]
    assert asked["authentication"]["acr"] == "1"
    assert str(alice.id).encode() not in receivers.received[0].body
    for secret in (tokens["refresh_token"], party.client_secret or "", alice.email):
        assert secret.encode() not in receivers.received[0].body


async def test_a_code_is_redeemed_once(
    browser: Browser, make_client: MakeClient, alice: User, receivers: Receivers
) -> None:
    """Of two requests that both ask the hook, one gets tokens."""
    party = await make_client(skip_consent=True)
    await set_hook(party, receivers.url("hook"))
    receivers.behaviours["hook"] = f"held {says(GOLD)}"
    code = await party.sign_in(browser, alice.email)
    both = asyncio.gather(party.redeem(code), party.redeem(code))
    async with asyncio.timeout(30):
        while len(receivers.received) < 2:
            await asyncio.sleep(0.005)
    receivers.go_on.set()
    assert sorted(response.status_code for response in await both) == [200, 400]
