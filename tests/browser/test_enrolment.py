"""Setting up a second factor, and keeping the recovery codes, with and without the script."""

import re
from pathlib import Path
from urllib.parse import urlencode

import pyotp
import pytest
from playwright.async_api import Browser as Chromium
from playwright.async_api import Page, expect

from idp.accounts.tables import User
from tests.browser.conftest import sign_in
from tests.conftest import MakeClient
from tests.support.oauth import PASSWORD
from tests.support.server import Server

pytestmark = pytest.mark.browser

CODES = "#recovery-codes li"


async def _to_enrolment(page: Page, make_client: MakeClient, user: User) -> None:
    strict = await make_client(default_acr_values=["2"])
    await page.goto(f"/authorize?{urlencode(strict.parameters())}")
    await page.fill("#username", user.email)
    await page.fill("#password", PASSWORD)
    await page.click("#login-submit")
    await expect(page.locator("#totp-confirm")).to_be_visible()


async def _enrol(page: Page) -> list[str]:
    """Enter the first code of an app, and return the recovery codes."""
    secret = await page.locator("#totp-secret").text_content()
    assert secret is not None
    await page.fill("#code", pyotp.TOTP(secret.strip()).now())
    await page.click("#totp-confirm")
    await expect(page.locator(CODES).first).to_be_visible()
    return [text.strip() for text in await page.locator(CODES).all_text_contents()]


async def test_a_key_or_an_app(page: Page, make_client: MakeClient, alice: User) -> None:
    await _to_enrolment(page, make_client, alice)
    await expect(page.locator("#passkey-create")).to_be_visible()
    dividers = "ways => ways.map(way => getComputedStyle(way, '::before').content)"
    assert await page.eval_on_selector_all(".way", dividers) == ["none", '"or"']
    uri = await page.get_attribute("#totp-open", "href")
    assert uri is not None
    assert uri.startswith("otpauth://totp/")
    await page.click("summary")
    groups = await page.locator(".groups span").all_text_contents()
    assert {len(group) for group in groups} == {4}
    assert "".join(groups) == pyotp.parse_uri(uri).secret


async def test_copied_codes(chromium: Chromium, server: Server, make_client: MakeClient, alice: User) -> None:
    context = await chromium.new_context(base_url=server.issuer, permissions=["clipboard-read", "clipboard-write"])
    page = await context.new_page()
    await _to_enrolment(page, make_client, alice)
    await page.click("summary")
    secret = await page.locator("#totp-secret").text_content()
    await page.click("[data-copy=totp-secret]")
    await expect(page.locator("[data-copy=totp-secret]")).to_have_text("Copied")
    assert await page.evaluate("navigator.clipboard.readText()") == secret
    codes = await _enrol(page)
    await page.click("[data-copy=recovery-codes]")
    await expect(page.locator("[data-copy=recovery-codes]")).to_have_text("Copied")
    assert await page.evaluate("navigator.clipboard.readText()") == "\n".join(codes)
    await expect(page.locator("[data-print]")).to_be_visible()
    await page.emulate_media(media="print")
    await expect(page.locator(CODES).first).to_be_visible()
    await expect(page.locator("#codes-download")).to_be_hidden()
    await context.close()


async def test_downloaded_codes_without_the_script(
    script_free: Page, make_client: MakeClient, alice: User, tmp_path: Path
) -> None:
    await _to_enrolment(script_free, make_client, alice)
    await script_free.click("summary")
    await expect(script_free.locator("[data-copy]")).to_be_hidden()
    codes = await _enrol(script_free)
    async with script_free.expect_download() as waiting:
        await script_free.click("#codes-download")
    download = await waiting.value
    assert download.suggested_filename == "recovery-codes.txt"
    await download.save_as(tmp_path / "codes.txt")
    assert [line for line in (tmp_path / "codes.txt").read_text().splitlines() if line in codes] == codes
    await script_free.click("#codes-kept")
    await expect(script_free).to_have_url(re.compile("/consent/"))


async def test_the_same_page_in_the_account(script_free: Page, alice: User) -> None:
    await sign_in(script_free, alice)
    await script_free.goto("/account/totp")
    await script_free.click("summary")
    assert len(await _enrol(script_free)) == 10
    await expect(script_free.locator("#codes-download")).to_be_visible()
    await script_free.click("#codes-kept")
    await expect(script_free).to_have_url(re.compile("/account/security"))
