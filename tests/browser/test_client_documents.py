"""The consent page of a client by document: accessible, and no wider than a phone."""

import re
from collections.abc import Iterator
from urllib.parse import urlencode

import httpx
import pytest
from playwright.async_api import Page, expect

from idp.accounts.tables import User
from idp.infra.db.engine import execute
from tests.browser.test_accessibility import Look, look, page
from tests.conftest import MASTER_KEY
from tests.support.chromium import arrived
from tests.support.documents import client_site
from tests.support.oauth import PASSWORD, RelyingParty
from tests.support.server import Server

__all__ = ["look", "page"]

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def server(db: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that accepts every document, and keeps none for longer than a second."""
    server = Server(
        tmp_path_factory.mktemp("documents"),
        IDP_DATABASE_URL=db,
        IDP_MASTER_KEY=MASTER_KEY,
        IDP_ADDRESS_LIMITS="false",
        IDP_CLIENT_ID_METADATA_DOCUMENTS="open",
        IDP_CLIENT_ID_METADATA_MIN_LIFETIME="1",
    )
    yield server
    server.stop()


async def test_the_consent_page(page: Page, look: Look, server: Server, http: httpx.AsyncClient, alice: User) -> None:
    async with client_site() as site:
        uris = ["http://127.0.0.1/callback", f"{server.issuer}/health/live"]
        site.members |= {"client_name": "Assistant" * 20, "redirect_uris": uris}
        site.headers.append("Cache-Control: max-age=1")
        party = RelyingParty(server.issuer, http, site.url("/" + "long" * 50), redirect_uri=uris[0])
        await page.goto(f"/authorize?{urlencode(party.parameters())}")
        await page.fill("#username", alice.email)
        await page.fill("#password", PASSWORD)
        await page.click("#login-submit")
        await arrived(page)
        # The response would go to a program of this device.
        await expect(page.locator("#consent-local")).to_be_visible()
        await look("#consent-document")
        elsewhere = f"/authorize?{urlencode(party.parameters(redirect_uri=uris[1]))}"
        await page.goto(elsewhere)
        await page.click("#consent-allow")
        await expect(page).to_have_url(re.compile("/health/live"))
        site.members |= {"client_name": "Another", "redirect_uris": [*uris, "https://evil.example/" + "long" * 50]}
        while "/consent/" not in page.url:
            await page.goto(elsewhere)
        await look("#consent-changes")
        await execute("DELETE FROM client WHERE client_id = $1", party.client_id)
