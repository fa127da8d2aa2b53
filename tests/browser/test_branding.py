"""Brandings in a browser: colours and pictures come through the content security policy; the editor and its preview."""

import base64
import os
import re

import pytest
from playwright.async_api import Page, expect

from idp.accounts.tables import User
from idp.branding import service
from idp.branding.models import Owner
from idp.directory.sign_in_policy_changes import set_policy
from tests.browser.test_console import enter, owner
from tests.conftest import MakeClient
from tests.support.chromium import arrived
from tests.support.directory import an_organization
from tests.support.oauth import PASSWORD
from tests.support.person import Person

__all__ = ["owner"]

pytestmark = pytest.mark.browser

#: One red pixel.
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg=="
)


async def colour_of(page: Page, selector: str) -> str:
    found: str = await page.locator(selector).evaluate("element => getComputedStyle(element).backgroundColor")
    return found


async def test_the_colour_and_the_logo_are_shown(page: Page, make_client: MakeClient, alice: User) -> None:
    """On the first page, at the second factor, and at consent; in light and in dark mode, and on a phone."""
    refused: list[str] = []
    page.on("console", lambda message: refused.append(message.text) if "Security Policy" in message.text else None)
    acme = await an_organization(alice)
    values = {"display_name": "Acme Ltd", "color": "#8a1c4a", "help_uri": "https://acme.example/help"}
    await service.save(Owner(organization_id=acme.id), values)
    for picture in ("logo", "dark_logo", "background"):
        await service.save_picture(Owner(organization_id=acme.id), picture, PIXEL)
    client = await make_client(scope="openid organization")
    query = "&".join(f"{name}={value}" for name, value in client.parameters(organization=acme.slug).items())
    await page.goto(f"/authorize?{query}")
    brand = page.locator("#organization-brand")
    await expect(brand).to_contain_text("Acme Ltd")
    assert await brand.locator("img").evaluate("image => image.complete && image.naturalWidth > 0")
    background = await page.locator("body").evaluate("body => getComputedStyle(body).backgroundImage")
    assert re.search("/branding/pictures/[0-9a-f]{64}", background)
    assert await colour_of(page, "#login-submit") == "rgb(138, 28, 74)"
    await page.emulate_media(color_scheme="dark")
    await expect(page.locator("#login-submit")).not_to_have_css("background-color", "rgb(138, 28, 74)")
    await page.emulate_media(color_scheme="light")
    await expect(page.locator("#brand-links a")).to_have_attribute("href", "https://acme.example/help")
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    await page.fill("#username", alice.email)
    await page.fill("#password", PASSWORD)
    await page.click("#login-submit")
    await expect(page.locator("#consent-allow")).to_be_visible()
    assert await colour_of(page, "#consent-allow") == "rgb(138, 28, 74)"
    await expect(brand).to_be_visible()
    await set_policy(acme.id, second_factor=True)
    await page.goto(f"/authorize?{query}")
    await arrived(page)
    await expect(page).to_have_url(re.compile("/login/"))
    await expect(brand).to_be_visible()
    await expect(page.locator("main")).to_contain_text("Acme Ltd requires a second factor")
    assert refused == []


@pytest.mark.parametrize("scripts", [True, False])
async def test_the_editor_shows_what_is_typed(
    page: Page, script_free: Page, owner: Person, scripts: bool, alice: User
) -> None:
    """At once with the script, and by its button without. In the dark, and on a wide page, without being saved."""
    page = page if scripts else script_free
    acme = await an_organization(alice)
    await enter(page, owner)
    await page.goto(f"/admin/organizations/{acme.id}/branding")
    preview = page.frame_locator('iframe[name="preview"]')
    await expect(preview.locator("#login-submit")).to_be_visible()
    await page.fill("#f-display_name", "Acme Ltd")
    await page.fill("#f-color", "#8a1c4a")
    if not scripts:
        await page.click("#preview-update")
    await expect(preview.locator("#organization-brand")).to_contain_text("Acme Ltd")
    await expect(preview.locator("#login-submit")).to_have_css("background-color", "rgb(138, 28, 74)")
    await page.select_option("#f-scheme", "dark")
    if not scripts:
        await page.click("#preview-update")
    await expect(preview.locator("#login-submit")).not_to_have_css("background-color", "rgb(138, 28, 74)")
    narrow = await preview.locator("html").evaluate("root => root.clientWidth")
    await page.check("#preview-desktop")
    assert await preview.locator("html").evaluate("root => root.clientWidth") > 2 * narrow
    if (folder := os.environ.get("SHOTS")) and scripts:
        await page.set_viewport_size({"width": 1280, "height": 900})
        await page.screenshot(path=f"{folder}/desktop.png", full_page=True)
        await page.check("#preview-phone")
        await page.screenshot(path=f"{folder}/editor.png", full_page=True)
        await page.emulate_media(color_scheme="dark")
        await page.set_viewport_size({"width": 390, "height": 900})
        await page.screenshot(path=f"{folder}/phone.png", full_page=True)
        await page.emulate_media(color_scheme="light")
    assert await service.current(Owner(organization_id=acme.id)) is None
    await page.click("#confirm")
    await expect(page.locator("[role=status]")).to_contain_text("Saved")
    assert (await service.branding_of(Owner(organization_id=acme.id))).color == "#8a1c4a"
