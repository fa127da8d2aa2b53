"""The branding of an organization in a browser: its colour and its logo come through the content security policy."""

import base64
import re

import pytest
from playwright.async_api import Page, expect

from idp.accounts.tables import User
from idp.directory import branding
from idp.directory.sign_in_policy_changes import set_policy
from tests.conftest import MakeClient
from tests.support.chromium import arrived
from tests.support.directory import an_organization
from tests.support.oauth import PASSWORD

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
    await branding.set_branding(acme.id, display_name="Acme Ltd", color="#8a1c4a", help_uri="https://acme.example/help")
    await branding.save_logo(acme.id, PIXEL)
    client = await make_client(scope="openid organization")
    query = "&".join(f"{name}={value}" for name, value in client.parameters(organization=acme.slug).items())
    await page.goto(f"/authorize?{query}")
    brand = page.locator("#organization-brand")
    await expect(brand).to_contain_text("Acme Ltd")
    assert await brand.locator("img").evaluate("image => image.complete && image.naturalWidth > 0")
    assert await colour_of(page, "#login-submit") == "rgb(138, 28, 74)"
    await page.emulate_media(color_scheme="dark")
    await expect(page.locator("#login-submit")).not_to_have_css("background-color", "rgb(138, 28, 74)")
    await page.emulate_media(color_scheme="light")
    await expect(page.locator("#organization-links a")).to_have_attribute("href", "https://acme.example/help")
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
