"""Takes the screenshots that README and docs show, of a real server in a real browser: `python docs/images/take.py`."""

import asyncio
import json
import shutil
import sys
import tempfile
from pathlib import Path

from playwright.async_api import BrowserContext, async_playwright

FOLDER = Path(__file__).parent
sys.path.insert(0, str(FOLDER.parents[1]))

from tests.support.chromium import ARGUMENTS  # noqa: E402
from tests.support.server import Server  # noqa: E402


async def _walk(context: BrowserContext, server: Server, password: str, scheme: str) -> None:
    page = await context.new_page()
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


async def _take_all(server: Server, password: str) -> None:
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=shutil.which("chromium"), args=ARGUMENTS)
        for scheme in ("light", "dark"):
            context = await chromium.new_context(viewport={"width": 1080, "height": 760}, color_scheme=scheme)
            await _walk(context, server, password, scheme)
            await context.close()
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
