"""The pages on a phone without JavaScript, and by keyboard only."""

import re
from urllib.parse import urlencode

import pyotp
import pytest
from playwright.async_api import Page, expect

from idp.accounts.tables import User
from idp.infra.db.engine import execute
from tests.browser.conftest import HOME, sign_in, sign_out
from tests.conftest import MakeClient
from tests.support.access_policies import set_policy
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


async def test_an_application_for_others(script_free: Page, make_client: MakeClient, alice: User) -> None:
    """The page says whom to ask; the way to another account and the way back work."""
    page = script_free
    party = await make_client(client_name="Payroll", contacts=["payroll@example.com"])
    await set_policy(party, networks=["192.0.2.0/24"])
    await sign_in(page, alice)
    await page.goto(f"/authorize?{urlencode(party.parameters())}")
    await expect(page.locator("#access-denied")).to_be_visible()
    await expect(page.get_by_role("link", name="payroll@example.com")).to_be_visible()
    await page.click("#access-switch")
    await expect(page.locator("#login-submit")).to_be_visible()
    await page.goto(f"/authorize?{urlencode(party.parameters())}")
    async with page.expect_request(lambda request: request.url.startswith(party.redirect_uri)) as sent:
        await page.click("#access-back", no_wait_after=True)
    assert "error=access_denied" in (await sent.value).url


async def test_pages_that_need_a_script_say_so(script_free: Page, alice: User) -> None:
    page = script_free
    await page.goto("/login")
    await expect(page.locator("#passkey-get")).to_be_hidden()
    await sign_in(page, alice)
    await page.goto("/account/passkeys")
    await expect(page.locator("#passkey-create")).to_be_hidden()
    # This browser does not show what it has for this case, though it runs no scripts.
    assert "needs JavaScript" in await page.content()


async def _focused(page: Page) -> str:
    """The id, else the address or the kind, of what has the focus."""
    found = "element => element.id || element.getAttribute('href') || element.localName"
    return str(await page.evaluate(f"({found})(document.activeElement)"))


async def _tab_to(page: Page, id: str, most: int = 60) -> None:
    """Press Tab until something has the focus."""
    for _ in range(most):
        if await _focused(page) == id:
            return
        await page.keyboard.press("Tab")
    raise AssertionError(f"{id} cannot be reached by keyboard.")


# Whether the focus is where it was before, and whether it is visible.
_LOOK = """() => {
    const element = document.activeElement, style = getComputedStyle(element), before = element.dataset.before;
    element.dataset.before = "yes";
    const clear = style.outlineColor === "transparent" || /, 0\\)$/.test(style.outlineColor);
    return [before === "yes", style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0 && !clear];
}"""


async def _tab_order(page: Page, most: int = 60) -> list[str]:
    """Return the elements that Tab focuses, from here until the cycle ends. Each shows that it has the focus (WCAG
    2.4.7).
    """
    order: list[str] = []
    for _ in range(most):
        await page.keyboard.press("Tab")
        # From the end Chromium goes to the beginning by way of itself, sometimes before we see that.
        if (focused := await _focused(page)) == "body":
            continue
        before, visible = await page.evaluate(_LOOK)
        # A field for a date has a stop for each of its parts.
        if before and order[-1:] == [focused]:
            continue
        if before:
            return order
        assert visible, f"{page.url}: {focused}"
        order.append(focused)
    raise AssertionError(f"{page.url}: the focus does not come round: {order}")


async def test_sign_in_by_keyboard(page: Page, alice: User) -> None:
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
    await _tab_to(page, "details-links")
    await page.keyboard.press("Enter")
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


async def test_the_order_of_the_login_page(page: Page) -> None:
    await page.goto("/login")
    # The script has run, so the button for passkeys is there.
    await expect(page.locator("#passkey-get")).to_be_visible()
    await expect(page.locator("#username")).to_be_focused()
    rest = ["password", "reveal-password", "login-submit", "email-code-send", "forgot", "register"]
    assert (await _tab_order(page))[:6] == rest


MENU = [
    "sign-out",
    "/account",
    "/account/security",
    "/account/sessions",
    "/account/activity",
    "/account/apps",
    "/account/requests",
    "/account/data",
]


async def test_the_menu_of_the_account_by_keyboard(page: Page, alice: User) -> None:
    await sign_in(page, alice)
    await page.goto("/account")
    order = await _tab_order(page)
    assert order[:11] == [*MENU, "file", "picture-save", "name"]
    assert order[-3:] == ["details-links", "profile-save", "language"]
    assert "zoneinfo" in order
    await page.goto("/account")
    for path in MENU[2:]:
        for _ in range(MENU.index(path) + 1):
            await page.keyboard.press("Tab")
        assert await _focused(page) == path
        await page.keyboard.press("Enter")
        await expect(page).to_have_url(re.compile(f"{path}$"))
        await expect(page.locator("nav [aria-current=page]")).to_have_attribute("href", path)


async def test_the_focus_can_be_seen_everywhere(page: Page, alice: User) -> None:
    await sign_in(page, alice)
    for path in ("/security", "/password", "/email", "/passkeys", "/totp", "/sessions", "/activity", "/data"):
        await page.goto(f"/account{path}")
        assert set(MENU[1:]) < set(await _tab_order(page))
