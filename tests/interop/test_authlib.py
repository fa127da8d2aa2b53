"""Authlib's client signs in and refreshes."""

from authlib.integrations.httpx_client import AsyncOAuth2Client

from idp.accounts.tables import User
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
