"""Row 58: every authorization response names its issuer (RFC 9207), so that clients detect a mix-up."""

from collections.abc import Callable
from html import unescape
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest

from idp.accounts.tables import User
from idp.errors import OAuthError
from tests.conftest import MakeClient
from tests.support.browser import Browser, Page, Redirect
from tests.support.oauth import PASSWORD, RelyingParty
from tests.support.server import Server

#: Requests whose errors are returned to the client.
FAULTS: dict[str, dict[str, str | None]] = {
    "response_type missing": {"response_type": None},
    "response_type unknown": {"response_type": "token"},
    "response_mode unknown": {"response_mode": "web_message"},
    "scope unknown": {"scope": "none-such"},
    "challenge missing": {"code_challenge": None},
    "plain": {"code_challenge_method": "plain"},
    "prompt unknown": {"prompt": "dance"},
    "prompt contradictory": {"prompt": "none login"},
    "max_age malformed": {"max_age": "soon"},
    "claims malformed": {"claims": "{"},
    "id_token_hint malformed": {"id_token_hint": "x.y.z", "prompt": "none"},
    "request object": {"request": "e30.e30."},
    "request_uri": {"request_uri": "https://app.example.com/request"},
    "registration": {"registration": "{}"},
    "resource unknown": {"resource": "https://unknown.example.com"},
    "state too long": {"state": "x" * 3000},
    "essential acr": {"claims": '{"id_token":{"acr":{"essential":true,"value":"9"}}}'},
    "nobody signed in": {"prompt": "none"},
}
MODES = pytest.mark.parametrize("mode", ["query", "form_post"])


def parameters(answer: Page | Redirect) -> dict[str, str]:
    """Return the parameters of a redirect or of a form_post page. Each occurs once."""
    if isinstance(answer, Page):
        assert answer.forms[0].method == "post"
        fields = answer.forms[0].fields.items()
        return {name: unescape(value) for name, value in fields if name != "session_state"}
    parts = urlsplit(answer.location)
    pairs = parse_qsl(parts.query or parts.fragment, keep_blank_values=True)
    assert len(pairs) == len(dict(pairs))
    return {name: value for name, value in pairs if name != "session_state"}


def assert_refused(answer: Page | Redirect, client: RelyingParty, error: str | None = None) -> None:
    found = parameters(answer)
    assert found["iss"] == client.issuer
    assert "code" not in found
    assert found["error"] == error or error is None


@MODES
@pytest.mark.parametrize("fault", FAULTS)
async def test_58_errors(browser: Browser, client: RelyingParty, mode: str, fault: str) -> None:
    assert_refused(await client.authorize(browser, **({"response_mode": mode} | FAULTS[fault])), client)


@MODES
async def test_58_a_code(browser: Browser, client: RelyingParty, alice: User, mode: str) -> None:
    await client.sign_in(browser, alice.email)
    found = parameters(await client.authorize(browser, response_mode=mode))
    assert found.keys() == {"code", "state", "iss"}
    assert found["iss"] == client.issuer


@MODES
async def test_58_a_code_after_sign_in_and_consent(
    browser: Browser, client: RelyingParty, alice: User, mode: str
) -> None:
    page = await client.authorize(browser, response_mode=mode)
    assert isinstance(page, Page)
    consent = await browser.sign_in(page, alice.email, PASSWORD)
    assert isinstance(consent, Page)
    found = parameters(await browser.submit(consent, "consent-allow"))
    assert found.keys() == {"code", "state", "iss"}
    assert found["iss"] == client.issuer


@MODES
async def test_58_refusals_of_the_user(browser: Browser, client: RelyingParty, alice: User, mode: str) -> None:
    """For a cancelled sign-in and a denied consent, and with prompt=none."""
    page = await client.authorize(browser, response_mode=mode)
    assert isinstance(page, Page)
    assert_refused(await browser.submit(page, "login-cancel"), client, "access_denied")
    page = await client.authorize(browser, response_mode=mode)
    assert isinstance(page, Page)
    consent = await browser.sign_in(page, alice.email, PASSWORD)
    assert isinstance(consent, Page)
    assert_refused(await browser.submit(consent, "consent-deny"), client, "access_denied")
    silent = await client.authorize(browser, response_mode=mode, prompt="none")
    assert_refused(silent, client, "consent_required")


@pytest.mark.parametrize("query", ["iss=https://evil.example", "x=1&iss=", "%69ss=x"])
async def test_58_no_redirect_uri_contains_iss(make_client: MakeClient, query: str) -> None:
    """A redirect URI with `iss` in its query, which would be ambiguous."""
    with pytest.raises(OAuthError, match="redirect_uri"):
        await make_client(redirect_uris=[f"https://app.example.com/cb?{query}"])


async def test_58_it_is_the_configured_issuer(
    start_server: Callable[..., Server], make_client: MakeClient, http: httpx.AsyncClient
) -> None:
    """The host name of the request does not matter."""
    client = await make_client()
    server = start_server(IDP_ISSUER="https://id.example.com")
    for host in ("id.example.com", "evil.example", f"127.0.0.1:{server.port}"):
        response = await http.get(
            f"{server.url}/authorize",
            params=client.parameters(prompt="none"),
            headers={"Host": host, "X-Forwarded-Host": "evil.example"},
        )
        assert dict(parse_qsl(urlsplit(response.headers["location"]).query))["iss"] == "https://id.example.com"


async def test_58_it_is_promised_in_metadata(server: Server, http: httpx.AsyncClient) -> None:
    for name in ("openid-configuration", "oauth-authorization-server"):
        document = (await http.get(f"{server.issuer}/.well-known/{name}")).json()
        assert document["authorization_response_iss_parameter_supported"] is True
        assert document["issuer"] == server.issuer
