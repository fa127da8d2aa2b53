"""Refresh tokens: rotated on every use, the same successor for a moment, the end of the family after it."""

import asyncio
from collections.abc import Callable

import pytest

from idp import ids
from idp.accounts.tables import User
from idp.db.engine import execute, fetchrow
from idp.keys import jose
from idp.keys.ring import keyring
from idp.oauth.token.mint import read_refresh_token
from tests.conftest import MakeClient
from tests.support.browser import Browser
from tests.support.oauth import RelyingParty
from tests.support.proxy import proxy_to
from tests.support.server import Server


async def _age_rotation(token: str, seconds: int) -> None:
    await execute(
        "UPDATE refresh_token SET rotated_at = rotated_at - make_interval(secs => $2) WHERE jti = $1",
        read_refresh_token(token),
        seconds,
    )


def _claims(token: str) -> dict[str, object]:
    return jose.verify(token, keyring.verification(), typ=None)


async def test_a_use_yields_a_successor_and_new_tokens(browser: Browser, client: RelyingParty, alice: User) -> None:
    first = await client.tokens(browser, alice.email)
    response = await client.refresh(first["refresh_token"])
    assert response.headers["cache-control"] == "no-store"
    second = response.json()
    assert second["refresh_token"] != first["refresh_token"]
    assert second["scope"] == first["scope"]
    before, after = _claims(first["id_token"]), _claims(second["id_token"])
    assert [before[name] for name in ("iss", "sub", "aud", "auth_time", "sid")] == [
        after[name] for name in ("iss", "sub", "aud", "auth_time", "sid")
    ]
    assert before["jti"] != after["jti"]
    assert (await client.userinfo(second["access_token"])).json()["sub"] == str(alice.id)


async def test_only_hashes_are_stored(browser: Browser, client: RelyingParty, alice: User) -> None:
    token = (await client.tokens(browser, alice.email))["refresh_token"]
    row = await fetchrow("SELECT * FROM refresh_token WHERE jti = $1", read_refresh_token(token))
    assert row is not None
    assert row["token_hash"] == ids.digest(token)
    assert token not in str(dict(row))


async def test_within_the_grace_time_the_same_successor(browser: Browser, client: RelyingParty, alice: User) -> None:
    first = (await client.tokens(browser, alice.email))["refresh_token"]
    answers = [(await client.refresh(first)).json() for _ in range(3)]
    assert len({answer["refresh_token"] for answer in answers}) == 1
    assert len({answer["access_token"] for answer in answers}) == 3
    assert (await client.refresh(answers[0]["refresh_token"])).status_code == 200


async def test_after_the_grace_time_the_family_ends(
    browser: Browser, client: RelyingParty, alice: User, server: Server
) -> None:
    """Every token of the family is refused, and the audit trail says why."""
    first = await client.tokens(browser, alice.email)
    second = (await client.refresh(first["refresh_token"])).json()
    await _age_rotation(first["refresh_token"], 11)

    reused = await client.refresh(first["refresh_token"])
    assert (reused.status_code, reused.json()["error"]) == (400, "invalid_grant")
    assert (await client.refresh(second["refresh_token"])).status_code == 400
    for token in (first["access_token"], second["access_token"], second["refresh_token"]):
        assert await client.introspect(token) == {"active": False}
    for token in (first["access_token"], second["access_token"]):
        assert (await client.userinfo(token)).status_code == 401

    event = await fetchrow(
        "SELECT event, client_id, detail->>'reason' AS reason FROM audit_event"
        " WHERE user_id = $1 ORDER BY at DESC LIMIT 1",
        alice.id,
    )
    assert dict(event) == {
        "event": "token_family_revoked",
        "client_id": client.client_id,
        "reason": "refresh_token_reuse",
    }
    async with asyncio.timeout(5):
        # The notice mail is handed over; this server has no SMTP and says so.
        while '"template": "signed_out_for_safety"' not in server.log:
            await asyncio.sleep(0.02)


async def test_the_end_of_a_family_leaves_others_alone(browser: Browser, client: RelyingParty, alice: User) -> None:
    reused = (await client.tokens(browser, alice.email))["refresh_token"]
    other = (await client.tokens(browser, alice.email))["refresh_token"]
    await client.refresh(reused)
    await _age_rotation(reused, 11)
    await client.refresh(reused)
    assert (await client.refresh(other)).status_code == 200


async def test_another_clients_token(
    browser: Browser, client: RelyingParty, make_client: MakeClient, alice: User
) -> None:
    """It is refused, and nothing happens to it."""
    token = (await client.tokens(browser, alice.email))["refresh_token"]
    thief = await make_client()
    response = await thief.refresh(token)
    assert (response.status_code, response.json()["error"]) == (400, "invalid_grant")
    await client.refresh(token)
    await _age_rotation(token, 11)
    assert (await thief.refresh(token)).status_code == 400
    assert await fetchrow(
        "SELECT 1 FROM token_family AS f JOIN refresh_token AS r ON r.family_id = f.id"
        " WHERE r.jti = $1 AND f.revoked_at IS NULL",
        read_refresh_token(token),
    )


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
    party = await make_client(scope="openid offline_access")
    tokens = await party.tokens(browser, alice.email, scope=scope)
    await browser.get("/logout", id_token_hint=tokens["id_token"])
    assert (await party.refresh(tokens["refresh_token"])).status_code == (200 if survives else 400)
    assert (await party.introspect(tokens["access_token"]))["active"] is survives


async def test_a_client_without_the_grant_gets_none(browser: Browser, make_client: MakeClient, alice: User) -> None:
    party = await make_client(grant_types=["authorization_code"])
    tokens = await party.tokens(browser, alice.email)
    assert "refresh_token" not in tokens
    assert (await party.refresh("anything")).json()["error"] == "unauthorized_client"


async def test_a_restart_changes_nothing(
    start_server: Callable[..., Server], browser: Browser, client: RelyingParty, alice: User, server: Server
) -> None:
    """Row 13 in spirit: rotated is rotated, also for a server that has just started."""
    first = (await client.tokens(browser, alice.email))["refresh_token"]
    await client.refresh(first)
    await _age_rotation(first, 11)
    fresh = await asyncio.to_thread(start_server, IDP_ISSUER=server.issuer)
    client.issuer = fresh.url
    assert (await client.refresh(first)).status_code == 400


async def test_a_forged_token_costs_no_query(
    dsn: str, start_server: Callable[..., Server], make_client: MakeClient, browser: Browser, alice: User
) -> None:
    party = await make_client()
    tokens = await party.tokens(browser, alice.email)
    real = tokens["refresh_token"]
    header, payload, _ = real.split(".")
    forged = [
        f"{header}.{payload}.{'A' * 43}",
        jose.sign_symmetric(b"x" * 32, "rt+jwt", {"jti": str(ids.uuid7()), "exp": 4102444800}),
        tokens["access_token"],
        f"eyJhbGciOiJub25lIn0.{payload}.",
        "garbage",
    ]
    async with proxy_to(dsn) as proxy:
        server = await asyncio.to_thread(start_server, IDP_DATABASE_URL=proxy.dsn)
        party.issuer = server.issuer
        # What polls in the background would be counted too.
        proxy.count_only(b"refresh_token")
        for token in forged:
            assert (await party.refresh(token)).json()["error"] == "invalid_grant"
        assert proxy.counted == 0
        await party.refresh(real)
        assert proxy.counted > 0
