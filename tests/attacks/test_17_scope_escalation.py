"""Row 17: no token has a scope that was not registered for the client, requested, and consented to."""

import secrets

import jwt
import pytest

from idp.accounts.tables import User
from idp.infra.db.engine import fetchrow
from idp.oauth.clients.registration import register_resource_server
from tests.conftest import MakeClient
from tests.support.browser import Browser, Page, Redirect
from tests.support.oauth import PASSWORD, RelyingParty

MACHINE = {"redirect_uris": [], "grant_types": ["client_credentials"]}


def scope_of(token: str) -> str:
    return jwt.decode(token, options={"verify_signature": False})["scope"]


def sub_of(token: str) -> str:
    return jwt.decode(token, options={"verify_signature": False})["sub"]


@pytest.mark.parametrize(
    "scope",
    [
        "admin",
        "read admin",
        "admin read",
        "READ",
        "rea",
        "read:all",
        "read,write",
        "*",
        "read *",
        "openid",
        "read openid",
        "profile",
        "offline_access",
        "read\twrite\tadmin",
        'read"',
        "read\u00a0admin",
    ],
)
async def test_17_client_credentials_beyond_the_registration(scope: str, make_client: MakeClient) -> None:
    """Also scopes that the client may use for users: it is not one."""
    client = await make_client(**MACHINE | {"scope": "openid profile offline_access read write"})
    response = await client.post("/token", grant_type="client_credentials", scope=scope)
    assert (response.status_code, response.json()["error"]) == (400, "invalid_scope")


async def test_17_client_credentials_within_it(make_client: MakeClient) -> None:
    """The control; and such a token opens nothing of a user's."""
    client = await make_client(**MACHINE | {"scope": "openid profile read write"})
    for asked, granted in ((None, "read write"), ("", "read write"), ("read", "read"), ("write read", "write read")):
        tokens = (await client.post("/token", grant_type="client_credentials", scope=asked)).json()
        assert tokens["scope"] == scope_of(tokens["access_token"]) == granted
        assert not {"id_token", "refresh_token"} & tokens.keys()
    assert sub_of(tokens["access_token"]) == client.client_id
    refused = await client.userinfo(tokens["access_token"])
    assert (refused.status_code, refused.json()["error"]) == (403, "insufficient_scope")


async def test_17_a_resource_that_is_not_registered(make_client: MakeClient) -> None:
    client = await make_client(**MACHINE | {"scope": "read"})
    for resource in ("https://nobody.example.com", "https://nobody.example.com https://api.example.com", "x"):
        response = await client.post("/token", grant_type="client_credentials", resource=resource)
        assert (response.status_code, response.json()["error"]) == (400, "invalid_target")


async def test_17_a_grant_that_is_not_registered(make_client: MakeClient, browser: Browser, alice: User) -> None:
    web, machine = await make_client(), await make_client(**MACHINE | {"scope": "read"})
    codes_only = await make_client(grant_types=["authorization_code"])
    assert "refresh_token" not in await codes_only.tokens(browser, alice.email)
    for client, grant in ((web, "client_credentials"), (machine, "authorization_code"), (codes_only, "refresh_token")):
        response = await client.post("/token", grant_type=grant, code="x", refresh_token="x", redirect_uri="https://x")
        assert (response.status_code, response.json()["error"]) == (400, "unauthorized_client")
    for grant in ("password", "implicit", "urn:ietf:params:oauth:grant-type:saml2-bearer", "refresh_token "):
        response = await web.post("/token", grant_type=grant, username=alice.email, password=PASSWORD)
        assert (response.status_code, response.json()["error"]) == (400, "unsupported_grant_type")


async def test_17_at_the_authorization(make_client: MakeClient, browser: Browser, alice: User) -> None:
    """Scopes that the client may not have are dropped from the consent page, the consent, the tokens and userinfo."""
    client = await make_client(scope="openid email")
    page = await client.authorize(browser, scope="openid email profile admin offline_access <b>")
    assert isinstance(page, Page)
    page = await browser.sign_in(page, alice.email, PASSWORD)
    assert isinstance(page, Page)
    assert "See your email address" in page.text
    for absent in ("See your profile", "admin", "while you are away", "&lt;b&gt;"):
        assert absent not in page.text
    answer = await browser.submit(page, "consent-allow")
    tokens = (await client.redeem(answer.parameters["code"], scope="openid email profile admin")).json()
    assert tokens["scope"] == scope_of(tokens["access_token"]) == "openid email"
    assert (await client.userinfo(tokens["access_token"])).json().keys() == {"sub", "email", "email_verified"}
    stored = await fetchrow("SELECT pairs FROM consent WHERE client_id = $1", client.client_id)
    assert sorted(stored["pairs"]) == ["email", "openid"]
    family = await fetchrow("SELECT offline_access FROM token_family WHERE client_id = $1", client.client_id)
    assert family["offline_access"] is False


@pytest.mark.parametrize("scope", ["admin", "profile", "OPENID", "*", " "])
async def test_17_nothing_left_to_ask_for(scope: str, make_client: MakeClient, browser: Browser) -> None:
    client = await make_client(scope="openid email")
    answer = await client.authorize(browser, scope=scope)
    assert isinstance(answer, Redirect)
    assert answer.parameters["error"] == "invalid_scope"


async def test_17_consent_to_less_is_not_consent_to_more(
    make_client: MakeClient, browser: Browser, alice: User
) -> None:
    client = await make_client(scope="openid email profile")
    await client.sign_in(browser, alice.email, scope="openid")
    silent = await client.authorize(browser, scope="openid email", prompt="none")
    assert silent.parameters["error"] == "consent_required"
    asked = await client.authorize(browser, scope="openid email")
    assert isinstance(asked, Page)
    assert "consent-allow" in asked.ids


@pytest.mark.parametrize(
    "scope",
    ["openid email profile", "profile", "openid email admin", "openid email offline_access", "openid EMAIL", "*"],
)
async def test_17_refreshing_beyond_the_grant(
    scope: str, make_client: MakeClient, browser: Browser, alice: User
) -> None:
    """Registered for the client, but not granted by the person. The token is not used up by asking."""
    client = await make_client(scope="openid email profile offline_access admin")
    tokens = await client.tokens(browser, alice.email, scope="openid email")
    response = await client.refresh(tokens["refresh_token"], scope=scope)
    assert (response.status_code, response.json()["error"]) == (400, "invalid_scope")
    assert (await client.refresh(tokens["refresh_token"])).json()["scope"] == "openid email"


async def test_17_refreshing_to_less(make_client: MakeClient, browser: Browser, alice: User) -> None:
    """A narrowed access token allows less; the grant stays as it was."""
    client = await make_client(scope="openid email profile")
    tokens = await client.tokens(browser, alice.email)
    narrow = (await client.refresh(tokens["refresh_token"], scope="openid")).json()
    assert narrow["scope"] == scope_of(narrow["access_token"]) == "openid"
    assert (await client.introspect(narrow["access_token"]))["scope"] == "openid"
    assert (await client.userinfo(narrow["access_token"])).json().keys() == {"sub"}
    bare = (await client.refresh(narrow["refresh_token"], scope="email")).json()
    assert "id_token" not in bare
    assert (await client.userinfo(bare["access_token"])).status_code == 403
    assert (await client.refresh(bare["refresh_token"])).json()["scope"] == "openid email profile"


async def test_17_the_audience_cannot_be_widened(make_client: MakeClient, browser: Browser, alice: User) -> None:
    """A resource named only at the token endpoint does not become an audience."""
    apis = [f"https://api-{secrets.token_hex(4)}.example.com" for _ in range(2)]
    for api in apis:
        await register_resource_server(api, "API", scope="read")
    client = await make_client(scope="openid read")
    code = await client.sign_in(browser, alice.email, resource=apis[0])
    response = await client.redeem(code, resource=apis[1])
    if response.status_code == 200:
        tokens = response.json()
        for answer in (tokens, (await client.refresh(tokens["refresh_token"], resource=apis[1])).json()):
            assert apis[1] not in jwt.decode(answer["access_token"], options={"verify_signature": False})["aud"]
    else:
        assert response.json()["error"] == "invalid_target"


async def test_17_a_client_reads_only_its_own_tokens(
    make_client: MakeClient, client: RelyingParty, browser: Browser, alice: User
) -> None:
    """Introspection is no way to another client's scopes and subjects."""
    tokens = await client.tokens(browser, alice.email)
    stranger = await make_client()
    for token in (tokens["access_token"], tokens["refresh_token"], tokens["id_token"]):
        assert await stranger.introspect(token) == {"active": False}
