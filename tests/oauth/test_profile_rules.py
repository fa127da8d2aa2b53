"""What profiles change at run time, beside the plans for FAPI 2.0 (tests/conformance)."""

import asyncio

import msgspec
import pytest

from idp.accounts.tables import User
from idp.errors import OAuthError
from idp.oauth.authorize.checks import validate
from idp.oauth.clients.models import Client
from idp.oauth.clients.profiles import Rules, rules
from idp.oauth.clients.registration import register_resource_server
from tests.conftest import MakeClient
from tests.support.browser import Browser, Redirect
from tests.support.oauth import REDIRECT_URI, pkce

CLIENT = Client(client_id="c", client_name="C", redirect_uris=(REDIRECT_URI,))
ASKED = {
    "client_id": "c", "redirect_uri": REDIRECT_URI, "response_type": "code", "scope": "openid",
    "code_challenge": pkce()[1], "code_challenge_method": "S256",
}  # fmt: skip


def of(profile: str | None) -> Client:
    return msgspec.structs.replace(CLIENT, profile=profile)


def refused(profile: str | None, **changes: str) -> OAuthError:
    with pytest.raises(OAuthError) as found:
        validate(ASKED | changes, of(profile), REDIRECT_URI)
    return found.value


def test_who_must_name_a_resource() -> None:
    """The authorization specification of MCP requires RFC 8707 of clients."""
    error = refused("mcp")
    assert error.code == "invalid_target"
    assert error.description.startswith("resource is missing")
    for profile in (None, "oauth21", "fapi2"):
        assert validate(ASKED, of(profile), REDIRECT_URI).resource == ()


@pytest.mark.parametrize("mode", [None, "query", "fragment", "form_post"])
def test_who_must_get_signed_responses(mode: str | None) -> None:
    asked = {} if mode is None else {"response_mode": mode}
    error = refused("fapi2-message-signing", **asked)
    assert error.code == "invalid_request"
    assert "response_mode" in error.description
    for profile in (None, "oauth21", "fapi2"):
        assert validate(ASKED | asked, of(profile), REDIRECT_URI).response_mode == (mode or "query")
    for signed in ("jwt", "query.jwt", "form_post.jwt", "fragment.jwt"):
        validate(ASKED | {"response_mode": signed}, of("fapi2-message-signing"), REDIRECT_URI)


def test_a_profile_of_a_newer_version() -> None:
    """After a downgrade: it is not taken for none."""
    assert rules(of(None)) == Rules()
    with pytest.raises(KeyError):
        rules(of("fapi3"))


async def test_a_client_of_mcp(make_client: MakeClient, browser: Browser, alice: User) -> None:
    """Its tokens are for the server that it names. Its refresh tokens are rotated, unlike those of FAPI."""
    client = await make_client(profile="mcp", token_endpoint_auth_method="none", scope="openid", skip_consent=True)
    identifier = f"https://{client.client_id}.example.com/mcp"
    await register_resource_server(identifier, "MCP")
    answer = await client.authorize(browser)
    assert isinstance(answer, Redirect)
    assert answer.parameters["error"] == "invalid_target"
    async with asyncio.timeout(30):
        while isinstance(answer := await client.authorize(browser, resource=identifier), Redirect):
            await asyncio.sleep(0.02)
    tokens = await client.tokens(browser, alice.email, resource=identifier)
    again = (await client.refresh(tokens["refresh_token"])).json()
    assert again["refresh_token"] != tokens["refresh_token"]
