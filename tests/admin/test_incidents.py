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
from idp.infra.db.engine import execute, fetch, fetchrow
from idp.keys import lifecycle
from idp.keys.algorithms import SIGNING_ALGORITHMS
from idp.oauth.clients.registration import register_resource_server
from tests.conftest import MakeClient, MakeUser
from tests.support.browser import Browser, Page, as_page, open_browser
from tests.support.ciba import CIBA, asked, decide, poll
from tests.support.devices import approve, error_of, open_page, start_device
from tests.support.oauth import RelyingParty
from tests.support.server import Server

pytestmark = pytest.mark.usefixtures("db")

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


async def _at_an_upstream(*users: User) -> str:
    """Add an upstream where users have an identity."""
    name = f"u{secrets.token_hex(4)}"
    issuer = f"https://{name}.example.com"
    await registry.add(registry.configure(kind="oidc", id=name, name="Acme", issuer=issuer, client_id="x"))
    for user in users:
        await insert_identity(user.id, issuer, str(user.id), upstream_id=name)
    return name


async def _signed_in_by_upstream(browser: Browser, user: User) -> None:
    """Let the session of a browser be one that came from an upstream."""
    await open_page(browser, user.email)
    await execute("UPDATE session SET steps = '{upstream fed}', amr = '{fed}' WHERE user_id = $1", user.id)


async def _decide(browser: Browser, bank: RelyingParty, user: User) -> str:
    auth_req_id = await asked(bank, user.email)
    row = await fetchrow("SELECT id FROM backchannel_request WHERE user_id = $1 ORDER BY id DESC LIMIT 1", user.id)
    assert row is not None
    await decide(browser, f"/account/requests/{row['id']}", user.email)
    return auth_req_id


async def test_what_outlives_the_sessions_of_an_upstream(
    make_client: MakeClient, make_user: MakeUser, browser: Browser, alice: User
) -> None:
    """Tokens of devices, of CIBA and of offline access, and approvals that nobody has used yet."""
    bob = await make_user()
    upstream = await _at_an_upstream(alice, bob)
    web, bank = await make_client(scope=SCOPE), await make_client(**CIBA)
    await _signed_in_by_upstream(browser, alice)
    television, waiting = await start_device(make_client), await start_device(make_client)
    for device in (television, waiting):
        await approve(browser, alice.email, device)
    at_bank, waits_at_bank = [await _decide(browser, bank, alice) for _ in range(2)]
    offline = await web.tokens(browser, alice.email, prompt="consent")
    given = [(web, offline), (television.party, await television.tokens()), (bank, (await poll(bank, at_bank)).json())]
    await browser.submit(as_page(await browser.get("/logout")), "logout-confirm")
    assert [(await party.userinfo(tokens["access_token"])).status_code for party, tokens in given] == [200] * 3
    # By a password: with another identity, or with none.
    async with open_browser(browser.issuer) as other:
        of_bob = await web.tokens(other, bob.email, prompt="consent")
    report = await contain_upstream(upstream)
    assert (report.ended["sessions"], report.ended["token_families"]) == (0, 3)
    assert (report.ended["device_authorizations"], report.ended["backchannel_requests"]) == (1, 1)
    assert report.still_usable != []
    assert [(await party.userinfo(tokens["access_token"])).status_code for party, tokens in given] == [401] * 3
    for party, tokens in given[:2]:
        assert (await party.refresh(tokens["refresh_token"])).json()["error"] == "invalid_grant"
    assert await error_of(waiting) == "access_denied"
    assert (await poll(bank, waits_at_bank)).status_code == 400
    assert (await web.introspect(of_bob["access_token"]))["active"]


async def test_another_upstream(make_client: MakeClient, browser: Browser, alice: User) -> None:
    """Where the user has no identity."""
    await insert_identity(alice.id, "https://elsewhere.example.com", str(alice.id), upstream_id="elsewhere")
    web = await make_client(scope=SCOPE)
    await _signed_in_by_upstream(browser, alice)
    tokens = await web.tokens(browser, alice.email, prompt="consent")
    assert (await contain_upstream(await _at_an_upstream())).ended["token_families"] == 0
    assert (await web.introspect(tokens["access_token"]))["active"]


async def test_unknown_subjects() -> None:
    for coroutine in (contain_user(uuid7()), contain_client("none"), contain_key("none"), contain_upstream("none")):
        with pytest.raises(UnknownSubjectError):
            await coroutine
