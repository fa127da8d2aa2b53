"""The token and userinfo endpoints, as the basic test plan requires."""

import asyncio
from typing import Any

import pytest

from idp.accounts.tables import User
from idp.dev.seed import CLAIMS
from idp.infra.db.engine import execute
from idp.keys import jose
from idp.keys.key_set import key_set
from idp.oauth.scopes import STANDARD_SCOPES
from tests.conftest import MakeClient
from tests.support.browser import Browser
from tests.support.conformance import check_id_token, check_json_error, check_token_response
from tests.support.oauth import RelyingParty


async def _tokens(browser: Browser, rp: RelyingParty, user: User, **changes: str | None) -> dict[str, Any]:
    return check_token_response(await rp.redeem(await rp.sign_in(browser, user.email, **changes)))


async def test_code_reuse(browser: Browser, rp: RelyingParty, person: User) -> None:
    """oidcc-codereuse, -codereuse-30seconds: refused, and the tokens of the first use are revoked."""
    code = await rp.sign_in(browser, person.email)
    tokens = check_token_response(await rp.redeem(code))
    assert (await rp.userinfo(tokens["access_token"])).status_code == 200
    await execute(
        "UPDATE authorization_code SET consumed_at = now() - interval '40 seconds' WHERE user_id = $1", person.id
    )
    check_json_error(await rp.redeem(code), 400, "invalid_grant")
    assert (await rp.userinfo(tokens["access_token"])).status_code == 401


async def test_client_secret_post(browser: Browser, make_client: MakeClient, person: User) -> None:
    """oidcc-server-client-secret-post"""
    rp = await make_client(token_endpoint_auth_method="client_secret_post", strict_auth_method=True)
    code = await rp.sign_in(browser, person.email)
    check_token_response(await rp.redeem(code))
    check_json_error(await rp.redeem(code, client_secret="wrong"), 401, "invalid_client")
    rp.secret_in_body = False
    check_json_error(await rp.redeem(code), 401, "invalid_client")


async def test_refresh(browser: Browser, rp: RelyingParty, make_client: MakeClient, person: User) -> None:
    """oidcc-refresh-token: same iss, sub, aud, auth_time; another iat; another client's token is invalid_grant."""
    first = await _tokens(browser, rp, person, scope="openid offline_access", prompt="consent")
    before = check_id_token(first["id_token"], issuer=rp.issuer, client_id=rp.client_id, nonce="the-nonce")
    await asyncio.sleep(1)
    second = check_token_response(await rp.refresh(first["refresh_token"], scope="openid"))
    after = check_id_token(second["id_token"], issuer=rp.issuer, client_id=rp.client_id, nonce=None)
    assert [before[n] for n in ("iss", "sub", "aud", "auth_time")] == [
        after[n] for n in ("iss", "sub", "aud", "auth_time")
    ]
    assert after["iat"] > before["iat"]
    other = await make_client()
    check_json_error(await other.refresh(second["refresh_token"]), 400, "invalid_grant")


@pytest.mark.parametrize("scope", ["profile", "email", "address", "phone", "profile email address phone"])
async def test_every_claim_of_a_scope(browser: Browser, rp: RelyingParty, person: User, scope: str) -> None:
    """oidcc-scope-profile, -email, -address, -phone, -all: in userinfo, all of them, and not in the ID token."""
    tokens = await _tokens(browser, rp, person, scope=f"openid {scope}")
    check_id_token(tokens["id_token"], issuer=rp.issuer, client_id=rp.client_id, nonce="the-nonce")
    claims = (await rp.userinfo(tokens["access_token"])).json()
    wanted = {name for part in scope.split() for name in STANDARD_SCOPES[part]}
    assert set(claims) == wanted | {"sub"}
    for name in wanted & CLAIMS.keys():
        assert claims[name] == CLAIMS[name]
    if "profile" in scope:
        assert isinstance(claims["updated_at"], int)


async def test_userinfo_in_three_ways(browser: Browser, rp: RelyingParty, person: User) -> None:
    """oidcc-userinfo-get, -post-header, -post-body"""
    tokens = await _tokens(browser, rp, person)
    url, header = f"{rp.issuer}/userinfo", {"Authorization": f"Bearer {tokens['access_token']}"}
    form = {"access_token": tokens["access_token"]}
    for response in (
        await rp.http.get(url, headers=header),
        await rp.http.post(url, headers=header),
        await rp.http.post(url, data=form),
    ):
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("application/json")
        assert response.headers["access-control-allow-origin"] == "*"
        assert response.json()["sub"] == str(person.id)
    twice = await rp.http.post(url, headers=header, data=form)
    assert (twice.status_code, twice.json()["error"]) == (400, "invalid_request")
    in_query = await rp.http.get(url, params=form)
    assert in_query.status_code == 401


@pytest.mark.parametrize("authorization", [None, "Bearer", "Bearer x", "Basic eDp5", "bearer a.b.c"])
async def test_userinfo_without_a_token(rp: RelyingParty, authorization: str | None) -> None:
    headers = {"Authorization": authorization} if authorization else {}
    response = await rp.http.get(f"{rp.issuer}/userinfo", headers=headers)
    assert response.status_code == 401
    assert response.headers["www-authenticate"].startswith("Bearer ")


async def test_a_claim_asked_for_by_name(browser: Browser, rp: RelyingParty, person: User) -> None:
    """oidcc-claims-essential: in userinfo, and not in the ID token"""
    wanted = '{"userinfo":{"name":{"essential":true}}}'
    tokens = await _tokens(browser, rp, person, scope="openid", claims=wanted)
    check_id_token(tokens["id_token"], issuer=rp.issuer, client_id=rp.client_id, nonce="the-nonce")
    assert (await rp.userinfo(tokens["access_token"])).json() == {"sub": str(person.id), "name": CLAIMS["name"]}


async def test_a_claim_asked_for_in_the_id_token(browser: Browser, rp: RelyingParty, person: User) -> None:
    wanted = '{"id_token":{"email":null,"sub":null,"iss":{"value":"evil"}}}'
    tokens = await _tokens(browser, rp, person, scope="openid", claims=wanted)
    claims = jose.verify(tokens["id_token"], key_set.verification(), typ="JWT")
    assert claims["email"] == person.email
    assert (claims["iss"], claims["sub"]) == (rp.issuer, str(person.id))


async def test_without_openid_there_is_no_id_token(browser: Browser, rp: RelyingParty, person: User) -> None:
    tokens = await _tokens(browser, rp, person, scope="email")
    assert "id_token" not in tokens
    assert (await rp.userinfo(tokens["access_token"])).status_code == 403


async def test_unknown_scopes_are_left_out_and_said(browser: Browser, rp: RelyingParty, person: User) -> None:
    assert (await _tokens(browser, rp, person, scope="openid something-else"))["scope"] == "openid"


async def test_at_hash(browser: Browser, rp: RelyingParty, person: User) -> None:
    """OpenID Connect Core section 3.1.3.6"""
    tokens = await _tokens(browser, rp, person)
    claims = check_id_token(tokens["id_token"], issuer=rp.issuer, client_id=rp.client_id, nonce="the-nonce")
    assert claims["at_hash"] == jose.left_half_hash(tokens["access_token"], "RS256")
