"""Applications whose redirect URI redirects to another origin, as with brokers and forward-auth proxies."""

import threading
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from playwright.async_api import Browser as Chromium
from playwright.async_api import Page, expect

from idp.accounts.tables import User
from tests.browser.conftest import PHONE
from tests.conftest import MakeClient
from tests.support.oauth import PASSWORD, RelyingParty
from tests.support.server import Server

pytestmark = [pytest.mark.browser, pytest.mark.fault(16)]


class _Application(BaseHTTPRequestHandler):
    """Answers at ``/arrived``, and sends everybody else there, at another origin."""

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("content-length") or 0))
        arrived = self.path.startswith("/arrived")
        self.send_response(200 if arrived else 302)
        if not arrived:
            self.send_header("Location", f"http://127.0.0.1:{self.server.server_port}/arrived{self.path}")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_POST = do_GET  # noqa: N815 -- the library asks for this name

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def application() -> Iterator[str]:
    """The origin at which a client is registered."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Application) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://localhost:{server.server_port}"
        server.shutdown()


@pytest.fixture
async def client(make_client: MakeClient, application: str) -> RelyingParty:
    return await make_client(
        redirect_uris=[f"{application}/callback"],
        post_logout_redirect_uris=[f"{application}/bye"],
        application_type="native",
    )


@pytest.fixture(params=[True, False], ids=["scripts", "no scripts"])
def scripts(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
async def page(scripts: bool, chromium: Chromium, server: Server) -> AsyncIterator[Page]:
    context = await chromium.new_context(viewport=PHONE, base_url=server.issuer, java_script_enabled=scripts)
    context.set_default_timeout(30_000)
    yield await context.new_page()
    await context.close()


async def _arrived(page: Page, path: str, parameter: str) -> None:
    await page.wait_for_url(lambda url: url.startswith("http://127.0.0.1:") and f"/arrived{path}" in url)
    assert parameter in page.url


async def test_every_form_after_which_the_browser_leaves(
    page: Page, client: RelyingParty, server: Server, alice: User
) -> None:
    ask = client.http.build_request("GET", f"{server.issuer}/authorize", params=client.parameters()).url
    await page.goto(str(ask))
    await page.click("#login-cancel")
    await _arrived(page, "/callback", "error=access_denied")

    await page.goto(str(ask))
    await page.fill("#username", alice.email)
    await page.fill("#password", PASSWORD)
    await page.click("#login-submit")
    await page.click("#consent-deny")
    await _arrived(page, "/callback", "error=access_denied")
    await page.goto(str(ask))
    await page.click("#consent-allow")
    await _arrived(page, "/callback", "code=")

    again = ask.copy_set_param("prompt", "login")
    await page.goto(str(again))
    await page.fill("#username", alice.email)
    await page.fill("#password", PASSWORD)
    await page.click("#login-submit")
    await _arrived(page, "/callback", "code=")

    await page.goto(f"/logout?client_id={client.client_id}&post_logout_redirect_uri={client.redirect_uri[:-8]}bye")
    await page.click("#logout-confirm")
    await _arrived(page, "/bye", "")


async def test_form_post(page: Page, scripts: bool, client: RelyingParty, server: Server, alice: User) -> None:
    asked = client.parameters(response_mode="form_post")
    await page.goto(str(client.http.build_request("GET", f"{server.issuer}/authorize", params=asked).url))
    await page.fill("#username", alice.email)
    await page.fill("#password", PASSWORD)
    await page.click("#login-submit")
    await page.click("#consent-allow")
    if not scripts:
        await page.click("form[action$='/callback'] button")
    await _arrived(page, "/callback", "")


async def test_an_app_is_opened_from_a_page_that_stays(
    page: Page, make_client: MakeClient, server: Server, alice: User
) -> None:
    client = await make_client(
        redirect_uris=["com.example.app:/callback"], application_type="native", token_endpoint_auth_method="none"
    )
    await page.goto(str(client.http.build_request("GET", f"{server.issuer}/authorize", params=client.parameters()).url))
    await page.fill("#username", alice.email)
    await page.fill("#password", PASSWORD)
    await page.click("#login-submit")
    await page.click("#consent-allow")
    await expect(page.locator("#continue[href^='com.example.app:/callback?code=']")).to_be_visible()
