"""The pages on a phone without JavaScript, and by keyboard alone."""

import pyotp
import pytest
from playwright.async_api import Page, expect

from idp.accounts.tables import User
from idp.db.engine import execute
from tests.browser.conftest import HOME, sign_in, sign_out
from tests.support.mailbox import Mailbox
from tests.support.oauth import PASSWORD

pytestmark = pytest.mark.browser

NEW_PASSWORD = "seven tired otters nap"


async def test_registration(script_free: Page, newcomer: str, mailbox: Mailbox) -> None:
    page = script_free
    await page.goto("/login")
    await page.click("#register")
    await page.fill("#username", newcomer)
    await page.fill("#new-password", NEW_PASSWORD)
    await page.click("#register-submit")
    await page.fill("#code", (await mailbox.next(newcomer)).code)
    await page.click("#code-submit")
    await expect(page).to_have_url(HOME)


async def test_a_forgotten_password(script_free: Page, alice: User, mailbox: Mailbox) -> None:
    page = script_free
    await page.goto("/login")
    await page.click("#forgot")
    await page.fill("#username", alice.email)
    await page.click("#forgot-submit")
    await page.fill("#code", (await mailbox.next(alice.email)).code)
    await page.fill("#new-password", NEW_PASSWORD)
    await page.click("#reset-submit")
    await page.click("#to-login")
    await page.fill("#username", alice.email)
    await page.fill("#password", NEW_PASSWORD)
    await page.click("#login-submit")
    await expect(page).to_have_url(HOME)


async def test_a_second_step(script_free: Page, alice: User) -> None:
    page = script_free
    await sign_in(page, alice)
    await page.goto("/account/totp")
    await page.click("summary")
    app = pyotp.TOTP((await page.inner_text("#totp-secret")).strip())
    await page.fill("#code", app.now())
    await page.click("#totp-confirm")
    await expect(page.locator("#recovery-codes")).to_be_visible()
    await sign_out(page)
    await sign_in(page, alice)
    await execute("UPDATE totp SET last_step = 0 WHERE user_id = $1", alice.id)
    await page.fill("#code", app.now())
    await page.click("#totp-submit")
    await expect(page).to_have_url(HOME)


async def test_what_needs_a_script_says_so(script_free: Page, alice: User) -> None:
    page = script_free
    await page.goto("/login")
    await expect(page.locator("#passkey-get")).to_be_hidden()
    await sign_in(page, alice)
    await page.goto("/account/passkeys")
    await expect(page.locator("#passkey-create")).to_be_hidden()
    # This browser does not show what it has for this case, though it runs no scripts.
    assert "needs JavaScript" in await page.content()


async def _tab_to(page: Page, id: str, most: int = 30) -> None:
    """Press Tab until something has the focus."""
    for _ in range(most):
        if await page.evaluate("document.activeElement.id") == id:
            return
        await page.keyboard.press("Tab")
    raise AssertionError(f"{id} cannot be reached by keyboard.")


async def test_by_keyboard(page: Page, alice: User) -> None:
    """In: the address has the focus, the password is next, Enter sends. Then through the account and out."""
    await page.goto("/login")
    await expect(page.locator("#username")).to_be_focused()
    await page.keyboard.type(alice.email)
    await page.keyboard.press("Tab")
    await expect(page.locator("#password")).to_be_focused()
    await page.keyboard.type(PASSWORD)
    await page.keyboard.press("Enter")
    await expect(page).to_have_url(HOME)
    await _tab_to(page, "to-account")
    await page.keyboard.press("Enter")
    await expect(page.locator("#profile-save")).to_be_visible()
    await _tab_to(page, "nickname")
    await page.keyboard.type("Ali")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("status")).to_be_visible()
    await page.goto("/account/security")
    await _tab_to(page, "password-change")
    await page.keyboard.press("Enter")
    await expect(page.locator("#new-password")).to_be_visible()
    await _tab_to(page, "new-password")
    await page.keyboard.type(NEW_PASSWORD)
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("status")).to_be_visible()


_VISIBLE = """() => {
    const element = document.activeElement, style = getComputedStyle(element);
    return element === document.body || style.boxShadow !== "none" ||
        (style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0);
}"""


async def test_what_has_the_focus_can_be_seen(page: Page) -> None:
    """Everything that can be reached shows it (WCAG 2.4.7)."""
    await page.goto("/login")
    for _ in range(8):
        await page.keyboard.press("Tab")
        assert await page.evaluate(_VISIBLE), await page.evaluate("document.activeElement.outerHTML")
