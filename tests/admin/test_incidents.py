"""Containment: everything is revoked, and the report lists what stays usable."""

import asyncio
import secrets
from typing import Any
from uuid import UUID

import pytest

from idp.accounts.tables import User
from idp.admin import incidents
from idp.admin.incidents import UnknownSubjectError, contain_client, contain_key, contain_upstream, contain_user
from idp.federation import registry
from idp.federation.repository import insert_identity
from idp.ids import uuid7
from idp.infra.db.engine import fetch, fetchrow
from idp.keys import lifecycle
from idp.keys.algorithms import SIGNING_ALGORITHMS
from idp.oauth.clients.registration import register_resource_server
from tests.conftest import MakeClient
from tests.support.browser import Browser, Page, open_browser
from tests.support.server import Server

SCOPE = "openid profile email offline_access"


async def left_of(column: str, value: Any) -> dict[str, int]:
    """Return everything of a user or client that is still valid."""
    found = {}
    for table, alive in (
        ("token_family", "revoked_at IS NULL"),
        ("authorization_code", "consumed_at IS NULL"),
        ("consent", "true"),
    ):
        (row,) = await fetch(f"SELECT count(*) FROM {table} WHERE {column} = $1 AND {alive}", value)
        found[table] = row["count"]
    return found


async def test_a_user(make_client: MakeClient, browser: Browser, alice: User) -> None:
    name = secrets.token_hex(4)
    resource, scope = f"https://{name}.example.com", f"{name}:read"
    await register_resource_server(resource, "Orders", scope=scope)
    party = await make_client(scope=f"{SCOPE} {scope}")
    tokens = await party.tokens(browser, alice.email, resource=resource)
    code = await party.sign_in(browser, alice.email)
    report = await contain_user(alice.id)
    assert report.ended["sessions"] == 1
    assert report.ended["token_families"] == 1
    assert report.ended["codes"] == 1
    assert report.ended["consents"] == 1
    assert [resource] in [usable.where for usable in report.still_usable]
    assert all(usable.until is not None for usable in report.still_usable if usable.what.startswith("Access"))
    assert await left_of("user_id", alice.id) == {"token_family": 0, "authorization_code": 0, "consent": 0}
    assert (await party.refresh(tokens["refresh_token"])).json()["error"] == "invalid_grant"
    assert (await party.redeem(code)).json()["error"] == "invalid_grant"
    assert (await party.userinfo(tokens["access_token"])).status_code == 401
    page = await browser.get("/account")
    assert isinstance(page, Page)
    assert "login-submit" in page.ids
    (user,) = await fetch("SELECT disabled_at FROM users WHERE id = $1", alice.id)
    assert user["disabled_at"]


async def test_a_user_who_may_come_back(make_client: MakeClient, browser: Browser, alice: User) -> None:
    party = await make_client(scope=SCOPE)
    await party.tokens(browser, alice.email)
    await contain_user(alice.id, disable=False)
    assert (await party.tokens(browser, alice.email))["refresh_token"]


async def test_nothing_that_started_before_survives(
    server: Server, make_client: MakeClient, browser: Browser, alice: User
) -> None:
    """Redemptions, refreshes and sign-ins race with it; some fail, and none is left."""
    party = await make_client(scope=SCOPE)
    refresh = [(await party.tokens(browser, alice.email))["refresh_token"] for _ in range(3)]
    codes = [await party.sign_in(browser, alice.email) for _ in range(5)]

    async def sign_in() -> None:
        async with open_browser(server.issuer) as other:
            page = await other.get("/login")
            assert isinstance(page, Page)
            await other.sign_in(page, alice.email, "correct horse battery staple")

    racers = [party.redeem(code) for code in codes] + [party.refresh(token) for token in refresh]
    _, *answers = await asyncio.gather(contain_user(alice.id), sign_in(), *racers)
    assert all(answer.status_code in (200, 400) for answer in answers if answer is not None)
    for answer in answers:
        if answer is not None and answer.is_success:
            assert not (await party.introspect(answer.json()["refresh_token"]))["active"]
            assert (await party.userinfo(answer.json()["access_token"])).status_code == 401
    page = await browser.get("/account")
    assert isinstance(page, Page)
    assert "login-submit" in page.ids


async def test_a_failure_leaves_everything_as_it_was(
    make_client: MakeClient, browser: Browser, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    party = await make_client(scope=SCOPE)
    tokens = await party.tokens(browser, alice.email)

    async def broken(*_: object, **__: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(incidents, "record", broken)
    with pytest.raises(BrokenPipeError):
        await contain_user(alice.id)
    assert (await party.refresh(tokens["refresh_token"])).is_success


async def test_a_client(make_client: MakeClient, browser: Browser, alice: User) -> None:
    party, other = await make_client(scope=SCOPE), await make_client(scope=SCOPE)
    tokens, others = await party.tokens(browser, alice.email), await other.tokens(browser, alice.email)
    report = await contain_client(party.client_id)
    assert report.ended["token_families"] == 1
    assert report.ended["consents"] == 1
    assert await left_of("client_id", party.client_id) == {"token_family": 0, "authorization_code": 0, "consent": 0}
    for _ in range(1500):
        answer = await party.refresh(tokens["refresh_token"])
        if answer.json()["error"] == "invalid_client":
            break
        await asyncio.sleep(0.02)
    assert answer.json()["error"] == "invalid_client"
    assert (await other.refresh(others["refresh_token"])).is_success


async def test_a_key() -> None:
    await lifecycle.ensure_signing_key("PS256")
    old = next(key for key in await lifecycle.list_keys() if key.alg == "PS256" and key.state == "active")
    report = await contain_key(old.kid)
    assert all(usable.until is None for usable in report.still_usable)  # a holder of the key can sign with any time
    with pytest.raises(UnknownSubjectError):
        await contain_key(old.kid)
    assert SIGNING_ALGORITHMS


async def test_an_upstream(alice: User) -> None:
    name = f"u{secrets.token_hex(4)}"
    provider = registry.configure(kind="oidc", id=name, name="Acme", issuer="https://op.example.com", client_id="x")
    await registry.add(provider)
    await insert_identity(alice.id, "https://op.example.com", name, upstream_id=name, tokens=b"sealed")

    async def session(steps: list[str]) -> UUID:
        row = await fetchrow(
            "INSERT INTO session (id, token_hash, user_id, auth_time, steps, amr, acr, user_agent, ip_address,"
            " created_at, last_seen_at, expires_at) VALUES ($1, $2, $3, now(), $4, '{}', '1', '', '', now(), now(),"
            " now() + interval '1 hour') RETURNING id",
            uuid7(), secrets.token_bytes(32), alice.id, steps,
        )  # fmt: skip
        assert row is not None
        return UUID(str(row["id"]))

    by_upstream, by_password = await session(["upstream fed"]), await session(["password pwd"])
    report = await contain_upstream(name)
    assert report.ended["sessions"] == 1
    assert report.ended["upstream_tokens"] == 1
    assert report.alone == 0
    ended = {row["id"] for row in await fetch("SELECT id FROM session WHERE ended_at IS NOT NULL")}
    assert by_upstream in ended
    assert by_password not in ended
    assert next(each for each in await registry.load_stored() if each.id == name).disabled


async def test_unknown_subjects() -> None:
    for coroutine in (contain_user(uuid7()), contain_client("none"), contain_key("none"), contain_upstream("none")):
        with pytest.raises(UnknownSubjectError):
            await coroutine
