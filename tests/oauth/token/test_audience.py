"""Which APIs an access token is for (RFC 8707, RFC 9068)."""

import asyncio

import jwt
import pytest

from idp.accounts.tables import User
from idp.oauth.clients.registration import register_resource_server
from tests.conftest import MakeClient
from tests.support.browser import Browser, Page
from tests.support.oauth import RelyingParty

Apis = tuple[str, str]


@pytest.fixture
async def apis(client: RelyingParty) -> Apis:
    """Two resource servers."""
    found = tuple(f"https://{name}-{client.client_id}.example.com" for name in ("orders", "stock"))
    for identifier in found:
        await register_resource_server(identifier, "An API")
    return found  # type: ignore[return-value]


def _claims(token: str) -> dict[str, object]:
    claims: dict[str, object] = jwt.decode(token, options={"verify_signature": False})
    return claims


async def _code(browser: Browser, client: RelyingParty, user: User, resource: str) -> str:
    async with asyncio.timeout(5):
        while True:
            answer = await client.authorize(browser, resource=resource)
            if isinstance(answer, Page):
                # Else the server does not know the new resource servers yet.
                return await client.sign_in(browser, user.email, resource=resource)
            await asyncio.sleep(0.02)


async def test_without_a_resource_the_issuer(browser: Browser, client: RelyingParty, alice: User) -> None:
    tokens = await client.tokens(browser, alice.email)
    assert _claims(tokens["access_token"])["aud"] == client.issuer
    assert jwt.get_unverified_header(tokens["access_token"])["typ"] == "at+jwt"


async def test_the_resources_that_were_granted(browser: Browser, client: RelyingParty, alice: User, apis: Apis) -> None:
    """With openid, userinfo is an audience too; a refresh keeps them."""
    tokens = (await client.redeem(await _code(browser, client, alice, apis[0]))).json()
    assert _claims(tokens["access_token"])["aud"] == [apis[0], client.issuer]
    refreshed = (await client.refresh(tokens["refresh_token"])).json()
    assert _claims(refreshed["access_token"])["aud"] == [apis[0], client.issuer]


async def test_asking_for_one_that_was_not_granted_costs_nothing(
    browser: Browser, client: RelyingParty, alice: User, apis: Apis
) -> None:
    code = await _code(browser, client, alice, apis[0])
    refused = await client.redeem(code, resource=apis[1])
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_target")
    tokens = (await client.redeem(code, resource=apis[0])).json()
    refused = await client.refresh(tokens["refresh_token"], resource=apis[1])
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_target")
    assert (await client.refresh(tokens["refresh_token"], resource=apis[0])).status_code == 200


async def test_only_with_openid_is_userinfo_meant(
    browser: Browser, client: RelyingParty, make_client: MakeClient, alice: User, apis: Apis
) -> None:
    await _code(browser, client, alice, apis[0])
    code = await client.sign_in(browser, alice.email, resource=apis[0], scope="email")
    assert _claims((await client.redeem(code)).json()["access_token"])["aud"] == apis[0]
