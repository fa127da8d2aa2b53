"""The Dynamic OP plan of the OpenID Foundation: what its modules register, and what they expect then."""

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from idp.accounts.tables import User
from idp.infra.db.engine import execute
from idp.oauth.clients.dynamic import initial_tokens
from idp.oauth.clients.dynamic.ceiling import Ceiling
from tests.oauth.clients.dynamic.conftest import Registrar, registrar
from tests.support.assertions import ASSERTION_TYPE, ClientKeys, KeyHost, claims
from tests.support.browser import Browser, Page, Redirect, as_page
from tests.support.conformance import check_json_error
from tests.support.elsewhere import Serve, answer, serving
from tests.support.oauth import PASSWORD, RelyingParty

__all__ = ["registrar"]

CALLBACK = "https://suite.example/test/a/idp/callback"
WITHOUT_PKCE = {"code_challenge": None, "code_challenge_method": None}


class Suite:
    """Registers clients as the suite does: with a name, contacts and one key that has no ``kid``."""

    def __init__(self, registrar: Registrar, http: httpx.AsyncClient, token: str) -> None:
        self.registrar, self.http, self.token = registrar, http, token
        self.keys = ClientKeys("RS256")

    async def post(self, **changes: Any) -> httpx.Response:
        body = {
            "client_name": "Conformance suite", "contacts": ["certification@oidf.org"], "redirect_uris": [CALLBACK],
            "jwks": self.keys.jwks("kid", "alg"), "grant_types": ["authorization_code"], "response_types": ["code"],
            "token_endpoint_auth_method": "client_secret_basic",
        } | changes  # fmt: skip
        return await self.registrar.post(
            self.token, **{name: value for name, value in body.items() if value is not None}
        )

    async def register(self, **changes: Any) -> tuple[RelyingParty, dict[str, Any]]:
        response = await self.post(**changes)
        assert response.status_code == 201, response.text
        assert response.headers["content-type"] == "application/json"
        body: dict[str, Any] = response.json()
        assert ("client_secret" in body) == ("client_secret_expires_at" in body)
        assert body["registration_client_uri"].startswith(self.registrar.issuer)
        assert body["registration_access_token"]
        party = RelyingParty(self.registrar.issuer, self.http, body["client_id"], body.get("client_secret"))
        party.redirect_uri = body["redirect_uris"][0]
        return party, body

    async def code(self, party: RelyingParty, browser: Browser, person: User, **changes: Any) -> str:
        return await party.sign_in(browser, person.email, **(WITHOUT_PKCE | changes))


@pytest.fixture
async def suite(registrar: Registrar, http: httpx.AsyncClient) -> AsyncIterator[Suite]:
    _, token = await initial_tokens.create("Certification", Ceiling(require_pkce=False), uses=50)
    yield Suite(registrar, http, token)
    await execute("DELETE FROM initial_access_token")


def header_of(token: str) -> dict[str, Any]:
    return json.loads(base64.urlsafe_b64decode(token.split(".", maxsplit=1)[0] + "=="))


async def test_idtoken_rs256(suite: Suite, browser: Browser, person: User) -> None:
    """oidcc-idtoken-signature, oidcc-idtoken-rs256; and the clean-up of every module."""
    party, body = await suite.register(id_token_signed_response_alg="RS256")
    tokens = (await party.redeem(await suite.code(party, browser, person), code_verifier=None)).json()
    header = header_of(tokens["id_token"])
    assert header["alg"] == "RS256"
    assert header["kid"]
    assert (await suite.registrar.call("DELETE", body)).status_code == 204
    assert (await party.refresh("x")).status_code == 401


async def test_userinfo_rs256(suite: Suite, browser: Browser, person: User) -> None:
    """oidcc-userinfo-rs256."""
    document = (await suite.http.get(f"{suite.registrar.issuer}/.well-known/openid-configuration")).json()
    assert "RS256" in document["userinfo_signing_alg_values_supported"]
    party, _ = await suite.register(userinfo_signed_response_alg="RS256")
    tokens = (await party.redeem(await suite.code(party, browser, person), code_verifier=None)).json()
    response = await party.userinfo(tokens["access_token"])
    assert response.headers["content-type"] == "application/jwt"
    payload = json.loads(base64.urlsafe_b64decode(response.text.split(".")[1] + "=="))
    assert header_of(response.text)["alg"] == "RS256"
    assert (payload["iss"], payload["aud"]) == (suite.registrar.issuer, party.client_id)
    assert "nonce" not in payload


async def test_no_redirect_uri_in_the_request(suite: Suite, browser: Browser) -> None:
    """oidcc-ensure-redirect-uri-in-authorization-request."""
    party, _ = await suite.register(redirect_uris=[CALLBACK, f"{CALLBACK}2"])
    page = as_page(await party.authorize(browser, redirect_uri=None, **WITHOUT_PKCE))
    assert page.status == 400


async def test_the_query_of_a_redirect_uri(suite: Suite, browser: Browser, person: User) -> None:
    """oidcc-redirect-uri-query-OK, -mismatch, -added."""
    party, _ = await suite.register(redirect_uris=[f"{CALLBACK}?dummy1=lorem&dummy2=ipsum"])
    for uri in (f"{CALLBACK}?dummy1=lorem&dummy2=ipsum2", CALLBACK, f"{CALLBACK}?dummy2=ipsum&dummy1=lorem"):
        assert as_page(await party.authorize(browser, redirect_uri=uri, **WITHOUT_PKCE)).status == 400
    login = as_page(await party.authorize(browser, **WITHOUT_PKCE))
    page = as_page(await browser.sign_in(login, person.email, PASSWORD))
    answered = await browser.submit(page, "consent-allow")
    assert isinstance(answered, Redirect)
    assert (answered.parameters["dummy1"], answered.parameters["dummy2"]) == ("lorem", "ipsum")
    plain, _ = await suite.register()
    assert as_page(await plain.authorize(browser, redirect_uri=f"{CALLBACK}?foo=bar", **WITHOUT_PKCE)).status == 400


async def test_a_fragment_in_a_redirect_uri(suite: Suite) -> None:
    """oidcc-redirect-uri-regfrag."""
    check_json_error(await suite.post(redirect_uris=[f"{CALLBACK}#foobar"]), 400, "invalid_redirect_uri")


@pytest.mark.parametrize("audience", ["token_endpoint", "issuer"])
async def test_private_key_jwt(suite: Suite, browser: Browser, person: User, audience: str) -> None:
    """oidcc-server with private_key_jwt, oidcc-ensure-client-assertion-with-iss-aud-succeeds."""
    party, body = await suite.register(token_endpoint_auth_method="private_key_jwt")
    assert "client_secret" not in body
    code = await suite.code(party, browser, person)
    document = (await suite.http.get(f"{party.issuer}/.well-known/openid-configuration")).json()
    assertion = suite.keys.sign(claims(party.client_id, aud=document[audience]), kid=None, typ=None)
    response = await party.redeem(
        code, code_verifier=None, client_assertion_type=ASSERTION_TYPE, client_assertion=assertion
    )
    assert response.status_code == 200, response.text


async def test_links_on_the_login_page(suite: Suite, browser: Browser) -> None:
    """oidcc-registration-logo-uri, -policy-uri, -tos-uri."""
    links = {
        "logo_uri": "https://suite.example/images/openid.png", "policy_uri": "https://suite.example/login.html?policy",
        "tos_uri": "https://suite.example/login.html?tos", "client_uri": "https://suite.example/",
    }  # fmt: skip
    party, body = await suite.register(**links)
    assert {name: body[name] for name in links} == links
    page = await party.authorize(browser, **WITHOUT_PKCE)
    assert isinstance(page, Page)
    for link in (links["logo_uri"], links["policy_uri"], links["tos_uri"]):
        assert link in page.text


async def test_keys_at_a_uri(suite: Suite, browser: Browser, person: User) -> None:
    """oidcc-registration-jwks-uri."""
    host = KeyHost(suite.keys)
    try:
        changes = {"jwks": None, "jwks_uri": host.jwks_uri, "token_endpoint_auth_method": "private_key_jwt"}
        party, _ = await suite.register(**changes)
        assertion = suite.keys.sign(claims(party.client_id, aud=party.issuer))
        code = await suite.code(party, browser, person)
        response = await party.redeem(
            code, code_verifier=None, client_assertion_type=ASSERTION_TYPE, client_assertion=assertion
        )
        assert response.status_code == 200, response.text
    finally:
        host.stop()


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    async with serving() as start:
        yield start


@pytest.mark.parametrize("listed", [True, False])
async def test_sectors(suite: Suite, serve: Serve, listed: bool) -> None:
    """oidcc-registration-sector-uri, oidcc-registration-sector-bad."""
    port = await serve(answer(json.dumps([CALLBACK if listed else "https://else.example/cb"]).encode()))
    response = await suite.post(subject_type="pairwise", sector_identifier_uri=f"http://127.0.0.1:{port}/sector.json")
    if listed:
        assert response.status_code == 201, response.text
    else:
        check_json_error(response, 400, "invalid_client_metadata")


async def test_a_registered_request_uri(suite: Suite) -> None:
    """oidcc-request-uri-signed-rs256: the fragment is a hash that does not match."""
    uri = "https://suite.example/test/a/idp/requesturi.jwt#iEyPt2gYoTMHU2JL6nNrAZvzkTSKYDZcYY0KtTnFBcg"
    party, body = await suite.register(request_uris=[uri], request_object_signing_alg="RS256")
    assert body["request_uris"] == [uri]
    assert party.client_secret


async def test_a_refresh_token(suite: Suite, browser: Browser, person: User) -> None:
    """oidcc-refresh-token: registered with the grant, and offline_access by a default scope."""
    party, body = await suite.register(grant_types=["authorization_code", "refresh_token"])
    assert "offline_access" in body["scope"].split()
    code = await suite.code(party, browser, person, scope="openid offline_access", prompt="consent")
    tokens = (await party.redeem(code, code_verifier=None)).json()
    assert (await party.refresh(tokens["refresh_token"])).status_code == 200
