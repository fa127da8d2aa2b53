"""Who learns what of a token (RFC 7662), and who may end it (RFC 7009)."""

import asyncio

import pytest

from idp.accounts.tables import User
from idp.oauth.clients.registration import register_resource_server
from tests.conftest import MakeClient
from tests.support.browser import Browser
from tests.support.oauth import RelyingParty

INACTIVE = {"active": False}


async def test_a_client_learns_of_its_own_tokens(browser: Browser, client: RelyingParty, alice: User) -> None:
    tokens = await client.tokens(browser, alice.email)
    access = await client.introspect(tokens["access_token"])
    assert access["active"] is True
    assert (access["sub"], access["client_id"], access["token_type"]) == (str(alice.id), client.client_id, "Bearer")
    refresh = await client.introspect(tokens["refresh_token"])
    assert (refresh["active"], refresh["scope"]) == (True, "openid profile email")
    assert "aud" not in refresh


async def test_others_do_not(browser: Browser, client: RelyingParty, make_client: MakeClient, alice: User) -> None:
    tokens = await client.tokens(browser, alice.email)
    other = await make_client()
    assert await other.introspect(tokens["access_token"]) == INACTIVE
    assert await other.introspect(tokens["refresh_token"]) == INACTIVE


async def test_a_resource_server_learns_of_what_is_meant_for_it(
    browser: Browser, make_client: MakeClient, alice: User
) -> None:
    api = await make_client(grant_types=["client_credentials"], redirect_uris=[], scope="")
    identifier = f"https://{api.client_id}.example.com"
    await register_resource_server(identifier, "Orders", client_id=api.client_id)
    party = await make_client()
    meant = await party.tokens(browser, alice.email, resource=identifier)
    other = await party.tokens(browser, alice.email)
    async with asyncio.timeout(5):
        while not (answer := await api.introspect(meant["access_token"]))["active"]:
            await asyncio.sleep(0.02)
    assert identifier in answer["aud"]
    assert await api.introspect(other["access_token"]) == INACTIVE
    assert await api.introspect(meant["refresh_token"]) == INACTIVE


async def test_a_public_client_may_not_ask(make_client: MakeClient) -> None:
    public = await make_client(token_endpoint_auth_method="none")
    response = await public.post("/introspect", token="anything")
    assert (response.status_code, response.json()["error"]) == (401, "invalid_client")


@pytest.mark.parametrize("token", ["garbage", "a.b.c", "é", "x" * 20000], ids=["garbage", "dots", "letters", "long"])
async def test_what_is_no_token_is_inactive(client: RelyingParty, token: str) -> None:
    assert await client.introspect(token) == INACTIVE


async def test_an_id_token_is_no_access_token(browser: Browser, client: RelyingParty, alice: User) -> None:
    tokens = await client.tokens(browser, alice.email)
    assert await client.introspect(tokens["id_token"]) == INACTIVE
    assert (await client.userinfo(tokens["id_token"])).status_code == 401


@pytest.mark.parametrize("hint", [None, "refresh_token", "access_token", "nonsense"])
async def test_revoking_a_refresh_token_takes_the_family(
    browser: Browser, client: RelyingParty, alice: User, hint: str | None
) -> None:
    tokens = await client.tokens(browser, alice.email)
    response = await client.post("/revoke", token=tokens["refresh_token"], token_type_hint=hint)
    assert (response.status_code, response.content) == (200, b"")
    assert (await client.refresh(tokens["refresh_token"])).status_code == 400
    assert await client.introspect(tokens["access_token"]) == INACTIVE
    assert (await client.userinfo(tokens["access_token"])).status_code == 401


async def test_revoking_an_access_token_takes_it_alone(browser: Browser, client: RelyingParty, alice: User) -> None:
    tokens = await client.tokens(browser, alice.email)
    assert (await client.post("/revoke", token=tokens["access_token"])).status_code == 200
    assert (await client.userinfo(tokens["access_token"])).status_code == 401
    assert (await client.refresh(tokens["refresh_token"])).status_code == 200


async def test_revoking_anothers_token(
    browser: Browser, client: RelyingParty, make_client: MakeClient, alice: User
) -> None:
    tokens = await client.tokens(browser, alice.email)
    other = await make_client()
    for name in ("access_token", "refresh_token"):
        response = await other.post("/revoke", token=tokens[name])
        assert (response.status_code, response.json()["error"]) == (400, "invalid_request")
    assert (await client.userinfo(tokens["access_token"])).status_code == 200
    assert (await client.refresh(tokens["refresh_token"])).status_code == 200


async def test_revoking_what_is_gone_or_never_was_is_success(
    browser: Browser, client: RelyingParty, alice: User
) -> None:
    token = (await client.tokens(browser, alice.email))["refresh_token"]
    for unknown in (token, token, "garbage", "a.b.c"):
        assert (await client.post("/revoke", token=unknown)).status_code == 200


@pytest.mark.parametrize("path", ["/introspect", "/revoke"])
async def test_a_token_must_be_sent(client: RelyingParty, path: str) -> None:
    assert (await client.post(path)).json()["error"] == "invalid_request"
