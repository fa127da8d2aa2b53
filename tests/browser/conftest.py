import re
import secrets
from collections.abc import AsyncIterator

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser as Chromium
from playwright.async_api import Page, expect

from idp.accounts.tables import User
from tests.support.chromium import arrived, chromium
from tests.support.oauth import PASSWORD
from tests.support.server import Server

__all__ = ["chromium"]

# Playwright's 5 seconds are too short for a page on a busy machine.
expect.set_options(timeout=30_000)

AXE = Axe().axe_script
#: All rules of every level, except the enhanced contrast of WCAG's level AAA.
LEVELS = ["wcag2a", "wcag2aa", "wcag2aaa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
RULES = {
    "runOnly": {"type": "tag", "values": LEVELS},
    "rules": {"color-contrast-enhanced": {"enabled": False}},
    "resultTypes": ["violations"],
}
#: The rules whose results depend on the colour scheme.
COLOURS = {"runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}}
#: Of a small phone (WCAG 2.2, 1.4.10), a phone, a tablet and a notebook.
WIDTHS = (320, 390, 768, 1280)
#: The narrowest is that of WCAG 2.2, 1.4.10 (Reflow).
DESKTOP, PHONE = {"width": 1280, "height": 800}, {"width": 320, "height": 740}
#: Where a sign-in without an application ends.
HOME = re.compile(r"^http://[^/]+/$")


async def violations(page: Page) -> list[tuple[str, ...]]:
    """Return what axe finds on the page, wide and narrow, light and dark: the width, the scheme, the rule, the element.

    In the dark only colours are checked again.
    """
    told = []
    for viewport in (DESKTOP, PHONE):
        await page.set_viewport_size(viewport)  # type: ignore[arg-type]
        for scheme, rules in (("dark", COLOURS), ("light", RULES)):
            await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
            if not await page.evaluate("'axe' in window"):
                await page.evaluate(AXE)
            found = await page.evaluate("rules => axe.run(rules).then(found => found.violations)", rules)
            told += [(f"{viewport['width']} px", scheme, each["id"], str(each["nodes"][0]["target"])) for each in found]
    return told


@pytest.fixture(params=[DESKTOP, PHONE], ids=["desktop", "phone"])
async def page(request: pytest.FixtureRequest, chromium: Chromium, server: Server) -> AsyncIterator[Page]:
    """A fresh browser at the shared server: a tour on a desktop and one on a phone."""
    context = await chromium.new_context(viewport=request.param, base_url=server.issuer)
    context.set_default_timeout(30_000)
    yield await context.new_page()
    await context.close()


@pytest.fixture
async def script_free(chromium: Chromium, server: Server) -> AsyncIterator[Page]:
    """A phone's browser with JavaScript switched off."""
    context = await chromium.new_context(viewport=PHONE, base_url=server.issuer, java_script_enabled=False)
    context.set_default_timeout(30_000)
    yield await context.new_page()
    await context.close()


@pytest.fixture
def newcomer() -> str:
    """An address without an account."""
    return f"{secrets.token_hex(6)}@example.com"


async def sign_in(page: Page, user: User, password: str = PASSWORD) -> None:
    """Sign in up to the password."""
    await page.goto("/login")
    await page.fill("#username", user.email)
    await page.fill("#password", password)
    await page.click("#login-submit")
    await arrived(page)


async def sign_out(page: Page) -> None:
    await page.goto("/logout")
    await page.click("#logout-confirm")
    await expect(page.locator("#logout-done")).to_be_visible()
