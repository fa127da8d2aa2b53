"""Front-channel logout in a real browser: what the applications receive, and where the browser goes then."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser as Chromium
from playwright.async_api import BrowserContext, Page, expect

from idp.accounts.tables import User
from tests.browser.conftest import PHONE
from tests.conftest import MakeClient
from tests.support.chromium import arrived
from tests.support.oauth import PASSWORD, RelyingParty
from tests.support.server import Server

pytestmark = pytest.mark.browser


class Application:
    """An application that is signed in as long as the browser has its cookie, and forgets the user at ``/out``.

    Attributes:
        seen: the paths that the browser asked for, with their queries.
        answers: clear it, and the application does not answer at ``/out``.
    """

    def __init__(self) -> None:
        self.origin = ""
        self.seen: list[str] = []
        self.answers = asyncio.Event()
        self.answers.set()

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            path = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode()
            self.seen.append(path)
            out = path.startswith("/out")
            if out:
                await self.answers.wait()
            cookie = f"app{self.origin.rpartition(':')[2]}={'; Max-Age=0' if out else 'signed-in'}; Path=/"
            # It tries to take the whole window along, which a frame must not.
            body = "<!doctype html><script>try { top.location = '/taken-over' } catch (e) {}</script>" if out else "app"
            head = (
                f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nSet-Cookie: {cookie}\r\n"
                f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            )
            writer.write((head + body).encode())
            await writer.drain()
        writer.close()

    @property
    def told(self) -> list[str]:
        return [path for path in self.seen if path.startswith("/out")]


@contextlib.asynccontextmanager
async def _application() -> AsyncIterator[Application]:
    application = Application()
    listening = await asyncio.start_server(application.handle, "127.0.0.1", 0)
    application.origin = f"http://localhost:{listening.sockets[0].getsockname()[1]}"
    yield application
    application.answers.set()
    listening.close()


@pytest.fixture
async def shop() -> AsyncIterator[Application]:
    async with _application() as application:
        yield application


@pytest.fixture
async def bank() -> AsyncIterator[Application]:
    async with _application() as application:
        yield application


@pytest.fixture(params=[True, False], ids=["scripts", "no scripts"])
def scripts(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
async def context(scripts: bool, chromium: Chromium, server: Server) -> AsyncIterator[BrowserContext]:
    context = await chromium.new_context(
        viewport=PHONE, base_url=server.issuer, java_script_enabled=scripts, color_scheme="dark"
    )
    context.set_default_timeout(30_000)
    yield context
    await context.close()


async def _client(make_client: MakeClient, application: Application) -> RelyingParty:
    return await make_client(
        application_type="native",
        redirect_uris=[f"{application.origin}/callback"],
        post_logout_redirect_uris=[f"{application.origin}/bye"],
        frontchannel_logout_uri=f"{application.origin}/out",
        frontchannel_logout_session_required=True,
        skip_consent=True,
    )


async def _sign_in(page: Page, server: Server, alice: User, *clients: RelyingParty) -> None:
    for number, client in enumerate(clients):
        asked = client.http.build_request("GET", f"{server.issuer}/authorize", params=client.parameters()).url
        await page.goto(str(asked))
        if number == 0:
            await page.fill("#username", alice.email)
            await page.fill("#password", PASSWORD)
            await page.click("#login-submit")
        await page.wait_for_url(re.compile("/callback"))


def _cookies_of_apps(cookies: list[dict[str, object]]) -> set[str]:
    return {str(cookie["name"]) for cookie in cookies if str(cookie["name"]).startswith("app")}


async def test_all_applications_are_told_and_the_browser_goes_on(
    context: BrowserContext,
    server: Server,
    make_client: MakeClient,
    shop: Application,
    bank: Application,
    alice: User,
) -> None:
    page = await context.new_page()
    clients = await _client(make_client, shop), await _client(make_client, bank)
    await _sign_in(page, server, alice, *clients)
    cookies = await context.cookies([shop.origin, bank.origin])
    assert len(_cookies_of_apps(cookies)) == 2  # type: ignore[arg-type]
    await page.goto(f"/logout?client_id={clients[0].client_id}&post_logout_redirect_uri={shop.origin}/bye&state=s")
    await page.click("#logout-confirm")
    await page.wait_for_url(f"{shop.origin}/bye?state=s")
    for application in (shop, bank):
        assert [path.partition("?")[0] for path in application.told] == ["/out"]
        assert re.fullmatch(r"/out\?iss=http%3A%2F%2Flocalhost%3A\d+&sid=[\w-]+", application.told[0])
        assert "/taken-over" not in application.seen


async def test_an_application_that_does_not_answer_delays_for_a_bounded_time(
    context: BrowserContext,
    scripts: bool,
    server: Server,
    make_client: MakeClient,
    shop: Application,
    bank: Application,
    alice: User,
) -> None:
    """Until then the link is there, which is the only way without scripts."""
    page = await context.new_page()
    clients = await _client(make_client, shop), await _client(make_client, bank)
    await _sign_in(page, server, alice, *clients)
    bank.answers.clear()
    await page.goto(f"/logout?client_id={clients[0].client_id}&post_logout_redirect_uri={shop.origin}/bye")
    await page.click("#logout-confirm", no_wait_after=True)
    await expect(page.locator("#logout-done")).to_be_visible()
    await expect(page.locator(f"#continue[href='{shop.origin}/bye']")).to_be_visible()
    if not scripts:
        await page.click("#continue", no_wait_after=True)
    await page.wait_for_url(f"{shop.origin}/bye", wait_until="commit")


async def test_a_sign_out_of_the_account_page(
    context: BrowserContext,
    server: Server,
    make_client: MakeClient,
    shop: Application,
    alice: User,
) -> None:
    """There is nowhere to go on to, so the page stays."""
    page = await context.new_page()
    await _sign_in(page, server, alice, await _client(make_client, shop))
    await page.goto("/account")
    await arrived(page)
    await page.click("#sign-out")
    await expect(page.locator("#logout-done")).to_be_visible()
    async with asyncio.timeout(30):
        while not shop.told:
            await asyncio.sleep(0.02)
    await expect(page.locator("#continue")).to_have_count(0)
    assert await page.locator("iframe").count() == 1
    assert not await page.locator("iframe").is_visible()
