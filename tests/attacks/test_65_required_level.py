"""Row 65: a code has the level that its client requires, on every path and with any further request."""

from collections.abc import Awaitable, Callable
from itertools import product

import pytest

from idp import ids
from idp.accounts.tables import User
from idp.clock import now
from idp.errors import OAuthError
from idp.oauth.authorize.code import issue_code
from idp.oauth.authorize.request import AuthorizationRequest
from idp.oauth.clients.registry import registry
from idp.signin.sessions import SignedIn
from idp.signin.transitions import ACR_VALUES, CompletedStep, Step, falls_short
from tests.conftest import MakeClient
from tests.support.browser import Browser, Page
from tests.support.oauth import PASSWORD, RelyingParty

pytestmark = pytest.mark.fault(7)

#: The level that a client requires, and what the request asks for in addition.
LEVELS = [(required, asked) for required, asked in product(ACR_VALUES, ACR_VALUES) if required != "1"]


async def _pages(client: RelyingParty, browser: Browser, user: User, asked: str) -> bool:
    """Sign in, postponing everything that can be postponed."""
    answer = await client.authorize(browser, acr_values=asked)
    for _ in range(5):
        if not isinstance(answer, Page):
            return "code" in answer.parameters
        if "login-submit" in answer.ids:
            answer = await browser.sign_in(answer, user.email, PASSWORD)
        elif "enrol-skip" in answer.ids:
            answer = await browser.submit(answer, "enrol-skip")
        else:
            form = answer.forms[0].fields | {"action": "skip"}
            answer = await browser.post(answer.path, form)
    return False


async def _silently(client: RelyingParty, browser: Browser, user: User, asked: str) -> bool:
    """With a session that has one factor."""
    await browser.sign_in(await _login(browser), user.email, PASSWORD)
    answer = await client.authorize(browser, acr_values=asked, prompt="none")
    return not isinstance(answer, Page) and "code" in answer.parameters


async def _login(browser: Browser) -> Page:
    page = await browser.get("/login")
    assert isinstance(page, Page)
    return page


async def _app(client: RelyingParty, browser: Browser, user: User, asked: str) -> bool:
    """Sign in by the challenge endpoint, with the steps in each order."""
    parameters = client.parameters(redirect_uri=None, response_type=None, state=None, acr_values=asked)
    begun = (await client.post("/challenge", **parameters)).json()["auth_session"]
    steps: list[dict[str, str]] = [
        {"step": "enrol", "action": "skip"},
        {"username": user.email, "password": PASSWORD},
        {"step": "enrol", "action": "skip"},
        {"step": "enrol", "action": "skip"},
        {"step": "enrol", "action": "totp", "code": "000000"},
    ]
    answers = [(await client.post("/challenge", auth_session=begun, **step)).json() for step in steps]
    return any("authorization_code" in answer for answer in answers)


WAYS: dict[str, Callable[[RelyingParty, Browser, User, str], Awaitable[bool]]] = {
    "pages": _pages, "silently": _silently, "app": _app,
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("required", "asked"), LEVELS)
async def test_65_one_factor_gets_no_code(
    make_client: MakeClient, browser: Browser, alice: User, way: str, required: str, asked: str
) -> None:
    client = await make_client(skip_consent=True, authorization_challenge=True, default_acr_values=[required])
    assert not await WAYS[way](client, browser, alice, asked)


@pytest.mark.parametrize("way", ["pages", "app"])
async def test_65_a_voluntary_level_can_be_postponed(
    make_client: MakeClient, browser: Browser, alice: User, way: str
) -> None:
    client = await make_client(skip_consent=True, authorization_challenge=True)
    assert await WAYS[way](client, browser, alice, "phr")


async def test_65_issuing_the_code_checks_the_level(make_client: MakeClient, alice: User) -> None:
    """On every path, the session is checked when the code is issued."""
    for required, reached in product(ACR_VALUES, ACR_VALUES):
        party = await make_client(default_acr_values=[required])
        await registry.load()
        client = registry.client(party.client_id)
        assert client is not None
        asked = AuthorizationRequest(client.client_id, party.redirect_uri, "code", scope=("openid",))
        session = SignedIn(ids.uuid7(), alice.id, now(), (CompletedStep(Step.PASSWORD),), ("pwd",), reached)
        if falls_short(reached, required):
            with pytest.raises(OAuthError, match="further factor"):
                await issue_code(asked, client, session)
