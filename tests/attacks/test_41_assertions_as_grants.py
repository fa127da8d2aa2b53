"""Tokens of trusted issuers as grants: replayed, of another kind, for another client, and forged.

The claims one by one are in tests/oauth/issuers/test_verification.py, what a token gives in
tests/oauth/token/test_jwt_bearer.py.
"""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace

import pytest

from idp.accounts.tables import User
from idp.infra.db.engine import fetch
from idp.oauth.clients.registration import disable_client
from idp.oauth.issuers import registration
from idp.oauth.token.jwt_bearer import GRANT_TYPE
from tests.conftest import MakeClient, MakeUser
from tests.support.assertions import ClientKeys, form
from tests.support.browser import Browser
from tests.support.grants import Grants, grants
from tests.support.issuers import TrustedIssuer
from tests.support.server import Server
from tests.support.tokens import hmac_signed, unsigned


@pytest.fixture(scope="module")
def issuer() -> Iterator[TrustedIssuer]:
    issuer = TrustedIssuer()
    yield issuer
    issuer.stop()


@pytest.fixture
async def wiki(make_client: MakeClient, issuer: TrustedIssuer, alice: User) -> AsyncIterator[Grants]:
    party = await make_client(
        grant_types=[GRANT_TYPE, "authorization_code"], scope="openid email orders:read orders:write"
    )
    made = await grants(party, issuer, alice)
    yield made
    await registration.remove(made.id)


async def _refused(wiki: Grants, assertion: str) -> None:
    before = await fetch("SELECT count(*) FROM token_family WHERE user_id = $1", wiki.user.id)
    response = await wiki.present(assertion)
    assert (response.status_code, response.json()["error"]) == (400, "invalid_grant")
    assert response.json()["error_description"].startswith("The assertion is not valid for this client")
    assert await fetch("SELECT count(*) FROM token_family WHERE user_id = $1", wiki.user.id) == before


async def test_41_one_assertion_at_two_servers(wiki: Grants, start_server: Callable[..., Server]) -> None:
    """They share a database. Each assertion gives one token, whichever server is asked first."""
    second = start_server(IDP_ISSUER=wiki.party.issuer, IDP_JWT_BEARER="true")
    there = replace(wiki, party=replace(wiki.party, issuer=second.url))
    for _ in range(5):
        assertion = wiki.assertion()
        answers = await asyncio.gather(*(each.present(assertion) for each in (wiki, there, wiki, there)))
        assert sorted(answer.status_code for answer in answers) == [200, 400, 400, 400]


async def test_41_tokens_of_another_kind(wiki: Grants, browser: Browser) -> None:
    """An ID token of the issuer for its own client, our own tokens, and a client assertion are no grants; nor is an
    identity assertion a plain one.
    """
    now = int(time.time())
    id_token = {"aud": "wiki-at-the-issuer", "nonce": "n", "auth_time": now, "email": wiki.user.email}
    await _refused(wiki, wiki.assertion(**id_token))
    await _refused(wiki, wiki.assertion("oauth-id-jag+jwt", **id_token, client_id=wiki.party.client_id))
    for typ in ("at+jwt", "logout+jwt", "dpop+jwt", "oauth-authz-req+jwt", "rt+jwt", "client-authentication+jwt"):
        await _refused(wiki, wiki.assertion(typ))
    ours = await wiki.party.tokens(browser, wiki.user.email)
    await _refused(wiki, ours["id_token"])
    await _refused(wiki, ours["access_token"])
    await _refused(wiki, ClientKeys().assertion(wiki.party.client_id, aud=wiki.party.issuer))


async def test_41_a_grant_is_nothing_else(wiki: Grants) -> None:
    """It opens no resource, and does not authenticate its client."""
    for assertion in (wiki.assertion(), wiki.id_jag()):
        assert (await wiki.party.userinfo(assertion)).status_code == 401
        assert (await wiki.party.introspect(assertion))["active"] is False
        sent = form(assertion) | {"grant_type": GRANT_TYPE, "assertion": wiki.assertion()}
        answer = await wiki.party.http.post(f"{wiki.party.issuer}/token", data=sent)
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


async def test_41_a_stolen_grant_is_of_no_use_to_another_client(wiki: Grants, make_client: MakeClient) -> None:
    """An identity assertion names its client. A plain one is for the clients of the rule."""
    thief = await make_client(grant_types=[GRANT_TYPE], redirect_uris=[], scope="orders:read")
    stolen = replace(wiki, party=thief)
    await _refused(stolen, wiki.assertion())
    await _refused(stolen, wiki.id_jag())
    await registration.update(wiki.id, clients=[wiki.party.client_id, thief.client_id])
    await stolen.until(accepted=True)
    await _refused(stolen, wiki.id_jag())
    thief.client_secret = "guessed"
    assert (await stolen.present(wiki.assertion())).json()["error"] == "invalid_client"


async def test_41_forged_grants(wiki: Grants, issuer: TrustedIssuer) -> None:
    stranger, kid = ClientKeys("RS256"), issuer.keys.keys[0].kid
    claims = {
        "iss": issuer.issuer, "sub": wiki.subject, "aud": wiki.party.issuer, "jti": secrets.token_hex(8),
        "iat": int(time.time()), "exp": int(time.time()) + 60,
    }  # fmt: skip
    header = {"alg": "none", "kid": kid, "typ": "JWT"}
    assert (await wiki.present(issuer.keys.sign(claims))).status_code == 200
    claims["jti"] = secrets.token_hex(8)
    for forged in (
        f"{unsigned(header, claims)}.",
        hmac_signed(issuer.keys.keys[0].public_jwk["n"].encode(), header | {"alg": "HS256"}, claims),
        stranger.sign(claims),
        stranger.sign(claims, kid=kid),
        stranger.sign(claims, kid=None),
        stranger.sign(claims, kid="' OR 1=1 --"),
        stranger.sign(claims, jwk=stranger.keys[0].public_jwk, kid=stranger.keys[0].kid),
        stranger.sign(claims, jku=issuer.jwks_uri, x5u="https://evil.example"),
        issuer.keys.sign(claims, crit=["b64"], b64=False),
        issuer.keys.sign(claims).rpartition(".")[0] + ".",
        issuer.keys.sign(claims | {"exp": int(time.time()) - 1}),
        issuer.keys.sign(claims | {"iat": int(time.time()) + 600}),
        issuer.keys.sign(claims | {"exp": int(time.time()) + 86400}),
    ):
        await _refused(wiki, forged)
    assert (await wiki.present(issuer.keys.sign(claims))).status_code == 200


async def test_41_an_address_that_the_issuer_did_not_verify(wiki: Grants, make_user: MakeUser) -> None:
    """Nor one outside of the domains that it vouches for."""
    victim = await make_user(email_verified=True)
    await registration.update(wiki.id, subject="email", email_domains=["example.com"])
    async with asyncio.timeout(30):
        named = {"sub": secrets.token_hex(8), "email": victim.email}
        while (await wiki.present(wiki.assertion(**named, email_verified=True))).status_code != 200:
            await asyncio.sleep(0.02)
    for changes in ({}, {"email_verified": False}, {"email_verified": "true"}, {"email_verified": 1}):
        await _refused(wiki, wiki.assertion(**(named | changes)))
    stranger = await make_user(email=f"{secrets.token_hex(6)}@other.example", email_verified=True)
    await _refused(wiki, wiki.assertion(sub="x", email=stranger.email, email_verified=True))


async def test_41_a_disabled_client_presents_nothing(wiki: Grants) -> None:
    token = await wiki.token()
    await disable_client(wiki.party.client_id)
    async with asyncio.timeout(30):
        while (await wiki.present(wiki.assertion())).json().get("error") != "invalid_client":
            await asyncio.sleep(0.02)
    assert (await wiki.party.userinfo(token)).status_code == 401
