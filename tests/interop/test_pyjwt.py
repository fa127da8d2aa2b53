"""PyJWT validates our tokens as a resource server, with the JWKS only."""

import asyncio
from typing import Any

import jwt
import pytest

from idp.accounts.tables import User
from idp.keys import lifecycle
from idp.oauth.clients.registration import register_resource_server
from tests.conftest import MakeClient
from tests.support.browser import Browser
from tests.support.oauth import RelyingParty
from tests.support.server import Server


async def _validate(server: Server, token: str, audience: str, algorithm: str = "RS256") -> dict[str, Any]:
    """Validate a token as the README tells."""
    jwks = jwt.PyJWKClient(f"{server.issuer}/.well-known/jwks.json")
    key = await asyncio.to_thread(jwks.get_signing_key_from_jwt, token)
    claims: dict[str, Any] = jwt.decode(
        token,
        key,
        algorithms=[algorithm],
        audience=audience,
        issuer=server.issuer,
        options={"require": ["exp", "iat", "sub", "jti"]},
    )
    return claims


async def test_an_access_token_for_a_resource_server(
    server: Server, browser: Browser, make_client: MakeClient, alice: User
) -> None:
    api = f"https://{alice.id}.example.com"
    # Its own scope: with a scope that is defined once, tokens of other tests would be for this API.
    scope = f"{alice.id}:read"
    await register_resource_server(api, "An API", scope=scope)
    party = await make_client(scope=f"openid {scope}")
    tokens = await party.tokens(browser, alice.email, resource=api)
    claims = await _validate(server, tokens["access_token"], api)
    assert claims["sub"] == str(alice.id)
    assert claims["client_id"] == party.client_id
    assert scope in claims["scope"].split()
    assert jwt.get_unverified_header(tokens["access_token"])["typ"] == "at+jwt"
    with pytest.raises(jwt.InvalidAudienceError):
        await _validate(server, tokens["access_token"], "https://another.example.com")


async def test_an_id_token(server: Server, browser: Browser, client: RelyingParty, alice: User) -> None:
    tokens = await client.tokens(browser, alice.email)
    claims = await _validate(server, tokens["id_token"], client.client_id)
    assert claims["nonce"] == "the-nonce"


@pytest.mark.parametrize("algorithm", ["PS256", "ES256", "EdDSA"])
async def test_other_algorithms(
    algorithm: str, server: Server, browser: Browser, make_client: MakeClient, alice: User
) -> None:
    party = await make_client(id_token_signed_response_alg=algorithm)
    tokens = await party.tokens(browser, alice.email)
    claims = await _validate(server, tokens["id_token"], party.client_id, algorithm)
    assert claims["sub"] == str(alice.id)


async def test_a_rotation_fails_no_validation(
    server: Server, browser: Browser, client: RelyingParty, alice: User
) -> None:
    """Tokens of before and after a rotation are both valid for a server that fetched the JWKS in between."""
    before = await client.tokens(browser, alice.email)
    await lifecycle.rotate("RS256", now=True)
    new_kid = None
    for _ in range(1500):
        after = await client.redeem(await client.sign_in(browser, alice.email))
        new_kid = jwt.get_unverified_header(after.json()["id_token"])["kid"]
        if new_kid != jwt.get_unverified_header(before["id_token"])["kid"]:
            break
        await asyncio.sleep(0.02)
    for token in (before["access_token"], after.json()["access_token"]):
        assert (await _validate(server, token, server.issuer))["sub"] == str(alice.id)
    assert new_kid != jwt.get_unverified_header(before["id_token"])["kid"]
