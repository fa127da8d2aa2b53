"""Changing the authentication method of a client."""

import pytest

from idp.accounts.tables import User
from idp.errors import OAuthError
from idp.infra.db.engine import fetchrow
from idp.oauth.clients.registration import register_client, rotate_secret
from idp.oauth.clients.service import update_client
from tests.conftest import MakeClient, until_known
from tests.support.browser import Browser
from tests.support.oauth import RelyingParty

pytestmark = pytest.mark.fault(34)


async def _method(client: RelyingParty, method: str) -> None:
    """Change the method, and wait until the server uses it."""
    await update_client(client.client_id, token_endpoint_auth_method=method)
    if method == "none":
        client.client_secret = None
    else:
        client.client_secret = await rotate_secret(client.client_id)
    await until_known(client)


async def test_from_a_secret_to_none(browser: Browser, client: RelyingParty, alice: User) -> None:
    """Everything that was issued under the protection of the secret is revoked."""
    tokens = await client.tokens(browser, alice.email)
    code = await client.sign_in(browser, alice.email)
    await _method(client, "none")
    row = await fetchrow("SELECT client_secret_hash FROM client WHERE client_id = $1", client.client_id)
    assert row is not None
    assert row["client_secret_hash"] is None
    assert (await client.refresh(tokens["refresh_token"])).json()["error"] == "invalid_grant"
    assert (await client.redeem(code)).json()["error"] == "invalid_grant"
    assert (await client.userinfo(tokens["access_token"])).status_code == 401
    assert await client.tokens(browser, alice.email)


async def test_from_none_to_a_secret(browser: Browser, make_client: MakeClient, alice: User) -> None:
    client = await make_client(token_endpoint_auth_method="none")
    tokens = await client.tokens(browser, alice.email)
    changed = await update_client(client.client_id, token_endpoint_auth_method="client_secret_post")
    assert changed.client_secret_hash is None
    await _method(client, "client_secret_post")
    assert (await client.refresh(tokens["refresh_token"])).status_code == 200
    client.client_secret = None
    assert (await client.refresh(tokens["refresh_token"])).json()["error"] == "invalid_client"


async def test_the_rules_of_public_clients_hold_for_changes(db: str) -> None:
    service, _ = await register_client(client_name="Service", grant_types=["client_credentials"], scope="read")
    with pytest.raises(OAuthError, match="needs a client that authenticates"):
        await update_client(service.client_id, token_endpoint_auth_method="none")
    plain, _ = await register_client(client_name="Shop", redirect_uris=["https://shop.example/cb"], require_pkce=False)
    with pytest.raises(OAuthError, match="must use PKCE"):
        await update_client(plain.client_id, token_endpoint_auth_method="none")
    with pytest.raises(OAuthError, match="cannot be changed"):
        await update_client(plain.client_id, application_type="native")
