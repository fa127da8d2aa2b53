"""More groups than a token holds: they are left out, and userinfo has them (OpenID Connect Core section 5.6.2)."""

import secrets

import pytest

from idp.accounts.tables import User
from idp.oauth.clients.registration import register_resource_server
from idp.settings import settings
from tests.conftest import MakeClient
from tests.support.browser import Browser
from tests.support.directory import a_role, many_groups
from tests.support.exchange import an_api, an_app, sign_in
from tests.support.tokens import claims_of

SCOPE = "openid groups roles"


async def test_2000_groups(browser: Browser, make_client: MakeClient, alice: User) -> None:
    """The tokens are small, and name userinfo, which has all. Roles are counted apart."""
    backend = await make_client(grant_types=["client_credentials"], redirect_uris=[], scope="")
    api = f"https://{secrets.token_hex(6)}.example.com"
    await register_resource_server(api, "API", scope="groups roles", client_id=backend.client_id)
    client = await make_client(scope=SCOPE)
    role = await a_role(alice)
    await many_groups(alice, 2000)
    tokens = await client.tokens(browser, alice.email, resource=api)
    for token in (tokens["id_token"], tokens["access_token"]):
        claims = claims_of(token)
        assert len(token) < 2000
        assert claims["roles"] == [role.name]
        assert "groups" not in claims
        assert claims["_claim_names"] == {"groups": "userinfo"}
        assert claims["_claim_sources"] == {"userinfo": {"endpoint": f"{client.issuer}/userinfo"}}
    for found in (
        (await client.userinfo(tokens["access_token"])).json(),
        await backend.introspect(tokens["access_token"]),
    ):
        assert len(set(found["groups"])) == 2000
        assert not found.keys() & {"_claim_names", "_claim_sources"}


@pytest.mark.parametrize("more", [0, 1])
async def test_the_limit_itself(db: str, alice: User, more: int) -> None:
    limit = settings().max_groups_in_token
    await many_groups(alice, limit + more)
    claims = claims_of((await sign_in(await an_app(SCOPE), alice)).id_token)
    assert len(claims.get("groups", ())) == (0 if more else limit)
    assert ("_claim_names" in claims) == bool(more)


async def test_without_openid_nothing_is_named(db: str, alice: User) -> None:
    """Userinfo does not accept such a token."""
    await many_groups(alice, settings().max_groups_in_token + 1)
    token = (await sign_in(await an_app("groups"), alice, (await an_api("groups"),))).access_token
    assert not claims_of(token).keys() & {"groups", "_claim_names", "_claim_sources"}
