"""The plan for FAPI 2.0 Message Signing: what it has beyond the one for the security profile.

``fapi2-security-profile-final-`` is left out of the names of modules.
"""

import time
from typing import Any

import pytest

from idp.accounts.tables import User
from idp.keys import jose
from idp.keys.key_set import key_set
from tests.conformance.conftest import VARIANTS, MakeFapi
from tests.conformance.test_fapi2 import NO_PROOF, WRONG, bound, redirect
from tests.support import tokens
from tests.support.assertions import ClientKeys
from tests.support.browser import Browser, as_page
from tests.support.conformance import ERROR_PARAMETERS, check_id_token, check_json_error
from tests.support.fapi import FapiClient
from tests.support.oauth import PASSWORD
from tests.support.request_objects import jwks, request_object

pytestmark = pytest.mark.usefixtures("accepts_certificates")


@pytest.fixture
async def signing(make_fapi: MakeFapi) -> FapiClient:
    """A client whose keys fit RS256 too."""
    keys = ClientKeys()
    return await make_fapi(
        signs="PS256", keys=keys, jwks={"keys": keys.jwks()["keys"] + jwks("PS256", "RS256")["keys"]}
    )


@pytest.mark.parametrize(
    ("variant", "alg"), [*((variant, "PS256") for variant in VARIANTS), (VARIANTS[0], "ES256"), (VARIANTS[0], "EdDSA")]
)
async def test_happy_flow(make_fapi: MakeFapi, fapi_browser: Browser, person: User, variant: str, alg: str) -> None:
    """happy-flow, with a signed request and a signed response."""
    client = await make_fapi(variant, signs=alg)
    answer = redirect(await client.finish(fapi_browser, await client.authorize(fapi_browser), person.email))
    assert answer.parameters.keys() == {"code", "state", "iss", "session_state"}
    assert (answer.parameters["state"], answer.parameters["iss"]) == ("the-state", client.issuer)
    found = bound(await client.redeem(answer.parameters["code"]))
    check_id_token(found["id_token"], issuer=client.issuer, client_id=client.client_id, nonce="the-nonce")
    assert (await client.userinfo(found["access_token"])).status_code == 200
    assert bound(await client.refresh(found["refresh_token"]))["refresh_token"] == found["refresh_token"]


async def test_the_user_refuses(signing: FapiClient, fapi_browser: Browser) -> None:
    """user-rejects-authentication: the refusal is signed too."""
    page = as_page(await signing.authorize(fapi_browser))
    answer = redirect(await signing.read(await fapi_browser.submit(page, "login-cancel"))).parameters
    assert (answer["error"], answer["state"], answer["iss"]) == ("access_denied", "the-state", signing.issuer)
    assert answer.keys() <= ERROR_PARAMETERS


async def test_the_response_is_signed(signing: FapiClient, fapi_browser: Browser, person: User) -> None:
    """By the algorithm of the client, in each mode that is a JWT; another mode cannot be pushed."""
    for mode in (None, "query", "fragment", "form_post"):
        check_json_error(await signing.post("/par", **signing.pushed(response_mode=mode)), 400, "invalid_request")
    for mode in ("jwt", "query.jwt"):
        request_uri = await signing.push(response_mode=mode)
        answer = await fapi_browser.get("/authorize", client_id=signing.client_id, request_uri=request_uri)
        if mode == "jwt":
            answer = await fapi_browser.sign_in(as_page(answer), person.email, PASSWORD)
        response = redirect(answer).parameters["response"]
        assert tokens.decode(response.split(".")[0])["alg"] == "ES256"


async def test_objects_that_are_accepted(signing: FapiClient, fapi_browser: Browser, person: User) -> None:
    """ensure-request-object-with-multiple-aud-succeeds,
    ensure-request-object-with-nbf-8-seconds-in-the-future-is-accepted. Values outside do not count:
    ensure-different-state-inside-and-outside-request-object, ensure-different-nonce-inside-and-outside-request-object,
    state-only-outside-request-object-not-used
    """
    now = int(time.time())
    for changes in ({"aud": ["https://other.example", signing.issuer]}, {"nbf": now + 8}, {"state": None}):
        outside = {"state": "outside", "nonce": "outside"}
        response = await signing.post("/par", **outside, request=request_object(signing, "PS256", **changes))
        assert response.status_code == 201, response.text
        answer = await signing.open(fapi_browser, response.json()["request_uri"], **outside)
        parameters = redirect(await signing.finish(fapi_browser, answer, person.email)).parameters
        assert parameters.get("state") == (None if "state" in changes else "the-state")
        found = bound(await signing.redeem(parameters["code"]))
        assert tokens.claims_of(found["id_token"])["nonce"] == "the-nonce"


async def test_objects_that_are_refused(signing: FapiClient, make_fapi: MakeFapi) -> None:
    """ensure-request-object-without-exp-fails, ensure-request-object-without-nbf-fails,
    ensure-expired-request-object-fails, ensure-request-object-with-bad-aud-fails,
    ensure-request-object-with-exp-over-60-fails, ensure-request-object-with-nbf-over-60-fails,
    ensure-signed-request-object-with-RS256-fails, ensure-request-object-signature-algorithm-is-not-none,
    ensure-request-object-with-invalid-signature-fails, ensure-matching-key-in-authorization-request,
    par-authorization-request-containing-request_uri
    """
    now, other = int(time.time()), await make_fapi(signs="ES256")

    async def refused(token: str, error: str = "invalid_request_object") -> None:
        check_json_error(await signing.post("/par", request=token), 400, error)

    changes: list[dict[str, Any]] = [
        {"exp": None},
        {"nbf": None},
        {"aud": None},
        {"iat": now - 400, "nbf": now - 400, "exp": now - 300},
        {"aud": "https://other.example"},
        {"exp": now + 70 * 60},
        {"nbf": now - 70 * 60},
        {"request_uri": "urn:ietf:params:oauth:request_uri:x"},
    ]
    for each in changes:
        await refused(request_object(signing, "PS256", **each))
    good = request_object(signing, "PS256")
    header, claims, signature = good.split(".")
    await refused(f"{header}.{claims}.{signature[:-8]}AAAAAAAA")
    await refused(f"{tokens.encode({'alg': 'none', 'typ': 'oauth-authz-req+jwt'})}.{claims}.")
    await refused(request_object(signing, "RS256"))
    await refused(request_object(other, "ES256", client_id=signing.client_id, iss=signing.client_id))
    for wrong, error in WRONG:
        await refused(request_object(signing, "PS256", **wrong), error)
    assert (await signing.post("/par", request=good)).status_code == 201


async def test_unsigned_requests(signing: FapiClient, fapi_browser: Browser) -> None:
    """ensure-unsigned-request-at-par-endpoint-fails, ensure-unsigned-authorization-request-without-using-par-fails, and
    a signed one that was not pushed.
    """
    check_json_error(await signing.post("/par", **signing.parameters()), 400, "invalid_request")
    for form in (signing.parameters(), signing.parameters() | signing.pushed()):
        answer = redirect(await signing.read(await fapi_browser.get("/authorize", **form)))
        assert (answer.parameters["error"], answer.parameters["state"]) == ("invalid_request", "the-state")


async def test_introspection_is_signed(signing: FapiClient, fapi_browser: Browser, person: User) -> None:
    """FAPI 2.0 Message Signing section 5.5: whatever the client accepts (RFC 9701)."""
    token = bound(await signing.redeem(await signing.sign_in(fapi_browser, person.email)))["access_token"]
    await key_set.load()
    for name, accept in ((token, "application/json"), ("unknown", "*/*")):
        response = await signing.post("/introspect", {"Accept": accept}, token=name)
        assert response.headers["content-type"] == "application/token-introspection+jwt"
        found = jose.verify(response.text, key_set.verification(), typ="token-introspection+jwt")
        assert (found["iss"], found["aud"]) == (signing.issuer, signing.client_id)
        assert found["token_introspection"]["active"] == (name == token)
        assert tokens.decode(response.text.split(".")[0])["alg"] == "ES256"
    assert (await signing.post("/introspect", NO_PROOF)).json()["error"] == "invalid_request"
