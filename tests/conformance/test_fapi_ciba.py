"""FAPI-CIBA: the checks of the plan ``fapi-ciba-id1-test-plan``, for poll with private_key_jwt and with mutual TLS.

A test names its modules in the docstring, without ``fapi-ciba-id1-``.
"""

import secrets
from typing import Any

import httpx
import pytest

from idp import clock
from idp.accounts.tables import User
from idp.errors import OAuthError
from idp.infra.db.engine import execute, fetchrow
from idp.keys import jose
from idp.keys.key_set import key_set
from tests.conformance.conftest import MakeFapi
from tests.support.assertions import ClientKeys
from tests.support.browser import Browser
from tests.support.ciba import GRANT, decide
from tests.support.conformance import check_json_error
from tests.support.fapi import FapiClient
from tests.support.server import Server

pytestmark = pytest.mark.usefixtures("accepts_certificates")

PATH = "/backchannel-authentication"


#: The metadata of a client with the profile.
PROFILE: dict[str, Any] = {
    "profile": "fapi-ciba",
    "grant_types": [GRANT],
    "redirect_uris": [],
    "scope": "openid email",
    "skip_consent": False,
    "backchannel_authentication_request_signing_alg": "ES256",
}


@pytest.fixture
async def bank(make_fapi: MakeFapi) -> FapiClient:
    return await make_fapi(**PROFILE)


@pytest.fixture
async def other(make_fapi: MakeFapi) -> FapiClient:
    return await make_fapi(**PROFILE)


def signed(bank: FapiClient, user: User, keys: ClientKeys | None = None, **changes: Any) -> str:
    """Return a signed request. A change to None omits a claim; ``header`` changes the header."""
    now, header = clock.timestamp(), changes.pop("header", {})
    claims = {
        "iss": bank.client_id,
        "aud": bank.issuer,
        "iat": now,
        "nbf": now,
        "exp": now + 300,
        "jti": secrets.token_urlsafe(16),
        "scope": "openid email",
        "login_hint": user.email,
        "binding_message": "1234",
    } | changes
    found = {name: value for name, value in claims.items() if value is not None}
    return (keys or bank.keys).sign(found, **header)


async def ask(bank: FapiClient, user: User, **changes: Any) -> httpx.Response:
    return await bank.post(PATH, request=signed(bank, user, **changes))


async def poll(bank: FapiClient, auth_req_id: str, headers: dict[str, str] | None = None) -> httpx.Response:
    return await bank.post("/token", headers, grant_type=GRANT, auth_req_id=auth_req_id)


async def path_of(user: User) -> str:
    row = await fetchrow("SELECT id FROM backchannel_request WHERE user_id = $1 ORDER BY id DESC LIMIT 1", user.id)
    assert row is not None
    return f"/account/requests/{row['id']}"


@pytest.mark.parametrize("variant", ["private_key_jwt mtls", "mtls mtls", "private_key_jwt dpop"])
async def test_a_user_allows(make_fapi: MakeFapi, alice: User, fapi_browser: Browser, variant: str) -> None:
    """fapi-ciba-id1, ensure-authorization-request-with-binding-message-succeeds, ensure-other-scope-order-succeeds"""
    bank = await make_fapi(variant, **PROFILE)
    response = await ask(bank, alice, scope="email openid")
    assert response.status_code == 200, response.text
    answer = response.json()
    assert len(answer["auth_req_id"]) >= 43
    assert set(answer["auth_req_id"]) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._")
    check_json_error(await poll(bank, answer["auth_req_id"]), 400, "authorization_pending")
    await decide(fapi_browser, await path_of(alice), alice.email)
    tokens = (await poll(bank, answer["auth_req_id"])).json()
    await key_set.load()
    claims = jose.verify(tokens["id_token"], key_set.verification(), typ="JWT")
    assert claims["at_hash"] == jose.left_half_hash(tokens["access_token"], "ES256")
    bound = jose.unverified_claims(tokens["access_token"])["cnf"]
    assert bound.keys() == ({"jkt"} if variant.endswith("dpop") else {"x5t#S256"})


async def test_a_user_rejects(bank: FapiClient, alice: User, fapi_browser: Browser) -> None:
    """user-rejects-authentication"""
    auth_req_id = (await ask(bank, alice)).json()["auth_req_id"]
    await decide(fapi_browser, await path_of(alice), alice.email, "consent-deny")
    check_json_error(await poll(bank, auth_req_id), 400, "access_denied")


async def test_it_expires(bank: FapiClient, alice: User) -> None:
    """auth-req-id-expired, ensure-requested-expiry-as-string-succeeds"""
    for expiry in (30, "30"):
        answer = (await ask(bank, alice, requested_expiry=expiry)).json()
        assert answer["expires_in"] == 30
    await execute("UPDATE backchannel_request SET expires_at = now() WHERE user_id = $1", alice.id)
    check_json_error(await poll(bank, answer["auth_req_id"]), 400, "expired_token")


async def test_many_polls(bank: FapiClient, alice: User) -> None:
    """multiple-call-to-token-endpoint"""
    auth_req_id = (await ask(bank, alice)).json()["auth_req_id"]
    errors = [(await poll(bank, auth_req_id)).json()["error"] for _ in range(4)]
    assert errors == ["authorization_pending", "slow_down", "slow_down", "slow_down"]


MINUTE = 60


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"aud": None}, id="ensure-request-object-missing-aud-fails"),
        pytest.param({"aud": "https://other.example"}, id="ensure-request-object-bad-aud-fails"),
        pytest.param({"iss": None}, id="ensure-request-object-missing-iss-fails"),
        pytest.param({"iss": "someone"}, id="ensure-request-object-bad-iss-fails"),
        pytest.param({"exp": None}, id="ensure-request-object-missing-exp-fails"),
        pytest.param({"exp": -5 * MINUTE}, id="ensure-request-object-expired-exp-fails"),
        pytest.param({"exp": 70 * MINUTE}, id="ensure-request-object-exp-is-70-minutes-in-future-fails"),
        pytest.param({"iat": None}, id="ensure-request-object-missing-iat-fails"),
        pytest.param({"nbf": None}, id="ensure-request-object-missing-nbf-fails"),
        pytest.param({"nbf": 10 * MINUTE}, id="ensure-request-object-nbf-is-10-minutes-in-future-fails"),
        pytest.param({"nbf": -70 * MINUTE}, id="ensure-request-object-nbf-is-70-minutes-in-past-fails"),
        pytest.param({"jti": None}, id="ensure-request-object-missing-jti-fails"),
        pytest.param({"header": {"alg": "none"}}, id="ensure-request-object-signature-algorithm-is-none-fails"),
        pytest.param({"id_token_hint": "a.b.c"}, id="ensure-authorization-request-with-multiple-hints-fails"),
    ],
)
async def test_a_wrong_request_object(bank: FapiClient, alice: User, changes: dict[str, Any]) -> None:
    """A number is in seconds from now."""
    now = clock.timestamp()
    moved = {name: now + value if isinstance(value, int) else value for name, value in changes.items()}
    check_json_error(await ask(bank, alice, **moved), 400, "invalid_request")


async def test_without_a_request_object(bank: FapiClient, alice: User) -> None:
    """ensure-backchannel-authorization-request-without-request-fails"""
    response = await bank.post(PATH, scope="openid", login_hint=alice.email, binding_message="1234")
    check_json_error(response, 400, "invalid_request")


async def test_signatures(bank: FapiClient, other: FapiClient, alice: User) -> None:
    """ensure-request-object-signature-algorithm-is-bad-fails, ensure-request-object-signature-algorithm-is-rs256-fails,
    ensure-request-object-signed-by-other-client-fails
    """
    good = signed(bank, alice)
    head, payload, signature = good.split(".")
    bad = f"{head}.{payload}.{'A' if signature[0] != 'A' else 'B'}{signature[1:]}"
    for request in (bad, signed(bank, alice, ClientKeys("RS256")), signed(bank, alice, other.keys)):
        check_json_error(await bank.post(PATH, request=request), 400, "invalid_request")
    check_json_error(await other.post(PATH, request=good), 400, "invalid_request")


async def test_a_binding_message_is_required(bank: FapiClient, alice: User) -> None:
    """FAPI-CIBA section 5.2.2, and ensure-authorization-request-with-potentially-bad-binding-message"""
    for message in (None, "x" * 200):
        check_json_error(await ask(bank, alice, binding_message=message), 400, "invalid_binding_message")
    assert (await ask(bank, alice, binding_message="1234 \N{EURO SIGN}\N{LATIN SMALL LETTER E WITH ACUTE}")).is_success


async def test_client_authentication(bank: FapiClient, other: FapiClient, alice: User) -> None:
    """ensure-without-client-assertion-in-backchannel-authorization-request-fails,
    ensure-client-assertion-signature-algorithm-in-backchannel-authorization-request-is-RS256-fails,
    ensure-wrong-client-id-in-backchannel-authorization-request, ensure-without-client-assertion-in-token-endpoint-fails
    """
    request = signed(bank, alice)
    check_json_error(await bank.send(PATH, {"client_id": bank.client_id, "request": request}), 401, "invalid_client")
    right, bank.keys = bank.keys, ClientKeys("RS256")
    check_json_error(await bank.post(PATH, request=request), 401, "invalid_client")
    bank.keys = right
    response = await bank.post(PATH, client_id=other.client_id, request=request)
    assert response.status_code in (400, 401)
    auth_req_id = (await bank.post(PATH, request=request)).json()["auth_req_id"]
    form = {"client_id": bank.client_id, "grant_type": GRANT, "auth_req_id": auth_req_id}
    check_json_error(await bank.send("/token", form), 401, "invalid_client")


async def test_wrong_polls(bank: FapiClient, other: FapiClient, alice: User, fapi_browser: Browser) -> None:
    """ensure-wrong-authentication-request-id-in-token-endpoint-request,
    ensure-wrong-client-id-in-token-endpoint-request, ensure-mtls-holder-of-key-required
    """
    auth_req_id = (await ask(bank, alice)).json()["auth_req_id"]
    await decide(fapi_browser, await path_of(alice), alice.email)
    check_json_error(await poll(bank, f"{auth_req_id}x"), 400, "invalid_grant")
    check_json_error(await poll(other, auth_req_id), 400, "invalid_grant")
    check_json_error(await poll(bank, auth_req_id, {}), 400, "invalid_dpop_proof")
    assert (await poll(bank, auth_req_id)).status_code == 200


async def test_discovery(fapi_server: Server, http: httpx.AsyncClient) -> None:
    """discovery-end-point-verification"""
    document = (await http.get(f"{fapi_server.issuer}/.well-known/openid-configuration")).json()
    assert document["backchannel_authentication_endpoint"].startswith(fapi_server.issuer)
    assert {"poll", "ping"} == set(document["backchannel_token_delivery_modes_supported"])
    assert {"PS256", "ES256"} <= set(document["backchannel_authentication_request_signing_alg_values_supported"])
    assert document["backchannel_user_code_parameter_supported"] is False
    assert GRANT in document["grant_types_supported"]


@pytest.mark.parametrize(
    "changes",
    [
        {"token_endpoint_auth_method": "client_secret_basic"},
        {"backchannel_token_delivery_mode": "push"},
        {"backchannel_authentication_request_signing_alg": None},
        {"backchannel_authentication_request_signing_alg": "RS256"},
        {"dpop_bound_access_tokens": False},
        {"grant_types": ["client_credentials"]},
    ],
    ids=lambda changes: "-".join(map(str, changes.items())),
)
async def test_what_the_profile_refuses(make_fapi: MakeFapi, changes: dict[str, Any]) -> None:
    """FAPI-CIBA section 5.2.2: confidential clients by key or certificate, no push, signed requests, bound tokens."""
    with pytest.raises(OAuthError, match="invalid_client_metadata"):
        await make_fapi(**PROFILE | changes)
