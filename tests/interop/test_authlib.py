"""Authlib's client signs in, refreshes, and authenticates by assertions."""

import asyncio
from collections.abc import Callable

import jwt
import pytest
from authlib.integrations.httpx_client import AsyncOAuth2Client, OAuthError
from authlib.oauth2.rfc7523 import ClientSecretJWT, PrivateKeyJWT
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from idp.accounts.tables import User
from idp.oauth.clients.registration import register_client
from tests.conftest import MakeClient
from tests.support.browser import Browser, Page, Redirect
from tests.support.oauth import PASSWORD, REDIRECT_URI
from tests.support.server import Server


async def _metadata(server: Server) -> dict[str, str]:
    async with AsyncOAuth2Client() as client:
        response = await client.request("GET", f"{server.issuer}/.well-known/openid-configuration", withhold_token=True)
        metadata: dict[str, str] = response.json()
        return metadata


async def _callback(browser: Browser, url: str, email: str) -> str:
    """Do the user's part between the authorization request and the response."""
    page = await browser.get(url)
    assert isinstance(page, Page)
    page = await browser.sign_in(page, email, PASSWORD)
    assert isinstance(page, Page)
    answer = await browser.submit(page, "consent-allow")
    assert isinstance(answer, Redirect)
    return answer.location


async def test_code_with_pkce_and_refresh(
    server: Server, browser: Browser, make_client: MakeClient, alice: User
) -> None:
    party = await make_client(scope="openid email offline_access")
    metadata = await _metadata(server)
    async with AsyncOAuth2Client(
        party.client_id,
        party.client_secret,
        redirect_uri=REDIRECT_URI,
        scope="openid email offline_access",
        code_challenge_method="S256",
        token_endpoint=metadata["token_endpoint"],
    ) as client:
        verifier = "a-verifier-that-is-at-least-43-characters-long-x"
        url, state = client.create_authorization_url(metadata["authorization_endpoint"], code_verifier=verifier)
        location = await _callback(browser, url, alice.email)

        first = await client.fetch_token(
            metadata["token_endpoint"], authorization_response=location, state=state, code_verifier=verifier
        )
        assert first["token_type"] == "Bearer"
        assert (await client.get(metadata["userinfo_endpoint"])).json()["email"] == alice.email

        second = await client.refresh_token(metadata["token_endpoint"])
        assert second["refresh_token"] != first["refresh_token"]
        assert second["access_token"] != first["access_token"]
        assert (await client.get(metadata["userinfo_endpoint"])).json()["sub"] == str(alice.id)

        revoked = await client.revoke_token(metadata["revocation_endpoint"], token=second["refresh_token"])
        assert revoked.status_code == 200
        assert (await client.get(metadata["userinfo_endpoint"])).status_code == 401


async def test_client_credentials(make_client: MakeClient, server: Server) -> None:
    party = await make_client(grant_types=["client_credentials"], redirect_uris=[], scope="orders:read")
    metadata = await _metadata(server)
    async with AsyncOAuth2Client(party.client_id, party.client_secret, scope="orders:read") as client:
        token = await client.fetch_token(metadata["token_endpoint"], grant_type="client_credentials")
    assert token["scope"] == "orders:read"
    assert "refresh_token" not in token


@pytest.mark.parametrize("method", ["private_key_jwt", "client_secret_jwt"])
async def test_an_assertion(start_server: Callable[..., Server], db: str, method: str) -> None:
    """Authlib's live for an hour, name the token endpoint as their audience, and have no kid."""
    server = await asyncio.to_thread(start_server, IDP_CLIENT_ASSERTION_LIFETIME="3540")
    key = rsa.generate_private_key(65537, 2048)
    keys = {"jwks": {"keys": [jwt.get_algorithm_by_name("RS256").to_jwk(key.public_key(), as_dict=True)]}}
    client, secret = await register_client(
        client_name="Authlib",
        grant_types=["client_credentials"],
        scope="",
        token_endpoint_auth_method=method,
        **(keys if method == "private_key_jwt" else {}),
    )
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    endpoint = f"{server.issuer}/token"
    authentication = PrivateKeyJWT(endpoint) if method == "private_key_jwt" else ClientSecretJWT(endpoint)
    async with AsyncOAuth2Client(
        client.client_id, secret or pem, token_endpoint_auth_method=authentication, token_endpoint=endpoint
    ) as party:
        async with asyncio.timeout(30):
            while True:
                try:
                    token = await party.fetch_token(endpoint, grant_type="client_credentials")
                    break
                except OAuthError:
                    # The server does not know the client yet.
                    await asyncio.sleep(0.05)
        assert token["token_type"] == "Bearer"
        introspected = await party.introspect_token(f"{server.issuer}/introspect", token=token["access_token"])
        assert introspected.json()["client_id"] == client.client_id
