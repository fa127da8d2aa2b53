"""Backchannel authentication (CIBA): a client that asks, and a user who decides."""

import re
from typing import Any

import httpx

from tests.support.browser import Browser, Page, as_page
from tests.support.mailbox import Letter
from tests.support.oauth import PASSWORD, RelyingParty

GRANT = "urn:openid:params:grant-type:ciba"
#: The metadata of a client with this grant alone.
CIBA: dict[str, Any] = {
    "client_name": "Example Bank",
    "grant_types": [GRANT],
    "response_types": [],
    "redirect_uris": [],
    "scope": "openid profile email",
}


async def ask(client: RelyingParty, email: str | None, **changes: str | None) -> httpx.Response:
    """Send a backchannel authentication request with ``login_hint``."""
    return await client.post("/backchannel-authentication", **({"scope": "openid", "login_hint": email} | changes))


async def asked(client: RelyingParty, email: str, **changes: str | None) -> str:
    """Ask a user. Returns the ``auth_req_id``."""
    response = await ask(client, email, **changes)
    assert response.status_code == 200, response.text
    auth_req_id: str = response.json()["auth_req_id"]
    return auth_req_id


async def poll(client: RelyingParty, auth_req_id: str, **changes: str | None) -> httpx.Response:
    """Ask the token endpoint for the tokens of a request."""
    return await client.post("/token", **({"grant_type": GRANT, "auth_req_id": auth_req_id} | changes))


def page_path(letter: Letter) -> str:
    """Return the path of the page in the mail."""
    found = re.search(r"/account/requests/[0-9a-f-]{36}", letter.text)
    assert found, letter.text
    return found[0]


async def open_request(browser: Browser, path: str, email: str) -> Page:
    """Open the page of a request, and sign in if needed."""
    page = as_page(await browser.get(path))
    if "login-submit" in page.ids:
        page = as_page(await browser.sign_in(page, email, PASSWORD))
    return page


async def decide(browser: Browser, path: str, email: str, button: str = "consent-allow") -> Page:
    """Open the page of a request and press a button."""
    return as_page(await browser.submit(await open_request(browser, path, email), button))
