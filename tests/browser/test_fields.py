"""The forms of the sign-in with their script: passwords are shown and judged, codes send themselves."""

import re
from collections.abc import AsyncIterator
from urllib.parse import urlencode

import pytest
from playwright.async_api import Browser as Chromium
from playwright.async_api import Page, expect

from idp.accounts.tables import User
from tests.browser.conftest import DESKTOP, HOME
from tests.conftest import MakeClient
from tests.federation.conftest import Add, add, provider
from tests.support.mailbox import Mailbox
from tests.support.server import Server
from tests.support.stand_ins import OpenIDProvider

__all__ = ["add", "provider"]

pytestmark = pytest.mark.browser

DIVIDER = "way => getComputedStyle(way, '::before').content"
STRENGTH = "#password-strength"
#: The smallest target for a finger, in pixels (WCAG 2.5.5).
FINGER = 44


@pytest.fixture
async def touched(chromium: Chromium, server: Server) -> AsyncIterator[Page]:
    """A phone with a touch screen."""
    context = await chromium.new_context(
        viewport={"width": 390, "height": 740}, base_url=server.issuer, has_touch=True, is_mobile=True
    )
    yield await context.new_page()
    await context.close()


async def _paste(page: Page, field: str, text: str) -> None:
    """Insert a text as a paste does, which is the type of its event."""
    await page.eval_on_selector(
        field,
        """(field, text) => {
            field.value = text;
            field.dispatchEvent(new InputEvent("input", { bubbles: true, inputType: "insertFromPaste" }));
        }""",
        text,
    )


async def test_the_strongest_way_is_first(page: Page, add: Add, provider: OpenIDProvider) -> None:
    upstream = await add(issuer=provider.issuer, name="Upstream")
    await page.goto("/login")
    await expect(page.locator("#passkey-get")).to_be_visible()
    tops = [
        (await page.locator(one).bounding_box() or {})["y"]
        for one in ("#passkey-get", "#username", "#login-submit", f"#upstream-{upstream.id}")
    ]
    assert tops == sorted(tops)
    shown = await page.eval_on_selector_all(".way", f"ways => ways.map({DIVIDER})")
    assert shown == ["none", '"or"', '"or"']
    await expect(page.locator("#username")).to_be_focused()
    button = page.locator(f"#upstream-{upstream.id}")
    await expect(button.locator("svg")).to_be_visible()
    await expect(button).to_have_accessible_name(re.compile("^Continue with Upstream"))


async def test_without_the_script_no_divider_is_left_over(script_free: Page) -> None:
    await script_free.goto("/login")
    await expect(script_free.locator("#passkey-get")).to_be_hidden()
    await expect(script_free.locator(".reveal")).to_be_hidden()
    assert await script_free.eval_on_selector(".way:not([hidden])", DIVIDER) == "none"


async def test_the_page_fits_a_desktop(chromium: Chromium, server: Server, make_client: MakeClient) -> None:
    party = await make_client(client_name="Orders")
    context = await chromium.new_context(viewport=DESKTOP, base_url=server.issuer)
    page = await context.new_page()
    await page.goto(f"/authorize?{urlencode(party.parameters())}")
    box = await page.locator(".card").bounding_box()
    assert box is not None
    assert box["y"] + box["height"] <= DESKTOP["height"]
    bottoms = await page.eval_on_selector_all(
        ".ways a, .ways button",
        """links => links.map(link => {
            const range = document.createRange();
            range.selectNodeContents(link);
            return Math.round(range.getBoundingClientRect().bottom);
        })""",
    )
    forgot, register, leave = bottoms
    assert forgot == register < leave
    await context.close()


async def test_targets_for_a_finger(touched: Page, make_client: MakeClient) -> None:
    party = await make_client()
    await touched.goto(f"/authorize?{urlencode(party.parameters())}")
    await expect(touched.locator("#passkey-get")).to_be_visible()
    small = await touched.eval_on_selector_all(
        ".card :is(a, button, input:not([type=hidden])), #languages a",
        """(targets, finger) => targets
            .filter(one => one.checkVisibility() && !one.closest('.lead'))
            .map(one => [one.outerHTML.slice(0, 60), one.getBoundingClientRect().height])
            .filter(([_, height]) => height < finger)""",
        FINGER,
    )
    assert small == []


async def test_a_password_is_shown(page: Page, alice: User) -> None:
    await page.goto("/login")
    button, field = page.locator(".reveal"), page.locator("#password")
    await expect(button).to_have_accessible_name("Show password")
    await page.focus("#password")
    await page.keyboard.type("not it at all")
    await page.keyboard.press("Tab")
    await expect(button).to_be_focused()
    await expect(button).to_have_attribute("aria-pressed", "false")
    await page.keyboard.press("Space")
    await expect(field).to_have_attribute("type", "text")
    await expect(button).to_have_attribute("aria-pressed", "true")
    await page.keyboard.press("Space")
    await expect(field).to_have_attribute("type", "password")


@pytest.mark.parametrize("path", ["registration", "forgot"])
async def test_a_new_password_is_shown(page: Page, path: str, newcomer: str) -> None:
    await page.goto("/login")
    await page.goto(f"{page.url}/{path}")
    if path == "forgot":
        await page.fill("#username", newcomer)
        await page.click("#forgot-submit")
    await page.click(".reveal")
    await expect(page.locator("#new-password")).to_have_attribute("type", "text")


async def test_how_strong_a_new_password_is(page: Page, newcomer: str) -> None:
    await page.goto("/login")
    await page.click("#register")
    await page.fill("#username", newcomer)
    await page.fill("#new-password", "short")
    await expect(page.locator(STRENGTH)).to_be_empty()
    await page.fill("#new-password", "password1")
    await expect(page.locator(STRENGTH)).to_contain_text("too easy to guess")
    await expect(page.locator(STRENGTH)).to_have_attribute("data-score", "0")
    # The address makes a password weak that would be strong without it.
    await page.fill("#new-password", newcomer)
    await expect(page.locator(STRENGTH)).to_have_attribute("data-score", "0")
    await page.fill("#new-password", "seven tired otters nap")
    await expect(page.locator(STRENGTH)).to_contain_text("strong")
    await page.fill("#new-password", "")
    await expect(page.locator(STRENGTH)).to_be_empty()


async def test_a_pasted_code_sends_itself(page: Page, newcomer: str, mailbox: Mailbox) -> None:
    await page.goto("/login")
    await page.click("#register")
    await page.fill("#username", newcomer)
    await page.fill("#new-password", "seven tired otters nap")
    await page.click("#register-submit")
    code = (await mailbox.next(newcomer)).code
    await expect(page.locator("#code-submit")).to_be_visible()
    await _paste(page, "#code", f" {code[:3]} {code[3:]} ")
    await expect(page).to_have_url(HOME)


async def test_a_pasted_code_waits_for_the_rest_of_the_form(page: Page, alice: User) -> None:
    await page.goto("/login")
    await page.click("#forgot")
    await page.fill("#username", alice.email)
    await page.click("#forgot-submit")
    await expect(page.locator("#reset-submit")).to_be_visible()
    await _paste(page, "#code", "123456")
    await expect(page.locator("#new-password")).to_be_focused()


async def test_who_has_an_account_signs_in(page: Page) -> None:
    await page.goto("/login")
    await page.click("#register")
    await expect(page.locator(".ways :is(a, button)")).to_have_count(1)
    await page.click("#to-login")
    await expect(page.locator("#login-submit")).to_be_visible()
