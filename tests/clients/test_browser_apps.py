"""Single-page apps: the console's snippet for oidc-client-ts, unmodified, in a real browser."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser as Chromium
from playwright.async_api import Page, expect

from idp.accounts.tables import User
from tests.clients.conftest import NODE, need, of_client, script
from tests.conftest import MakeClient
from tests.support.chromium import chromium
from tests.support.oauth import PASSWORD, RelyingParty
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
        self.pages: dict[str, str] = {}
        self.origin = ""

    def show(self, snippet: str, path: str | None = None) -> None:
        """Make a page of the snippet, at a path or at all others. Its first line imports, which comes first."""
        imports, _, rest = snippet.partition("\n")
        html = HTML.replace("try {\nSNIPPET", f"{imports}\ntry {{{rest}")
        if path is None:
            self.html = html
        else:
            # The page has no user to show.
            self.pages[path] = html.replace("window.user = user;\n", "").replace('user ? "Signed in" : ', "")

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            path = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode().partition("?")[0]
            library = LIBRARIES.get(path)
            body = library.read_bytes() if library else self.pages.get(path, self.html).encode()
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


SESSIONS = (Path(__file__).parents[2] / "docs" / "session-management.md").read_text(encoding="utf-8")
#: What the scripts of the document go on with.
REST = """
const atCallback = new URLSearchParams(location.search).has("state");
const user = atCallback ? await users.signinCallback() : await users.getUser();
if (!user) await users.signinRedirect();
else history.replaceState(null, "", location.pathname);"""


def _scripts(party: RelyingParty, app: App) -> tuple[str, str]:
    """Return the scripts of docs/session-management.md, for the test's server."""
    monitoring, leaving = re.findall(r"```js\n(.*?)```", SESSIONS, re.DOTALL)
    changes = {
        "https://id.example.com": party.issuer,
        "my-app": party.client_id,
        "https://app.example.com": app.origin,
    }
    for old, new in changes.items():
        monitoring, leaving = monitoring.replace(old, new), leaving.replace(old, new)
    return monitoring, leaving


async def _sign_out(page: Page, server: Server) -> None:
    """Sign out in another tab, without the application."""
    tab = await page.context.new_page()
    await tab.goto(f"{server.issuer}/logout")
    await tab.click("#logout-confirm")
    await expect(tab.locator("#logout-done")).to_be_visible()


async def test_oidc_client_ts_notices_a_sign_out(
    page: Page, app: App, server: Server, make_client: MakeClient, alice: User
) -> None:
    """Session management: it asks the frame, then the server, which says that nobody is signed in."""
    party = await make_client(
        token_endpoint_auth_method="none", redirect_uris=[f"{app.origin}/callback"], scope="openid"
    )
    monitoring, _ = _scripts(party, app)
    app.show(monitoring + REST)
    await _sign_in(page, app, alice.email)
    assert await page.evaluate("user.session_state") is not None
    await page.evaluate('void users.events.addUserSignedOut(() => { document.title = "Noticed"; })')
    await page.wait_for_function("document.querySelector('iframe') !== null")
    # It would have noticed by now what is no change.
    await page.evaluate("users.querySessionStatus().then((status) => status.sub)")
    await expect(page).to_have_title("Signed in")
    await _sign_out(page, server)
    await expect(page).to_have_title("Noticed", timeout=20_000)
    await page.wait_for_function("users.getUser().then((user) => user === null)")


async def test_oidc_client_ts_is_told_by_a_frame(
    page: Page, app: App, server: Server, make_client: MakeClient, alice: User
) -> None:
    """Front-channel logout: the frame deletes the user of all tabs."""
    party = await make_client(
        token_endpoint_auth_method="none",
        redirect_uris=[f"{app.origin}/callback"],
        scope="openid",
        frontchannel_logout_uri=f"{app.origin}/signed-out",
        frontchannel_logout_session_required=True,
    )
    _, leaving = _scripts(party, app)
    app.show(leaving, "/signed-out")
    app.show(leaving.replace("await users.removeUser();\n", REST))
    await _sign_in(page, app, alice.email)
    assert await page.evaluate("users.getUser().then((user) => user.profile.sub)") == str(alice.id)
    await _sign_out(page, server)
    await page.wait_for_function("users.getUser().then((user) => user === null)")
