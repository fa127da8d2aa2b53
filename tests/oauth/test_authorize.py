"""Unusual requests of real clients to the authorization endpoint, and the consent page."""

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from pydantic import SecretStr

from idp import settings as settings_module
from idp.accounts.tables import User
from idp.errors import InvalidRequestError
from idp.oauth.authorize import checks
from idp.oauth.authorize.checks import prompt_is_consistent
from idp.oauth.clients.models import Client
from tests.conftest import MakeClient
from tests.support.browser import Browser, Redirect, as_page
from tests.support.mailbox import Mailbox
from tests.support.oauth import PASSWORD, RelyingParty
from tests.support.tokens import claims_of

pytestmark = pytest.mark.fault(29)

NATIVE = {"application_type": "native", "token_endpoint_auth_method": "none"}


async def test_the_fragment(browser: Browser, client: RelyingParty, alice: User) -> None:
    """OAuth 2.0 Multiple Response Types section 2.1; the code and errors alike."""
    await client.sign_in(browser, alice.email)
    answer = await client.authorize(browser, response_mode="fragment")
    assert isinstance(answer, Redirect)
    base, _, fragment = answer.location.partition("#")
    assert base == client.redirect_uri
    parameters = {name: value for name, (value,) in parse_qs(fragment).items()}
    assert parameters.keys() == {"code", "state", "iss", "session_state"}
    assert (await client.redeem(parameters["code"])).status_code == 200
    refused = await client.authorize(browser, response_mode="fragment", scope="nothing")
    assert isinstance(refused, Redirect)
    assert urlsplit(refused.location).query == ""
    assert "error=invalid_scope" in refused.location.partition("#")[2]


# Registration first


async def test_a_new_account_first(browser: Browser, client: RelyingParty, mailbox: Mailbox) -> None:
    """Initiating User Registration via OpenID Connect 1.0"""
    email = f"{client.client_id}@example.com"
    page = as_page(await client.authorize(browser, prompt="create", login_hint=email))
    assert page.path.endswith("/registration")
    assert email in page.text
    page = as_page(await browser.submit(page, "register-submit", username=email, name="New", password=PASSWORD))
    page = as_page(await browser.submit(page, "code-submit", code=(await mailbox.next(email)).code))
    answer = await browser.submit(page, "consent-allow")
    assert isinstance(answer, Redirect)
    tokens = (await client.redeem(answer.parameters["code"])).json()
    assert (await client.userinfo(tokens["access_token"])).json()["email"] == email


async def test_a_signed_in_user_can_create_another_account(browser: Browser, client: RelyingParty, alice: User) -> None:
    await client.sign_in(browser, alice.email)
    page = as_page(await client.authorize(browser, prompt="create"))
    assert page.path.endswith("/registration")
    # Signing in instead satisfies the request.
    page = as_page(await browser.get(page.path.removesuffix("/registration")))
    answer = await browser.sign_in(page, alice.email, PASSWORD)
    assert isinstance(answer, Redirect)
    assert "code" in answer.parameters


@pytest.mark.parametrize("registration", ["invitation", "closed"])
def test_no_new_account_where_registration_is_closed(registration: str, monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client(client_id="c", client_name="C")
    smtp = SecretStr("smtp://127.0.0.1:25")
    monkeypatch.setattr(checks, "settings", lambda: settings_module.load(smtp_url=smtp))
    prompt_is_consistent({"prompt": "create"}, client)
    closed = settings_module.load(smtp_url=smtp, registration=registration)
    monkeypatch.setattr(checks, "settings", lambda: closed)
    assert "create" not in checks.prompts()
    with pytest.raises(InvalidRequestError, match="cannot register themselves"):
        prompt_is_consistent({"prompt": "create"}, client)


def test_no_new_account_where_no_mail_is_sent() -> None:
    """A mail proves the address."""
    assert "create" not in checks.prompts()


@pytest.mark.parametrize("pushed", [False, True])
@pytest.mark.parametrize("prompt", ["create login", "create none", "select_account create"])
async def test_create_stands_alone(browser: Browser, client: RelyingParty, prompt: str, *, pushed: bool) -> None:
    """Initiating User Registration via OpenID Connect 1.0, section 4.1"""
    if pushed:
        refused = await client.post("/par", **client.parameters(prompt=prompt))
        assert refused.status_code == 400
        assert refused.json()["error"] == "invalid_request"
        return
    answer = await client.authorize(browser, prompt=prompt)
    assert isinstance(answer, Redirect)
    assert answer.parameters["error"] == "invalid_request"


# Claims of scopes in the ID token


@pytest.mark.fault(36)
async def test_claims_of_scopes_in_the_id_token(browser: Browser, make_client: MakeClient, alice: User) -> None:
    """At the code and at a refresh; of the scopes of this very token; never in place of a claim of the protocol."""
    client = await make_client(scope="openid profile email phone", scope_claims_in_id_token=True)
    tokens = await client.tokens(browser, alice.email, scope="openid profile email")
    said = claims_of(tokens["id_token"])
    assert (said["name"], said["email"], said["email_verified"]) == (alice.name, alice.email, False)
    assert said["sub"] == str(alice.id)
    assert "phone_number" not in said
    refreshed = (await client.refresh(tokens["refresh_token"])).json()
    assert claims_of(refreshed["id_token"])["name"] == alice.name
    narrow = (await client.refresh(refreshed["refresh_token"], scope="openid email")).json()
    said = claims_of(narrow["id_token"])
    assert said["email"] == alice.email
    assert "name" not in said


async def test_the_id_token_is_lean_by_default(browser: Browser, client: RelyingParty, alice: User) -> None:
    tokens = await client.tokens(browser, alice.email)
    for answer in (tokens, (await client.refresh(tokens["refresh_token"])).json()):
        assert not {"name", "email"} & claims_of(answer["id_token"]).keys()


# Native apps


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("app.immich:///oauth-callback", "addresses that begin with app.immich:."),
        ("cursor://anysphere.cursor-retrieval/cb", "begin with cursor://anysphere.cursor-retrieval."),
        ("http://localhost:51123/cb", "a program on this device"),
        ("http://127.0.0.1/cb", "a program on this device"),
        ("https://app.example.com/cb", "You then return to app.example.com."),
    ],
)
async def test_the_consent_page_says_where_the_browser_goes(
    uri: str, words: str, browser: Browser, make_client: MakeClient, alice: User
) -> None:
    client = await make_client(redirect_uris=[uri], **NATIVE)
    page = as_page(await browser.sign_in(as_page(await client.authorize(browser)), alice.email, PASSWORD))
    assert "consent-destination" in page.ids
    assert words in page.text
    answer = await browser.submit(page, "consent-allow")
    assert isinstance(answer, Redirect)
    assert answer.location.startswith(f"{uri}?code=")
    assert (await client.redeem(answer.parameters["code"])).status_code == 200


async def test_after_signing_out_on_any_port(browser: Browser, make_client: MakeClient, alice: User) -> None:
    """A native app may use any port on the loopback interface. A web client may not."""
    uris: dict[str, Any] = {
        "redirect_uris": ["http://localhost/cb"],
        "post_logout_redirect_uris": ["http://localhost/bye"],
    }
    for metadata, known in ((NATIVE, True), ({}, False)):
        client = await make_client(**uris, **metadata)
        tokens = await client.tokens(browser, alice.email)
        answer = await browser.get(
            "/logout", id_token_hint=tokens["id_token"], post_logout_redirect_uri="http://localhost:50123/bye"
        )
        assert isinstance(answer, Redirect) == known, json.dumps(metadata)


async def test_a_request_without_client_id(browser: Browser, client: RelyingParty) -> None:
    """The page tells it from a client that is not registered."""
    missing = as_page(await client.authorize(browser, client_id=None))
    assert "The application did not say which one it is." in missing.text
    unknown = as_page(await client.authorize(browser, client_id="unknown"))
    assert "The application is not registered here, or was disabled." in unknown.text


async def test_a_wrong_redirect_uri_in_production(browser: Browser, client: RelyingParty) -> None:
    """What is registered is told in development mode only."""
    page = as_page(await client.authorize(browser, redirect_uri="https://evil.example/"))
    assert client.redirect_uri not in page.text
    assert "evil.example" not in page.text
