"""What a person entered survives, and every page leads on: typed addresses, Back, expired pages, links of mails."""

import re

import pytest
from playwright.async_api import Browser as Chromium
from playwright.async_api import Page, expect

from idp.accounts.tables import User
from idp.infra.db.engine import execute, fetchrow
from tests.browser.conftest import HOME, PHONE, sign_in
from tests.conftest import MakeClient
from tests.support.chromium import arrived
from tests.support.mailbox import Mailbox
from tests.support.oauth import PASSWORD, RelyingParty
from tests.support.server import Server

pytestmark = pytest.mark.browser

NEW_PASSWORD = "seven tired otters nap"


@pytest.fixture
async def client(make_client: MakeClient, server: Server) -> RelyingParty:
    return await make_client(
        client_name="Orders",
        client_uri="https://orders.example/home",
        redirect_uris=[f"{server.issuer}/callback"],
        application_type="native",
        skip_consent=True,
    )


def _ask(client: RelyingParty, server: Server) -> str:
    return str(client.http.build_request("GET", f"{server.issuer}/authorize", params=client.parameters()).url)


async def _shows(page: Page, address: str) -> None:
    await expect(page.locator("#username")).to_have_value(address)
    assert not address or address not in page.url


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
async def test_a_typed_address_is_taken_along(
    chromium: Chromium, server: Server, newcomer: str, *, scripts: bool
) -> None:
    context = await chromium.new_context(viewport=PHONE, base_url=server.issuer, java_script_enabled=scripts)
    context.set_default_timeout(30_000)
    page = await context.new_page()
    await page.goto("/login")
    await page.fill("#username", newcomer)
    await page.click("#forgot")
    await _shows(page, newcomer)
    await page.fill("#username", f"x{newcomer}")
    await page.click("#to-sign-in")
    await _shows(page, f"x{newcomer}")
    await page.fill("#username", newcomer)
    await page.click("#register")
    await _shows(page, newcomer)
    await page.click("#to-login")
    await _shows(page, newcomer)
    await page.fill("#username", f"y{newcomer}")
    await page.fill("#password", "wrong")
    await page.click("#login-submit")
    await expect(page.get_by_role("alert")).to_be_visible()
    await _shows(page, f"y{newcomer}")
    await page.click("#forgot")
    await _shows(page, f"y{newcomer}")
    await page.click("#forgot-submit")
    await expect(page.locator("#code")).to_be_visible()
    await page.click("#to-sign-in")
    await _shows(page, f"y{newcomer}")
    await page.click("#email-code-send")
    await page.get_by_role("link", name="Use your password").click()
    await _shows(page, f"y{newcomer}")
    await context.close()


async def test_enter_signs_in(page: Page, alice: User) -> None:
    """The other buttons of the form do not take the key."""
    await page.goto("/login")
    await page.fill("#username", alice.email)
    await page.fill("#password", PASSWORD)
    await page.keyboard.press("Enter")
    await expect(page).to_have_url(HOME)


async def test_back_after_success_leads_on(page: Page, client: RelyingParty, server: Server, alice: User) -> None:
    await page.goto(_ask(client, server))
    await page.fill("#username", alice.email)
    await page.fill("#password", PASSWORD)
    login = page.url
    await page.click("#login-submit")
    await page.wait_for_url("**/callback?*")
    await page.goto(login)
    await _mild(page, "This sign-in is already finished", "Continue to Orders", "https://orders.example/home")


async def _mild(page: Page, title: str, way: str, target: str) -> None:
    """A page without an alarm, whose first button leads on."""
    await expect(page.locator("h1")).to_have_text(title)
    await expect(page.locator(".symbol")).to_have_class(re.compile(r"^symbol\s*$"))
    button = page.locator(".choices a").first
    await expect(button).to_have_text(way)
    assert await button.get_attribute("href") == target


async def _expire(table: str, path: str) -> None:
    await execute(f"UPDATE {table} SET expires_at = now() - interval '1 minute' WHERE id = $1", path.rpartition("/")[2])


@pytest.mark.parametrize("opened", ["reloaded", "sent"])
async def test_an_expired_page_leads_back_to_the_application(
    page: Page, make_client: MakeClient, server: Server, alice: User, opened: str
) -> None:
    client = await make_client(
        client_name="Orders",
        client_uri="https://orders.example/home",
        initiate_login_uri="https://orders.example/login?from=idp",
    )
    await page.goto(_ask(client, server))
    await page.fill("#username", alice.email)
    await page.fill("#password", PASSWORD)
    await execute("UPDATE authorization_request SET expires_at = now() - interval '1 minute'")
    await _expire("signin_flow", page.url)
    await (page.reload() if opened == "reloaded" else page.click("#login-submit"))
    await arrived(page)
    again = f"https://orders.example/login?from=idp&iss={server.issuer.replace(':', '%3A').replace('/', '%2F')}"
    await _mild(page, "This sign-in has expired", "Continue to Orders", again)


async def test_an_expired_page_of_ours_signs_in_again(page: Page, alice: User) -> None:
    await page.goto("/account/data")
    await _expire("signin_flow", page.url)
    await page.reload()
    await expect(page.locator("#login-submit")).to_be_visible()
    await page.fill("#username", alice.email)
    await page.fill("#password", PASSWORD)
    await _expire("signin_flow", page.url)
    await page.click("#login-submit")
    await _mild(page, "This sign-in has expired", "Sign in again", "/account/data")


async def test_the_consent_page_expires(page: Page, make_client: MakeClient, server: Server, alice: User) -> None:
    client = await make_client(client_name="Orders", client_uri="https://orders.example/home")
    await sign_in(page, alice)
    await page.goto(_ask(client, server))
    await expect(page.locator("#consent-allow")).to_be_visible()
    await _expire("authorization_request", page.url)
    await page.click("#consent-allow")
    await _mild(page, "This sign-in has expired", "Continue to Orders", "https://orders.example/home")


async def _register(page: Page, email: str) -> None:
    await page.goto("/login")
    await page.fill("#username", email)
    await page.click("#register")
    await page.fill("#new-password", NEW_PASSWORD)
    await page.click("#register-submit")
    await expect(page.locator("#code")).to_be_visible()


async def test_a_link_in_another_browser_shows_its_code(
    page: Page, script_free: Page, newcomer: str, mailbox: Mailbox
) -> None:
    """It neither signs the other browser in nor lets it finish what this one began."""
    await _register(page, newcomer)
    mail = await mailbox.next(newcomer)
    await script_free.goto(mail.path)
    await expect(script_free.locator("#mail-code")).to_have_text(mail.code)
    assert await script_free.locator("form").count() == 0
    await script_free.goto("/account")
    await expect(script_free.locator("#login-submit")).to_be_visible()
    await page.fill("#code", mail.code)
    await page.click("#code-submit")
    await expect(page).to_have_url(HOME)
    await script_free.goto(mail.path)
    await _mild(script_free, "This link no longer works", "Sign in", "/login")


async def test_the_link_of_a_new_address_shows_its_code_too(
    page: Page, script_free: Page, alice: User, newcomer: str, mailbox: Mailbox
) -> None:
    await sign_in(page, alice)
    await page.goto("/account/email")
    await page.fill("#email", newcomer)
    await page.click("#email-send")
    mail = await mailbox.next(newcomer)
    await script_free.goto(mail.path)
    await expect(script_free.locator("#mail-code")).to_have_text(mail.code)
    await page.goto(mail.path)
    await expect(page.locator("#link-submit")).to_be_visible()


async def test_a_dead_link_offers_a_new_one(page: Page) -> None:
    await page.goto("/reset?token=used")
    await _mild(page, "This link no longer works", "Ask for a new one", "/forgot")
    await page.click("text=Ask for a new one")
    await expect(page.locator("#forgot-submit")).to_be_visible()


async def test_a_reset_by_link_goes_on_where_it_was_asked_for(
    page: Page, client: RelyingParty, server: Server, alice: User, mailbox: Mailbox
) -> None:
    await page.goto(_ask(client, server))
    login = page.url
    await page.fill("#username", alice.email)
    await page.click("#forgot")
    await page.click("#forgot-submit")
    await page.goto((await mailbox.next(alice.email)).path)
    await page.fill("#new-password", NEW_PASSWORD)
    await page.click("#reset-submit")
    await page.click("#to-login")
    await expect(page).to_have_url(login)
    await _shows(page, alice.email)


async def test_the_first_tab_moves_on_by_itself(page: Page, newcomer: str, mailbox: Mailbox) -> None:
    """It waits for the mail, whose link is opened in another tab."""
    await page.clock.install()
    await page.goto("/login")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.method))
    await page.clock.run_for(600_000)
    assert not asked, "only a page that waits asks again and again"
    await _register(page, newcomer)
    for _ in range(3):
        async with page.expect_response(lambda response: response.request.method == "HEAD") as told:
            while not told.is_done():
                await page.clock.run_for(5_000)
        assert (await told.value).status == 200
    other = await page.context.new_page()
    await other.goto((await mailbox.next(newcomer)).path)
    await other.click("#link-submit")
    await expect(other).to_have_url(HOME)
    async with page.expect_navigation(url=HOME) as moved:
        while not moved.is_done():
            await page.clock.run_for(5_000)


async def test_asking_is_no_activity(page: Page, alice: User) -> None:
    await sign_in(page, alice)
    await execute("UPDATE session SET last_seen_at = now() - interval '5 minutes' WHERE user_id = $1", alice.id)
    before = await _last_seen(alice)
    await page.request.head("/account")
    assert await _last_seen(alice) == before
    await page.goto("/account")
    assert await _last_seen(alice) != before


async def _last_seen(user: User) -> object:
    row = await fetchrow("SELECT last_seen_at FROM session WHERE user_id = $1", user.id)
    assert row is not None
    return row["last_seen_at"]


async def test_signing_in_as_someone_else_does_that(
    page: Page, make_client: MakeClient, server: Server, alice: User
) -> None:
    """It is not a question whether the signed-in user is there, and signs nobody out by itself."""
    client = await make_client(client_name="Orders")
    await sign_in(page, alice)
    await page.goto(_ask(client, server))
    await page.click("button[value='switch']")
    await expect(page.locator("h1")).to_have_text("Sign in")
    await _shows(page, "")
    await page.goto("/account")
    await expect(page.locator("#sign-out")).to_be_visible()


async def test_our_own_button_signs_out_at_once(page: Page, alice: User) -> None:
    await sign_in(page, alice)
    await page.goto("/account")
    await page.click("#sign-out")
    await expect(page.locator("#logout-done")).to_be_visible()
