"""A client in its own name (RFC 6749 section 4.4)."""

import pytest

from idp.keys import jose
from idp.keys.ring import keyring
from idp.oauth.clients.registration import register_resource_server
from idp.oauth.token.mint import family_of
from tests.conftest import MakeClient
from tests.support.oauth import RelyingParty


@pytest.fixture
async def service(make_client: MakeClient) -> RelyingParty:
    return await make_client(grant_types=["client_credentials"], redirect_uris=[], scope="orders:read orders:write")


async def _issue(service: RelyingParty, **form: str) -> tuple[int, dict[str, str]]:
    response = await service.post("/token", grant_type="client_credentials", **form)
    return response.status_code, response.json()


async def test_an_access_token_and_nothing_else(service: RelyingParty) -> None:
    status, body = await _issue(service)
    assert status == 200
    assert set(body) == {"access_token", "expires_in", "scope", "token_type"}
    assert body["scope"] == "orders:read orders:write"
    claims = jose.verify(body["access_token"], keyring.verification(), typ="at+jwt")
    assert claims["sub"] == claims["client_id"] == service.client_id
    assert claims["aud"] == service.issuer
    assert family_of(claims["jti"]) is None
    assert "auth_time" not in claims


async def test_less_scope_on_request(service: RelyingParty) -> None:
    assert (await _issue(service, scope="orders:read"))[1]["scope"] == "orders:read"


@pytest.mark.parametrize("scope", ["orders:delete", "orders:read admin", "openid", "offline_access"])
async def test_not_more(service: RelyingParty, scope: str) -> None:
    status, body = await _issue(service, scope=scope)
    assert (status, body["error"]) == (400, "invalid_scope")


async def test_it_does_not_speak_of_a_user(service: RelyingParty) -> None:
    token = (await _issue(service))[1]["access_token"]
    assert (await service.userinfo(token)).status_code == 403


async def test_revoking_it_alone(service: RelyingParty) -> None:
    kept, revoked = (await _issue(service))[1]["access_token"], (await _issue(service))[1]["access_token"]
    assert (await service.post("/revoke", token=revoked)).status_code == 200
    assert (await service.introspect(kept))["active"] is True
    assert await service.introspect(revoked) == {"active": False}


async def test_the_audience_is_the_resource(service: RelyingParty) -> None:
    api = f"https://{service.client_id}.example.com"
    await register_resource_server(api, "Orders", scope="orders:read")
    for _ in range(100):
        status, body = await _issue(service, resource=api)
        if status == 200:
            break
    claims = jose.verify(body["access_token"], keyring.verification(), typ="at+jwt")
    assert claims["aud"] == api
    status, body = await _issue(service, resource="https://unknown.example.com")
    assert (status, body["error"]) == (400, "invalid_target")


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({}, "invalid_request"),
        ({"grant_type": "password", "username": "a", "password": "b"}, "unsupported_grant_type"),
        ({"grant_type": "implicit"}, "unsupported_grant_type"),
        ({"grant_type": "authorization_code", "code": "x", "redirect_uri": "y"}, "unauthorized_client"),
        ({"grant_type": "refresh_token", "refresh_token": "x"}, "unauthorized_client"),
    ],
    ids=lambda value: str(value.get("grant_type")) if isinstance(value, dict) else "",
)
async def test_other_grants_are_refused(service: RelyingParty, form: dict[str, str], error: str) -> None:
    response = await service.post("/token", **form)
    assert (response.status_code, response.json()["error"]) == (400, error)
    assert response.headers["cache-control"] == "no-store"
