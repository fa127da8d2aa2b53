"""The scopes ``groups`` and ``roles``: what tokens, userinfo and introspection say."""

import json
import secrets
from typing import Any
from uuid import UUID

import pytest

from idp import clock, ids
from idp.accounts.tables import User
from idp.directory import groups, roles
from idp.infra.db.engine import execute, transaction
from idp.oauth.claims.evaluation import Asked, claims
from idp.oauth.claims.models import Place
from idp.oauth.claims.user import ClaimUser
from idp.oauth.clients.registration import register_client, register_resource_server
from idp.oauth.token.families import start_offline_family
from idp.oauth.token.grant import Grant
from idp.oauth.token.issuer import issue
from tests.conftest import MakeClient
from tests.support.browser import Browser, as_page
from tests.support.directory import a_group, a_role
from tests.support.exchange import a_service, allow, an_api, an_app, exchange, sign_in
from tests.support.oauth import PASSWORD, until_settled
from tests.support.tokens import claims_of

SCOPE = "openid groups roles"


async def test_the_groups_and_roles_of_a_user(browser: Browser, make_client: MakeClient, alice: User) -> None:
    """The ID token and userinfo have them; the access token has not, because no resource server asks for them."""
    client = await make_client(scope=f"{SCOPE} profile")
    other = await make_client(scope=SCOPE)
    top = await a_group()
    low = await a_group(alice, parent_id=top.id)
    of_server, of_client = await a_role(alice), await a_role(alice, client_id=client.client_id)
    await a_role(alice, client_id=other.client_id)
    page = as_page(await client.authorize(browser, scope=f"{SCOPE} profile"))
    page = as_page(await browser.sign_in(page, alice.email, PASSWORD))
    assert "See your groups" in page.text
    assert "See your roles" in page.text
    tokens = await client.tokens(browser, alice.email, scope=f"{SCOPE} profile")
    expected = {
        "groups": sorted([top.name, low.name]),
        "roles": sorted([of_server.name, of_client.name]),
    }
    for found in (claims_of(tokens["id_token"]), (await client.userinfo(tokens["access_token"])).json()):
        assert {name: sorted(found[name]) for name in expected} == expected
    assert not claims_of(tokens["access_token"]).keys() & expected.keys()
    assert "name" not in claims_of(tokens["id_token"])
    narrow = (await client.refresh(tokens["refresh_token"], scope="openid")).json()
    assert not claims_of(narrow["id_token"]).keys() & expected.keys()
    assert not (await client.userinfo(narrow["access_token"])).json().keys() & expected.keys()


async def test_a_user_without_any_has_empty_lists(browser: Browser, make_client: MakeClient, alice: User) -> None:
    """So an application can tell them from claims that it does not get."""
    client = await make_client(scope=SCOPE)
    tokens = await client.tokens(browser, alice.email)
    for found in (claims_of(tokens["id_token"]), (await client.userinfo(tokens["access_token"])).json()):
        assert (found["groups"], found["roles"]) == ([], [])


async def test_the_next_token_knows_of_every_change(browser: Browser, make_client: MakeClient, alice: User) -> None:
    """At a code, a refresh, its repetition, userinfo and introspection; also in a server that remembers the user."""
    client = await make_client(scope=SCOPE, grant_types=["authorization_code", "refresh_token"])
    group, role = await a_group(), await a_role()

    async def expect(tokens: dict[str, Any], *, given: bool) -> None:
        for each in (claims_of(tokens["id_token"]), (await client.userinfo(tokens["access_token"])).json()):
            assert (each["groups"], each["roles"]) == (([group.name], [role.name]) if given else ([], []))

    tokens = await client.tokens(browser, alice.email)
    await expect(tokens, given=False)
    for given in (True, False, True):
        if given:
            await groups.add_members(group.id, [alice.id])
            await roles.give(role.id, [alice.id])
        else:
            await groups.remove_members(group.id, [alice.id])
            await roles.take(role.id, [alice.id])
        used = tokens["refresh_token"]
        tokens = (await client.refresh(used)).json()
        await expect(tokens, given=given)
        await expect((await client.refresh(used)).json(), given=given)
        await expect(await client.tokens(browser, alice.email), given=given)


async def test_the_claims_parameter_names_them(browser: Browser, make_client: MakeClient, alice: User) -> None:
    client = await make_client(scope=SCOPE)
    stranger = await make_client(scope="openid")
    group = await a_group(alice)
    wanted = json.dumps({"id_token": {"groups": None}})
    page = as_page(await client.authorize(browser, scope="openid", claims=wanted))
    assert "Groups" in as_page(await browser.sign_in(page, alice.email, PASSWORD)).text
    tokens = await client.tokens(browser, alice.email, scope="openid", claims=wanted)
    assert claims_of(tokens["id_token"])["groups"] == [group.name]
    assert "roles" not in claims_of(tokens["id_token"])
    assert "groups" not in (await client.userinfo(tokens["access_token"])).json()
    tokens = await stranger.tokens(browser, alice.email, scope="openid", claims=wanted)
    assert "groups" not in claims_of(tokens["id_token"])


async def test_a_resource_server_that_asks(db: str, alice: User) -> None:
    """It asks by having the scope among its own. The roles are its own then, not those of the client that calls it."""
    backend, _ = await register_client(client_name="API", grant_types=["client_credentials"], scope="")
    app = await an_app(f"{SCOPE} read")
    asks, silent = await an_api("read groups roles", client=backend), await an_api("read")
    group, of_server = await a_group(alice), await a_role(alice)
    there, here = await a_role(alice, client_id=backend.client_id), await a_role(alice, client_id=app.client_id)
    found = claims_of((await sign_in(app, alice, (asks,))).access_token)
    assert found["groups"] == [group.name]
    assert found["roles"] == sorted([of_server.name, there.name])
    found = claims_of((await sign_in(app, alice, (silent,))).access_token)
    assert not found.keys() & {"groups", "roles"}
    found = claims_of((await sign_in(app, alice, (asks, silent))).access_token)
    # A role of one of them would be taken for one of the other.
    assert (found["groups"], found["roles"]) == ([group.name], [of_server.name])
    own = await an_api("roles")
    found = claims_of((await sign_in(app, alice, (own,))).access_token)
    assert (found["roles"], "groups" in found) == (sorted([of_server.name, here.name]), False)
    found = claims_of((await sign_in(app, alice, (asks,), scope="openid read")).access_token)
    assert not found.keys() & {"groups", "roles"}


async def test_introspection_says_what_is_true_now(browser: Browser, make_client: MakeClient, alice: User) -> None:
    backend = await make_client(grant_types=["client_credentials"], redirect_uris=[], scope="")
    api = f"https://{secrets.token_hex(6)}.example.com"
    await register_resource_server(api, "API", scope="read groups", client_id=backend.client_id)
    app = await make_client(scope=f"{SCOPE} read")
    group = await a_group(alice, name="a")
    token = (await app.tokens(browser, alice.email, resource=api))["access_token"]
    assert claims_of(token)["groups"] == [group.name]
    other = await a_group(alice, name="b")
    found = await backend.introspect(token)
    assert found["groups"] == [group.name, other.name]
    assert "roles" not in found


async def test_an_exchanged_token_has_what_its_client_gets(db: str, alice: User) -> None:
    service = await a_service(f"{SCOPE} read")
    app = await an_app(f"{SCOPE} read")
    api = await an_api("read groups")
    await allow(service, api, scope="groups read", subject_clients=[app.client_id])
    signed_in = await sign_in(app, alice, (api,), scope="openid groups read")
    group = await a_group(alice)
    issued = await exchange(service, signed_in.access_token, resource=api)
    assert claims_of(issued.access_token)["groups"] == [group.name]
    issued = await exchange(service, signed_in.access_token, resource=api, scope="read")
    assert "groups" not in claims_of(issued.access_token)


async def test_codes_and_refresh_tokens_need_no_query(browser: Browser, make_client: MakeClient, alice: User) -> None:
    """Their statements return the version. A row that was deleted behind the back of the server is still there."""
    client = await make_client(scope=SCOPE)
    group = await a_group(alice)
    # A change that is loaded later empties what the server remembers.
    await until_settled(client.issuer)
    first = await client.tokens(browser, alice.email)
    await execute("DELETE FROM group_member WHERE user_id = $1", alice.id)
    second = await client.tokens(browser, alice.email)
    rotated = (await client.refresh(first["refresh_token"])).json()
    repeated = (await client.refresh(first["refresh_token"])).json()
    for tokens in (first, second, rotated, repeated):
        assert claims_of(tokens["id_token"])["groups"] == [group.name]
        assert (await client.userinfo(tokens["access_token"])).json()["groups"] == [group.name]
    await execute("UPDATE users SET directory_version = directory_version + 1 WHERE id = $1", alice.id)
    assert claims_of((await client.refresh(rotated["refresh_token"])).json()["id_token"])["groups"] == []


async def test_the_version_of_a_statement_finds_what_is_remembered(db: str, alice: User) -> None:
    """Without a query: a row that was deleted behind the back of the server is still in the next token."""
    app = await an_app(f"{SCOPE} offline_access", grant_types=["authorization_code", "refresh_token"])
    group = await a_group(alice)
    first = await sign_in(app, alice)
    assert claims_of(first.id_token)["groups"] == [group.name]
    await execute("DELETE FROM group_member WHERE user_id = $1", alice.id)
    assert claims_of((await sign_in(app, alice)).id_token)["groups"] == [group.name]
    async with transaction():
        grant, _ = await start_offline_family(app, _grant(alice.id), None, "device_code")
    assert claims_of(str((await issue(app, grant, grant_type="x")).id_token))["groups"] == [group.name]
    await execute("UPDATE users SET directory_version = directory_version + 1 WHERE id = $1", alice.id)
    assert claims_of((await sign_in(app, alice)).id_token)["groups"] == []


def _grant(user_id: UUID) -> Grant:
    return Grant(
        family_id=ids.uuid7(),
        user_id=user_id,
        session_id=None,
        scope=SCOPE,
        resource=(),
        claims=None,
        authorization_details=None,
        nonce=None,
        auth_time=clock.now(),
        auth_age=0,
        amr=("pwd",),
        acr="1",
    )


@pytest.mark.parametrize("place", Place)
async def test_without_the_scopes_nothing_is_read(db: str, place: Place) -> None:
    """Neither a row nor the memberships: the user does not exist."""
    app = await an_app("openid")
    asked = Asked(place=place, client=app, scopes=("openid",))
    assert await claims(asked, ClaimUser(UUID(int=1))) == {}
