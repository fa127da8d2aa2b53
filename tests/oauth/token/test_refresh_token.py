"""Refresh tokens: rotated on every use, the same successor during the grace period, reuse detection after it."""

import asyncio
from collections.abc import Callable

import pytest

from idp import ids
from idp.accounts.tables import User
from idp.infra.db.engine import execute, fetchrow
from idp.keys import jose, vault
from idp.keys.key_set import key_set
from tests.conftest import MakeClient
from tests.support.browser import Browser
from tests.support.mailbox import Mailbox
from tests.support.oauth import RelyingParty
from tests.support.proxy import proxy_to
from tests.support.server import Server
from tests.support.tokens import decode, encode, jti_of

#: The grace time is 10 seconds, and a successor that was never used is given out again for 120: within the first, and
#: past both.
WITHIN, PAST = 8, 121


async def _age_rotation(token: str, seconds: int) -> None:
    aged = await execute(
        "UPDATE refresh_token SET rotated_at = rotated_at - make_interval(secs => $2) WHERE jti = $1",
        jti_of(token),
        seconds,
    )
    assert aged == 1


async def _family(token: str) -> dict[str, object]:
    row = await fetchrow(
        "SELECT f.* FROM token_family AS f JOIN refresh_token AS r ON r.family_id = f.id WHERE r.jti = $1",
        jti_of(token),
    )
    assert row is not None
    return dict(row)


def _claims(token: str) -> dict[str, object]:
    return jose.verify(token, key_set.verification(), typ=None)


async def test_a_use_yields_a_successor_and_new_tokens(browser: Browser, client: RelyingParty, alice: User) -> None:
    """OpenID Connect Core section 12.2: the new ID token speaks of the same sign-in."""
    first = await client.tokens(browser, alice.email)
    response = await client.refresh(first["refresh_token"])
    assert response.headers["cache-control"] == "no-store"
    second = response.json()
    assert second["refresh_token"] != first["refresh_token"]
    assert second["scope"] == first["scope"]
    before, after = _claims(first["id_token"]), _claims(second["id_token"])
    for name in ("iss", "sub", "aud", "auth_time", "sid", "acr", "amr"):
        assert before[name] == after[name]
    assert before["iat"] <= after["iat"]
    assert before["jti"] != after["jti"]
    assert "nonce" not in after
    assert after["at_hash"] == jose.left_half_hash(second["access_token"], "RS256")
    assert (await client.userinfo(second["access_token"])).json()["sub"] == str(alice.id)


async def test_only_hashes_are_stored(browser: Browser, client: RelyingParty, alice: User) -> None:
    token = (await client.tokens(browser, alice.email))["refresh_token"]
    row = await fetchrow("SELECT * FROM refresh_token WHERE jti = $1", jti_of(token))
    assert row is not None
    assert row["token_hash"] == ids.digest(token)
    assert token not in str(dict(row))


async def test_within_the_grace_time_the_same_successor(browser: Browser, client: RelyingParty, alice: User) -> None:
    first = (await client.tokens(browser, alice.email))["refresh_token"]
    answers = [(await client.refresh(first)).json() for _ in range(3)]
    await _age_rotation(first, WITHIN)
    answers.append((await client.refresh(first)).json())
    assert len({answer["refresh_token"] for answer in answers}) == 1
    assert len({answer["access_token"] for answer in answers}) == 4
    assert (await client.refresh(answers[0]["refresh_token"])).status_code == 200


async def test_after_that_time_the_family_ends(
    browser: Browser, client: RelyingParty, alice: User, mailbox: Mailbox
) -> None:
    """Every token of the family is refused, the audit trail has the reason, and the user is notified."""
    first = await client.tokens(browser, alice.email)
    second = (await client.refresh(first["refresh_token"])).json()
    await _age_rotation(first["refresh_token"], PAST)

    reused = await client.refresh(first["refresh_token"])
    assert (reused.status_code, reused.json()["error"]) == (400, "invalid_grant")
    assert (await client.refresh(second["refresh_token"])).status_code == 400
    for token in (first["access_token"], second["access_token"], second["refresh_token"]):
        assert await client.introspect(token) == {"active": False}
    for token in (first["access_token"], second["access_token"]):
        assert (await client.userinfo(token)).status_code == 401

    event = await fetchrow(
        "SELECT event, client_id, detail->>'reason' AS reason FROM audit_event"
        " WHERE user_id = $1 AND event = 'token_family_revoked' ORDER BY at DESC LIMIT 1",
        alice.id,
    )
    assert event is not None
    assert dict(event) == {
        "event": "token_family_revoked",
        "client_id": client.client_id,
        "reason": "refresh_token_reuse",
    }
    assert (await mailbox.next(alice.email)).text.startswith("Hello Alice Example,")


async def test_the_end_of_a_family_leaves_others_alone(browser: Browser, client: RelyingParty, alice: User) -> None:
    reused = (await client.tokens(browser, alice.email))["refresh_token"]
    other = (await client.tokens(browser, alice.email))["refresh_token"]
    await client.refresh(reused)
    await _age_rotation(reused, PAST)
    await client.refresh(reused)
    assert (await client.refresh(other)).status_code == 200


async def test_another_clients_token(
    browser: Browser, client: RelyingParty, make_client: MakeClient, alice: User
) -> None:
    """It is refused without any effect: before its use, within the grace period and after it."""
    token = (await client.tokens(browser, alice.email))["refresh_token"]
    thief = await make_client()

    async def steal() -> None:
        response = await thief.refresh(token)
        assert (response.status_code, response.json()["error"]) == (400, "invalid_grant")

    await steal()
    successor = (await client.refresh(token)).json()["refresh_token"]
    await steal()
    await _age_rotation(token, PAST)
    await steal()
    assert (await client.refresh(successor)).status_code == 200


async def test_narrowing_the_scope(browser: Browser, client: RelyingParty, alice: User) -> None:
    """A narrower scope is for the new access token alone; a wider one is refused and costs nothing."""
    token = (await client.tokens(browser, alice.email))["refresh_token"]
    wider = await client.refresh(token, scope="openid phone")
    assert (wider.status_code, wider.json()["error"]) == (400, "invalid_scope")
    narrower = (await client.refresh(token, scope="profile")).json()
    assert narrower["scope"] == "profile"
    assert "id_token" not in narrower
    assert _claims(narrower["access_token"])["scope"] == "profile"
    assert (await client.refresh(narrower["refresh_token"])).json()["scope"] == "openid profile email"


@pytest.mark.parametrize(("scope", "survives"), [("openid", False), ("openid offline_access", True)])
async def test_signing_out(browser: Browser, make_client: MakeClient, alice: User, scope: str, survives: bool) -> None:
    """Only with offline_access does a refresh token outlive its session, in its grace time too."""
    party = await make_client(scope="openid offline_access")
    tokens = await party.tokens(browser, alice.email, scope=scope)
    used = tokens["refresh_token"]
    tokens |= (await party.refresh(used)).json()
    await browser.get("/logout", id_token_hint=tokens["id_token"])
    for token in (used, tokens["refresh_token"]):
        assert (await party.refresh(token)).status_code == (200 if survives else 400)
    assert (await party.introspect(tokens["access_token"]))["active"] is survives


async def test_refreshing_does_not_prolong_the_family(browser: Browser, client: RelyingParty, alice: User) -> None:
    """Each token lives for its own time, and no chain of them longer than 90 days from the sign-in."""
    first = (await client.tokens(browser, alice.email))["refresh_token"]
    before = await _family(first)
    second = (await client.refresh(first)).json()["refresh_token"]
    assert await _family(second) == before
    assert round((before["expires_at"] - before["created_at"]).total_seconds() / 86400, 3) == 90
    for token in (first, second):
        claims = decode(token.split(".")[1])
        assert claims["exp"] - claims["iat"] == 14 * 86400


async def test_a_client_without_the_grant_gets_none(browser: Browser, make_client: MakeClient, alice: User) -> None:
    party = await make_client(grant_types=["authorization_code"])
    tokens = await party.tokens(browser, alice.email)
    assert "refresh_token" not in tokens
    assert (await party.refresh("anything")).json()["error"] == "unauthorized_client"


async def test_a_restart_changes_nothing(
    start_server: Callable[..., Server], browser: Browser, client: RelyingParty, alice: User, server: Server
) -> None:
    """The same as attack row 13 (tests/attacks/README.md): a server that has just started knows earlier rotations."""
    first = (await client.tokens(browser, alice.email))["refresh_token"]
    second = (await client.refresh(first)).json()["refresh_token"]
    fresh = await asyncio.to_thread(start_server, IDP_ISSUER=server.issuer)
    client.issuer = fresh.url
    assert (await client.refresh(first)).json()["refresh_token"] == second
    third = (await client.refresh(second)).json()["refresh_token"]
    await _age_rotation(first, PAST)
    assert (await client.refresh(first)).status_code == 400
    assert (await client.refresh(third)).status_code == 400


def _forgeries(tokens: dict[str, str]) -> dict[str, str]:
    """Return strings that are similar to a refresh token; each has one defect."""
    real = tokens["refresh_token"]
    header, payload, signature = real.split(".")
    claims = decode(payload)
    key = key_set.signing("RS256")
    without = encode({"alg": "none", "typ": "rt+jwt"})
    return {
        "without its signature": f"{header}.{payload}.",
        "with another signature": f"{header}.{payload}.{'A' * 43}",
        "cut short": real[:-1],
        "for another time": f"{header}.{encode(claims | {'exp': claims['exp'] + 1})}.{signature}",
        "HS256 by another key": jose.sign_symmetric(b"x" * 32, "rt+jwt", claims),
        "HS256 by our public key": jose.sign_symmetric(key.public_jwk["n"].encode(), "rt+jwt", claims),
        "RS256 by our private key": jose.sign(key, "rt+jwt", claims),
        "alg none": f"{without}.{payload}.",
        "alg none, signed": f"{without}.{payload}.{signature}",
        "the access token": tokens["access_token"],
        "the ID token": tokens["id_token"],
        "by our own key, with another sealed part": jose.sign_symmetric(
            vault.derive("refresh-token"), "rt+jwt", claims | {"sealed_user": claims["sealed_user"][::-1]}
        ),
        "only its id": claims["jti"],
        "garbage": "garbage",
    }


async def test_a_forged_token_costs_no_query(
    dsn: str, start_server: Callable[..., Server], client: RelyingParty, browser: Browser, alice: User
) -> None:
    """The database answers nothing any more: the forgeries are refused all the same, and only the real one waits."""
    tokens = await client.tokens(browser, alice.email)
    async with proxy_to(dsn) as proxy:
        server = await asyncio.to_thread(start_server, IDP_DATABASE_URL=proxy.dsn)
        client.issuer = server.issuer
        proxy.withhold = True
        for name, token in _forgeries(tokens).items():
            async with asyncio.timeout(20):
                response = await client.refresh(token)
            assert (response.status_code, response.json()["error"]) == (400, "invalid_grant"), name
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await client.refresh(tokens["refresh_token"])
