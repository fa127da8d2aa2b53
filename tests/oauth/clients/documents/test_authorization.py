"""A client by document at the whole server: sign-in, consent, tokens, and documents that change."""

import asyncio
import re
from collections.abc import AsyncIterator
from html import unescape
from typing import Any

import httpx
import pytest

from idp.accounts.tables import User
from idp.infra.db.engine import execute, fetch, fetchrow
from idp.oauth.clients.authentication.assertions import ASSERTION_TYPE
from idp.oauth.clients.registration import disable_client
from tests.conftest import MASTER_KEY
from tests.support.assertions import ClientKeys
from tests.support.browser import Browser, Page, Redirect, as_page, open_browser
from tests.support.documents import REDIRECT_URI, ClientSite
from tests.support.oauth import PASSWORD, RelyingParty, until_settled
from tests.support.server import Server

#: A document is in memory for a second, or as long as its headers say: an hour if they say nothing.
SETTINGS = {"IDP_CLIENT_ID_METADATA_DOCUMENTS": "open", "IDP_CLIENT_ID_METADATA_MIN_LIFETIME": "1"}
SHORT = "Cache-Control: max-age=1"


@pytest.fixture(scope="module")
def own_server(db: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    server = Server(
        tmp_path_factory.mktemp("documents"),
        IDP_DATABASE_URL=db,
        IDP_MASTER_KEY=MASTER_KEY,
        IDP_ADDRESS_LIMITS="false",
        **SETTINGS,
    )
    yield server
    server.stop()


@pytest.fixture
async def browser(own_server: Server) -> AsyncIterator[Browser]:
    async with open_browser(own_server.issuer) as browser:
        yield browser


@pytest.fixture
async def party(
    own_server: Server, http: httpx.AsyncClient, site: ClientSite, path: str
) -> AsyncIterator[RelyingParty]:
    """The client of the document."""
    yield RelyingParty(own_server.issuer, http, site.url(path), redirect_uri=REDIRECT_URI, scope="openid email")
    await execute("DELETE FROM client WHERE client_id = $1", site.url(path))


async def _consent_page(party: RelyingParty, browser: Browser, alice: User, **changes: str | None) -> Page:
    page = await party.authorize(browser, **changes)
    assert isinstance(page, Page), page
    if "login-submit" in page.ids:
        answer = await browser.sign_in(page, alice.email, PASSWORD)
        assert isinstance(answer, Page), answer
        page = answer
    return page


async def _page_of_change(party: RelyingParty, browser: Browser, site: ClientSite) -> Page:
    """Ask for authorization until the document in memory is too old. The request that fetches it gets a page."""
    await until_settled(party.issuer)
    fetched = site.requests
    async with asyncio.timeout(30):
        while isinstance(answer := await party.authorize(browser), Redirect):
            assert site.requests == fetched, "The new document was fetched, and the old one was used."
            await asyncio.sleep(0.05)
    return answer


async def test_from_a_url_to_tokens(browser: Browser, party: RelyingParty, site: ClientSite, alice: User) -> None:
    page = await party.authorize(browser)
    assert isinstance(page, Page)
    # What anybody may write into a document is not the name of an application.
    assert f"127.0.0.1:{site.port}" in page.text
    assert "Example client" not in page.text
    assert await fetchrow("SELECT FROM client WHERE client_id = $1", party.client_id) is None
    tokens = await party.tokens(browser, alice.email)
    assert tokens["scope"] == "openid email"
    refreshed = (await party.refresh(tokens["refresh_token"])).json()
    assert (await party.userinfo(refreshed["access_token"])).json()["email"] == alice.email
    assert site.requests == 1
    row = await fetchrow("SELECT origin, expires_at - now() AS kept FROM client WHERE client_id = $1", party.client_id)
    assert row is not None
    assert (row["origin"], row["kept"].days >= 90) == ("document", True)
    events = await fetch("SELECT event, user_id FROM audit_event WHERE client_id = $1 ORDER BY id", party.client_id)
    assert ("client_registered", alice.id) in [(row["event"], row["user_id"]) for row in events]


async def test_the_consent_page(browser: Browser, party: RelyingParty, site: ClientSite, alice: User) -> None:
    page = await _consent_page(party, browser, alice)
    text = unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page.text)))
    host = f"127.0.0.1:{site.port}"
    assert text.index(host) < text.index("It calls itself Example client No one has checked this name.")
    assert "Never before. You would be the first." in text
    assert "consent-changes" not in page.ids
    assert "consent-local" not in page.ids
    assert "You then return to app.example.com" in text
    assert "<img" not in re.sub(r"<img [^>]*logo\.svg[^>]*>", "", page.text)


async def test_a_consent_is_kept(browser: Browser, party: RelyingParty, alice: User) -> None:
    await party.tokens(browser, alice.email)
    assert isinstance(await party.authorize(browser), Redirect)


async def test_a_program_on_the_device(browser: Browser, party: RelyingParty, site: ClientSite, alice: User) -> None:
    """Any port, although the document names one; and the page warns."""
    site.members["redirect_uris"] = ["http://127.0.0.1:3000/callback"]
    party.redirect_uri = "http://127.0.0.1:43210/callback"
    page = await _consent_page(party, browser, alice)
    assert "consent-local" in page.ids
    assert "Allow this only if you have just started it yourself" in page.text
    answer = await browser.submit(page, "consent-allow")
    assert isinstance(answer, Redirect)
    assert answer.location.startswith("http://127.0.0.1:43210/callback?")


@pytest.mark.parametrize(
    ("member", "value", "words"),
    [
        ("client_name", "Another name", "The name. It was Example client before."),
        ("redirect_uris", [REDIRECT_URI, "https://evil.example/cb"], "New: https://evil.example/cb"),
        ("policy_uri", "https://app.example.com/policy", "The privacy policy."),
        ("tos_uri", "https://app.example.com/terms", "The terms of service."),
        ("client_uri", "https://app.example.com/", "The address of its site."),
    ],
)
async def test_what_changed_asks_again(
    browser: Browser, party: RelyingParty, site: ClientSite, alice: User,
    member: str, value: Any, words: str,
) -> None:  # fmt: skip
    site.headers.append(SHORT)
    await party.tokens(browser, alice.email)
    site.members[member] = value
    page = await _page_of_change(party, browser, site)
    assert words in unescape(page.text)
    assert "First used here" in page.text
    assert "Never before" not in page.text
    assert isinstance(await browser.submit(page, "consent-allow"), Redirect)
    assert isinstance(await party.authorize(browser), Redirect)
    events = await fetch(
        "SELECT detail FROM audit_event WHERE client_id = $1 AND event = 'client_document_changed'", party.client_id
    )
    assert [member in row["detail"] for row in events] == [True]


async def test_a_redirect_uri_that_was_removed(
    browser: Browser, party: RelyingParty, site: ClientSite, alice: User
) -> None:
    site.headers.append(SHORT)
    await party.tokens(browser, alice.email)
    site.members["redirect_uris"] = ["https://app.example.com/other"]
    page = await _page_of_change(party, browser, site)
    assert page.status == 400


async def test_a_client_with_a_key(browser: Browser, party: RelyingParty, site: ClientSite, alice: User) -> None:
    """It authenticates with the key of its document, by a pushed request before any user has allowed it, and later with
    the key of the next document only.
    """
    keys = ClientKeys()
    site.members |= {"token_endpoint_auth_method": "private_key_jwt", "jwks": keys.jwks()}
    site.headers.append(SHORT)

    async def post(path: str, form: dict[str, str], signer: ClientKeys) -> httpx.Response:
        assertion = signer.assertion(party.client_id, aud=party.issuer)
        form = form | {"client_assertion": assertion, "client_assertion_type": ASSERTION_TYPE}
        return await party.http.post(f"{party.issuer}{path}", data=form)

    assert (await post("/par", party.parameters(), ClientKeys())).json()["error"] == "invalid_client"
    pushed = await post("/par", party.parameters(), keys)
    assert pushed.status_code == 201, pushed.text
    page = await browser.get("/authorize", client_id=party.client_id, request_uri=pushed.json()["request_uri"])
    assert isinstance(page, Page)
    page_or_code = await browser.submit(
        await browser.sign_in(page, alice.email, PASSWORD),  # type: ignore[arg-type]
        "consent-allow",
    )
    assert isinstance(page_or_code, Redirect)
    form = {"grant_type": "authorization_code", "code": page_or_code.parameters["code"]}
    form |= {"code_verifier": party.verifier, "redirect_uri": party.redirect_uri}
    assert (await party.http.post(f"{party.issuer}/token", data=form)).json()["error"] == "invalid_client"
    tokens = (await post("/token", form, keys)).json()
    newer = ClientKeys()
    site.members["jwks"] = newer.jwks()
    refresh = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    async with asyncio.timeout(30):
        while (response := await post("/token", refresh, newer)).status_code != 200:
            assert response.json()["error"] == "invalid_client"
            await asyncio.sleep(0.1)
    refresh["refresh_token"] = response.json()["refresh_token"]
    assert (await post("/token", refresh, keys)).json()["error"] == "invalid_client"


async def test_the_user_takes_the_access_back(browser: Browser, party: RelyingParty, alice: User) -> None:
    """On the account page, which calls it by its host too."""
    tokens = await party.tokens(browser, alice.email)
    page = as_page(await browser.get("/account/apps"))
    assert "Example client" not in page.text
    assert party.client_id.split("/")[2] in page.text
    question = re.search(r'href="([^"]*/revoke)"', page.text)
    assert question is not None
    page = as_page(await browser.get(question[1]))
    assert await fetchrow("SELECT FROM consent WHERE client_id = $1", party.client_id) is not None
    form = next(form for form in page.forms if form.action.endswith("/revoke"))
    as_page(await browser.post(form.action, form.fields))
    assert (await party.refresh(tokens["refresh_token"])).json()["error"] == "invalid_grant"
    assert await fetchrow("SELECT FROM consent WHERE client_id = $1", party.client_id) is None


async def test_a_disabled_client_is_denied(
    browser: Browser, party: RelyingParty, site: ClientSite, alice: User
) -> None:
    """However often its document is offered."""
    tokens = await party.tokens(browser, alice.email)
    await disable_client(party.client_id)
    error = (await party.refresh(tokens["refresh_token"])).json()["error"]
    assert error in ("invalid_grant", "invalid_client")
    async with asyncio.timeout(30):
        # Its tokens are revoked at once; the server has read a moment later that it is disabled.
        while not isinstance(page := await party.authorize(browser), Page):
            await asyncio.sleep(0.02)
    assert (page.status, "not registered here, or was disabled" in page.text) == (400, True)
    assert site.requests == 1
