"""Sign-in to the demo client, consent, refresh and sign-out in a real browser."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.async_api import Browser as Chromium
from playwright.async_api import Page, expect

from tests.support.chromium import arrived
from tests.support.server import Server

pytestmark = pytest.mark.browser

DESKTOP, PHONE = {"width": 1280, "height": 800}, {"width": 360, "height": 740}


@contextmanager
def _running(folder: Path) -> Iterator[Server]:
    """`idp serve --dev`, as `make run` starts it."""
    server = Server(folder, "--dev", IDP_DATA_DIR=str(folder / "data"), IDP_KEYS_DIR=str(folder / "keys"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with _running(tmp_path_factory.mktemp("demo")) as server:
        yield server


@pytest.fixture
def new_demo(tmp_path: Path) -> Iterator[Server]:
    """A server without any consent."""
    with _running(tmp_path) as server:
        yield server


def _password(server: Server) -> tuple[str, str]:
    """Return the password that the server printed at its start."""
    path = next(Path(server.log_path).parent.rglob("demo.json"))
    values = json.loads(path.read_text())
    assert values["password"] in server.log
    return "demo@example.com", values["password"]


async def _sign_in(page: Page, server: Server) -> None:
    email, password = _password(server)
    await page.goto(f"{server.issuer}/demo")
    await page.click("#demo-login")
    await expect(page).to_have_url(re.compile("/login/"))
    await page.fill("#username", email)
    await page.fill("#password", password)
    await page.click("#login-submit")
    await arrived(page)


async def test_from_the_start_page_to_a_verified_token_and_out(chromium: Chromium, new_demo: Server) -> None:
    page = await chromium.new_page(viewport=DESKTOP)
    await page.goto(new_demo.issuer)
    await page.click("a[href='/demo']")
    await _sign_in(page, new_demo)
    await expect(page).to_have_url(re.compile("/consent/"))
    await page.click("#consent-allow")

    await expect(page).to_have_url(f"{new_demo.issuer}/demo")
    await expect(page.locator("#demo-id-token")).to_contain_text(new_demo.issuer)
    await expect(page.locator("#demo-access-token")).to_contain_text("at+jwt")
    await expect(page.locator("#demo-userinfo")).to_contain_text("demo@example.com")

    before = await page.locator("#demo-access-token").inner_text()
    await page.click("#demo-refresh")
    await expect(page.locator("#demo-refresh-count")).to_contain_text("1")
    assert await page.locator("#demo-access-token").inner_text() != before

    await page.click("#demo-logout")
    await expect(page).to_have_url(f"{new_demo.issuer}/demo")
    await page.click("#demo-login")
    await expect(page.locator("#username")).to_be_visible()
    await page.context.close()


async def test_consent_is_remembered_and_signing_in_again_is_silent(chromium: Chromium, demo: Server) -> None:
    context = await chromium.new_context()
    page = await context.new_page()
    await _sign_in(page, demo)
    if "/consent/" in page.url:
        await page.click("#consent-allow")
    await expect(page.locator("#demo-id-token")).to_be_visible()
    other_tab = await context.new_page()
    await other_tab.goto(f"{demo.issuer}/demo/login")
    await expect(other_tab.locator("#demo-id-token")).to_be_visible()
    await context.close()


async def test_two_tabs_do_not_disturb_each_other(chromium: Chromium, demo: Server) -> None:
    context = await chromium.new_context()
    email, password = _password(demo)
    tabs = [await context.new_page(), await context.new_page()]
    for tab in tabs:
        await tab.goto(f"{demo.issuer}/login")
    for tab in tabs:
        await tab.fill("#username", email)
        await tab.fill("#password", password)
        await tab.click("#login-submit")
        await expect(tab).to_have_url(f"{demo.issuer}/")
    await context.close()


async def test_without_javascript_by_keyboard_on_a_phone(chromium: Chromium, demo: Server) -> None:
    context = await chromium.new_context(java_script_enabled=False, viewport=PHONE)
    page = await context.new_page()
    email, password = _password(demo)
    await page.goto(f"{demo.issuer}/demo/login?prompt=login%20consent")
    await page.focus("#username")
    await page.keyboard.type(email)
    await page.keyboard.press("Tab")
    await page.keyboard.type(password)
    await page.keyboard.press("Enter")
    await expect(page).to_have_url(re.compile("/consent/"))
    await page.focus("#consent-allow")
    await page.keyboard.press("Enter")
    await expect(page.locator("#demo-id-token")).to_be_visible()
    await context.close()


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
async def test_no_page_scrolls_horizontally(chromium: Chromium, demo: Server, viewport: dict[str, int]) -> None:
    context = await chromium.new_context(viewport=viewport)
    page = await context.new_page()
    for path in ("/", "/demo", "/demo/login", "/dev/mail", "/authorize?client_id=nobody", "/no-such-page"):
        await page.goto(f"{demo.issuer}{path}")
        width = await page.evaluate("document.documentElement.scrollWidth")
        assert width <= viewport["width"], f"{path} is {width} pixels wide"
    await context.close()
