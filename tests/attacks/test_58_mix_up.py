"""Row 58: every authorization response says who it is from (RFC 9207)."""

from html import unescape

import httpx
import pytest

from idp.accounts.tables import User
from tests.support.browser import Browser, Page, Redirect
from tests.support.oauth import RelyingParty
from tests.support.server import Server

ERRORS = {
    "invalid_request": {"code_challenge": None},
    "unsupported_response_type": {"response_type": "token"},
    "invalid_scope": {"scope": "none-such"},
    "login_required": {"prompt": "none"},
    "request_not_supported": {"request": "e30.e30."},
    "invalid_target": {"resource": "https://unknown.example.com"},
}


def _parameters(answer: Page | Redirect) -> dict[str, str]:
    """Of a redirect, or of the form of a form_post page."""
    if isinstance(answer, Redirect):
        return answer.parameters
    return {name: unescape(value) for name, value in answer.forms[0].fields.items()}


@pytest.mark.parametrize("response_mode", ["query", "form_post"])
@pytest.mark.parametrize("error", ERRORS)
async def test_58_errors(browser: Browser, client: RelyingParty, response_mode: str, error: str) -> None:
    answer = await client.authorize(browser, response_mode=response_mode, **ERRORS[error])
    parameters = _parameters(answer)
    assert parameters["error"] == error
    assert parameters["iss"] == client.issuer


@pytest.mark.parametrize("response_mode", ["query", "form_post"])
async def test_58_codes(browser: Browser, client: RelyingParty, alice: User, response_mode: str) -> None:
    await client.sign_in(browser, alice.email)
    parameters = _parameters(await client.authorize(browser, response_mode=response_mode))
    assert "code" in parameters
    assert parameters["iss"] == client.issuer


async def test_58_denials(browser: Browser, client: RelyingParty) -> None:
    page = await client.authorize(browser)
    assert isinstance(page, Page)
    assert _parameters(await browser.submit(page, "login-cancel"))["iss"] == client.issuer


async def test_58_it_is_promised_in_metadata(server: Server, http: httpx.AsyncClient) -> None:
    document = (await http.get(f"{server.issuer}/.well-known/openid-configuration")).json()
    assert document["authorization_response_iss_parameter_supported"] is True
    assert document["issuer"] == server.issuer
