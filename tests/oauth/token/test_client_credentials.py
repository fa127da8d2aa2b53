"""The client_credentials grant (RFC 6749 section 4.4)."""

import pytest

from idp.keys import jose
from idp.keys.key_set import key_set
from idp.oauth.token.access_token import family_of
from tests.conftest import MakeClient
from tests.support.oauth import RelyingParty


@pytest.fixture
async def service(make_client: MakeClient) -> RelyingParty:
    return await make_client(
        grant_types=["client_credentials"], redirect_uris=[], scope="openid email orders:read orders:write"
    )


async def _issue(service: RelyingParty, **form: str) -> tuple[int, dict[str, str]]:
    response = await service.post("/token", grant_type="client_credentials", **form)
    assert response.headers["cache-control"] == "no-store"
    assert "set-cookie" not in response.headers
    return response.status_code, response.json()


async def test_an_access_token_and_nothing_else(service: RelyingParty) -> None:
    """Section 4.4.3: no refresh token. RFC 9068 section 2.2: the subject is the client. There is no user."""
    status, body = await _issue(service)
    assert status == 200
    assert set(body) == {"access_token", "expires_in", "scope", "token_type"}
    assert (body["token_type"], body["expires_in"]) == ("Bearer", 600)
    assert body["scope"] == "orders:read orders:write"
    claims = jose.verify(body["access_token"], key_set.verification(), typ="at+jwt")
    assert claims["sub"] == claims["client_id"] == service.client_id
    assert claims["aud"] == service.issuer
    assert family_of(claims["jti"]) is None
    assert not {"auth_time", "acr", "amr", "sid"} & claims.keys()


async def test_each_token_has_a_different_id(service: RelyingParty) -> None:
    tokens = [(await _issue(service))[1]["access_token"] for _ in range(3)]
    assert len({jose.verify(token, key_set.verification(), typ="at+jwt")["jti"] for token in tokens}) == 3


@pytest.mark.parametrize("scope", ["orders:read", "orders:write orders:read", "orders:read orders:read"])
async def test_less_scope_on_request(service: RelyingParty, scope: str) -> None:
    status, body = await _issue(service, scope=scope)
    assert (status, body["scope"]) == (200, " ".join(dict.fromkeys(scope.split())))


@pytest.mark.parametrize("scope", ["orders:delete", "orders:read admin", "openid", "orders:read email"])
async def test_other_scopes_are_refused(service: RelyingParty, scope: str) -> None:
    """Scopes about users are refused, even if the client is registered for them."""
    status, body = await _issue(service, scope=scope)
    assert (status, body["error"]) == (400, "invalid_scope")


async def test_userinfo_refuses_the_token(service: RelyingParty) -> None:
    token = (await _issue(service))[1]["access_token"]
    refused = await service.userinfo(token)
    assert refused.status_code == 403
    assert 'error="insufficient_scope"' in refused.headers["www-authenticate"]


async def test_revoking_it_alone(service: RelyingParty) -> None:
    kept, revoked = (await _issue(service))[1]["access_token"], (await _issue(service))[1]["access_token"]
    assert (await service.post("/revoke", token=revoked)).status_code == 200
    assert (await service.introspect(kept))["active"] is True
    assert await service.introspect(revoked) == {"active": False}


@pytest.mark.parametrize("secret", ["wrong", "", None])
async def test_the_client_must_authenticate(service: RelyingParty, secret: str | None) -> None:
    service.client_secret = secret
    status, body = await _issue(service)
    assert (status, body["error"]) == (401, "invalid_client")


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
