"""Sign-in flows: tabs that do not disturb each other, and a way out of those that have ended."""

import asyncio

import pytest

from idp.accounts.tables import User
from idp.db.engine import execute
from tests.support.browser import Browser, Page, Redirect
from tests.support.oauth import PASSWORD, RelyingParty


def _page(answer: Page | Redirect) -> Page:
    assert isinstance(answer, Page), answer.location
    return answer


async def _finish(browser: Browser, page: Page, user: User) -> Redirect:
    answer = await browser.sign_in(page, user.email, PASSWORD)
    if isinstance(answer, Page) and "consent-allow" in answer.ids:
        answer = await browser.submit(answer, "consent-allow")
    assert isinstance(answer, Redirect), answer.text
    return answer


async def test_tabs_opened_at_the_same_time_in_a_fresh_browser(
    browser: Browser, client: RelyingParty, alice: User
) -> None:
    """The first requests carry no cookie yet; each tab can be finished, in any order, with its own state."""
    tabs = await asyncio.gather(*(client.authorize(browser, state=f"tab-{number}") for number in range(5)))
    for number, tab in reversed(list(enumerate(tabs))):
        answer = await _finish(browser, _page(tab), alice)
        assert answer.parameters["state"] == f"tab-{number}"
        assert "code" in answer.parameters


async def test_a_wrong_password_keeps_the_flow(browser: Browser, client: RelyingParty, alice: User) -> None:
    page = _page(await client.authorize(browser))
    for _ in range(3):
        page = _page(await browser.sign_in(page, alice.email, "not her password"))
        assert f'value="{alice.email}"' in page.text
        assert 'role="alert"' in page.text
    assert "code" in (await _finish(browser, page, alice)).parameters


@pytest.mark.parametrize("table", ["signin_flow", "authorization_request"])
async def test_an_expired_one_shows_a_way_out(browser: Browser, client: RelyingParty, alice: User, table: str) -> None:
    page = _page(await client.authorize(browser))
    await execute(f"UPDATE {table} SET expires_at = now() WHERE finished_at IS NULL")
    answer = _page(await browser.sign_in(page, alice.email, PASSWORD))
    assert answer.status == 400
    assert "expired" in answer.text
    assert 'href="/"' in answer.text


async def test_the_back_button_after_the_end(browser: Browser, client: RelyingParty, alice: User) -> None:
    page = _page(await client.authorize(browser))
    cookies = dict(browser.cookies)
    await _finish(browser, page, alice)
    browser.cookies.update(cookies | browser.cookies)
    again = _page(await browser.get(page.path))
    assert again.status == 400
    assert "already finished" in again.text
    assert 'href="/"' in again.text


async def test_signing_in_for_its_own_sake(browser: Browser, alice: User) -> None:
    page = _page(await browser.get("/login"))
    assert "login-cancel" not in page.ids
    home = _page(await browser.sign_in(page, alice.email, PASSWORD))
    assert home.path == "/"
    assert alice.email in home.text
    assert _page(await browser.get("/login")).path == "/"


async def test_somebody_else_from_the_consent_page(
    browser: Browser, client: RelyingParty, alice: User, make_user: object
) -> None:
    bob = await make_user()  # type: ignore[operator]
    page = _page(await client.authorize(browser))
    consent = _page(await browser.sign_in(page, alice.email, PASSWORD))
    form = next(form for form in consent.forms if ("action", "switch") in form.buttons.values())
    login = _page(await browser.post(form.action, form.fields | {"action": "switch"}))
    answer = await _finish(browser, login, bob)
    tokens = (await client.redeem(answer.parameters["code"])).json()
    assert (await client.userinfo(tokens["access_token"])).json()["sub"] == str(bob.id)
