"""Identity assertions for other servers (draft-ietf-oauth-identity-assertion-authz-grant)."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from idp.accounts.tables import User
from idp.errors import DomainError
from idp.infra.db.engine import fetch
from idp.keys import jose
from idp.keys.key_set import key_set
from idp.oauth import sign_out, subjects
from idp.oauth.clients.registration import UnknownClientError, register_client
from idp.oauth.clients.repository import find_client
from idp.oauth.clients.service import delete_client
from idp.oauth.exchange.token_types import ACCESS_TOKEN, PREFIX
from idp.oauth.id_jag import registration
from idp.oauth.id_jag.repository import policies
from idp.oauth.token import id_jag, token_exchange
from idp.settings import settings
from tests.conftest import MakeClient, MakeUser
from tests.support.browser import Browser
from tests.support.enterprise import SCOPE, Enterprise, enterprise
from tests.support.postgres import Cluster
from tests.support.server import Server
from tests.support.tokens import claims_of, decode

GRANTS = ["authorization_code", "refresh_token", token_exchange.GRANT_TYPE]
AUDIENCE = "https://login.notes.example"


@pytest.fixture
async def alice(make_user: MakeUser) -> User:
    """A user with a verified address."""
    return await make_user(email_verified=True)


@pytest.fixture
async def two(
    make_client: MakeClient, alice: User, cluster: Cluster, template: str, tmp_path: Path
) -> AsyncIterator[Enterprise]:
    """Two servers with a client and a person at both."""
    here = await make_client(client_name="Agent", grant_types=GRANTS)
    async with enterprise(here, alice, await cluster.create_database(template), tmp_path) as made:
        yield made


@pytest.fixture
async def agent(make_client: MakeClient, alice: User) -> AsyncIterator[Enterprise]:
    """A client that may exchange, and a way to give it policies."""
    here = await make_client(client_name="Agent", grant_types=GRANTS)
    yield Enterprise(here, here, alice, "https://api.notes.example", None)
    for policy in await policies():
        if policy.client_id == here.client_id:
            await registration.remove(policy.id)


async def allow(agent: Enterprise, id_token: str, **values: Any) -> Any:
    """Add a policy, and wait until the server knows it. Returns the assertion of a plain request."""
    given = {"audience": AUDIENCE, "audience_client_id": "agent-there", "resources": [agent.resource], "scope": SCOPE}
    added = await registration.add(agent.here.client_id, **(given | values))
    agent.policy = added.id
    async with asyncio.timeout(30):
        while (answer := await agent.exchange(id_token, audience=AUDIENCE)).json().get("error") == "invalid_target":
            await asyncio.sleep(0.02)
    return answer


def _verified(answer: Any) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    return jose.verify(answer.json()["access_token"], key_set.verification(), typ="oauth-id-jag+jwt")


async def test_from_one_server_to_the_other(two: Enterprise, alice: User, browser: Browser) -> None:
    """Sign in once; the other server knows the person without a page."""
    tokens = await two.here.tokens(browser, alice.email)
    async with asyncio.timeout(30):
        while (answer := await two.exchange(tokens["id_token"], resource=two.resource)).status_code != 200:
            await asyncio.sleep(0.02)
    assert answer.headers["cache-control"] == "no-store"
    body = answer.json()
    assert set(body) == {"access_token", "issued_token_type", "token_type", "expires_in", "scope"}
    assert (body["issued_token_type"], body["token_type"], body["expires_in"]) == (id_jag.TOKEN_TYPE, "N_A", 300)
    assertion = body["access_token"]
    assert decode(assertion.split(".")[0])["typ"] == "oauth-id-jag+jwt"
    got = await two.present(assertion, resource=two.resource, scope="notes:read")
    assert (got.status_code, got.json()["scope"]) == (200, "notes:read")
    claims = claims_of(got.json()["access_token"])
    assert (claims["iss"], claims["aud"]) == (two.there.issuer, two.resource)
    assert (claims["sub"], claims["client_id"]) == (str(two.person.id), two.there.client_id)
    assert claims["auth_time"] == claims_of(tokens["id_token"])["auth_time"]
    assert (await two.there.introspect(got.json()["access_token"]))["active"] is True
    assert (await two.present(assertion)).json()["error"] == "invalid_grant"
    metadata = (await two.here.http.get(f"{two.there.issuer}/.well-known/oauth-authorization-server")).json()
    assert metadata["authorization_grant_profiles_supported"] == ["urn:ietf:params:oauth:grant-profile:id-jag"]
    metadata = (await two.here.http.get(f"{two.here.issuer}/.well-known/oauth-authorization-server")).json()
    assert metadata["identity_chaining_requested_token_types_supported"] == [id_jag.TOKEN_TYPE]


async def test_what_the_other_server_refuses(two: Enterprise, alice: User, browser: Browser) -> None:
    """An ID token is no identity assertion, and an assertion for one server is none for another, nor for its issuer."""
    tokens = await two.here.tokens(browser, alice.email)
    async with asyncio.timeout(30):
        while (answer := await two.exchange(tokens["id_token"])).status_code != 200:
            await asyncio.sleep(0.02)
    assertion = answer.json()["access_token"]
    for wrong in (tokens["id_token"], tokens["access_token"], tokens["refresh_token"]):
        assert (await two.present(wrong)).json()["error"] == "invalid_grant"
    assert (await two.here.userinfo(assertion)).status_code == 401
    assert await two.here.introspect(assertion) == {"active": False}
    assert (await two.exchange(assertion)).json()["error"] == "invalid_request"
    assert (await two.present(assertion, scope="admin:users:write")).json()["error"] == "invalid_scope"
    assert (await two.present(assertion, resource="https://other.example")).json()["error"] == "invalid_target"
    assert (await two.present(assertion)).status_code == 200


async def test_the_claims(agent: Enterprise, alice: User, browser: Browser) -> None:
    tokens = await agent.here.tokens(browser, alice.email)
    assert (await agent.exchange(tokens["id_token"], audience=AUDIENCE)).json()["error"] == "invalid_target"
    claims = _verified(await allow(agent, tokens["id_token"], email=True))
    now, id_token = int(time.time()), claims_of(tokens["id_token"])
    assert abs(claims.pop("iat") - now) < 60
    assert abs(claims.pop("exp") - now - 300) < 60
    assert len(claims.pop("jti")) == 22
    assert claims == {
        "iss": agent.here.issuer, "sub": str(alice.id), "aud": AUDIENCE, "client_id": "agent-there",
        "resource": agent.resource, "scope": SCOPE, "email": alice.email, "email_verified": True,
        **{name: id_token[name] for name in ("auth_time", "acr", "amr")},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "scope", "resource"),
    [
        ({}, SCOPE, "api"),
        ({"scope": "notes:read"}, "notes:read", "api"),
        ({"scope": "notes:read notes:delete"}, "notes:read", "api"),
        ({"scope": "notes:delete"}, "invalid_scope", None),
        ({"resource": "https://API.notes.example/"}, SCOPE, "api"),
        ({"resource": "https://other.example"}, "invalid_target", None),
        ({"audience": f"{AUDIENCE}/"}, SCOPE, "api"),
        ({"audience": "https://login.other.example"}, "invalid_target", None),
        ({"audience": f"{AUDIENCE} https://login.other.example"}, "invalid_request", None),
        ({"audience": None}, "invalid_request", None),
        ({"authorization_details": '[{"type": "x"}]'}, "invalid_authorization_details", None),
        ({"actor_token": "x", "actor_token_type": ACCESS_TOKEN}, "invalid_request", None),
        ({"subject_token": None}, "invalid_request", None),
        ({"subject_token": "x" * 20_000}, "invalid_request", None),
        ({"subject_token_type": f"{PREFIX}saml2"}, "invalid_request", None),
        ({"subject_token_type": ACCESS_TOKEN}, "invalid_request", None),
        ({"subject_token_type": f"{PREFIX}refresh_token"}, "invalid_request", None),
        ({"requested_token_type": f"{PREFIX}saml2"}, "invalid_request", None),
    ],
    ids=str,
)
async def test_requests(
    agent: Enterprise, alice: User, browser: Browser, asked: dict[str, str | None], scope: str, resource: str | None
) -> None:
    tokens = await agent.here.tokens(browser, alice.email)
    await allow(agent, tokens["id_token"])
    answer = await agent.exchange(tokens["id_token"], **({"audience": AUDIENCE} | asked))
    if resource is None:
        assert (answer.status_code, answer.json()["error"]) == (400, scope), answer.text
        return
    claims = _verified(answer)
    assert (claims["scope"], claims["resource"], claims["aud"]) == (scope, agent.resource, AUDIENCE)
    assert answer.json()["scope"] == scope


async def test_saml_is_refused_by_name(agent: Enterprise, alice: User, browser: Browser) -> None:
    answer = await agent.exchange("PHNhbWw+", subject_token_type=f"{PREFIX}saml2", audience=AUDIENCE)
    assert answer.json()["error_description"].startswith("SAML assertions are not supported")


async def test_the_id_token_of_another_client(
    agent: Enterprise, alice: User, browser: Browser, make_client: MakeClient
) -> None:
    """It was meant for that client, which may be malicious or careless (section 4.3.3)."""
    other = await make_client()
    stolen = (await other.tokens(browser, alice.email))["id_token"]
    own = (await agent.here.tokens(browser, alice.email))["id_token"]
    await allow(agent, own)
    answer = await agent.exchange(stolen, audience=AUDIENCE)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


async def test_whom_a_policy_is_for(agent: Enterprise, alice: User, browser: Browser) -> None:
    tokens = await agent.here.tokens(browser, alice.email)
    for values, allowed in (
        ({"user_ids": [str(alice.id)]}, True),
        ({"user_ids": ["00000000-0000-7000-8000-000000000000"]}, False),
        ({"email_domains": ["Example.com"]}, True),
        ({"email_domains": ["corp.example"]}, False),
    ):
        there, marker = {"audience_client_id": "agent-there"}, f"https://{secrets.token_hex(4)}.example"
        added = await registration.add(agent.here.client_id, audience=AUDIENCE, **there, **values)
        await registration.add(agent.here.client_id, audience=marker, **there)
        async with asyncio.timeout(30):
            while (await agent.exchange(tokens["id_token"], audience=marker)).status_code != 200:
                await asyncio.sleep(0.02)
        answer = await agent.exchange(tokens["id_token"], audience=AUDIENCE)
        assert (answer.status_code == 200) is allowed, values
        await registration.remove(added.id)


async def test_a_higher_level(agent: Enterprise, alice: User, browser: Browser) -> None:
    tokens = await agent.here.tokens(browser, alice.email)
    answer = await allow(agent, tokens["id_token"], acr="2")
    assert (answer.status_code, answer.json()["error"]) == (400, "insufficient_user_authentication")


async def test_the_subject_for_the_relying_party(
    agent: Enterprise, alice: User, browser: Browser, make_client: MakeClient
) -> None:
    """The other server knows a user by the pairwise ``sub`` with which it signs users in here."""
    login = await make_client(subject_type="pairwise", redirect_uris=["https://login.notes.example/callback"])
    tokens = await agent.here.tokens(browser, alice.email)
    claims = _verified(await allow(agent, tokens["id_token"], relying_party=login.client_id))
    client = await find_client(login.client_id)
    assert client is not None
    assert claims["sub"] == subjects.subject(client, alice.id) != str(alice.id)
    await delete_client(login.client_id)
    assert [policy for policy in await policies() if policy.client_id == agent.here.client_id] == []


async def test_it_ends_with_the_session(agent: Enterprise, alice: User, browser: Browser) -> None:
    tokens = await agent.here.tokens(browser, alice.email)
    await allow(agent, tokens["id_token"])
    await sign_out.sign_out_everywhere(alice.id, "signed_out_by_user")
    answer = await agent.exchange(tokens["id_token"], audience=AUDIENCE)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


async def test_both_parties_are_in_the_trail(agent: Enterprise, alice: User, browser: Browser) -> None:
    tokens = await agent.here.tokens(browser, alice.email)
    claims = _verified(await allow(agent, tokens["id_token"]))
    await agent.exchange(tokens["id_token"], audience="https://login.other.example")
    statement = "SELECT user_id, outcome, detail FROM audit_event WHERE client_id = $1 AND event = $2"
    async with asyncio.timeout(30):
        while not (issued := await fetch(statement, agent.here.client_id, "id_jag_issued")):
            await asyncio.sleep(0.05)
        while not (refused := await fetch(statement, agent.here.client_id, "token_exchange_refused")):
            await asyncio.sleep(0.05)
    assert (issued[-1]["user_id"], refused[-1]["user_id"]) == (alice.id, alice.id)
    assert '"no_policy"' in refused[-1]["detail"]
    for text in (claims["jti"], AUDIENCE, "agent-there", str(agent.policy), str(alice.id)):
        assert text in issued[-1]["detail"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"audience": "login.notes.example"},
        {"audience": "http://login.notes.example"},
        {"audience": settings().issuer},
        {"audience_client_id": ""},
        {"audience_client_id": "a\nb"},
        {"audience_client_id": "x" * 501},
        {"resources": ["notes"]},
        {"resources": [f"https://a.example/{number}" for number in range(101)]},
        {"scope": "two  spaces"},
        {"email_domains": ["*"]},
        {"acr": "3"},
        {"user_ids": ["x"]},
        {"relying_party": "none-such"},
        {"email": "yes"},
    ],
    ids=str,
)
async def test_policies_that_are_refused(db: str, wrong: dict[str, Any]) -> None:
    client, _ = await register_client(client_name="Agent", grant_types=GRANTS, redirect_uris=["https://a.example/cb"])
    values = {"audience": AUDIENCE, "audience_client_id": "agent"}
    with pytest.raises((registration.InvalidIdJagPolicyError, UnknownClientError)):
        await registration.add(client.client_id, **(values | wrong))
    added = await registration.add(client.client_id, **values)
    await registration.remove(added.id)
    with pytest.raises(registration.UnknownIdJagPolicyError):
        await registration.remove(added.id)
    with pytest.raises(DomainError):
        await registration.add("none-such", **values)
    await delete_client(client.client_id)


async def test_off_with_token_exchange(agent: Enterprise, start_server: Any) -> None:
    off: Server = start_server(IDP_TOKEN_EXCHANGE="false")
    metadata = (await agent.here.http.get(f"{off.issuer}/.well-known/openid-configuration")).json()
    assert "identity_chaining_requested_token_types_supported" not in metadata
    assert token_exchange.GRANT_TYPE not in metadata["grant_types_supported"]
