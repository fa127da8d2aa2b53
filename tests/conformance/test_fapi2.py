"""The plan for FAPI 2.0 Security Profile (Final), OpenID Connect. Each test names the modules that it stands for.

``fapi2-security-profile-final-`` is left out of the names. The plan runs in four variants, of authentication
(private_key_jwt or mtls) and of the bound key (DPoP or mtls); what depends on it is tested in each.
"""

import asyncio
import json
import secrets
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from idp.accounts.tables import User
from idp.dev.seed import CLAIMS
from idp.directory.sign_in_policy_changes import set_policy
from idp.infra.db.engine import execute, fetchrow
from idp.keys import jose
from idp.keys.algorithms import FAPI_ALGORITHMS
from idp.oauth.clients.service import update_client
from idp.oauth.scopes import CLAIMS as ALL_CLAIMS
from tests.conformance.conftest import VARIANTS, MakeFapi
from tests.support import tokens
from tests.support.assertions import ClientKeys, claims
from tests.support.assertions import form as assertion_form
from tests.support.browser import Browser, Page, Redirect, as_page, open_browser
from tests.support.conformance import (
    check_error_redirect,
    check_id_token,
    check_json_error,
    check_token_response,
    entropy,
)
from tests.support.directory import an_organization
from tests.support.dpop import DPoPKey
from tests.support.fapi import FapiClient
from tests.support.oauth import until_current
from tests.support.server import Server

pytestmark = pytest.mark.usefixtures("accepts_certificates")

NO_PROOF = {"X": "x"}


def redirect(answer: Page | Redirect) -> Redirect:
    assert isinstance(answer, Redirect), answer.text
    return answer


def bound(response: httpx.Response) -> dict[str, Any]:
    """Return a token response whose access token is bound."""
    body = response.json()
    if body.get("token_type") == "DPoP":
        response = httpx.Response(200, headers=response.headers, json=body | {"token_type": "Bearer"})
    found = check_token_response(response)
    assert tokens.claims_of(found["access_token"])["cnf"]
    return body | found


async def signed_in(client: FapiClient, browser: Browser, user: User, **changes: str | None) -> dict[str, Any]:
    return bound(await client.redeem(await client.sign_in(browser, user.email, **changes)))


# Well-behaved clients


async def test_discovery(fapi_server: Server, http: httpx.AsyncClient, fapi: FapiClient) -> None:
    """discovery-end-point-verification"""
    found = (await http.get(f"{fapi_server.issuer}/.well-known/openid-configuration")).json()
    assert "code" in found["response_types_supported"]
    assert found["authorization_response_iss_parameter_supported"] is True
    assert found["pushed_authorization_request_endpoint"] == f"{fapi_server.issuer}/par"
    assert isinstance(found["require_pushed_authorization_requests"], bool)
    assert found["tls_client_certificate_bound_access_tokens"] is True
    assert {"private_key_jwt", "tls_client_auth"} <= set(found["token_endpoint_auth_methods_supported"])
    assert "S256" in found["code_challenge_methods_supported"]
    assert {"authorization_code", "client_credentials", "refresh_token"} <= set(found["grant_types_supported"])
    assert "openid" in found["scopes_supported"]
    assert {"jwt", "query.jwt"} <= set(found["response_modes_supported"])
    for name in ("dpop", "id_token", "token_endpoint_auth", "request_object", "authorization", "introspection"):
        values = found[f"{name}_signing_alg_values_supported"]
        assert set(values) & set(FAPI_ALGORITHMS), name
        assert "none" not in values
    for what in ("alg", "enc"):
        assert isinstance(found[f"authorization_encryption_{what}_values_supported"], list)


@pytest.mark.parametrize("variant", VARIANTS)
async def test_happy_flow(make_fapi: MakeFapi, fapi_browser: Browser, person: User, variant: str) -> None:
    """happy-flow, par-without-duplicate-parameters, ensure-authorization-request-with-64-char-nonce-success: two
    clients, of which the second sends a nonce of 43 characters and the parameters again beside its request_uri.
    """
    first, second = await make_fapi(variant), await make_fapi(variant)
    for client, nonce, outside in (
        (first, secrets.token_urlsafe(48), {}),
        (second, secrets.token_urlsafe(32), second.parameters(client_id=None)),
    ):
        response = await client.post("/par", **client.parameters(nonce=nonce))
        assert response.status_code == 201, response.text
        request_uri, lifetime = response.json()["request_uri"], response.json()["expires_in"]
        assert 5 <= lifetime < 600
        assert entropy(request_uri) > 96
        answer = redirect(
            await client.finish(fapi_browser, await client.open(fapi_browser, request_uri, **outside), person.email)
        )
        assert answer.parameters.keys() == {"code", "state", "iss"}
        assert (answer.parameters["state"], answer.parameters["iss"]) == ("the-state", client.issuer)
        assert entropy(answer.parameters["code"]) > 96
        found = bound(await client.redeem(answer.parameters["code"]))
        assert tokens.decode(found["id_token"].split(".")[0])["alg"] == "ES256"
        assert tokens.decode(found["access_token"].split(".")[0])["alg"] == "ES256"
        check_id_token(found["id_token"], issuer=client.issuer, client_id=client.client_id, nonce=nonce)
        assert entropy(found["access_token"]) > 96
        # The resource: with any Accept header, and never with the token in the query.
        path, token = "/userinfo", found["access_token"]
        for accept in ("application/json; charset=utf-8", "application/json, application/*+json, */*"):
            response = await client.resource(path, token, client.proof("GET", path, token) | {"Accept": accept})
            assert response.status_code == 200, response.text
            assert response.headers["date"]
        in_query = await client.http.get(f"{client.issuer}{path}", params={"access_token": token})
        assert in_query.status_code == 401
    # Of the other client, with its key.
    response = await first.userinfo(token)
    assert response.status_code == 401, response.text


async def test_the_user_refuses(fapi: FapiClient, fapi_browser: Browser) -> None:
    """user-rejects-authentication"""
    page = as_page(await fapi.authorize(fapi_browser))
    answer = redirect(await fapi_browser.submit(page, "login-cancel"))
    check_error_redirect(answer.parameters, error="access_denied", state="the-state", issuer=fapi.issuer)


async def test_without_state(fapi: FapiClient, fapi_browser: Browser, person: User) -> None:
    """ensure-authorization-request-without-state-success, state-only-outside-request-object-not-used"""
    for outside in ({}, {"state": "outside"}):
        request_uri = await fapi.push(state=None)
        answer = await fapi.open(fapi_browser, request_uri, **outside)
        answer = redirect(await fapi.finish(fapi_browser, answer, person.email))
        assert answer.parameters.keys() == {"code", "iss"}
        claims_of = tokens.claims_of(bound(await fapi.redeem(answer.parameters["code"]))["id_token"])
        assert "s_hash" not in claims_of


@pytest.mark.parametrize("nonce", [None, secrets.token_urlsafe(288)], ids=["none", "384"])
async def test_nonces(fapi: FapiClient, fapi_browser: Browser, person: User, nonce: str | None) -> None:
    """ensure-authorization-request-without-nonce-success, ensure-authorization-request-with-long-nonce"""
    found = await signed_in(fapi, fapi_browser, person, nonce=nonce)
    check_id_token(found["id_token"], issuer=fapi.issuer, client_id=fapi.client_id, nonce=nonce)


async def test_a_long_state(fapi: FapiClient, fapi_browser: Browser, person: User) -> None:
    """ensure-authorization-request-with-long-state"""
    state = secrets.token_urlsafe(750)
    answer = await fapi.finish(fapi_browser, await fapi.authorize(fapi_browser, state=state), person.email)
    assert redirect(answer).parameters["state"] == state


async def test_other_values_outside(fapi: FapiClient, fapi_browser: Browser, person: User) -> None:
    """ensure-different-nonce-inside-and-outside-request-object,
    ensure-different-state-inside-and-outside-request-object
    """
    answer = await fapi.open(fapi_browser, await fapi.push(), nonce="another", state="another")
    answer = redirect(await fapi.finish(fapi_browser, answer, person.email))
    assert answer.parameters["state"] == "the-state"
    found = bound(await fapi.redeem(answer.parameters["code"]))
    assert tokens.claims_of(found["id_token"])["nonce"] == "the-nonce"


async def test_the_order_of_scopes(fapi: FapiClient, fapi_browser: Browser, person: User) -> None:
    """ensure-other-scope-order-succeeds"""
    found = await signed_in(fapi, fapi_browser, person, scope="email profile openid")
    assert set(found["scope"].split()) == {"openid", "profile", "email"}


async def test_claims_by_name(fapi: FapiClient, fapi_browser: Browser, person: User) -> None:
    """test-claims-parameter-identity-claims: every claim of discovery, at both places; unknown ones are ignored."""
    wanted = sorted(set(ALL_CLAIMS) & CLAIMS.keys())
    asked: list[Any] = [None, {"essential": True}, {"essential": False}]
    members = {name: asked[number % 3] for number, name in enumerate(wanted)} | {"urn:random": None}
    found = await signed_in(fapi, fapi_browser, person, claims=json.dumps({"id_token": members, "userinfo": members}))
    in_token = tokens.claims_of(found["id_token"])
    userinfo = (await fapi.userinfo(found["access_token"])).json()
    assert {name: in_token[name] for name in wanted} == {name: userinfo[name] for name in wanted}
    assert "urn:random" not in in_token.keys() | userinfo.keys()
    assert in_token["sub"] == userinfo["sub"]


async def test_the_scheme_in_any_case(make_fapi: MakeFapi, fapi_browser: Browser, person: User) -> None:
    """access-token-type-header-case-sensitivity"""
    for variant, scheme in ((VARIANTS[0], "dPOp"), (VARIANTS[3], "bEARER")):
        client = await make_fapi(variant)
        token = (await signed_in(client, fapi_browser, person))["access_token"]
        sent = client.proof("GET", "/userinfo", token) | {"Authorization": f"{scheme} {token}"}
        assert (await client.resource("/userinfo", token, sent)).status_code == 200


# DPoP


@pytest.mark.parametrize(
    "times",
    [
        lambda now: {"nbf": now, "exp": now + 300},
        lambda now: {"iat": now - 10},
        lambda now: {"iat": now + 8},
    ],
    ids=["nbf-exp", "10s-before", "8s-after"],
)
async def test_times_of_proofs(
    fapi: FapiClient, fapi_browser: Browser, person: User, times: Callable[[int], dict[str, int]]
) -> None:
    """check-dpop-proof-nbf-exp, ensure-dpopproof-with-iat-10seconds-before-succeeds,
    ensure-dpopproof-with-iat-10seconds-after-succeeds: at the PAR, token and resource endpoints.
    """

    def proof(method: str, path: str, token: str | None = None) -> dict[str, str]:
        return fapi.proof(method, path, token, **times(int(time.time())))

    response = await fapi.post("/par", proof("POST", "/par"), **fapi.parameters())
    assert response.status_code == 201, response.text
    answer = await fapi.open(fapi_browser, response.json()["request_uri"])
    code = redirect(await fapi.finish(fapi_browser, answer, person.email)).parameters["code"]
    token = bound(await fapi.redeem(code, proof("POST", "/token")))["access_token"]
    assert (await fapi.resource("/userinfo", token, proof("GET", "/userinfo", token))).status_code == 200


async def test_the_key_of_a_code(fapi: FapiClient, fapi_browser: Browser, person: User) -> None:
    """ensure-dpop-auth-code-binding-success, ensure-dpopproof-at-par-endpoint-binding-success,
    ensure-mismatched-dpop-jkt-fails, ensure-token-endpoint-fails-with-mismatched-dpop-jkt,
    ensure-token-endpoint-fails-with-mismatched-dpop-proof-jkt
    """
    assert fapi.dpop is not None
    other, jkt = DPoPKey(), fapi.dpop.jkt
    response = await fapi.post("/par", **fapi.parameters(dpop_jkt=other.jkt))
    check_json_error(response, 400, "invalid_dpop_proof")
    for headers, named, right in (
        (None, None, True),
        (None, jkt, True),
        (NO_PROOF, jkt, True),
        (None, None, False),
        (NO_PROOF, other.jkt, False),
    ):
        response = await fapi.post("/par", headers, **fapi.parameters(dpop_jkt=named))
        answer = await fapi.open(fapi_browser, response.json()["request_uri"])
        code = redirect(await fapi.finish(fapi_browser, answer, person.email)).parameters["code"]
        if right:
            bound(await fapi.redeem(code))
        else:
            wrong = fapi.dpop if headers else other
            check_json_error(await fapi.redeem(code, wrong("POST", f"{fapi.issuer}/token")), 400, "invalid_grant")


# Authorization requests


#: Of an authorization request.
WRONG: list[tuple[dict[str, str | None], str]] = [
    ({"redirect_uri": None}, "invalid_request"),
    ({"redirect_uri": "https://app.example.com/callback/more"}, "invalid_request"),
    ({"response_type": "code id_token"}, "unsupported_response_type"),
    ({"response_type": "token"}, "unsupported_response_type"),
    ({"code_challenge": None, "code_challenge_method": None}, "invalid_request"),
    ({"code_challenge": "x" * 43, "code_challenge_method": "plain"}, "invalid_request"),
    ({"code_challenge": "x" * 43, "code_challenge_method": None}, "invalid_request"),
]


async def test_what_cannot_be_pushed(fapi: FapiClient) -> None:
    """ensure-redirect-uri-in-authorization-request, ensure-request-object-without-redirect-uri-fails,
    ensure-registered-redirect-uri, plain-fapi-tolerate-unregistered-redirect-uri,
    ensure-response-type-code-idtoken-fails, ensure-response-type-token-fails, par-ensure-pkce-required,
    par-plain-pkce-rejected, par-authorization-request-containing-request_uri-form-param
    """
    for changes, error in WRONG:
        check_json_error(await fapi.post("/par", **fapi.parameters(**changes)), 400, error)
    request_uri = f"urn:ietf:params:oauth:request_uri:{secrets.token_urlsafe(32)}"
    check_json_error(await fapi.post("/par", **fapi.pushed(), request_uri=request_uri), 400, "invalid_request")


async def test_other_methods(fapi: FapiClient) -> None:
    """par-attempt-invalid-http-method"""
    data = fapi.credentials() | fapi.parameters()
    response = await fapi.http.put(f"{fapi.issuer}/par", data=data, headers=fapi.proof("PUT", "/par"))
    assert response.status_code == 405


async def test_a_request_that_was_not_pushed(fapi: FapiClient, fapi_browser: Browser) -> None:
    """ensure-unsigned-authorization-request-without-using-par-fails"""
    answer = redirect(await fapi_browser.get("/authorize", **fapi.parameters()))
    check_error_redirect(answer.parameters, error="invalid_request", state="the-state", issuer=fapi.issuer)


async def test_the_life_of_a_request_uri(
    fapi: FapiClient, make_fapi: MakeFapi, fapi_server: Server, fapi_browser: Browser, person: User
) -> None:
    """par-ensure-reused-request-uri-prior-to-auth-completion-succeeds, par-attempt-reuse-request_uri,
    par-attempt-to-use-expired-request_uri, par-attempt-to-use-request_uri-for-different-client
    """

    async def gone(client: FapiClient, request_uri: str) -> None:
        async with open_browser(fapi_server.issuer) as another:
            page = as_page(await client.open(another, request_uri))
            assert (page.status, page.error) == (400, "invalid_request_uri")

    request_uri = await fapi.push()
    await gone(await make_fapi(), request_uri)
    assert "login-submit" in as_page(await fapi.open(fapi_browser, request_uri)).ids
    redirect(await fapi.finish(fapi_browser, await fapi.open(fapi_browser, request_uri), person.email))
    await gone(fapi, request_uri)
    request_uri = await fapi.push()
    await execute("UPDATE pushed_request SET expires_at = now() WHERE client_id = $1", fapi.client_id)
    await gone(fapi, request_uri)


# Codes


async def test_a_code_is_of_its_client(
    fapi: FapiClient, make_fapi: MakeFapi, fapi_browser: Browser, person: User
) -> None:
    """ensure-authorization-code-is-bound-to-client, ensure-client-id-in-token-endpoint"""
    code = await fapi.sign_in(fapi_browser, person.email)
    other = await make_fapi()
    other.dpop, other.verifier = fapi.dpop, fapi.verifier
    check_json_error(await other.redeem(code), 400, "invalid_grant")
    check_json_error(await fapi.redeem(code, client_id=other.client_id), 400, "invalid_request")


@pytest.mark.parametrize("variant", VARIANTS)
async def test_a_code_is_used_once(make_fapi: MakeFapi, fapi_browser: Browser, person: User, variant: str) -> None:
    """attempt-reuse-authorization-code-after-one-second: and its access token ends."""
    client = await make_fapi(variant)
    code = await client.sign_in(fapi_browser, person.email)
    token = bound(await client.redeem(code))["access_token"]
    assert (await client.userinfo(token)).status_code == 200
    check_json_error(await client.redeem(code), 400, "invalid_grant")
    assert (await client.userinfo(token)).status_code == 401


async def test_the_life_of_a_code(fapi: FapiClient, fapi_browser: Browser, person: User) -> None:
    """ensure-token-endpoint-fails-with-expired-auth-code: at most a minute (section 5.3.2.1), whatever the setting."""
    code = await fapi.sign_in(fapi_browser, person.email)
    aged = await fetchrow(
        "UPDATE authorization_code SET expires_at = expires_at - interval '62 seconds' WHERE user_id = $1"
        " RETURNING extract(epoch FROM expires_at - created_at)::int AS seconds",
        person.id,
    )
    assert aged is not None
    assert aged["seconds"] <= 60 - 62
    check_json_error(await fapi.redeem(code), 400, "invalid_grant")


async def test_code_verifiers(fapi: FapiClient, fapi_browser: Browser, person: User) -> None:
    """ensure-pkce-code-verifier-required, incorrect-pkce-code-verifier-rejected"""
    code = await fapi.sign_in(fapi_browser, person.email)
    check_json_error(await fapi.redeem(code, code_verifier=None), 400, "invalid_grant")
    check_json_error(await fapi.redeem(code, code_verifier=secrets.token_urlsafe(32)), 400, "invalid_grant")
    bound(await fapi.redeem(code))


# Client authentication and bound keys


@pytest.mark.parametrize("variant", VARIANTS)
async def test_the_key_is_required(make_fapi: MakeFapi, fapi_browser: Browser, person: User, variant: str) -> None:
    """ensure-holder-of-key-required"""
    client = await make_fapi(variant)
    code = await client.sign_in(fapi_browser, person.email)
    authentication = variant.split(maxsplit=1)[0]
    sent = client.proof("POST", "/token")
    for left_out in ("dpop", "client-cert"):
        without = {name: value for name, value in sent.items() if name.lower() != left_out}
        if without == sent:
            continue
        if left_out == "dpop":
            status, error = 400, "invalid_dpop_proof"
        else:
            status, error = (401, "invalid_client") if authentication == "mtls" else (400, "invalid_request")
        check_json_error(await client.redeem(code, without or NO_PROOF), status, error)
    bound(await client.redeem(code))


async def test_assertions_that_are_refused(fapi: FapiClient) -> None:
    """ensure-client-assertion-with-exp-is-5-minutes-in-past-fails, ensure-client-assertion-with-wrong-aud-fails,
    ensure-client-assertion-with-no-sub-fails,
    par-test-array-as-audience-fails, par-test-par-endpoint-url-as-audience-fails,
    par-test-token-endpoint-url-as-audience-fails,
    par-ensure-jwt-client-assertions-nbf-over-60-seconds-in-the-future-fails
    """
    now, issuer = int(time.time()), fapi.issuer
    wrong: list[dict[str, Any]] = [
        {"exp": now - 300},
        {"iat": now + 120, "nbf": now + 120, "exp": now + 180},
        {"sub": None},
        *({"aud": aud} for aud in ("https://other.example", f"{issuer}/token", f"{issuer}/par")),
        *({"aud": aud} for aud in ([issuer, "https://other.example"], [issuer])),
    ]
    for changes in wrong:
        for path, form in (("/par", fapi.parameters()), ("/token", {"grant_type": "client_credentials"})):
            check_json_error(await fapi.send(path, fapi.credentials(**changes) | form), 401, "invalid_client")


async def test_an_assertion_of_a_moment_later(fapi: FapiClient) -> None:
    """par-ensure-jwt-client-assertions-nbf-8-seconds-in-the-future-is-accepted"""
    later = int(time.time()) + 8
    response = await fapi.send("/par", fapi.credentials(iat=later, nbf=later) | fapi.parameters())
    assert response.status_code == 201, response.text


async def test_other_credentials(make_fapi: MakeFapi) -> None:
    """ensure-client-assertion-in-token-endpoint, ensure-signed-client-assertion-with-RS256-fails"""
    client = await make_fapi(keys=ClientKeys("RS256", "ES256"))
    form = {"grant_type": "client_credentials"}
    for data in ({"client_id": client.client_id}, {}):
        check_json_error(await client.send("/token", data | form), 401, "invalid_client")
    weak = ClientKeys()
    weak.keys = client.keys.keys[:1]
    data = assertion_form(weak.sign(claims(client.client_id, aud=client.issuer)))
    check_json_error(await client.send("/token", data | form), 401, "invalid_client")


# Refresh tokens


async def age(seconds: int, user: User) -> None:
    """Let time pass for the refresh tokens of a user."""
    await execute(
        "UPDATE refresh_token SET issued_at = issued_at - make_interval(secs => $2),"
        " rotated_at = rotated_at - make_interval(secs => $2), expires_at = expires_at - make_interval(secs => $2)"
        " WHERE user_id = $1",
        user.id,
        seconds,
    )


@pytest.mark.parametrize("variant", VARIANTS)
async def test_refresh_tokens(make_fapi: MakeFapi, fapi_browser: Browser, person: User, variant: str) -> None:
    """refresh-token: it is not replaced (section 5.3.2.1, item 9), so the one before works 30 seconds later too. It
    needs the authentication and the key of its client.
    """
    client = await make_fapi(variant)
    first = await signed_in(client, fapi_browser, person)
    token = first["refresh_token"]
    before = check_id_token(first["id_token"], issuer=client.issuer, client_id=client.client_id, nonce="the-nonce")
    for seconds in (0, 30, 3600):
        await age(seconds, person)
        again = bound(await client.refresh(token))
        assert again["refresh_token"] == token
        after = check_id_token(again["id_token"], issuer=client.issuer, client_id=client.client_id, nonce=None)
        for name in ("iss", "sub", "aud", "auth_time"):
            assert after[name] == before[name]
        assert (await client.userinfo(again["access_token"])).status_code == 200
    form = {"grant_type": "refresh_token", "refresh_token": token}
    proof = client.proof("POST", "/token")
    other = await make_fapi(variant)
    stolen = await other.refresh(token)
    check_json_error(stolen, 400, "invalid_grant")
    unauthenticated = {name: value for name, value in proof.items() if name != "client-cert"}
    response = await client.send("/token", {"client_id": client.client_id} | form, unauthenticated or NO_PROOF)
    check_json_error(response, 401, "invalid_client")
    if client.asserts:
        # Authenticated, without its key.
        error = "invalid_dpop_proof" if client.dpop is not None else "invalid_request"
        check_json_error(await client.refresh(token, NO_PROOF), 400, error)
    # Also by several instances at once, whose requests share a statement.
    for response in await asyncio.gather(*(client.refresh(token) for _ in range(10))):
        assert bound(response)["refresh_token"] == token


async def test_an_unused_refresh_token_ends(fapi: FapiClient, fapi_browser: Browser, person: User) -> None:
    """After the lifetime of an unused one, and with its family; each use extends it."""
    token = (await signed_in(fapi, fapi_browser, person))["refresh_token"]
    introspected = await fapi.introspect(token)
    for _ in range(3):
        await age(10 * 86400, person)
        assert (await fapi.refresh(token)).status_code == 200
    assert (await fapi.introspect(token))["exp"] - introspected["exp"] in range(5)
    await age(15 * 86400, person)
    check_json_error(await fapi.refresh(token), 400, "invalid_grant")


async def test_a_shorter_lifetime_of_a_kept_token_is_for_the_next_use(
    fapi: FapiClient, fapi_browser: Browser, person: User
) -> None:
    token = (await signed_in(fapi, fapi_browser, person))["refresh_token"]
    await update_client(fapi.client_id, refresh_token_lifetime=60)
    await until_current(fapi)
    await age(70, person)
    assert (await fapi.refresh(token)).status_code == 200
    await age(70, person)
    check_json_error(await fapi.refresh(token), 400, "invalid_grant")


async def test_each_use_of_a_kept_token_ends_a_pause(fapi: FapiClient, fapi_browser: Browser, person: User) -> None:
    """Which the policy of an organization limits."""
    organization = await an_organization(person)
    token = (await signed_in(fapi, fapi_browser, person, organization=organization.slug))["refresh_token"]
    await age(7200, person)
    await set_policy(organization.id, session_idle=3600)
    check_json_error(await fapi.refresh(token), 400, "invalid_grant")
    await set_policy(organization.id)
    assert (await fapi.refresh(token)).status_code == 200
    await set_policy(organization.id, session_idle=3600)
    assert (await fapi.refresh(token)).status_code == 200


async def test_a_revoked_refresh_token(fapi: FapiClient, fapi_browser: Browser, person: User) -> None:
    found = await signed_in(fapi, fapi_browser, person)
    assert (await fapi.post("/revoke", token=found["refresh_token"])).status_code == 200
    check_json_error(await fapi.refresh(found["refresh_token"]), 400, "invalid_grant")
    assert (await fapi.userinfo(found["access_token"])).status_code == 401


async def test_the_grant_bounds_a_kept_token(fapi: FapiClient, fapi_browser: Browser, person: User) -> None:
    """As it does with rotation: scope and resource."""
    token = (await signed_in(fapi, fapi_browser, person, scope="openid email"))["refresh_token"]
    assert (await fapi.refresh(token, scope="openid")).json()["scope"] == "openid"
    check_json_error(await fapi.refresh(token, scope="openid phone"), 400, "invalid_scope")
    check_json_error(await fapi.refresh(token, resource="https://api.example.com/other"), 400, "invalid_target")
    assert (await fapi.refresh(token)).json()["scope"] == "openid email"


async def test_a_client_that_joins_and_leaves(make_fapi: MakeFapi, fapi_browser: Browser, person: User) -> None:
    """Tokens of before keep working: those that were made for one use end when they say."""
    client = await make_fapi(profile=None, token_endpoint_auth_method="private_key_jwt")
    rotated = (await signed_in(client, fapi_browser, person))["refresh_token"]
    successor = (await client.refresh(rotated)).json()["refresh_token"]
    assert successor != rotated
    await update_client(client.client_id, profile="fapi2")
    async with asyncio.timeout(30):
        while (answer := (await client.refresh(successor)).json()["refresh_token"]) != successor:
            successor = answer
            await asyncio.sleep(0.02)
    # It is kept, and its JWT made again is the same: the response of the rotation can still be repeated.
    row = await fetchrow("SELECT expires_at FROM refresh_token WHERE jti = $1", tokens.jti_of(successor))
    assert row is not None
    assert int(row["expires_at"].timestamp()) == tokens.claims_of(successor)["exp"]
    kept = (await signed_in(client, fapi_browser, person))["refresh_token"]
    await update_client(client.client_id, profile=None)
    async with asyncio.timeout(30):
        while (await client.refresh(kept)).json()["refresh_token"] == kept:
            await asyncio.sleep(0.02)


# DPoP at protected resources


def _spelled(url: str, how: str) -> str:
    scheme, _, rest = url.partition("://")
    host, _, path = rest.partition("/")
    return {
        "upper case": f"{scheme.upper()}://{host.upper()}/{path}",
        "query": f"{url}?a=b#c",
        "other": f"{scheme}://other.example/{path}",
    }[how]


async def check_proofs(client: FapiClient, path: str, token: str) -> None:
    """dpop-negative-tests: proofs that a protected resource accepts, and those that it refuses."""
    assert client.dpop is not None
    key, url, now = client.dpop, f"{client.issuer}{path}", int(time.time())

    def proof(
        changes: dict[str, Any] | None = None, header: dict[str, Any] | None = None, signer: DPoPKey = key
    ) -> str:
        members = {name: value for name, value in (key.header | (header or {})).items() if value is not None}
        return tokens.signed(signer.key, members, key.claims("GET", url, token, **changes or {}))

    async def status(*proofs: str, name: str = "DPoP", scheme: str = "DPoP") -> int:
        pairs = [("Authorization", f"{scheme} {token}"), *((name, one) for one in proofs)]
        response = await client.http.get(url, headers=pairs)
        assert response.status_code < 500
        return response.status_code

    weak, used = DPoPKey("RS256"), proof()
    private = jose.to_private_jwk(key.key)
    accepted = {
        "fresh": proof(),
        "htu with query and fragment": proof({"htu": _spelled(url, "query")}),
        "htu in upper case": proof({"htu": _spelled(url, "upper case")}),
        "extra members": proof({"extra": "x"}, {"extra": "x"}),
        "first use": used,
    }
    refused = {
        "second use": used,
        "not a JWT": "x",
        "signature": proof()[:-6] + "AAAAAA",
        "alg none": f"{tokens.unsigned(key.header | {'alg': 'none'}, key.claims('GET', url, token))}.",
        "alg missing": proof(header={"alg": None}),
        "typ missing": proof(header={"typ": None}),
        "typ wrong": proof(header={"typ": "JWT"}),
        "jwk missing": proof(header={"jwk": None}),
        "jwk private": proof(header={"jwk": {name: private[name] for name in ("kty", "crv", "x", "y", "d")}}),
        "RS256": tokens.signed(weak.key, weak.header, weak.claims("GET", url, token)),
        "another key": proof(signer=DPoPKey()),
        "a proof of another key": DPoPKey().proof("GET", url, token),
        **{f"{name} missing": proof({name: None}) for name in ("jti", "htm", "htu", "iat", "ath")},
        "htm wrong": proof({"htm": "PUT"}),
        "htu wrong": proof({"htu": _spelled(url, "other")}),
        "an hour ahead": proof({"iat": now + 3600}),
        "an hour ago": proof({"iat": now - 3600}),
        "ath wrong": proof({"ath": "x" * 43}),
    }
    assert {why: await status(one) for why, one in accepted.items()} == dict.fromkeys(accepted, 200)
    found = {why: await status(one) for why, one in refused.items()}
    assert {why: code for why, code in found.items() if code not in (400, 401)} == {}
    assert await status(proof(), name="DPOP") == 200
    assert await status(proof(), proof()) in (400, 401)
    assert await status() == 401
    assert await status(scheme="Bearer") == 401
    assert await status(proof()) == 200


async def test_proofs(fapi: FapiClient, fapi_browser: Browser, person: User) -> None:
    """dpop-negative-tests"""
    await check_proofs(fapi, "/userinfo", (await signed_in(fapi, fapi_browser, person))["access_token"])
