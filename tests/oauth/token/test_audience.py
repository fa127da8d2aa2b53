"""The audience of an access token, and its claims for it (RFC 8707, RFC 9068)."""

import asyncio
import secrets
import time
from typing import Any

import jwt
import pytest

from idp.accounts.tables import User
from idp.oauth.clients.registration import register_resource_server
from tests.conftest import MakeClient
from tests.support.browser import Browser, Page, Redirect
from tests.support.oauth import RelyingParty

SERVICE = {"grant_types": ["client_credentials"], "redirect_uris": [], "scope": "read"}
UNKNOWN = ["https://unknown.example.com", "not-a-uri", "https://api.example.com#fragment"]


@pytest.fixture
async def service(make_client: MakeClient) -> RelyingParty:
    return await make_client(**SERVICE)


@pytest.fixture
async def apis(service: RelyingParty) -> list[str]:
    """Two resource servers that the server knows of. The second one wants its tokens signed with ES256."""
    identifiers = [f"https://{name}.{service.client_id}.example.com/v1" for name in ("one", "two")]
    await register_resource_server(identifiers[0], "One", scope="read")
    await register_resource_server(identifiers[1], "Two", access_token_signed_response_alg="ES256")
    async with asyncio.timeout(30):
        while (await _issue(service, identifiers)).status_code != 200:
            await asyncio.sleep(0.02)
    return identifiers


async def _issue(service: RelyingParty, resources: list[str]) -> Any:
    """Send the request with a repeated parameter, as in RFC 8707 section 2."""
    form: dict[str, Any] = {"grant_type": "client_credentials", "resource": resources}
    return await service.post("/token", **form)


async def _read(party: RelyingParty, token: str, alg: str = "RS256") -> dict[str, Any]:
    """The claims of an access token, as one reads it who knows of us only what we publish."""
    published = (await party.http.get(f"{party.issuer}/.well-known/jwks.json")).json()
    header = jwt.get_unverified_header(token)
    assert (header["typ"], header["alg"]) == ("at+jwt", alg)
    key = jwt.PyJWKSet.from_dict(published)[header["kid"]]
    claims: dict[str, Any] = jwt.decode(token, key, algorithms=[alg], options={"verify_aud": False})
    return claims


async def test_the_claims(browser: Browser, client: RelyingParty, alice: User) -> None:
    """RFC 9068 section 2.2: all that must be there, and of the user nothing but who it is and how they signed in."""
    token = (await client.tokens(browser, alice.email))["access_token"]
    claims = await _read(client, token)
    assert set(claims) == {
        *("iss", "exp", "aud", "sub", "client_id", "iat", "jti", "scope"),
        *("auth_time", "acr", "amr"),
    }
    assert (claims["iss"], claims["sub"]) == (client.issuer, str(alice.id))
    assert (claims["client_id"], claims["scope"]) == (client.client_id, "openid profile email")
    assert claims["exp"] - claims["iat"] == 600
    assert abs(claims["iat"] - time.time()) < 60
    assert claims["auth_time"] <= claims["iat"]
    assert claims["amr"] == ["pwd"]


async def test_without_a_resource_it_is_for_us(browser: Browser, client: RelyingParty, alice: User) -> None:
    """RFC 9068 section 3: a default audience."""
    tokens = await client.tokens(browser, alice.email)
    assert (await _read(client, tokens["access_token"]))["aud"] == client.issuer


@pytest.fixture
async def tally(make_client: MakeClient) -> RelyingParty:
    """A service with scopes of two APIs, and one that belongs to none. The server knows of them."""
    name = secrets.token_hex(4)
    scope = [f"{name}:{end}" for end in ("one", "two", "both", "none")]
    for api, own in (("one", scope[0]), ("two", scope[1])):
        await register_resource_server(f"https://{api}.{name}.example.com", api, scope=f"{own} {scope[2]} email")
    service = await make_client(**SERVICE | {"scope": " ".join(scope)})
    async with asyncio.timeout(30):
        while (await _issue(service, [f"https://two.{name}.example.com"])).status_code != 200:
            await asyncio.sleep(0.02)
    return service


@pytest.mark.fault(37)
async def test_the_scope_chooses_the_audience(tally: RelyingParty) -> None:
    """RFC 9068 section 3. Only if it can mean one API; a `resource` has precedence."""
    one, two, both, none = tally.scope.split()
    apis = [f"https://{api}.{one.partition(':')[0]}.example.com" for api in ("one", "two")]
    for scope, audience in (
        ([one], apis[0]),
        ([two], apis[1]),
        ([one, both], apis[0]),
        ([two, both, none], apis[1]),
        ([both], tally.issuer),
        ([one, two], tally.issuer),
        ([none], tally.issuer),
        ([one, two, both, none], tally.issuer),
    ):
        body = (await tally.post("/token", grant_type="client_credentials", scope=" ".join(scope))).json()
        assert (await _read(tally, body["access_token"]))["aud"] == audience, scope
    named = await tally.post("/token", grant_type="client_credentials", scope=one, resource=apis[1])
    assert (await _read(tally, named.json()["access_token"]))["aud"] == apis[1]


@pytest.mark.fault(37)
async def test_a_persons_scope_chooses_it_too(
    browser: Browser, make_client: MakeClient, alice: User, tally: RelyingParty
) -> None:
    """At the authorization request, too: the consent page shows it, and tokens may be limited to it."""
    scope = tally.scope.split()[0]
    api = f"https://one.{scope.partition(':')[0]}.example.com"
    party = await make_client(scope=f"openid {scope}")
    code = await party.sign_in(browser, alice.email)
    tokens = (await party.redeem(code, resource=api)).json()
    assert (await _read(party, tokens["access_token"]))["aud"] == [api, party.issuer]
    refreshed = (await party.refresh(tokens["refresh_token"])).json()
    assert (await _read(party, refreshed["access_token"]))["aud"] == [api, party.issuer]
    answer = await party.authorize(browser, resource=api, prompt="none")
    assert "code" in answer.parameters
    # A standard scope belongs to no resource server, even if one lists it.
    email = await make_client(scope="openid email")
    assert (await _read(email, (await email.tokens(browser, alice.email))["access_token"]))["aud"] == email.issuer


@pytest.mark.fault(37)
async def test_without_scope_the_scopes_of_the_client(
    browser: Browser, make_client: MakeClient, alice: User, tally: RelyingParty
) -> None:
    """RFC 6749 section 3.3: a default. `offline_access` must be requested by name."""
    party = await make_client(scope=f"openid email offline_access {tally.scope.split()[0]}")
    tokens = await party.tokens(browser, alice.email, scope=None)
    assert tokens["scope"] == f"openid email {tally.scope.split()[0]}"
    assert "id_token" in tokens


@pytest.mark.fault(33)
async def test_a_validator_that_refuses_at_jwt(browser: Browser, make_client: MakeClient, alice: User) -> None:
    """Its tokens have the type JWT, and are access tokens: neither kind is accepted as the other."""
    name = secrets.token_hex(4)
    api = f"https://plain.{name}.example.com"
    await register_resource_server(api, "Plain", scope=f"{name}:read", access_token_type="JWT")
    party = await make_client(scope=f"openid email {name}:read")
    tokens = await party.tokens(browser, alice.email)
    token = tokens["access_token"]
    assert jwt.get_unverified_header(token)["typ"] == "JWT"
    claims = jwt.decode(token, options={"verify_signature": False})
    assert claims["aud"] == [api, party.issuer]
    assert (await party.introspect(token))["aud"] == [api, party.issuer]
    assert (await party.userinfo(token)).json()["email"] == alice.email
    # An ID token is not an access token, and an access token is not a hint.
    assert (await party.userinfo(tokens["id_token"])).status_code == 401
    assert await party.introspect(tokens["id_token"]) == {"active": False}
    answer = await party.authorize(browser, id_token_hint=token, prompt="none")
    assert "code" not in answer.parameters
    page = await browser.get("/logout", id_token_hint=token)
    assert isinstance(page, Page)
    assert "logout-done" not in page.ids
    assert (await party.post("/revoke", token=token)).status_code == 200
    assert (await party.userinfo(token)).status_code == 401


async def test_a_service_names_its_resources(service: RelyingParty, apis: list[str]) -> None:
    one, two = apis
    for asked, audience, alg in (
        ([one], one, "RS256"),
        ([two], two, "ES256"),
        ([one, two], [one, two], "RS256"),
        ([one, one], one, "RS256"),
    ):
        body = (await _issue(service, asked)).json()
        claims = await _read(service, body["access_token"], alg)
        assert claims["aud"] == audience
        assert (await service.introspect(body["access_token"]))["aud"] == audience


async def test_a_person_is_signed_in_for_a_resource(
    browser: Browser, make_client: MakeClient, alice: User, apis: list[str]
) -> None:
    """With OpenID Connect the token opens userinfo as well, so that is one of its audiences, and else it is not."""
    one, _ = apis
    party = await make_client(scope="openid email read")
    openid = await party.tokens(browser, alice.email, scope="openid read", resource=one)
    assert (await _read(party, openid["access_token"]))["aud"] == [one, party.issuer]
    assert (await party.userinfo(openid["access_token"])).status_code == 200
    oauth = await party.tokens(browser, alice.email, scope="read", resource=one)
    assert (await _read(party, oauth["access_token"]))["aud"] == one
    assert (await party.userinfo(oauth["access_token"])).status_code == 403


async def test_refreshing_keeps_the_resources(
    browser: Browser, make_client: MakeClient, alice: User, apis: list[str]
) -> None:
    party = await make_client(scope="read")
    tokens = await party.tokens(browser, alice.email, resource=apis)
    for _ in range(2):
        assert (await _read(party, tokens["access_token"]))["aud"] == apis
        tokens = (await party.refresh(tokens["refresh_token"])).json()


async def test_a_token_for_one_of_the_resources(
    browser: Browser, make_client: MakeClient, alice: User, apis: list[str]
) -> None:
    """RFC 8707 section 2.2: each access token for one of those granted, so that no API can use it at another."""
    one, two = apis
    party = await make_client(scope="openid read")
    code = await party.sign_in(browser, alice.email, scope="read", resource=apis)
    first = (await party.redeem(code, resource=one)).json()
    assert (await _read(party, first["access_token"]))["aud"] == one
    second = (await party.refresh(first["refresh_token"], resource=two)).json()
    assert (await _read(party, second["access_token"], "ES256"))["aud"] == two
    again = (await party.refresh(first["refresh_token"], resource=two)).json()
    assert again["refresh_token"] == second["refresh_token"]
    assert (await _read(party, again["access_token"], "ES256"))["aud"] == two
    whole = (await party.refresh(second["refresh_token"])).json()
    assert (await _read(party, whole["access_token"]))["aud"] == apis


async def test_a_resource_that_was_not_granted(
    browser: Browser, make_client: MakeClient, alice: User, apis: list[str]
) -> None:
    """The request is refused, and consumes neither the code nor the refresh token."""
    one, two = apis
    party = await make_client(scope="read")
    code = await party.sign_in(browser, alice.email, resource=one)
    for resource in (two, apis, *UNKNOWN):
        refused = await party.redeem(code, resource=resource)
        assert (refused.status_code, refused.json()["error"]) == (400, "invalid_target")
    token = (await party.redeem(code)).json()["refresh_token"]
    for resource in (two, apis, *UNKNOWN):
        refused = await party.refresh(token, resource=resource)
        assert (refused.status_code, refused.json()["error"]) == (400, "invalid_target")
    assert (await party.refresh(token, resource=one)).status_code == 200


async def test_a_used_code_is_one_whatever_it_is_used_for(
    browser: Browser, make_client: MakeClient, alice: User, apis: list[str]
) -> None:
    """To name a resource is no way round the detection of a replay."""
    party = await make_client(scope="read")
    code = await party.sign_in(browser, alice.email, resource=apis[0])
    token = (await party.redeem(code)).json()["refresh_token"]
    assert (await party.redeem(code, resource=apis[1])).json()["error"] == "invalid_grant"
    assert (await party.refresh(token)).status_code == 400


@pytest.mark.parametrize("resource", UNKNOWN)
async def test_a_resource_that_is_not_registered(
    browser: Browser, make_client: MakeClient, service: RelyingParty, apis: list[str], resource: str
) -> None:
    refused = await _issue(service, [apis[0], resource])
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_target")
    party = await make_client(scope="read")
    answer = await party.authorize(browser, resource=f"{apis[0]} {resource}")
    assert isinstance(answer, Redirect)
    assert answer.parameters["error"] == "invalid_target"


async def test_a_new_resource_needs_consent(
    browser: Browser, make_client: MakeClient, alice: User, apis: list[str]
) -> None:
    one, two = apis
    party = await make_client(scope="read")
    await party.sign_in(browser, alice.email, resource=one)
    known, new = [await party.authorize(browser, resource=resource, prompt="none") for resource in (one, two)]
    assert "code" in known.parameters
    assert new.parameters["error"] == "consent_required"
