"""Row 14: a disabled user or client keeps nothing."""

import asyncio
from collections.abc import Awaitable, Callable

import httpx

from idp.accounts.tables import User
from idp.accounts.users import disable_user
from idp.oauth.clients.registration import disable_client
from idp.oauth.sign_out import sign_out_user
from tests.conftest import MakeClient
from tests.support.browser import Browser, Page
from tests.support.oauth import RelyingParty

#: Every worker hears of a disabled client within this time, by notice or by polling.
STALENESS_SECONDS = 2.0


async def _until(status: int, call: Callable[[], Awaitable[httpx.Response]]) -> httpx.Response:
    async with asyncio.timeout(STALENESS_SECONDS):
        while (response := await call()).status_code != status:
            await asyncio.sleep(0.02)
        return response


async def test_14_a_disabled_user(browser: Browser, client: RelyingParty, alice: User) -> None:
    tokens = await client.tokens(browser, alice.email, scope="openid")
    code = await client.sign_in(browser, alice.email)
    await disable_user(alice.id, sign_out_user)

    refused = await client.refresh(tokens["refresh_token"])
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")
    assert (await client.redeem(code)).json()["error"] == "invalid_grant"
    assert await client.introspect(tokens["access_token"]) == {"active": False}
    assert await client.introspect(tokens["refresh_token"]) == {"active": False}
    assert (await client.userinfo(tokens["access_token"])).status_code == 401
    page = await client.authorize(browser)
    assert isinstance(page, Page)
    answer = await browser.sign_in(page, alice.email, "correct horse battery staple")
    assert isinstance(answer, Page)
    assert "login-submit" in answer.ids


async def test_14_a_user_disabled_behind_our_back(browser: Browser, client: RelyingParty, alice: User) -> None:
    """Whoever sets the column by SQL has disabled them as well: every predicate looks at it."""
    tokens = await client.tokens(browser, alice.email)
    await User.update({User.disabled_at: alice.created_at}).where(User.id == alice.id)
    assert (await client.refresh(tokens["refresh_token"])).status_code == 400
    assert await client.introspect(tokens["access_token"]) == {"active": False}
    assert (await client.userinfo(tokens["access_token"])).status_code == 401
    page = await client.authorize(browser)
    assert isinstance(page, Page)
    assert "login-submit" in page.ids


async def test_14_a_disabled_client(
    browser: Browser, client: RelyingParty, make_client: MakeClient, alice: User
) -> None:
    tokens = await client.tokens(browser, alice.email)
    await disable_client(client.client_id)

    refused = await _until(401, lambda: client.refresh(tokens["refresh_token"]))
    assert refused.json()["error"] == "invalid_client"
    assert (await client.userinfo(tokens["access_token"])).status_code == 401
    page = await client.authorize(browser)
    assert isinstance(page, Page)
    assert (page.status, page.error) == (400, "invalid_client")


async def test_14_a_disabled_service(make_client: MakeClient) -> None:
    service = await make_client(grant_types=["client_credentials"], redirect_uris=[], scope="orders:read")
    token = (await service.post("/token", grant_type="client_credentials")).json()["access_token"]
    assert (await service.introspect(token))["active"]
    await disable_client(service.client_id)
    await _until(401, lambda: service.post("/token", grant_type="client_credentials"))
    await _until(401, lambda: service.post("/introspect", token=token))
