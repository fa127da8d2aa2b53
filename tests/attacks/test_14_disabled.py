"""Row 14: a disabled user or client loses all sessions and tokens."""

import asyncio
from collections.abc import Awaitable, Callable

import httpx
import pytest

from idp.accounts.tables import User
from idp.accounts.users import disable_user, enable_user
from idp.infra.db.engine import execute, transaction
from idp.oauth.clients.registration import TOPIC, disable_client, register_resource_server
from idp.oauth.sign_out import sign_out_user
from tests.conftest import MakeClient
from tests.support.browser import Browser, Page, Redirect
from tests.support.oauth import PASSWORD, RelyingParty

#: A worker learns that a client was disabled from a notice, or else by polling; and the machine may be busy.
STALENESS_SECONDS = 1 + 1.5
INACTIVE = {"active": False}
MACHINE = {"grant_types": ["client_credentials"], "redirect_uris": [], "scope": "orders:read"}


async def _until(status: int, call: Callable[[], Awaitable[httpx.Response]]) -> httpx.Response:
    async with asyncio.timeout(STALENESS_SECONDS):
        while (response := await call()).status_code != status:
            await asyncio.sleep(0.02)
        return response


async def _assert_login_page(answer: Page | Redirect) -> None:
    assert isinstance(answer, Page), answer.location
    assert "login-submit" in answer.ids


async def test_14_a_disabled_user(browser: Browser, make_client: MakeClient, alice: User) -> None:
    client = await make_client(scope="openid offline_access")
    tokens, offline = [
        await client.tokens(browser, alice.email, scope=scope) for scope in ("openid", "openid offline_access")
    ]
    code = await client.sign_in(browser, alice.email)
    await disable_user(alice.id, sign_out_user)

    for given in (tokens, offline):
        refused = await client.refresh(given["refresh_token"])
        assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")
        assert await client.introspect(given["access_token"]) == INACTIVE
        assert await client.introspect(given["refresh_token"]) == INACTIVE
        assert (await client.userinfo(given["access_token"])).status_code == 401
    assert (await client.redeem(code)).json()["error"] == "invalid_grant"
    page = await client.authorize(browser)
    await _assert_login_page(page)
    await _assert_login_page(await browser.sign_in(page, alice.email, PASSWORD))

    await enable_user(alice.id)
    assert (await client.refresh(offline["refresh_token"])).status_code == 400
    assert (await client.userinfo(offline["access_token"])).status_code == 401


async def test_14_a_user_disabled_behind_our_back(browser: Browser, make_client: MakeClient, alice: User) -> None:
    """A user who is disabled by SQL is disabled everywhere: every predicate checks the column."""
    client = await make_client(scope="openid offline_access")
    tokens = await client.tokens(browser, alice.email)
    used, current = tokens["refresh_token"], (await client.refresh(tokens["refresh_token"])).json()["refresh_token"]
    code = await client.sign_in(browser, alice.email)
    waiting = await client.authorize(browser, prompt="consent")
    assert isinstance(waiting, Page)
    await execute("UPDATE users SET disabled_at = now() WHERE id = $1", alice.id)

    for token in (used, current):
        assert (await client.refresh(token)).status_code == 400
    assert (await client.redeem(code)).json()["error"] == "invalid_grant"
    for token in (tokens["access_token"], current):
        assert await client.introspect(token) == INACTIVE
    assert (await client.userinfo(tokens["access_token"])).status_code == 401
    await _assert_login_page(await browser.submit(waiting, "consent-allow"))
    await _assert_login_page(await client.authorize(browser))
    home = await browser.get("/")
    assert isinstance(home, Page)
    assert alice.email not in home.text


async def test_14_a_disabled_client(browser: Browser, client: RelyingParty, alice: User) -> None:
    """Pending requests do not help it either: no user is redirected to it any more."""
    tokens = await client.tokens(browser, alice.email)
    code = await client.sign_in(browser, alice.email)
    waiting = await client.authorize(browser, prompt="consent")
    assert isinstance(waiting, Page)
    await disable_client(client.client_id)

    refused = await _until(401, lambda: client.refresh(tokens["refresh_token"]))
    assert refused.json()["error"] == "invalid_client"
    for path in ("/introspect", "/revoke"):
        assert (await client.post(path, token=tokens["access_token"])).status_code == 401
    assert (await client.redeem(code)).status_code == 401
    assert (await client.userinfo(tokens["access_token"])).status_code == 401
    for button in ("consent-allow", "consent-deny"):
        answer = await browser.submit(waiting, button)
        assert isinstance(answer, Page), answer.location
        assert answer.status == 400
    page = await client.authorize(browser)
    assert isinstance(page, Page)
    assert (page.status, page.error) == (400, "invalid_client")


async def test_14_introspection_of_a_disabled_client(browser: Browser, make_client: MakeClient, alice: User) -> None:
    """A token with a user and one without, once their client is disabled."""
    api = await make_client(**MACHINE)
    identifier = f"https://{api.client_id}.example.com"
    await register_resource_server(identifier, "Orders", client_id=api.client_id)
    client = await make_client(
        **MACHINE
        | {"scope": "openid orders:read", "redirect_uris": ["https://shop.example/cb"]}
        | {"grant_types": ["authorization_code", "client_credentials"]}
    )
    await _until(200, lambda: client.post("/token", grant_type="client_credentials", resource=identifier))
    own = await client.post("/token", grant_type="client_credentials", resource=identifier)
    of_alice = await client.tokens(browser, alice.email, resource=identifier)
    tokens = [own.json()["access_token"], of_alice["access_token"]]
    for token in tokens:
        assert (await api.introspect(token))["active"] is True
    await disable_client(client.client_id)
    await _until(401, lambda: client.post("/token", grant_type="client_credentials"))
    for token in tokens:
        assert await api.introspect(token) == INACTIVE


@pytest.mark.parametrize("noticed", [True, False], ids=["by a notice", "by polling"])
async def test_14_a_disabled_service(make_client: MakeClient, noticed: bool) -> None:
    """It is believed for about a second at most, also where notices get lost, as behind a pooler."""
    service = await make_client(**MACHINE)
    token = (await service.post("/token", grant_type="client_credentials")).json()["access_token"]
    assert (await service.introspect(token))["active"]
    if noticed:
        await disable_client(service.client_id)
    else:
        async with transaction():
            await execute("UPDATE client SET disabled_at = now() WHERE client_id = $1", service.client_id)
            await execute("UPDATE revision SET number = number + 1 WHERE topic = $1", TOPIC)
    await _until(401, lambda: service.post("/token", grant_type="client_credentials"))
    assert (await service.post("/introspect", token=token)).status_code == 401
