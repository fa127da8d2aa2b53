"""Token introspection (RFC 7662): what each caller learns of a token."""

import asyncio

import pytest

from idp.accounts.tables import User
from idp.oauth.clients.registration import register_resource_server
from tests.conftest import MakeClient
from tests.support.browser import Browser
from tests.support.oauth import RelyingParty
from tests.support.tokens import decode

INACTIVE = {"active": False}


async def test_an_access_token(browser: Browser, client: RelyingParty, alice: User) -> None:
    """Section 2.2: the claims of the token, and that it is active."""
    token = (await client.tokens(browser, alice.email))["access_token"]
    response = await client.post("/introspect", token=token)
    assert response.headers["content-type"].startswith("application/json")
    assert response.headers["cache-control"] == "no-store"
    answer = response.json()
    assert answer == {"active": True, "token_type": "Bearer"} | decode(token.split(".")[1])
    assert (answer["sub"], answer["client_id"]) == (str(alice.id), client.client_id)


async def test_a_refresh_token(browser: Browser, client: RelyingParty, alice: User) -> None:
    """It has no token_type and no audience, so that it is not taken for an access token."""
    token = (await client.tokens(browser, alice.email))["refresh_token"]
    answer = await client.introspect(token)
    assert set(answer) == {"active", "iss", "client_id", "sub", "scope", "jti", "iat", "exp"}
    assert (answer["active"], answer["scope"], answer["sub"]) == (True, "openid profile email", str(alice.id))
    claims = decode(token.split(".")[1])
    # The id of the family is not returned, and the sealed id of the user means nothing to others.
    assert claims.pop("family")
    assert claims.pop("sealed_user")
    assert {name: answer[name] for name in ("iss", "jti", "iat", "exp")} == claims


async def test_a_refresh_token_that_was_used(browser: Browser, client: RelyingParty, alice: User) -> None:
    """In its grace time it still yields its successor, but is not the token of today."""
    used = (await client.tokens(browser, alice.email))["refresh_token"]
    successor = (await client.refresh(used)).json()["refresh_token"]
    assert await client.introspect(used) == INACTIVE
    assert (await client.introspect(successor))["active"] is True


@pytest.mark.parametrize("hint", ["refresh_token", "access_token", "nonsense"])
async def test_a_hint_only_hints(browser: Browser, client: RelyingParty, alice: User, hint: str) -> None:
    tokens = await client.tokens(browser, alice.email)
    for name in ("access_token", "refresh_token"):
        response = await client.post("/introspect", token=tokens[name], token_type_hint=hint)
        assert response.json()["active"] is True


async def test_others_learn_nothing(
    browser: Browser, client: RelyingParty, make_client: MakeClient, alice: User
) -> None:
    tokens = await client.tokens(browser, alice.email)
    other = await make_client()
    assert await other.introspect(tokens["access_token"]) == INACTIVE
    assert await other.introspect(tokens["refresh_token"]) == INACTIVE


async def test_a_resource_server_introspects_tokens_with_its_audience(
    browser: Browser, make_client: MakeClient, alice: User
) -> None:
    api = await make_client(grant_types=["client_credentials"], redirect_uris=[], scope="")
    identifier = f"https://{api.client_id}.example.com"
    await register_resource_server(identifier, "Orders", client_id=api.client_id)
    # Without a client: it validates tokens itself.
    await register_resource_server(f"{identifier}/other", "Other")
    party = await make_client()
    meant = await party.tokens(browser, alice.email, resource=identifier)
    for_another = await party.tokens(browser, alice.email, resource=f"{identifier}/other")
    for_us = await party.tokens(browser, alice.email)
    async with asyncio.timeout(30):
        while not (answer := await api.introspect(meant["access_token"]))["active"]:
            await asyncio.sleep(0.02)
    assert identifier in answer["aud"]
    for token in (for_another["access_token"], for_us["access_token"], meant["refresh_token"], meant["id_token"]):
        assert await api.introspect(token) == INACTIVE


async def test_a_public_client_may_not_ask(make_client: MakeClient) -> None:
    public = await make_client(token_endpoint_auth_method="none")
    response = await public.post("/introspect", token="anything")
    assert (response.status_code, response.json()["error"]) == (401, "invalid_client")


async def test_introspection_requires_authentication(browser: Browser, client: RelyingParty, alice: User) -> None:
    """Section 2.1: or tokens could be tried out here. A user's token is no proof either."""
    token = (await client.tokens(browser, alice.email))["access_token"]
    url = f"{client.issuer}/introspect"
    answers = [
        await client.http.post(url, data={"token": token}, auth=(client.client_id, "wrong")),
        await client.http.post(url, data={"token": token, "client_id": client.client_id}),
        await client.http.post(url, data={"token": token}),
        await client.http.post(url, data={"token": token}, headers={"Authorization": f"Bearer {token}"}),
    ]
    for answer in answers:
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    assert answers[0].headers["www-authenticate"].startswith("Basic ")
    in_query = await client.http.get(url, params={"token": token}, auth=(client.client_id, client.client_secret or ""))
    assert in_query.status_code == 405


@pytest.mark.parametrize("token", ["garbage", "a.b.c", "é", "x" * 20000], ids=["garbage", "dots", "letters", "long"])
async def test_malformed_tokens_are_inactive(client: RelyingParty, token: str) -> None:
    assert await client.introspect(token) == INACTIVE


async def test_an_id_token_is_no_access_token(browser: Browser, client: RelyingParty, alice: User) -> None:
    tokens = await client.tokens(browser, alice.email)
    assert await client.introspect(tokens["id_token"]) == INACTIVE
    assert (await client.userinfo(tokens["id_token"])).status_code == 401


async def test_a_token_must_be_sent(client: RelyingParty) -> None:
    response = await client.post("/introspect")
    assert (response.status_code, response.json()["error"]) == (400, "invalid_request")
