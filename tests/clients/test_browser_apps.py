"""Single-page apps: the console's snippet for oidc-client-ts, unmodified, in a real browser."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from playwright.async_api import Browser as Chromium
from playwright.async_api import Page, expect

from idp.accounts.tables import User
from tests.clients.conftest import NODE, need, of_client, script
from tests.conftest import MakeClient
from tests.support.chromium import chromium
from tests.support.oauth import PASSWORD
from tests.support.server import Server

__all__ = ["chromium"]

pytestmark = [pytest.mark.browser, pytest.mark.fault(33)]

HTML = """<!doctype html><title>App</title>
<script type="importmap">{"imports": {"oidc-client-ts": "/oidc-client-ts.js", "jwt-decode": "/jwt-decode.js"}}</script>
<script type="module">
try {
SNIPPET
window.users = users;
window.user = user;
document.title = user ? "Signed in" : "Signed out";
} catch (error) { document.title = `Failed: ${error}`; }
</script>"""
LIBRARIES = {
    "/oidc-client-ts.js": NODE / "oidc-client-ts" / "dist" / "esm" / "oidc-client-ts.js",
    "/jwt-decode.js": NODE / "jwt-decode" / "build" / "esm" / "index.js",
}


@pytest.fixture
async def page(chromium: Chromium, server: Server) -> AsyncIterator[Page]:
    context = await chromium.new_context(base_url=server.issuer)
    context.set_default_timeout(20_000)
    yield await context.new_page()
    await context.close()


class App:
    """The server of an app: its page at every path, and the libraries. On the same site as the issuer, which its cookie
    needs.
    """

    def __init__(self) -> None:
        self.html = ""
        self.origin = ""

    def show(self, snippet: str) -> None:
        """Make a page of the snippet. Its first line imports, which comes before all else."""
        imports, _, rest = snippet.partition("\n")
        self.html = HTML.replace("try {\nSNIPPET", f"{imports}\ntry {{{rest}")

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            path = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode().partition("?")[0]
            library = LIBRARIES.get(path)
            body = library.read_bytes() if library else self.html.encode()
            kind = "text/javascript" if library else "text/html"
            head = (
                f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            )
            writer.write(head.encode() + body)
            await writer.drain()
        writer.close()


@pytest.fixture
async def app() -> AsyncIterator[App]:
    need(NODE)
    app = App()
    listening = await asyncio.start_server(app.answer, "127.0.0.1", 0)
    app.origin = f"http://localhost:{listening.sockets[0].getsockname()[1]}"
    yield app
    listening.close()


async def _sign_in(page: Page, app: App, email: str) -> None:
    await page.goto(app.origin)
    await page.fill("#username", email)
    await page.fill("#password", PASSWORD)
    await page.click("#login-submit")
    await page.click("#consent-allow")
    await expect(page).to_have_title("Signed in")


@pytest.mark.parametrize("in_cookie", [False, True], ids=["token in hand", "token in a cookie"])
async def test_oidc_client_ts(
    page: Page, app: App, server: Server, make_client: MakeClient, alice: User, in_cookie: bool
) -> None:
    """It signs in with its own defaults, knows the address, refreshes, and signs out with revocation."""
    party = await make_client(
        token_endpoint_auth_method="none",
        redirect_uris=[f"{app.origin}/callback"],
        post_logout_redirect_uris=[f"{app.origin}/bye"],
        scope="openid profile email offline_access",
        refresh_token_cookie=in_cookie,
    )
    app.show((await of_client(party))["JavaScript: oidc-client-ts"])
    await _sign_in(page, app, alice.email)
    user: dict[str, Any] = await page.evaluate("({profile: user.profile, refresh: user.refresh_token ?? null})")
    assert (user["profile"]["email"], user["profile"]["name"]) == (alice.email, "Alice Example")
    assert (user["refresh"] is None) == in_cookie
    cookies = {cookie["name"] for cookie in await page.context.cookies()}
    assert (f"__Host-refresh.{party.client_id}" in cookies) == in_cookie
    if in_cookie:
        # As docs/clients.md says: the library refreshes only with a token in hand.
        answer = await page.evaluate(
            """([url, client_id]) => fetch(url, {
              method: "POST",
              credentials: "include",
              body: new URLSearchParams({ grant_type: "refresh_token", client_id }),
            }).then((answer) => answer.json())""",
            [f"{server.issuer}/token", party.client_id],
        )
        assert answer["access_token"]
        assert "refresh_token" not in answer
    else:
        renewed = await page.evaluate("users.signinSilent().then((user) => user.access_token)")
        assert (await party.userinfo(renewed)).status_code == 200
    token = await page.evaluate("users.getUser().then((user) => user.access_token)")
    # A fault here, like that of a response it cannot parse, and the library never leaves the page.
    await page.evaluate(
        f"""void users.revokeTokens().then(() =>
          users.signoutRedirect({{ post_logout_redirect_uri: "{app.origin}/bye" }})
        ).catch((error) => {{ document.title = `Failed: ${{error}}`; }})"""
    )
    # The app starts again there: no user is signed in, so it redirects to the sign-in.
    await page.wait_for_url(re.compile(r"/login/|/bye"))
    await page.wait_for_selector("#username")
    assert (await party.userinfo(token)).status_code == 401


#: Calls userinfo with a proof of the library, once more if the server wants a nonce.
USERINFO = """async (url) => {
  const user = await users.getUser();
  const ask = async (nonce) => fetch(url, { headers: {
    Authorization: `DPoP ${user.access_token}`, DPoP: await users.dpopProof(url, user, "GET", nonce),
  } });
  let answer = await ask();
  const [nonce, challenge] = [answer.headers.get("DPoP-Nonce"), answer.headers.get("WWW-Authenticate")];
  if (answer.status === 401) answer = await ask(nonce);
  return { status: answer.status, content: await answer.json(), type: user.token_type, challenge };
}"""


@pytest.mark.parametrize("nonces", ["optional", "required"])
async def test_oidc_client_ts_with_dpop(
    page: Page,
    app: App,
    server: Server,
    start_server: Callable[..., Server],
    make_client: MakeClient,
    alice: User,
    nonces: str,
) -> None:
    """It signs in, refreshes and calls userinfo with a key that the browser never exports."""
    if nonces == "required":
        server = await asyncio.to_thread(start_server, IDP_DPOP_NONCE_REQUIRED="true")
    party = await make_client(
        server,
        token_endpoint_auth_method="none",
        redirect_uris=[f"{app.origin}/callback"],
        scope="openid profile email",
        dpop_bound_access_tokens=True,
        scope_claims_in_id_token=True,
    )
    ((_, snippet),) = (await of_client(party)).items()
    if nonces == "required":
        # The script of the document, which ends where the console's goes on.
        changes = {
            "https://id.example.com": server.issuer,
            "my-app": party.client_id,
            "https://app.example.com": app.origin,
        }
        snippet = script("js", "IndexedDbDPoPStore", changes) + snippet[snippet.index("const atCallback") :]
    app.show(snippet)
    await _sign_in(page, app, alice.email)
    assert await page.evaluate("user.profile.email") == alice.email
    assert await page.evaluate("users.signinSilent().then((user) => user.token_type)") == "DPoP"
    answer = await page.evaluate(USERINFO, f"{server.issuer}/userinfo")
    assert (answer["status"], answer["type"], answer["content"]["email"]) == (200, "DPoP", alice.email)
    assert (answer["challenge"] or "").startswith(
        'DPoP realm="idp", error="use_dpop_nonce"' if nonces == "required" else ""
    )
