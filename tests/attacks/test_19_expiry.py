"""Row 19: what has expired is refused by the statement that looks for it, though nobody has deleted it.

Rows are aged by hand; that they are still there afterwards shows that no clean-up was needed.
"""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import jwt
import pytest

from idp import ids
from idp.accounts.tables import User
from idp.infra.db.engine import execute, fetch, fetchrow
from idp.keys import jose, vault
from idp.keys.key_set import key_set
from idp.oauth.token.refresh_jwt import REFRESH_TOKEN_TYPE
from tests.conftest import MakeClient
from tests.support.browser import Browser, Page, Redirect
from tests.support.hostile import assert_refused_here
from tests.support.oauth import PASSWORD, RelyingParty


async def expire(table: str, column: str, value: object) -> None:
    changed = await execute(f"UPDATE {table} SET expires_at = now() WHERE {column} = $1", value)
    assert changed == 1


async def assert_kept(table: str, column: str, value: object, unused: str = "true") -> None:
    assert len(await fetch(f"SELECT FROM {table} WHERE {column} = $1 AND expires_at <= now() AND {unused}", value)) == 1


def assert_invalid_grant(response: Any) -> None:
    assert (response.status_code, response.json()["error"]) == (400, "invalid_grant")


async def assert_dead(client: RelyingParty, access_token: str) -> None:
    assert (await client.userinfo(access_token)).status_code == 401
    assert await client.introspect(access_token) == {"active": False}


def claims_of(token: str) -> dict[str, Any]:
    return jwt.decode(token, options={"verify_signature": False})


async def family_of(refresh_token: str) -> UUID:
    row = await fetchrow("SELECT family_id FROM refresh_token WHERE token_hash = $1", ids.digest(refresh_token))
    return row["family_id"]


# Artefacts of a client


async def test_19_code(client: RelyingParty, browser: Browser, alice: User) -> None:
    code = await client.sign_in(browser, alice.email)
    await expire("authorization_code", "code_hash", ids.digest(code))
    assert_invalid_grant(await client.redeem(code))
    await assert_kept("authorization_code", "code_hash", ids.digest(code), "consumed_at IS NULL")


async def test_19_refresh_token(client: RelyingParty, browser: Browser, alice: User) -> None:
    token = (await client.tokens(browser, alice.email))["refresh_token"]
    await expire("refresh_token", "token_hash", ids.digest(token))
    assert_invalid_grant(await client.refresh(token))
    assert await client.introspect(token) == {"active": False}
    await assert_kept("refresh_token", "token_hash", ids.digest(token), "rotated_at IS NULL")


async def test_19_refresh_token_in_its_grace_time(client: RelyingParty, browser: Browser, alice: User) -> None:
    """Used a moment ago, it would yield its successor again; but it has expired since."""
    token = (await client.tokens(browser, alice.email))["refresh_token"]
    assert (await client.refresh(token)).status_code == 200
    assert (await client.refresh(token)).status_code == 200
    await expire("refresh_token", "token_hash", ids.digest(token))
    assert_invalid_grant(await client.refresh(token))


@pytest.mark.parametrize("seconds", [-86400, -1, 0, 3600])
async def test_19_refresh_token_by_its_own_words(
    seconds: int, client: RelyingParty, browser: Browser, alice: User
) -> None:
    """Its JWT and its row have different expiries. The last case is the control."""
    token = (await client.tokens(browser, alice.email))["refresh_token"]
    claims = claims_of(token) | {"exp": int(datetime.now(UTC).timestamp()) + seconds}
    other = jose.sign_symmetric(vault.derive("refresh-token"), REFRESH_TOKEN_TYPE, claims)
    await execute(
        "UPDATE refresh_token SET token_hash = $2 WHERE token_hash = $1", ids.digest(token), ids.digest(other)
    )
    response = await client.refresh(other)
    if seconds > 0:
        assert response.status_code == 200
    else:
        assert_invalid_grant(response)


async def test_19_family(client: RelyingParty, browser: Browser, alice: User) -> None:
    """However fresh the refresh token is, the sign-in behind it is too old."""
    tokens = await client.tokens(browser, alice.email)
    tokens = (await client.refresh(tokens["refresh_token"])).json()
    family = await family_of(tokens["refresh_token"])
    await expire("token_family", "id", family)
    assert_invalid_grant(await client.refresh(tokens["refresh_token"]))
    assert await client.introspect(tokens["refresh_token"]) == {"active": False}
    await assert_dead(client, tokens["access_token"])
    await assert_kept("token_family", "id", family, "revoked_at IS NULL")


@pytest.mark.parametrize("seconds", [-86400, -1, 0, 60])
async def test_19_access_token(seconds: int, client: RelyingParty, browser: Browser, alice: User) -> None:
    """Signed with the server's own key; its family and session live. The last case is the control."""
    claims = claims_of((await client.tokens(browser, alice.email))["access_token"])
    claims["exp"] = int(datetime.now(UTC).timestamp()) + seconds
    token = jose.sign(key_set.signing("RS256"), "at+jwt", claims)
    if seconds > 0:
        assert (await client.userinfo(token)).status_code == 200
        assert (await client.introspect(token))["active"] is True
    else:
        await assert_dead(client, token)


# The session


async def assert_signed_out(client: RelyingParty, browser: Browser) -> None:
    answer = await client.authorize(browser, prompt="none")
    assert isinstance(answer, Redirect)
    assert answer.parameters["error"] == "login_required"
    home = await browser.get("/")
    assert isinstance(home, Page)
    assert 'href="/login"' in home.text


async def test_19_session(make_client: MakeClient, browser: Browser, alice: User) -> None:
    """Its absolute end, after which its tokens are refused too, except with offline access."""
    client = await make_client(scope="openid offline_access")
    tokens = await client.tokens(browser, alice.email, scope="openid")
    offline = await client.tokens(browser, alice.email, scope="openid offline_access")
    code = await client.sign_in(browser, alice.email, scope="openid")
    await expire("session", "user_id", alice.id)
    await assert_signed_out(client, browser)
    assert_invalid_grant(await client.redeem(code))
    assert_invalid_grant(await client.refresh(tokens["refresh_token"]))
    await assert_dead(client, tokens["access_token"])
    assert (await client.refresh(offline["refresh_token"])).status_code == 200
    await assert_kept("session", "user_id", alice.id, "ended_at IS NULL")


async def test_19_session_unused_for_too_long(client: RelyingParty, browser: Browser, alice: User) -> None:
    """Its idle end, a day by default; and coming back does not bring it to life."""
    await client.sign_in(browser, alice.email)
    statement = "UPDATE session SET last_seen_at = now() - $2::interval WHERE user_id = $1 AND ended_at IS NULL"
    await execute(statement, alice.id, timedelta(hours=23))
    answer = await client.authorize(browser, prompt="none")
    assert "code" in answer.parameters, "the control: not idle for long enough"
    await execute(statement, alice.id, timedelta(days=1))
    for _ in range(2):
        await assert_signed_out(client, browser)


async def test_19_session_during_consent(client: RelyingParty, browser: Browser, alice: User) -> None:
    """Consent after the end of the session has no effect: the user is asked to sign in."""
    page = await client.authorize(browser)
    assert isinstance(page, Page)
    consent = await browser.sign_in(page, alice.email, PASSWORD)
    assert isinstance(consent, Page)
    await expire("session", "user_id", alice.id)
    for button in ("consent-allow", "consent-deny"):
        answer = await browser.submit(consent, button)
        assert isinstance(answer, Page)
        assert "login-submit" in answer.ids
    assert not await fetch("SELECT FROM consent WHERE user_id = $1", alice.id)


async def test_19_session_at_log_out(client: RelyingParty, browser: Browser, alice: User) -> None:
    await client.sign_in(browser, alice.email)
    await expire("session", "user_id", alice.id)
    answer = await browser.get("/logout")
    assert isinstance(answer, Page)
    assert "logout-done" in answer.ids


# Artefacts of the browser


async def test_19_sign_in_flow(client: RelyingParty, browser: Browser, alice: User) -> None:
    page = await client.authorize(browser)
    assert isinstance(page, Page)
    flow = page.path.removeprefix("/login/")
    await expire("signin_flow", "id", flow)
    led_on = await browser.client.get(page.url)
    assert (led_on.status_code, led_on.headers["location"].split("/")[1]) == (303, "authorize")
    for button in ("login-submit", "login-cancel"):
        answer = await browser.submit(page, button, username=alice.email, password=PASSWORD)
        # Another sign-in, or a refusal.
        assert isinstance(answer, Page)
        assert answer.path.startswith("/login/")
        assert not browser.signed_in
    assert not await fetch("SELECT FROM session WHERE user_id = $1", alice.id)
    await assert_kept("signin_flow", "id", flow, "finished_at IS NULL")


async def test_19_waiting_authorization_request(client: RelyingParty, browser: Browser, alice: User) -> None:
    """Every URL that leads to it, and both answers to the consent."""
    page = await client.authorize(browser)
    assert isinstance(page, Page)
    consent = await browser.sign_in(page, alice.email, PASSWORD)
    assert isinstance(consent, Page)
    request = consent.path.removeprefix("/consent/")
    await expire("authorization_request", "id", request)
    for path in (f"/authorize/{request}", f"/authorize/{request}/cancel", f"/consent/{request}"):
        assert_refused_here(await browser.client.get(f"{browser.issuer}{path}"))
    for button in ("consent-allow", "consent-deny"):
        answer = await browser.submit(consent, button)
        assert isinstance(answer, Page)
        assert_refused_here(answer.response)
    assert not await fetch("SELECT FROM authorization_code WHERE user_id = $1", alice.id)
    assert not await fetch("SELECT FROM consent WHERE user_id = $1", alice.id)
    await assert_kept("authorization_request", "id", request, "finished_at IS NULL")


async def test_19_pushed_request(client: RelyingParty, browser: Browser) -> None:
    request_uri = await client.push()
    await expire("pushed_request", "request_uri_hash", ids.digest(request_uri))
    page = await browser.get("/authorize", client_id=client.client_id, request_uri=request_uri)
    assert isinstance(page, Page)
    assert_refused_here(page.response)
    assert page.error == "invalid_request_uri"
    await assert_kept("pushed_request", "request_uri_hash", ids.digest(request_uri), "used_at IS NULL")


async def test_19_request_that_expires_during_the_sign_in(client: RelyingParty, browser: Browser, alice: User) -> None:
    page = await client.authorize(browser)
    assert isinstance(page, Page)
    changed = await execute(
        "UPDATE authorization_request SET expires_at = now() WHERE client_id = $1", client.client_id
    )
    assert changed == 1
    answer = await browser.sign_in(page, alice.email, PASSWORD)
    assert isinstance(answer, Page)
    assert_refused_here(answer.response)


# Artefacts accepted after their expiry


async def test_19_an_expired_id_token_is_still_a_hint(make_client: MakeClient, browser: Browser, alice: User) -> None:
    """OpenID Connect Core section 3.1.2.1, RP-Initiated Logout section 2: it names the user, and proves nothing."""
    client = await make_client(post_logout_redirect_uris=["https://app.example.com/bye"])
    claims = claims_of((await client.tokens(browser, alice.email))["id_token"])
    old = claims | {"iat": claims["iat"] - 10**7, "exp": claims["exp"] - 10**7}
    hint = jose.sign(key_set.signing("RS256"), "JWT", old)
    answer = await client.authorize(browser, prompt="none", id_token_hint=hint)
    assert "code" in answer.parameters
    answer = await browser.get("/logout", id_token_hint=hint, post_logout_redirect_uri="https://app.example.com/bye")
    assert isinstance(answer, Redirect)
    assert answer.location == "https://app.example.com/bye"
    await assert_signed_out(client, browser)
