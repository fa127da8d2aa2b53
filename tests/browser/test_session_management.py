"""The frame of OpenID Connect Session Management in a real browser: what it answers, to whom, and where it may be."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest
from playwright.async_api import Browser as Chromium
from playwright.async_api import BrowserContext, Page

from idp.accounts.tables import User
from idp.oauth.logout.session_management import salted
from tests.browser.conftest import sign_in, sign_out
from tests.support.server import Server

pytestmark = pytest.mark.browser

CLIENT = "some-client"
#: Sends a message to the frame, and returns its answer; "silence" without one, after an answer to another message.
ASK = """async ([url, message]) => {
  let frame = document.querySelector("iframe");
  if (!frame) {
    frame = document.createElement("iframe");
    const loaded = new Promise((resolve) => { frame.onload = resolve; });
    frame.src = url;
    document.body.append(frame);
    await loaded;
  }
  return await new Promise((resolve) => {
    window.onmessage = (event) => resolve([event.data, event.origin]);
    frame.contentWindow.postMessage(message, new URL(url).origin);
  });
}"""


@pytest.fixture
async def context(chromium: Chromium, server: Server) -> AsyncIterator[BrowserContext]:
    context = await chromium.new_context(base_url=server.issuer)
    context.set_default_timeout(30_000)
    yield context
    await context.close()


@pytest.fixture
async def app() -> AsyncIterator[str]:
    """The origin of an application with an empty page, at another origin of the same site as the issuer."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 15\r\nConnection: close\r\n\r\n"
                b"<!doctype html>"
            )
            await writer.drain()
        writer.close()

    listening = await asyncio.start_server(answer, "127.0.0.1", 0)
    yield f"http://localhost:{listening.sockets[0].getsockname()[1]}"
    listening.close()


@pytest.fixture
async def page(context: BrowserContext, app: str) -> Page:
    page = await context.new_page()
    await page.goto(app)
    return page


async def _ask(page: Page, server: Server, message: Any) -> str:
    answer, origin = await page.evaluate(ASK, [f"{server.issuer}/session/check", message])
    assert origin == server.issuer
    return str(answer)


async def _state(context: BrowserContext) -> str:
    found = {cookie["name"]: cookie for cookie in await context.cookies()}
    cookie = found.get("__Host-browser_state")
    if cookie is None:
        return ""
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["secure"]) == (False, "None", True)
    return str(cookie["value"])


async def _message(context: BrowserContext, origin: str, client_id: str = CLIENT) -> str:
    salt = secrets.token_urlsafe(16)
    return f"{client_id} {salted(client_id, origin, await _state(context), salt)}"


async def test_from_sign_in_to_sign_out(
    page: Page, context: BrowserContext, server: Server, app: str, alice: User
) -> None:
    nobody = await _message(context, app)
    other = await context.new_page()
    await sign_in(other, alice)
    signed_in = await _message(context, app)
    assert await _ask(page, server, signed_in) == "unchanged"
    await sign_out(other)
    assert await _ask(page, server, signed_in) == "changed"
    # Nor does a site that knows how a browser without a session looks learn whether there is one.
    assert await _ask(page, server, nobody) == "changed"


async def test_its_hash(page: Page, context: BrowserContext, server: Server, app: str, alice: User) -> None:
    """It computes SHA-256 as this process does, for texts of every length around the ends of blocks."""
    await sign_in(await context.new_page(), alice)
    for length in [*range(1, 140), 1000, 2048]:
        assert await _ask(page, server, await _message(context, app, "c" * length)) == "unchanged", length


HOSTILE = (
    "",
    " ",
    "x",
    f"{CLIENT} ",
    f"{CLIENT} {'A' * 43}",
    f"{CLIENT} {'A' * 43}.",
    f"{CLIENT} {'A' * 43}.salt\n",
    f"{CLIENT}  {'A' * 43}.salt",
    f"two words {'A' * 43}.salt",
    f"{CLIENT} {'A' * 42}.salt",
    f"{CLIENT} {'A' * 43}.{'s' * 65}",
    f"ключ {'A' * 43}.salt",
    f"{'c' * 100_000} {'A' * 43}.salt",
    f"<img src=x onerror=alert(1)> {'A' * 43}.salt",
    None,
    True,
    17,
    [f"{CLIENT} {'A' * 43}.salt"],
    {"toString": "x"},
)


async def test_hostile_messages(page: Page, server: Server) -> None:
    """Section 3.2: what is no message gets "error", and the frame goes on answering."""
    for message in HOSTILE:
        assert await _ask(page, server, message) == "error", message
    assert await _ask(page, server, f"{CLIENT} {'A' * 43}.salt") == "changed"
    frame = page.frame(url=f"{server.issuer}/session/check")
    assert frame is not None
    assert await frame.evaluate("document.body.childNodes.length <= 1 && !document.body.textContent.trim()")


async def test_the_state_of_another_origin(
    page: Page, context: BrowserContext, server: Server, app: str, alice: User
) -> None:
    """A page that knows the client and ``session_state`` of another one learns nothing."""
    await sign_in(await context.new_page(), alice)
    stolen = await _message(context, "https://app.example.com")
    assert await _ask(page, server, stolen) == "changed"
    assert await _ask(page, server, await _message(context, app)) == "unchanged"


async def test_only_the_parent_and_its_origin_are_answered(page: Page, server: Server, app: str) -> None:
    """Section 3.2: a window of another origin, or of none, gets no answer. A frame of the parent's origin does."""
    question = f"{CLIENT} {'A' * 43}.salt"
    assert await _ask(page, server, question) == "changed"
    # The answer to the page itself proves that the frame had read the message before it.
    answers = await page.evaluate(
        """async ([question, strange, own]) => {
          const answers = [];
          const ask = (origin, sandbox) => new Promise((resolve) => {
            const frame = document.createElement("iframe");
            const script = `<script>
              onmessage = (event) => parent.postMessage(["asker", event.data], "*");
              parent.frames[0].postMessage(${JSON.stringify(question)}, "*");
              parent.postMessage(["asked"], "*");
            </scr` + `ipt>`;
            if (sandbox) frame.sandbox = sandbox;
            frame.srcdoc = script;
            window.onmessage = async (event) => {
              if (event.data[0] !== "asked") { answers.push(event.data[1]); resolve(); return; }
              if (!sandbox) return;
              window.onmessage = () => { answers.push("silence"); resolve(); };
              document.querySelector("iframe").contentWindow.postMessage(question, own);
            };
            document.body.append(frame);
          });
          await ask(own, "allow-scripts");
          await ask(own, "");
          return answers;
        }""",
        [question, "null", server.issuer],
    )
    assert answers == ["silence", "changed"]


async def test_a_browser_that_blocks_our_cookies(context: BrowserContext, server: Server, app: str) -> None:
    """It gets "error" and not "changed", so that applications neither sign the user out nor ask again and again."""
    await context.add_init_script("Document.prototype.hasStorageAccess = () => Promise.resolve(false)")
    page = await context.new_page()
    await page.goto(app)
    assert await _ask(page, server, await _message(context, app)) == "error"


async def test_only_this_page_may_be_framed(page: Page, server: Server) -> None:
    async with asyncio.timeout(20):
        blocked = await page.evaluate(
            """async (url) => {
              const frame = document.createElement("iframe");
              const loaded = new Promise((resolve) => { frame.onload = resolve; });
              frame.src = url;
              document.body.append(frame);
              await loaded;
              return frame.contentWindow.length;
            }""",
            f"{server.issuer}/login",
        )
    assert blocked == 0
    assert any(frame.url.startswith("chrome-error:") for frame in page.frames)
