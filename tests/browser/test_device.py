"""Connecting a device in a real browser, with the keyboard alone, on a phone without JavaScript."""

import pytest
from playwright.async_api import Page, expect

from idp.accounts.tables import User
from tests.conftest import MakeClient
from tests.support.devices import start_device
from tests.support.oauth import PASSWORD

pytestmark = pytest.mark.browser


async def test_by_the_keyboard_without_scripts(script_free: Page, make_client: MakeClient, alice: User) -> None:
    """The address of the QR code fills in the code, which is sent only when the user says so."""
    page, device = script_free, await start_device(make_client)
    await page.goto(device.codes["verification_uri_complete"])
    await page.fill("#username", alice.email)
    await page.fill("#password", PASSWORD)
    await page.keyboard.press("Enter")
    await expect(page.locator("#user_code")).to_be_focused()
    await expect(page.locator("#user_code")).to_have_value(device.user_code)
    await expect(page.locator("#device-compare")).to_be_visible()
    await page.keyboard.press("Enter")
    await expect(page.locator("#device-code")).to_have_text(device.user_code)
    await expect(page.locator("#device-warning")).to_be_visible()
    await page.locator("#device-confirm").focus()
    await page.keyboard.press("Enter")
    await page.locator("#consent-allow").focus()
    await page.keyboard.press("Enter")
    await expect(page.locator("#device-approved")).to_be_visible()
    assert (await device.tokens())["refresh_token"]
    # Reloading the last page changes nothing.
    await page.reload()
    await expect(page.locator("#device-approved")).to_be_visible()


async def test_typed_by_hand_and_refused(script_free: Page, make_client: MakeClient, alice: User) -> None:
    page, device = script_free, await start_device(make_client)
    await page.goto("/device")
    await page.fill("#username", alice.email)
    await page.fill("#password", PASSWORD)
    await page.keyboard.press("Enter")
    await page.fill("#user_code", "BCDF-GHJK")
    await page.keyboard.press("Enter")
    await expect(page.locator("#form-error")).to_be_visible()
    await page.fill("#user_code", device.user_code.replace("-", " ").lower())
    await page.keyboard.press("Enter")
    await page.click("#device-deny")
    await expect(page.locator("#device-denied")).to_be_visible()
    assert (await device.poll()).json()["error"] == "access_denied"
