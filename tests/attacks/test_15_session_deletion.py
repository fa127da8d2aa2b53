"""Row 15: a session that was ended is ended, for the very next request, at every worker."""

import asyncio
from collections.abc import Callable

from idp.accounts.tables import User
from idp.db.engine import execute
from tests.conftest import MakeClient
from tests.support.browser import Browser, Page, Redirect, open_browser
from tests.support.oauth import RelyingParty
from tests.support.server import Server

END = "UPDATE session SET ended_at = now() WHERE user_id = $1"
DELETE = "DELETE FROM session WHERE user_id = $1"


async def _is_signed_in(browser: Browser, client: RelyingParty) -> bool:
    answer = await client.authorize(browser, prompt="none")
    assert isinstance(answer, Redirect)
    return answer.parameters.get("error") != "login_required"


async def test_15_ended_in_the_database(browser: Browser, client: RelyingParty, alice: User) -> None:
    await client.sign_in(browser, alice.email)
    assert await _is_signed_in(browser, client)
    await execute(END, alice.id)
    assert not await _is_signed_in(browser, client)


async def test_15_deleted_from_the_database(browser: Browser, client: RelyingParty, alice: User) -> None:
    tokens = await client.tokens(browser, alice.email)
    await execute(DELETE, alice.id)
    assert not await _is_signed_in(browser, client)
    assert (await client.refresh(tokens["refresh_token"])).status_code == 400
    assert await client.introspect(tokens["access_token"]) == {"active": False}


async def test_15_signing_out_ends_the_cookie_that_somebody_copied(
    browser: Browser, client: RelyingParty, alice: User
) -> None:
    tokens = await client.tokens(browser, alice.email)
    stolen = dict(browser.cookies)
    await browser.get("/logout", id_token_hint=tokens["id_token"])
    async with open_browser(client.issuer) as thief:
        thief.cookies.update(stolen)
        assert not await _is_signed_in(thief, client)
        page = await thief.get("/")
        assert isinstance(page, Page)
        assert alice.email not in page.text
    assert (await client.refresh(tokens["refresh_token"])).status_code == 400


async def test_15_ended_for_every_worker(
    start_server: Callable[..., Server], make_client: MakeClient, alice: User
) -> None:
    """No worker keeps sessions in memory: each connection may reach another one."""
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
