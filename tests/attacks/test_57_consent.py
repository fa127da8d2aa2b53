"""Row 57: consent is never assumed, and a client without consent learns nothing."""

import asyncio

import pytest

from idp.accounts.tables import User
from idp.http import cookies
from idp.infra.db.cache_invalidation import lock_and_announce
from idp.infra.db.engine import fetchrow, transaction
from idp.oauth.clients.registration import register_resource_server
from idp.oauth.clients.repository import update_metadata
from idp.oauth.scopes import describe
from idp.signin.http import BROWSER_STATE
from tests.conftest import MakeClient, MakeUser, until_known
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
    async with asyncio.timeout(30):
        while not isinstance(answer := await client.authorize(browser, resource=api), Page):
            await asyncio.sleep(0.02)
    assert "An API" in answer.text


@pytest.mark.parametrize("document", ["policy_uri", "tos_uri"])
async def test_57_new_documents_ask(browser: Browser, client: RelyingParty, alice: User, document: str) -> None:
    await client.sign_in(browser, alice.email)
    assert not await _is_asked(browser, client)
    async with transaction():
        await lock_and_announce("clients")
        await update_metadata(client.client_id, {document: "https://rp.example.com/new"})
    async with asyncio.timeout(30):
        while not await _is_asked(browser, client):
            await asyncio.sleep(0.02)


async def test_57_prompt_consent_always_asks(browser: Browser, make_client: MakeClient, alice: User) -> None:
    for skip in (False, True):
        client = await make_client(skip_consent=skip)
        await client.sign_in(browser, alice.email)
        assert not await _is_asked(browser, client)
        assert await _is_asked(browser, client, prompt="consent")


async def test_57_consent_is_one_users(
    browser: Browser, client: RelyingParty, alice: User, make_user: MakeUser
) -> None:
    await client.sign_in(browser, alice.email)
    bob = await make_user()
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


async def test_57_prompt_none_does_not_tell_who_is_there(
    browser: Browser, client: RelyingParty, alice: User, make_user: MakeUser
) -> None:
    """For a user who is not signed in, the response is the same as without any session."""
    bob = await make_user()
    claims = f'{{"id_token":{{"sub":{{"value":"{bob.id}"}}}}}}'
    nobody = await client.authorize(browser, prompt="none", claims=claims)
    await client.sign_in(browser, alice.email)
    other = await client.authorize(browser, prompt="none", claims=claims)
    assert isinstance(nobody, Redirect)
    assert isinstance(other, Redirect)
    assert nobody.parameters == other.parameters


async def test_57_prompt_none_leaves_no_trace(browser: Browser, client: RelyingParty, alice: User) -> None:
    """Any site can have a browser send it, as often as it likes: no page, no row, and no cookie but one random value.

    The cookie is the state that `session_state` is made of. It is set once, and says nothing about who is signed in.
    """
    count = "SELECT count(*) AS waiting FROM authorization_request WHERE client_id = $1"
    for signed_in in (False, True):
        if signed_in:
            page = await client.authorize(browser)
            assert isinstance(page, Page)
            await browser.sign_in(page, alice.email, PASSWORD)
        before = await fetchrow(count, client.client_id)
        for mode in ("query", "form_post"):
            parameters = client.parameters(prompt="none", response_mode=mode)
            response = await browser.client.get(f"{client.issuer}/authorize", params=parameters)
            first = not signed_in and mode == "query"
            names = [cookie.partition("=")[0] for cookie in response.headers.get_list("set-cookie")]
            assert names == ([cookies.key(BROWSER_STATE)] if first else [])
            assert response.headers["cache-control"] == "no-store"
            assert alice.email not in response.text
            assert str(alice.id) not in response.text
        assert await fetchrow(count, client.client_id) == before


async def test_57_a_refusal_is_not_remembered_as_consent(browser: Browser, client: RelyingParty, alice: User) -> None:
    page = await client.authorize(browser)
    assert isinstance(page, Page)
    consent = await browser.sign_in(page, alice.email, PASSWORD)
    assert isinstance(consent, Page)
    denied = await browser.submit(consent, "consent-deny")
    assert isinstance(denied, Redirect)
    assert denied.parameters["error"] == "access_denied"
    assert await _is_asked(browser, client)


async def test_57_going_on_without_an_answer(browser: Browser, client: RelyingParty, alice: User) -> None:
    """Opening the URL that follows the consent shows the consent page again."""
    page = await client.authorize(browser)
    assert isinstance(page, Page)
    consent = await browser.sign_in(page, alice.email, PASSWORD)
    assert isinstance(consent, Page)
    for _ in range(2):
        again = await browser.get(consent.path.replace("/consent/", "/authorize/"))
        assert isinstance(again, Page)
        assert again.path == consent.path


async def test_57_no_page_can_be_framed(browser: Browser, make_client: MakeClient, alice: User) -> None:
    client = await make_client(post_logout_redirect_uris=["https://app.example.com/bye"])
    await until_known(client)
    seen = await tour(browser, client, alice.email)
    assert len(seen.pages) > 8
    for name, response in seen.pages.items():
        assert "frame-ancestors 'none'" in response.headers["content-security-policy"], name
        assert response.headers["x-frame-options"] == "DENY", name


async def _change_scope(client: RelyingParty, scope: str) -> None:
    async with transaction():
        await lock_and_announce("clients")
        await update_metadata(client.client_id, {"scope": scope})


async def _reload(browser: Browser, page: Page, names: str, *, shown: bool) -> Page:
    """Reload the consent page until it names something, or does not."""
    async with asyncio.timeout(30):
        while True:
            answer = await browser.get(page.url)
            assert isinstance(answer, Page)
            if (names in answer.text) is shown:
                return answer
            await asyncio.sleep(0.02)


async def test_57_only_what_was_shown_is_allowed(browser: Browser, client: RelyingParty, alice: User) -> None:
    """A client that changes its own registration cannot have a page with little allow much."""
    email = describe("email").title
    page = await client.authorize(browser, scope="openid email")
    assert isinstance(page, Page)
    page = await browser.sign_in(page, alice.email, PASSWORD)
    assert isinstance(page, Page)
    assert email in page.text
    await _change_scope(client, "openid")
    small = await _reload(browser, page, email, shown=False)
    await _change_scope(client, "openid email")
    await _reload(browser, page, email, shown=True)
    await browser.submit(small, "consent-allow")
    stored = await fetchrow("SELECT pairs FROM consent WHERE client_id = $1", client.client_id)
    assert stored is None or "email" not in stored["pairs"]
