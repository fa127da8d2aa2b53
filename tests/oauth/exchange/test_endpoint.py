"""Token exchange at the endpoint: who may ask, and what a request may not repeat."""

import asyncio
import json
import secrets
from collections.abc import Callable

import httpx
import pytest

from idp.accounts.tables import User
from idp.errors import OAuthError
from idp.oauth.clients.registration import register_client, register_resource_server
from idp.oauth.exchange import registration, token_types
from idp.oauth.token.token_exchange import GRANT_TYPE
from tests.conftest import MakeClient
from tests.support.browser import Browser
from tests.support.oauth import RelyingParty
from tests.support.server import Server


async def until_allowed(service: RelyingParty, **form: str) -> httpx.Response:
    """Ask until the server knows the policy."""
    async with asyncio.timeout(30):
        while (response := await service.post("/token", grant_type=GRANT_TYPE, **form)).status_code != 200:
            assert response.json()["error"] in ("unauthorized_client", "invalid_target"), response.text
            await asyncio.sleep(0.05)
    return response


async def test_claims_by_name_do_not_pass(make_client: MakeClient, browser: Browser, alice: User) -> None:
    """The user allowed the app to read the address, by the `claims` parameter; the service gets what its scopes say."""
    identifier = f"https://{secrets.token_hex(4)}.example.com"
    grants = ["client_credentials", GRANT_TYPE]
    service = await make_client(grant_types=grants, redirect_uris=[], scope="openid profile email")
    await register_resource_server(identifier, "Profile", client_id=service.client_id)
    policy = {"mode": "delegation", "resources": [identifier], "scope": "openid"}
    await registration.add(service.client_id, **policy)
    app = await make_client(scope="openid email")
    asked = json.dumps({"userinfo": {"email": None}})
    token = (await app.tokens(browser, alice.email, scope="openid", claims=asked, resource=identifier))["access_token"]
    assert (await app.userinfo(token)).json()["email"] == alice.email
    subject = {"subject_token": token, "subject_token_type": token_types.ACCESS_TOKEN}
    given = (await until_allowed(service, **subject)).json()
    assert given["scope"] == "openid"
    assert (await service.userinfo(given["access_token"])).json() == {"sub": str(alice.id)}
    # Each token names the resource server, whose client sees both.
    for shown in (token, given["access_token"]):
        assert (await service.introspect(shown))["active"] is True
    assert (await service.introspect(given["access_token"]))["act"]["sub"] == service.client_id
    # RFC 7009: the service gives its own back; the app's goes on.
    assert (await service.post("/revoke", token=given["access_token"])).status_code == 200
    assert await service.introspect(given["access_token"]) == {"active": False}
    assert (await app.introspect(token))["active"] is True
    for name, value in (*subject.items(), ("scope", "openid"), ("actor_token", token)):
        body = [("grant_type", GRANT_TYPE), *subject.items(), (name, value), (name, value)]
        text = "&".join(f"{key}={value}" for key, value in body)
        form = {"content-type": "application/x-www-form-urlencoded"}
        auth = (service.client_id, service.client_secret or "")
        answer = await service.http.post(f"{service.issuer}/token", content=text, headers=form, auth=auth)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request"), name
    twice = [("audience", identifier), ("audience", f"{identifier}/")]
    text = "&".join(f"{key}={value}" for key, value in [("grant_type", GRANT_TYPE), *subject.items(), *twice])
    answer = await service.http.post(f"{service.issuer}/token", content=text, headers=form, auth=auth)
    assert answer.status_code == 200, answer.text


async def test_the_grant_must_be_registered(make_client: MakeClient) -> None:
    client = await make_client()
    response = await client.post("/token", grant_type=GRANT_TYPE)
    assert (response.status_code, response.json()["error"]) == (400, "unauthorized_client")


async def test_a_public_client_cannot_have_it(db: str) -> None:
    with pytest.raises(OAuthError, match="token-exchange grant needs a client that authenticates"):
        await register_client(
            client_name="Public", grant_types=[GRANT_TYPE], token_endpoint_auth_method="none", scope=""
        )


async def test_without_the_setting_there_is_no_such_grant(
    start_server: Callable[..., Server], make_client: MakeClient, http: httpx.AsyncClient
) -> None:
    """Neither in discovery, nor at the endpoint, nor for a client that has it."""
    client = await make_client(grant_types=[GRANT_TYPE], redirect_uris=[], scope="")
    server = start_server()
    client.issuer = server.issuer
    metadata = (await http.get(f"{server.issuer}/.well-known/openid-configuration")).json()
    assert GRANT_TYPE not in metadata["grant_types_supported"]
    response = await client.post("/token", grant_type=GRANT_TYPE)
    assert (response.status_code, response.json()["error"]) == (400, "unsupported_grant_type")
