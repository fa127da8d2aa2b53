"""In every language, the pages and mails that most people see fit on a small phone and run in its direction."""

from collections.abc import AsyncIterator
from urllib.parse import urlencode

import pytest
from playwright.async_api import Browser as Chromium
from playwright.async_api import Page

from idp.accounts.tables import User
from idp.infra import i18n
from idp.mail.messages import compose
from tests.browser.conftest import PHONE, sign_in
from tests.conftest import MakeClient
from tests.support.mails import MAILS
from tests.support.server import Server

pytestmark = pytest.mark.browser

ACCOUNT = ("/account", "/account/security", "/account/sessions", "/account/apps", "/account/data")
#: What does not fit into its own box, or into the window.
_TOO_WIDE = """() => {
  const parts = [...document.querySelectorAll("button, a[role=button], h1, label, summary, th, dt")];
  const boxes = parts.filter(part => part.offsetParent && part.clientWidth);
  const clipped = boxes.filter(part => part.scrollWidth > part.clientWidth + 1);
  const page = document.documentElement;
  return [...clipped.map(part => part.textContent.trim()), ...(page.scrollWidth > innerWidth ? ["the page"] : [])];
}"""


@pytest.fixture(params=i18n.LOCALES)
def language(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def page(language: str, chromium: Chromium, server: Server) -> AsyncIterator[Page]:
    context = await chromium.new_context(viewport=PHONE, base_url=server.issuer, locale=language)  # type: ignore[arg-type]
    context.set_default_timeout(30_000)
    yield await context.new_page()
    await context.close()


async def _fits(page: Page, language: str) -> None:
    where = f"{page.url} in {language}"
    assert await page.get_attribute("html", "lang") == language, where
    assert await page.get_attribute("html", "dir") == ("rtl" if language == "ar" else "ltr"), where
    assert await page.evaluate(_TOO_WIDE) == [], where


async def test_pages_fit(page: Page, language: str, make_client: MakeClient, alice: User) -> None:
    client = await make_client(client_name="Northwind")
    await page.goto("/login")
    await _fits(page, language)
    await page.click("#register")
    await page.wait_for_selector("#register-submit")
    await _fits(page, language)
    await sign_in(page, alice)
    await page.goto(f"/authorize?{urlencode(client.parameters(scope=client.scope))}")
    await page.wait_for_selector("#consent-allow")
    await _fits(page, language)
    for path in ACCOUNT:
        await page.goto(path)
        await _fits(page, language)


async def test_mails_fit(page: Page, language: str) -> None:
    token = i18n.locale.set(language)
    try:
        mails = {name: compose("ada@example.com", name, **values | {"name": "Ada"}) for name, values in MAILS.items()}
    finally:
        i18n.locale.reset(token)
    for name, mail in mails.items():
        body = mail.get_body(("html",))
        assert body is not None
        await page.set_content(body.get_content())
        assert await page.get_attribute("html", "dir") == ("rtl" if language == "ar" else "ltr")
        assert await page.evaluate(_TOO_WIDE) == [], f"{name} in {language}"
