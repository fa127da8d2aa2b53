"""Row 6: markup in a state, a hint or a name is text on every page, in a real browser.

Each page is seen twice: as it is, and by a browser that ignores the content policy, so that neither of the two
defences hides a hole in the other.
"""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlencode

import pytest
from playwright.async_api import Browser as Chromium
from playwright.async_api import Dialog, Page, Route

from idp.oauth.clients.registration import register_resource_server
from tests.conftest import MakeClient, MakeUser
from tests.support.hostile import EVIL, MARKUP
from tests.support.oauth import PASSWORD, REDIRECT_URI, RelyingParty
from tests.support.server import Server

pytestmark = pytest.mark.browser

NAME = "\"><svg onload=alert('name')><img src=x onerror=alert(2)></title><script>alert(3)</script>'{{7*7}}"
SCOPE = "<svg/onload=alert('scope')>"
GOODBYE = "https://app.example.com/goodbye?x='onfocus='alert(1)"

#: Everything that injected markup would create: handlers, scripts without our nonce, URLs that execute code.
TRACES = """() => [...document.querySelectorAll("*")].filter(element =>
    [...element.attributes].some(a => a.name.startsWith("on") || /^\\s*(javascript|data|vbscript):/i.test(a.value))
    || (element.localName === "script" && !element.nonce
        && !/^\\/static\\/(fields|passkey|tab)\\.js\\?v=\\w+$/.test(element.getAttribute("src")))
    || ["iframe", "object", "embed", "base"].includes(element.localName)
).map(element => element.outerHTML)"""


@dataclass
class Victim:
    """A person's browser. ``received`` are the forms that arrived at the client."""

    page: Page
    issuer: str
    dialogs: list[str] = field(default_factory=list)
    left_for: list[str] = field(default_factory=list)
    received: list[dict[str, str]] = field(default_factory=list)

    async def on_dialog(self, dialog: Dialog) -> None:
        self.dialogs.append(dialog.message)
        await dialog.dismiss()

    async def outside(self, route: Route) -> None:
        """Everything that is not our server. Nothing leaves this machine."""
        request = route.request
        if request.url.startswith(REDIRECT_URI) and request.method == "POST":
            self.received.append({name: values[0] for name, values in parse_qs(request.post_data or "").items()})
        elif EVIL in request.url:
            body = f'<title>{MARKUP}</title><input value="{MARKUP}">'
            await route.fulfill(content_type="text/html", body=body)
            return
        else:
            self.left_for.append(request.url)
        await route.fulfill(content_type="text/html", body="<title>The client</title>")

    async def open(self, path: str, **parameters: str) -> None:
        await self.page.goto(f"{self.issuer}{path}" + (f"?{urlencode(parameters)}" if parameters else ""))

    async def assert_unharmed(self, *visible: str) -> None:
        """Check that no script ran or could run, and that the hostile text is shown as text."""
        await self.page.wait_for_load_state("load")
        assert await self.page.evaluate(TRACES) == []
        text = await self.page.inner_text("body")
        assert "49" not in await self.page.title()
        for expected in visible:
            assert expected in text
        assert self.dialogs == []
        assert self.left_for == []


@asynccontextmanager
async def new_victim(chromium: Chromium, server: Server, *, bypass_csp: bool) -> AsyncIterator[Victim]:
    context = await chromium.new_context(bypass_csp=bypass_csp)
    victim = Victim(await context.new_page(), server.issuer)
    victim.page.on("dialog", victim.on_dialog)
    await context.route(lambda url: not url.startswith(server.issuer), victim.outside)
    yield victim
    await context.close()


@pytest.fixture(params=[False, True], ids=["as it is", "content policy ignored"])
async def victim(request: pytest.FixtureRequest, chromium: Chromium, server: Server) -> AsyncIterator[Victim]:
    async with new_victim(chromium, server, bypass_csp=request.param) as victim:
        yield victim


@pytest.fixture
async def hostile_client(make_client: MakeClient) -> RelyingParty:
    """A client with hostile text in every field, if registration allows it."""
    resource = f"https://api.example.com/{secrets.token_hex(4)}/'onfocus='alert(1)"
    await register_resource_server(resource, NAME)
    client = await make_client(
        client_name=NAME,
        scope=f"openid {SCOPE}",
        post_logout_redirect_uris=[GOODBYE],
        client_uri="https://app.example.com/'onfocus='alert(1)",
        logo_uri=None,
        policy_uri="https://app.example.com/?javascript:alert(1)",
        tos_uri="https://app.example.com/'style='x:expression(alert(1))",
    )
    client.resource = resource
    return client


async def test_06_this_would_notice(victim: Victim) -> None:
    """The control: a page that does not escape the markup."""
    await victim.page.goto(f"https://{EVIL}/")
    await victim.page.wait_for_load_state("load")
    assert victim.dialogs
    assert await victim.page.evaluate(TRACES)


async def test_06_from_the_sign_in_to_the_answer(
    victim: Victim, hostile_client: RelyingParty, make_user: MakeUser
) -> None:
    """Login, login with an error, consent, form_post and the start page."""
    user = await make_user(name=MARKUP)
    page = victim.page
    parameters = hostile_client.parameters(
        state=MARKUP, nonce=MARKUP, login_hint=MARKUP, resource=hostile_client.resource, response_mode="form_post"
    )
    await victim.open("/authorize", **parameters)
    await victim.assert_unharmed(NAME)
    assert await page.input_value("#username") == MARKUP

    await page.evaluate("document.forms[0].noValidate = true")
    await page.fill("#password", MARKUP)
    await page.click("#login-submit")
    await victim.assert_unharmed(NAME)
    assert await page.input_value("#username") == MARKUP

    await page.fill("#username", user.email)
    await page.fill("#password", PASSWORD)
    await page.click("#login-submit")
    await page.wait_for_selector("#consent-allow")
    await victim.assert_unharmed(NAME, MARKUP, SCOPE)
    assert (await page.inner_text("main")).count(NAME) == 2

    await page.click("#consent-allow")
    await page.wait_for_url(REDIRECT_URI)
    assert victim.dialogs == []
    (form,) = victim.received
    assert form["state"] == MARKUP
    assert form.keys() == {"code", "state", "iss", "session_state"}

    await victim.open("/")
    await victim.assert_unharmed(MARKUP)


async def test_06_the_form_post_page_itself(victim: Victim, hostile_client: RelyingParty) -> None:
    """First without its script, which would leave the page at once; then with it, and the state is unchanged."""
    parameters = hostile_client.parameters(state=MARKUP, response_mode="form_post", response_type="token")
    response = await victim.page.request.get(f"{victim.issuer}/authorize", params=parameters)
    html = (await response.text()).replace("document.forms[0].submit();", "")
    stand_in = f"{victim.issuer}/form-post-stand-in"
    await victim.page.route(stand_in, lambda route: route.fulfill(headers=response.headers, body=html))
    await victim.page.goto(stand_in)
    await victim.assert_unharmed()
    assert await victim.page.input_value("input[name=state]") == MARKUP

    await victim.open("/authorize", **parameters)
    await victim.page.wait_for_url(REDIRECT_URI)
    assert victim.dialogs == []
    assert [(form["error"], form["state"]) for form in victim.received] == [("unsupported_response_type", MARKUP)]


async def test_06_error_pages(victim: Victim, hostile_client: RelyingParty) -> None:
    every = dict.fromkeys(hostile_client.parameters(), MARKUP)
    for parameters in (
        every,
        hostile_client.parameters(redirect_uri=MARKUP),
        hostile_client.parameters(redirect_uri=f"javascript:{MARKUP}", state=MARKUP, response_mode="form_post"),
        hostile_client.parameters() | {MARKUP: MARKUP, "redirect_uri": ""},
    ):
        await victim.open("/authorize", **parameters)
        await victim.assert_unharmed()
        assert await victim.page.locator("#oidc-error").count() == 1
    for path in ("/login/", "/authorize/", "/consent/", "/no-such-page/", "/static/"):
        await victim.open(f"{path}{MARKUP.replace('/', '%2f').replace('#', '%23')}")
        await victim.assert_unharmed()
    # A hint that cannot be verified is not an error: a user who is not signed in is signed out.
    await victim.open("/logout", id_token_hint=MARKUP, state=MARKUP)
    await victim.assert_unharmed()
    for parameters in (
        {"client_id": MARKUP},
        {"client_id": hostile_client.client_id, "post_logout_redirect_uri": MARKUP},
    ):
        await victim.open("/logout", **parameters)
        await victim.assert_unharmed()
        assert await victim.page.locator("#oidc-error").count() == 1


async def test_06_log_out(victim: Victim, hostile_client: RelyingParty, make_user: MakeUser) -> None:
    """The question, the answer, and the way back to the client."""
    user = await make_user(name=MARKUP)
    page = victim.page
    for address in (None, GOODBYE):
        await victim.open("/login")
        await page.fill("#username", user.email)
        await page.fill("#password", PASSWORD)
        await page.click("#login-submit")
        await page.wait_for_url(f"{victim.issuer}/")
        parameters = {"client_id": hostile_client.client_id, "state": MARKUP}
        await victim.open("/logout", **parameters, **({"post_logout_redirect_uri": address} if address else {}))
        await victim.assert_unharmed(NAME, MARKUP)
        assert await page.input_value("input[name=state]") == MARKUP
        await page.click("#logout-confirm")
        if address is None:
            await page.wait_for_selector("#logout-done")
            await victim.assert_unharmed(NAME)
        else:
            await page.wait_for_url(lambda url: url.startswith("https://app.example.com/goodbye"))
            assert victim.dialogs == []
            assert parse_qs(page.url.partition("?")[2])["state"] == [MARKUP]


INJECT = """html => new Promise(resolve => {
    document.addEventListener("securitypolicyviolation", event => resolve(event.effectiveDirective), {once: true});
    document.body.insertAdjacentHTML("beforeend", html);
    setTimeout(() => resolve("nothing was stopped"), 3000);
    const added = document.body.lastElementChild;
    added.localName === "form" ? added.submit() : added.click();
})"""


@pytest.mark.parametrize("page", ["login", "error", "home"])
async def test_06_the_policy_stops_what_escaping_missed(
    page: str, chromium: Chromium, server: Server, client: RelyingParty
) -> None:
    """Markup put into the finished page: the browser itself refuses to run it, or to send a form elsewhere."""
    async with new_victim(chromium, server, bypass_csp=False) as victim:
        path, parameters = {
            "login": ("/authorize", client.parameters()),
            "error": ("/authorize", {}),
            "home": ("/", {}),
        }[page]
        await victim.open(path, **parameters)
        for directive, html in {
            "script-src-attr": "<img src=data:, onerror=alert(1)>",
            "script-src-elem": "<a href='javascript:alert(2)'>x</a>",
            "base-uri": f"<base href='https://{EVIL}/'>",
            "frame-src": f"<iframe src='https://{EVIL}/'></iframe>",
            "form-action": f"<form action='https://{EVIL}/' method=post></form>",
        }.items():
            assert await victim.page.evaluate(INJECT, html) == directive
        assert victim.dialogs == []
        assert victim.left_for == []
