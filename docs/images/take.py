"""Takes the screenshots that README and docs show, of a real server in a real browser: `make screenshots`."""

import argparse
import asyncio
import json
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pyotp
from playwright.async_api import Page, async_playwright

from docs.images import languages
from tests.support.chromium import ARGUMENTS, installed
from tests.support.server import Server

OWNER, PASSWORD = "owner@example.com", "correct horse battery staple"
DESKTOP, PHONE = {"width": 1080, "height": 840}, {"width": 360, "height": 720}


async def _demo(page: Page, server: Server, password: str, scheme: str, into: Path) -> None:
    await page.goto(f"{server.issuer}/demo/login")
    await page.fill("#username", "demo@example.com")
    await page.fill("#password", password)
    await page.screenshot(path=into / f"sign-in-{scheme}.png")
    await page.click("#login-submit")
    await page.wait_for_selector("#consent-allow, #demo-id-token")
    if "/consent/" in page.url:
        await page.click("#consent-allow")
    await page.wait_for_selector("#demo-id-token")
    await page.screenshot(path=into / f"demo-{scheme}.png")


async def _account(page: Page, server: Server, scheme: str, into: Path) -> None:
    """Take the account pages with every credential. The second colour scheme finds those of the first."""
    await page.goto(f"{server.issuer}/account/totp")
    if await page.locator("#totp-confirm").count():
        await page.click("summary")
        secret = (await page.inner_text("#totp-secret")).strip()
        await page.click("summary")
        await page.fill("#code", pyotp.TOTP(secret).now())
        await page.click("#totp-confirm")
    await page.goto(f"{server.issuer}/account/security")
    await page.screenshot(path=into / f"account-{scheme}.png")


async def _phone(page: Page, server: Server, password: str, scheme: str, into: Path) -> None:
    """Take the steps of a sign-in on a phone."""
    await page.goto(f"{server.issuer}/login")
    await page.click("#register")
    await page.fill("#username", "ada@example.com")
    await page.screenshot(path=into / f"registration-{scheme}.png")
    await page.goto(f"{server.issuer}/login")
    await page.fill("#username", "demo@example.com")
    await page.fill("#password", password)
    await page.click("#login-submit")
    await page.wait_for_selector("#totp-submit")
    await page.screenshot(path=into / f"second-step-{scheme}.png")


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


async def _console(page: Page, server: Server, scheme: str, into: Path) -> None:
    """Take the console with the data that the demo left."""
    await page.goto(f"{server.issuer}/admin/keys/rotate")
    if await page.locator("#confirm").count():
        await page.click("#confirm")
    await page.goto(f"{server.issuer}/admin/keys")
    await page.click("tbody a >> nth=0")
    await page.screenshot(path=into / f"console-key-{scheme}.png")
    await page.goto(f"{server.issuer}/admin/users?q=demo")
    await page.click("tbody a >> nth=0")
    await page.screenshot(path=into / f"console-user-{scheme}.png")
    await page.goto(f"{server.issuer}/admin/clients")
    await page.click("tbody a >> nth=0")
    await page.screenshot(path=into / f"console-client-{scheme}.png", full_page=True)
    await page.goto(f"{server.issuer}/admin/audit")
    await page.screenshot(path=into / f"console-audit-{scheme}.png")
    await page.goto(f"{server.issuer}/admin")
    await page.screenshot(path=into / f"console-overview-{scheme}.png")


async def _take_all(server: Server, password: str, schemes: Sequence[str], into: Path) -> None:
    """Take the pages that need a password only, then those that need a second factor."""
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=installed(), args=ARGUMENTS)
        # Before the demo has its consent.
        await languages.take(chromium, server, password, into)
        contexts = {
            scheme: await chromium.new_context(viewport=DESKTOP, color_scheme=scheme)  # type: ignore[arg-type]
            for scheme in schemes
        }
        pages = {scheme: await context.new_page() for scheme, context in contexts.items()}
        for scheme, page in pages.items():
            await _demo(page, server, password, scheme, into)
        for scheme, page in pages.items():
            await _account(page, server, scheme, into)
        for scheme in schemes:
            phone = await chromium.new_context(viewport=PHONE, color_scheme=scheme)  # type: ignore[arg-type]
            await _phone(await phone.new_page(), server, password, scheme, into)
        admin = await chromium.new_page(viewport=DESKTOP)  # type: ignore[arg-type]
        await _set_up(admin, re.findall(r"http://\S+/admin/setup\?token=[\w-]+", server.log)[0])
        for scheme in schemes:
            await admin.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            await _console(admin, server, scheme, into)
        await chromium.close()


def take(into: Path, schemes: Sequence[str] = ("light", "dark")) -> None:
    """Take all screenshots into a folder, of a server that is started for them."""
    folder = Path(tempfile.mkdtemp())
    server = Server(folder, "--dev", IDP_DATA_DIR=str(folder / "data"), IDP_KEYS_DIR=str(folder / "keys"))
    try:
        password = json.loads((folder / "data" / "demo.json").read_text())["password"]
        asyncio.run(_take_all(server, password, schemes, into))
    finally:
        server.stop()
        shutil.rmtree(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("into", type=Path, nargs="?", default=Path(__file__).parent, help="the folder to write to")
    take(parser.parse_args().into)


if __name__ == "__main__":
    main()
