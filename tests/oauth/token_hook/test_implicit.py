"""The hook is asked before tokens are in an authorization response too."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from idp.accounts.tables import User
from idp.directory import groups
from idp.infra.db.engine import fetch
from idp.oauth import response_types
from idp.settings import settings
from tests.conftest import MASTER_KEY, MakeClient
from tests.support.access_policies import set_policy
from tests.support.browser import Browser, Redirect, as_page, open_browser
from tests.support.oauth import PASSWORD, RelyingParty
from tests.support.receivers import Receivers
from tests.support.server import Server
from tests.support.token_hooks import bodies, says, set_hook
from tests.support.tokens import claims_of

TYPES = ["code id_token", "code token", "id_token token", "id_token"]
PLACES = {"token": "access_token", "id_token": "id_token"}


@pytest.fixture(scope="module")
def server(db: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with these response types, in place of the shared one."""
    server = Server(
        tmp_path_factory.mktemp("implicit"),
        IDP_DATABASE_URL=db,
        IDP_MASTER_KEY=MASTER_KEY,
        IDP_ADDRESS_LIMITS="false",
        IDP_LEGACY_RESPONSE_TYPES="true",
        IDP_OUTBOUND_ALLOWED_HOSTS="127.0.0.0/8,::1",
    )
    yield server
    server.stop()


@pytest.fixture
async def browser(server: Server) -> AsyncIterator[Browser]:
    async with open_browser(server.issuer) as browser:
        yield browser


@pytest.fixture
async def party(make_client: MakeClient, monkeypatch: pytest.MonkeyPatch) -> RelyingParty:
    config = settings().model_copy(update={"legacy_response_types": True})
    monkeypatch.setattr(response_types, "settings", lambda: config)
    return await make_client(
        require_pkce=False,
        skip_consent=True,
        grant_types=["authorization_code", "implicit"],
        response_types=["code", *TYPES],
    )


async def _response(browser: Browser, party: RelyingParty, user: User, response_type: str) -> dict[str, str]:
    asked = {"response_type": response_type, "code_challenge": None, "code_challenge_method": None}
    answer: Any = await party.authorize(browser, **asked)
    if not isinstance(answer, Redirect):
        answer = await browser.sign_in(answer, user.email, PASSWORD)
    assert isinstance(answer, Redirect), answer.text
    return answer.fragment


@pytest.mark.parametrize("response_type", TYPES)
async def test_who_loses_access_while_the_hook_answers_gets_nothing(
    browser: Browser, party: RelyingParty, alice: User, receivers: Receivers, response_type: str
) -> None:
    group = await groups.create(f"Staff {secrets.token_hex(4)}")
    await groups.add_members(group.id, [alice.id])
    await set_policy(party, groups=[group.id])
    await set_hook(party, receivers.url("hook"))
    receivers.behaviours["hook"] = f"held {says({})}"
    asked = {"response_type": response_type, "code_challenge": None, "code_challenge_method": None}
    page = as_page(await party.authorize(browser, **asked))
    asking = asyncio.create_task(browser.sign_in(page, alice.email, PASSWORD))
    await receivers.entered.wait()
    await groups.remove_members(group.id, [alice.id])
    receivers.go_on.set()
    assert "No access to" in as_page(await asking).text


@pytest.mark.parametrize("response_type", TYPES)
async def test_what_the_hook_says(
    browser: Browser, party: RelyingParty, alice: User, receivers: Receivers, response_type: str
) -> None:
    """It adds claims to what is in the response, and a denial or a failure leaves no token and no code."""
    places = sorted(place for word, place in PLACES.items() if word in response_type.split())
    await set_hook(party, receivers.url("hook"))
    receivers.behaviours["hook"] = says({"claims": {place: {"tier": "gold"} for place in places}})
    found = await _response(browser, party, alice, response_type)
    for place in places:
        assert claims_of(found[place])["tier"] == "gold"
    (asked,) = bodies(receivers)
    assert (asked["at"], sorted(asked["places"]), asked["sub"]) == ("implicit", places, str(alice.id))
    for behaviour, error in ((says({"deny": {}}), "access_denied"), ("500", "temporarily_unavailable")):
        receivers.behaviours["hook"] = behaviour
        refused = await _response(browser, party, alice, response_type)
        assert refused["error"] == error
        assert not refused.keys() & {"code", "access_token", "id_token"}
    issued = await fetch(
        "SELECT FROM authorization_code WHERE user_id = $1 AND client_id = $2", alice.id, party.client_id
    )
    assert len(issued) == ("code" in response_type.split())


async def test_a_hook_that_may_fail(browser: Browser, party: RelyingParty, alice: User, receivers: Receivers) -> None:
    """Then the response has tokens without its claims."""
    await set_hook(party, receivers.url("hook"), fail_open=True)
    receivers.behaviours["hook"] = "500"
    found = await _response(browser, party, alice, "id_token token")
    assert "tier" not in claims_of(found["access_token"])
