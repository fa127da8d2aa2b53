"""Row 15: an ended session is refused by the very next request, at every endpoint and every worker."""

import asyncio
from collections.abc import Callable

import pytest

from idp.accounts.tables import User
from idp.infra.db.engine import execute, fetch
from tests.conftest import MakeClient
from tests.support.browser import Browser, Page, Redirect, open_browser
from tests.support.oauth import PASSWORD, RelyingParty
from tests.support.server import Server

END = "UPDATE session SET ended_at = now() WHERE user_id = $1"
DELETE = "DELETE FROM session WHERE user_id = $1"


async def _is_signed_in(browser: Browser, client: RelyingParty) -> bool:
    answer = await client.authorize(browser, prompt="none")
    assert isinstance(answer, Redirect)
    return answer.parameters.get("error") != "login_required"


async def _page(browser: Browser, path: str) -> Page:
    page = await browser.get(path)
    assert isinstance(page, Page)
    return page


@pytest.mark.parametrize("statement", [END, DELETE], ids=["ended", "deleted"])
async def test_15_every_page_that_reads_the_session(
    browser: Browser, client: RelyingParty, alice: User, statement: str
) -> None:
    """Each is requested right before and right after, on the same connection."""
    await client.sign_in(browser, alice.email)
    consent = await client.authorize(browser, prompt="consent")
    assert isinstance(consent, Page)
    logout = await _page(browser, "/logout")
    assert await _is_signed_in(browser, client)
    assert alice.email in (await _page(browser, "/")).text
    assert alice.email in logout.text
    assert alice.email in consent.text
    assert (await _page(browser, "/login")).path == "/"
    await execute(statement, alice.id)

    assert not await _is_signed_in(browser, client)
    assert alice.email not in (await _page(browser, "/")).text
    assert "login-submit" in (await _page(browser, "/login")).ids
    for answer in (await client.authorize(browser), await browser.get(consent.path)):
        assert isinstance(answer, Page)
        assert "login-submit" in answer.ids
        assert alice.email not in answer.text
        # The server does not treat the browser as that of a known user who only has to confirm.
        assert "Sign in</h1>" in answer.text
    answer = await browser.submit(consent, "consent-allow")
    assert isinstance(answer, Page)
    assert "login-submit" in answer.ids
    for gone in (await _page(browser, "/logout"), await browser.submit(logout, "logout-confirm")):
        assert isinstance(gone, Page)
        assert "logout-done" in gone.ids


@pytest.mark.parametrize("statement", [END, DELETE], ids=["ended", "deleted"])
async def test_15_everything_issued_in_the_session(
    browser: Browser, client: RelyingParty, alice: User, statement: str
) -> None:
    tokens = await client.tokens(browser, alice.email)
    code = await client.sign_in(browser, alice.email)
    await execute(statement, alice.id)
    assert (await client.refresh(tokens["refresh_token"])).json()["error"] == "invalid_grant"
    assert (await client.redeem(code)).json()["error"] == "invalid_grant"
    assert (await client.userinfo(tokens["access_token"])).status_code == 401
    for name in ("access_token", "refresh_token"):
        assert await client.introspect(tokens[name]) == {"active": False}


async def test_15_signing_out_ends_a_copied_cookie(browser: Browser, client: RelyingParty, alice: User) -> None:
    tokens = await client.tokens(browser, alice.email)
    stolen = dict(browser.cookies)
    await browser.get("/logout", id_token_hint=tokens["id_token"])
    async with open_browser(client.issuer) as thief:
        thief.cookies.update(stolen)
        assert not await _is_signed_in(thief, client)
        assert alice.email not in (await _page(thief, "/")).text
    assert (await client.refresh(tokens["refresh_token"])).status_code == 400


async def test_15_a_stale_cookie_does_not_bring_the_session_back(
    browser: Browser, client: RelyingParty, alice: User
) -> None:
    """A sign-in replaces it with a new session, and the copy of the old cookie stays useless."""
    tokens = await client.tokens(browser, alice.email)
    stolen = dict(browser.cookies)
    await execute(END, alice.id)
    page = await client.authorize(browser)
    assert isinstance(page, Page)
    await browser.sign_in(page, alice.email, PASSWORD)
    assert await _is_signed_in(browser, client)
    sessions = await fetch("SELECT ended_at IS NULL AS live FROM session WHERE user_id = $1 ORDER BY id", alice.id)
    assert [row["live"] for row in sessions] == [False, True]
    async with open_browser(client.issuer) as thief:
        thief.cookies.update(stolen)
        assert not await _is_signed_in(thief, client)
    assert (await client.refresh(tokens["refresh_token"])).status_code == 400


async def test_15_ended_for_every_worker(
    start_server: Callable[..., Server], make_client: MakeClient, alice: User
) -> None:
    """Workers do not keep sessions in memory: each connection may reach another worker."""
    client = await make_client()
    server = await asyncio.to_thread(start_server, IDP_WORKERS="2")
    client.issuer = server.issuer
    async with open_browser(server.issuer) as browser:
        await client.sign_in(browser, alice.email)
        cookies = dict(browser.cookies)
    for expected in (True, False):
        for _ in range(8):
            async with open_browser(server.issuer) as fresh_connection:
                fresh_connection.cookies.update(cookies)
                assert await _is_signed_in(fresh_connection, client) is expected
        await execute(END, alice.id)
