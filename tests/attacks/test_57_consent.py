"""Row 57: nobody's consent is assumed, and nothing leaks to one who has none."""

import pytest

from idp.accounts.tables import User
from idp.db.engine import execute, transaction
from idp.db.notices import announce
from idp.oauth.clients.registration import register_resource_server
from tests.conftest import MakeClient, until_known
from tests.support.browser import Browser, Page, Redirect
from tests.support.oauth import PASSWORD, RelyingParty
from tests.support.tour import tour


async def _is_asked(browser: Browser, client: RelyingParty, **changes: str | None) -> bool:
    answer = await client.authorize(browser, **changes)
    return isinstance(answer, Page) and "consent-allow" in answer.ids


async def test_57_a_new_client_asks(
    browser: Browser, client: RelyingParty, make_client: MakeClient, alice: User
) -> None:
    await client.sign_in(browser, alice.email)
    assert not await _is_asked(browser, client)
    assert await _is_asked(browser, await make_client())


async def test_57_a_larger_scope_asks(browser: Browser, client: RelyingParty, alice: User) -> None:
    await client.sign_in(browser, alice.email, scope="openid")
    assert not await _is_asked(browser, client, scope="openid")
    assert await _is_asked(browser, client, scope="openid email")
    await client.sign_in(browser, alice.email, scope="openid email")
    for scope in ("openid email", "openid", "email openid"):
        assert not await _is_asked(browser, client, scope=scope)


async def test_57_a_new_resource_asks(browser: Browser, client: RelyingParty, alice: User) -> None:
    api = f"https://{client.client_id}.example.com"
    await register_resource_server(api, "An API")
    await client.sign_in(browser, alice.email)
    for _ in range(100):
        answer = await client.authorize(browser, resource=api)
        if isinstance(answer, Page):
            break
    assert isinstance(answer, Page)
    assert "An API" in answer.text


@pytest.mark.parametrize("document", ["policy_uri", "tos_uri"])
async def test_57_new_documents_ask(browser: Browser, client: RelyingParty, alice: User, document: str) -> None:
    await client.sign_in(browser, alice.email)
    assert not await _is_asked(browser, client)
    async with transaction():
        await announce("clients")
        await execute(
            f"UPDATE client SET {document} = 'https://rp.example.com/new' WHERE client_id = $1", client.client_id
        )
    for _ in range(200):
        if await _is_asked(browser, client):
            return
    raise AssertionError("The changed document is never shown.")


async def test_57_prompt_consent_always_asks(browser: Browser, make_client: MakeClient, alice: User) -> None:
    for skip in (False, True):
        client = await make_client(skip_consent=skip)
        await client.sign_in(browser, alice.email)
        assert not await _is_asked(browser, client)
        assert await _is_asked(browser, client, prompt="consent")


async def test_57_consent_is_one_users(browser: Browser, client: RelyingParty, alice: User, make_user: object) -> None:
    await client.sign_in(browser, alice.email)
    bob = await make_user()  # type: ignore[operator]
    page = await client.authorize(browser, prompt="login")
    assert isinstance(page, Page)
    answer = await browser.sign_in(page, bob.email, PASSWORD)
    assert isinstance(answer, Page)
    assert "consent-allow" in answer.ids


async def test_57_prompt_none_tells_nothing(browser: Browser, client: RelyingParty, alice: User) -> None:
    """Signed in without consent, and not signed in: an error code, and nothing of the person."""
    before = await client.authorize(browser, prompt="none")
    assert isinstance(before, Redirect)
    assert before.parameters["error"] == "login_required"
    page = await client.authorize(browser)
    assert isinstance(page, Page)
    await browser.sign_in(page, alice.email, PASSWORD)
    after = await client.authorize(browser, prompt="none")
    assert isinstance(after, Redirect)
    assert after.parameters["error"] == "consent_required"
    assert set(after.parameters) == {"error", "error_description", "state", "iss"}


async def test_57_no_page_can_be_framed(browser: Browser, make_client: MakeClient, alice: User) -> None:
    client = await make_client(post_logout_redirect_uris=["https://app.example.com/bye"])
    await until_known(client)
    seen = await tour(browser, client, alice.email)
    assert len(seen.pages) > 8
    for name, response in seen.pages.items():
        assert "frame-ancestors 'none'" in response.headers["content-security-policy"], name
        assert response.headers["x-frame-options"] == "DENY", name
