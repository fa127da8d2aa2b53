"""Authorization responses as JWTs (JARM): one parameter in every mode, for codes and for refusals."""

import asyncio
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from joserfc import jwe
from joserfc.jwk import ECKey

from idp import clock
from idp.accounts.tables import User
from idp.keys import jose
from idp.keys.key_set import key_set
from idp.oauth.authorize.response_modes import RESPONSE_MODES, effective
from idp.oauth.clients import repository
from idp.oauth.clients.registration import change
from tests.conftest import MakeClient
from tests.support.browser import Browser, Page, Redirect
from tests.support.oauth import PASSWORD, RelyingParty
from tests.support.tokens import decode

KEY = ECKey.generate_key("P-256", {"use": "enc"})
JWT_MODES = [mode for mode in RESPONSE_MODES if mode.endswith("jwt")]
MODES = pytest.mark.parametrize("mode", JWT_MODES)


def response_of(answer: Page | Redirect, mode: str) -> str:
    """Return the JWT, which must be the only parameter, and in its place."""
    if isinstance(answer, Page):
        assert mode == "form_post.jwt"
        (form,) = answer.forms
        assert set(form.fields) == {"response"}
        return form.fields["response"]
    parts = urlsplit(answer.location)
    there, elsewhere = (parts.fragment, parts.query) if mode == "fragment.jwt" else (parts.query, parts.fragment)
    assert mode != "form_post.jwt"
    assert elsewhere == ""
    ((name, token),) = parse_qsl(there, strict_parsing=True)
    assert name == "response"
    return token


async def _claims(answer: Page | Redirect, mode: str, party: RelyingParty, alg: str = "RS256") -> dict[str, Any]:
    token = response_of(answer, mode)
    assert decode(token.split(".")[0])["alg"] == alg
    await key_set.load()
    claims = jose.verify(token, key_set.verification(), typ="JWT")
    jose.check_times(claims)
    assert (claims.pop("iss"), claims.pop("aud")) == (party.issuer, party.client_id)
    assert clock.timestamp() < claims.pop("exp") <= clock.timestamp() + 600
    claims.pop("session_state", None)
    return claims


@MODES
async def test_a_code(browser: Browser, client: RelyingParty, alice: User, mode: str) -> None:
    """Section 2.1: after sign-in and consent, and at once."""
    page = await client.authorize(browser, response_mode=mode)
    assert isinstance(page, Page)
    consent = await browser.sign_in(page, alice.email, PASSWORD)
    assert isinstance(consent, Page)
    first = await browser.submit(consent, "consent-allow")
    second = await client.authorize(browser, response_mode=mode, state=None)
    claims = await _claims(first, mode, client)
    assert set(claims) == {"code", "state"}
    assert claims["state"] == "the-state"
    assert (await client.redeem(claims["code"])).status_code == 200
    assert set(await _claims(second, mode, client)) == {"code"}


FAULTS: dict[str, dict[str, str | None]] = {
    "invalid_request": {"code_challenge": None},
    "invalid_scope": {"scope": "none-such"},
    "invalid_target": {"resource": "https://unknown.example.com"},
    "login_required": {"prompt": "none"},
    "invalid_request_object": {"request": "e30.e30."},
}


@MODES
@pytest.mark.parametrize("error", FAULTS)
async def test_a_refusal(browser: Browser, client: RelyingParty, mode: str, error: str) -> None:
    """Section 2.1: error responses are JWTs too."""
    claims = await _claims(await client.authorize(browser, response_mode=mode, **FAULTS[error]), mode, client)
    assert set(claims) == {"error", "error_description", "state"}
    assert (claims["error"], claims["state"]) == (error, "the-state")


@MODES
async def test_a_refusal_of_the_user(browser: Browser, client: RelyingParty, mode: str) -> None:
    page = await client.authorize(browser, response_mode=mode)
    assert isinstance(page, Page)
    claims = await _claims(await browser.submit(page, "login-cancel"), mode, client)
    assert claims["error"] == "access_denied"


async def test_a_pushed_request(browser: Browser, client: RelyingParty, alice: User) -> None:
    await client.sign_in(browser, alice.email)
    pushed = await client.post("/par", **client.parameters(response_mode="fragment.jwt"))
    answer = await browser.get("/authorize", client_id=client.client_id, request_uri=pushed.json()["request_uri"])
    assert "code" in await _claims(answer, "fragment.jwt", client)


@pytest.mark.parametrize("alg", ["ES256", "PS256", "EdDSA"])
async def test_the_algorithm_of_the_client(browser: Browser, make_client: MakeClient, alg: str) -> None:
    party = await make_client(authorization_signed_response_alg=alg)
    answer = await party.authorize(browser, response_mode="jwt", prompt="none")
    assert (await _claims(answer, "jwt", party, alg))["error"] == "login_required"


async def _encrypting(make_client: MakeClient) -> RelyingParty:
    return await make_client(
        jwks={"keys": [dict(KEY.as_dict(private=False))]},
        authorization_encrypted_response_alg="ECDH-ES",
        authorization_encrypted_response_enc="A256GCM",
        skip_consent=True,
    )


@MODES
async def test_encrypted(browser: Browser, make_client: MakeClient, alice: User, mode: str) -> None:
    """Section 2.2: signed, then encrypted."""
    party = await _encrypting(make_client)
    await party.sign_in(browser, alice.email)
    token = response_of(await party.authorize(browser, response_mode=mode), mode)
    found = jwe.decrypt_compact(token, KEY, algorithms=["ECDH-ES", "A256GCM"])
    await key_set.load()
    claims = jose.verify((found.plaintext or b"").decode(), key_set.verification(), typ="JWT")
    assert (claims["aud"], claims["state"]) == (party.client_id, "the-state")
    assert (await party.redeem(claims["code"])).status_code == 200


async def test_without_a_usable_key_there_is_a_page(browser: Browser, make_client: MakeClient, alice: User) -> None:
    """Neither the code nor a refusal is sent in a form that others can read. The key went away after registration."""
    party = await _encrypting(make_client)
    await party.sign_in(browser, alice.email)
    async with change():
        assert await repository.update_metadata(party.client_id, {"jwks": {"keys": []}})
    async with asyncio.timeout(30):
        while isinstance(answer := await party.authorize(browser, response_mode="jwt"), Redirect):
            await asyncio.sleep(0.02)
    for page in (answer, await party.authorize(browser, response_mode="form_post.jwt", scope="none-such")):
        assert isinstance(page, Page)
        assert page.status == 400
        assert "oidc-error" in page.ids
        assert "has no key for it" in page.text
        assert not page.forms


@pytest.mark.parametrize(
    "mode",
    ["JWT", "query.JWT", "query.jwt.jwt", ".jwt", "query.", "jwt.jwt", "web_message.jwt", "jwt query", "query.jwt "],
)
async def test_other_modes(browser: Browser, client: RelyingParty, mode: str) -> None:
    answer = await client.authorize(browser, response_mode=mode)
    assert isinstance(answer, Redirect)
    assert answer.parameters["error"] == "invalid_request"


@pytest.mark.parametrize(
    ("response_type", "asked", "mode"),
    [
        ("code", None, "query"),
        ("code", "jwt", "query.jwt"),
        ("code", "fragment.jwt", "fragment.jwt"),
        ("code", "none-such", "query"),
        ("", "form_post", "form_post"),
        ("none", None, "query"),
        ("id_token", None, "fragment"),
        ("id_token", "jwt", "fragment.jwt"),
        # A refusal: what the request asks for is not allowed.
        ("id_token", "query", "fragment"),
        ("code token", "query.jwt", "fragment.jwt"),
        ("token", "none-such", "fragment"),
        ("code id_token", "form_post.jwt", "form_post.jwt"),
    ],
)
def test_which_mode_a_response_has(response_type: str, asked: str | None, mode: str) -> None:
    assert effective(response_type, asked) == mode
