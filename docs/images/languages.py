"""Takes the sign-in, the consent page and a mail in every language, as one sheet each: `make screenshots`."""

import base64
from html import escape
from pathlib import Path

from playwright.async_api import Browser, Page

from idp.infra import i18n
from tests.support.server import Server

PHONE = {"width": 320, "height": 640}
COLUMNS = 5
SHEETS = ("sign-in", "consent", "mail")

_SHEET = """<!doctype html>
<style>
  body {{ display: grid; grid-template-columns: repeat({columns}, 320px); gap: 16px; margin: 16px; width: max-content }}
  body {{ font: 16px sans-serif; background: #e4e8ea }}
  figure {{ margin: 0 }}
  img {{ display: block; width: 320px; height: 640px; object-fit: cover; object-position: top }}
</style>
{figures}"""


async def take(chromium: Browser, server: Server, password: str, into: Path) -> None:
    """Take a sheet of each kind into a folder."""
    taken: dict[str, list[tuple[str, bytes]]] = {name: [] for name in SHEETS}
    for code, name in i18n.NAMES.items():
        context = await chromium.new_context(viewport=PHONE, locale=code)  # type: ignore[arg-type]
        page = await context.new_page()
        for sheet, picture in zip(SHEETS, await _of(page, server, password, code), strict=True):
            taken[sheet].append((name, picture))
        await context.close()
    sheet = await chromium.new_page()
    for kind, pictures in taken.items():
        figures = "".join(
            f"<figure><figcaption>{escape(name)}</figcaption>"
            f'<img src="data:image/png;base64,{base64.b64encode(picture).decode()}"></figure>'
            for name, picture in pictures
        )
        await sheet.set_content(_SHEET.format(columns=COLUMNS, figures=figures))
        await sheet.locator("body").screenshot(path=into / f"languages-{kind}.jpg", type="jpeg", quality=60)
    await sheet.close()


async def _of(page: Page, server: Server, password: str, code: str) -> list[bytes]:
    """Return the pictures of one language, in the order of :data:`SHEETS`."""
    await page.goto(f"{server.issuer}/login")
    await page.click("#register")
    email = f"ada-{code.lower()}@example.com"
    await page.fill("#username", email)
    await page.fill("#name", "Ada Lovelace")
    await page.fill("#new-password", password)
    await page.click("#register-submit")
    await page.wait_for_selector("#code")
    mail = await _mail(page, server, email)
    await page.goto(f"{server.issuer}/demo/login")
    await page.wait_for_selector("#login-submit")
    sign_in = await page.screenshot()
    await page.fill("#username", "demo@example.com")
    await page.fill("#password", password)
    await page.click("#login-submit")
    await page.wait_for_selector("#consent-allow")
    return [sign_in, await page.screenshot(), mail]


async def _mail(page: Page, server: Server, email: str) -> bytes:
    """Return the picture of the mail to a new user."""
    link = page.locator("main a").filter(has_text=email)
    for _ in range(20):
        await page.goto(f"{server.issuer}/dev/mail")
        if await link.count():
            break
        await page.wait_for_timeout(250)
    await page.goto(f"{server.issuer}{await link.get_attribute('href')}/html")
    return await page.screenshot()
