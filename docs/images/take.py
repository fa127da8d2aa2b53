"""Takes the screenshots that README and docs show, of a real server in a real browser: `python docs/images/take.py`."""

import asyncio
import json
import re
import shutil
import sys
import tempfile
from pathlib import Path

import pyotp
from playwright.async_api import Page, async_playwright

FOLDER = Path(__file__).parent
sys.path.insert(0, str(FOLDER.parents[1]))

from tests.support.chromium import ARGUMENTS, installed  # noqa: E402
from tests.support.server import Server  # noqa: E402

OWNER, PASSWORD = "owner@example.com", "correct horse battery staple"
DESKTOP, PHONE = {"width": 1080, "height": 840}, {"width": 360, "height": 720}


async def _demo(page: Page, server: Server, password: str, scheme: str) -> None:
    await page.goto(f"{server.issuer}/demo/login")
    await page.fill("#username", "demo@example.com")
    await page.fill("#password", password)
    await page.screenshot(path=FOLDER / f"sign-in-{scheme}.png")
    await page.click("#login-submit")
    await page.wait_for_selector("#consent-allow, #demo-id-token")
    if "/consent/" in page.url:
        await page.click("#consent-allow")
    await page.wait_for_selector("#demo-id-token")
    await page.screenshot(path=FOLDER / f"demo-{scheme}.png")


async def _account(page: Page, server: Server, scheme: str) -> None:
    """Take the account pages with every credential. The second colour scheme finds those of the first."""
    await page.goto(f"{server.issuer}/account/totp")
    if await page.locator("#totp-confirm").count():
        await page.click("summary")
        secret = (await page.inner_text("#totp-secret")).strip()
        await page.click("summary")
        await page.fill("#code", pyotp.TOTP(secret).now())
        await page.click("#totp-confirm")
    await page.goto(f"{server.issuer}/account/security")
    await page.screenshot(path=FOLDER / f"account-{scheme}.png")


async def _phone(page: Page, server: Server, password: str, scheme: str) -> None:
    """Take the steps of a sign-in on a phone."""
    await page.goto(f"{server.issuer}/login")
    await page.click("#register")
    await page.fill("#username", "ada@example.com")
    await page.screenshot(path=FOLDER / f"registration-{scheme}.png")
    await page.goto(f"{server.issuer}/login")
    await page.fill("#username", "demo@example.com")
    await page.fill("#password", password)
    await page.click("#login-submit")
    await page.wait_for_selector("#totp-submit")
    await page.screenshot(path=FOLDER / f"second-step-{scheme}.png")


async def _set_up(page: Page, link: str) -> str:
    """Make the first admin. Returns the secret of the authenticator app."""
    await page.goto(link)
    for name, value in (("email", OWNER), ("name", "Olga Owner"), ("new-password", PASSWORD)):
        await page.fill(f"#{name}", value)
    await page.click("#setup-submit")
    await page.fill("#username", OWNER)
    await page.fill("#password", PASSWORD)
    await page.click("#login-submit")
    await page.click("summary")
    secret = (await page.inner_text("#totp-secret")).strip()
    await page.fill("#code", pyotp.TOTP(secret).now())
    await page.click("#totp-confirm")
    await page.click("#codes-kept")
    await page.wait_for_url("**/admin")
    return secret


async def _console(page: Page, server: Server, scheme: str) -> None:
    """Take the console with the data that the demo left."""
    await page.goto(f"{server.issuer}/admin/keys/rotate")
    if await page.locator("#confirm").count():
        await page.click("#confirm")
    await page.goto(f"{server.issuer}/admin/keys")
    await page.click("tbody a >> nth=0")
    await page.screenshot(path=FOLDER / f"console-key-{scheme}.png")
    await page.goto(f"{server.issuer}/admin/users?q=demo")
    await page.click("tbody a >> nth=0")
    await page.screenshot(path=FOLDER / f"console-user-{scheme}.png")
    await page.goto(f"{server.issuer}/admin/clients")
    await page.click("tbody a >> nth=0")
    await page.screenshot(path=FOLDER / f"console-client-{scheme}.png", full_page=True)
    await page.goto(f"{server.issuer}/admin/audit")
    await page.screenshot(path=FOLDER / f"console-audit-{scheme}.png")
    await page.goto(f"{server.issuer}/admin")
    await page.screenshot(path=FOLDER / f"console-overview-{scheme}.png")


async def _take_all(server: Server, password: str) -> None:
    """Take the pages that need a password only, then those that need a second factor."""
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=installed(), args=ARGUMENTS)
        contexts = {
            scheme: await chromium.new_context(viewport=DESKTOP, color_scheme=scheme)  # type: ignore[arg-type]
            for scheme in ("light", "dark")
        }
        pages = {scheme: await context.new_page() for scheme, context in contexts.items()}
        for scheme, page in pages.items():
            await _demo(page, server, password, scheme)
        for scheme, page in pages.items():
            await _account(page, server, scheme)
        for scheme in pages:
            phone = await chromium.new_context(viewport=PHONE, color_scheme=scheme)  # type: ignore[arg-type]
            await _phone(await phone.new_page(), server, password, scheme)
        admin = await chromium.new_page(viewport=DESKTOP)  # type: ignore[arg-type]
        await _set_up(admin, re.findall(r"http://\S+/admin/setup\?token=[\w-]+", server.log)[0])
        for scheme in pages:
            await admin.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            await _console(admin, server, scheme)
        await chromium.close()


def main() -> None:
    folder = Path(tempfile.mkdtemp())
    server = Server(folder, "--dev", IDP_DATA_DIR=str(folder / "data"), IDP_KEYS_DIR=str(folder / "keys"))
    try:
        asyncio.run(_take_all(server, json.loads((folder / "data" / "demo.json").read_text())["password"]))
    finally:
        server.stop()
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
