"""Row 66: the longest hostile value in every field of every form holds up nobody: length is looked at first.

Normalising text (NFKC) takes time that grows with the square of its length where marks stand in the wrong order, and
Python's urlsplit does it too. The product runs in this process: what it normalises is seen, and the CPU time that each
callback of the event loop takes is measured, which a busy machine does not change. It is compared with what the same
request takes with a harmless value of the same length, and with what normalising the hostile one would take.
"""

import asyncio
import gc
import re
import secrets
import time
import unicodedata
from collections.abc import AsyncIterator, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Literal

import httpx
import pytest

import idp
from idp.accounts.addresses import InvalidEmailError, normalise_email
from idp.accounts.tables import User
from idp.admin.roles import Role, grant
from idp.federation import registry as federation_registry
from idp.http.access import Access
from idp.infra.db.engine import execute
from idp.oauth.clients.registry import registry
from idp.settings import Settings, settings
from idp.signin import limits
from idp.signin.transitions import FIRST, Step
from tests.conftest import MakeClient, MakeUser
from tests.federation.conftest import until_offered
from tests.support.browser import Browser, Cookies, Page, as_page
from tests.support.oauth import PASSWORD, RelyingParty
from tests.support.person import equip
from tests.support.routes import application, routes
from tests.support.server import Server

pytestmark = pytest.mark.fault(9)

#: Combining marks in an order that is wrong at every place, as many as a form and JSON can hold.
MARKS = "\u0327\u0301"
#: As many characters and bytes, in the right order.
PLAIN = "\u00e9\u00e7"
IN_FORM, IN_JSON = 63_000 // len("%CC%A7"), 63_000 // len("\u0301".encode())
#: Values longer than this are never normalized; it is the limit of a password.
MAX_NORMALISED = 1024
#: Values that get further than bare marks: into the host of a URL, into an address.
SHAPES = ("{}", "https://{}/", "{}@example.com", "a@{}")

Form = Literal["NFC", "NFD", "NFKC", "NFKD"]
NORMALISE = unicodedata.normalize


class Watch:
    """Watches the event loop."""

    def __init__(self) -> None:
        self.longest = 0.0
        self.normalised = 0

    def reset(self) -> None:
        self.longest, self.normalised = 0.0, 0


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    found = Watch()
    run: Any = asyncio.Handle._run

    def timed(handle: Any) -> None:
        before = time.thread_time()
        run(handle)
        found.longest = max(found.longest, time.thread_time() - before)

    def seen(form: Form, text: str) -> str:
        found.normalised = max(found.normalised, len(text))
        # If it is wrong, the test continues quickly.
        return NORMALISE(form, text[:MAX_NORMALISED])

    monkeypatch.setattr(asyncio.Handle, "_run", timed)
    monkeypatch.setattr(unicodedata, "normalize", seen)
    gc.collect()
    gc.disable()
    yield found
    gc.enable()


def _unit() -> float:
    """How long it takes this machine to normalise the hostile value of a form."""
    before = time.thread_time()
    NORMALISE("NFKC", MARKS * (IN_FORM // 2))
    return time.thread_time() - before


@pytest.fixture
async def browser(db: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Browser]:
    """A browser at the application in this process, without limits by address. Its mails wait in the outbox."""
    monkeypatch.setattr(Settings, "sends_mail", True)
    monkeypatch.setattr(limits, "settings", lambda: settings().model_copy(update={"address_limits": False}))
    cookies = Cookies()
    transport = httpx.ASGITransport(application())  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, auth=cookies) as client:
        yield Browser(settings().issuer, client, cookies.values)


class _Fields(HTMLParser):
    """The forms of a page: their paths, their values, and which of these are text."""

    def __init__(self, page: Page) -> None:
        super().__init__()
        self.forms: list[tuple[str, str, dict[str, str], list[str]]] = []
        self.feed(page.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        name, kind = values.get("name", ""), values.get("type", "text")
        if tag == "form":
            self.forms.append((values.get("action", ""), values.get("method", "get").lower(), {}, []))
        elif self.forms and name and tag in ("input", "textarea", "select", "button"):
            self.forms[-1][2].setdefault(name, values.get("value", ""))
            is_text = tag == "textarea" or (tag == "input" and kind not in ("checkbox", "radio", "file", "hidden"))
            if is_text or name in ("token", "credential"):
                self.forms[-1][3].append(name)


class Attack:
    """Sends given requests with harmless and with hostile values."""

    def __init__(self, browser: Browser, watch: Watch, unit: float) -> None:
        self.browser, self.watch, self.unit = browser, watch, unit
        self.fields: set[str] = set()

    async def page(self, page: Page) -> None:
        """Every text field of every form of a page, except forms that another page had too."""
        for action, method, values, names in _Fields(page).forms:
            for name in names:
                field = f"{re.sub(r'[0-9a-zA-Z_-]{20,}', '*', action or page.path)} {name}"
                if field in self.fields:
                    continue
                self.fields.add(field)
                for shape in SHAPES:
                    await self.compare(method, action or page.path, values, name, shape)

    async def compare(
        self, method: str, path: str, values: dict[str, str], name: str, shape: str = "{}", *, json: bool = False
    ) -> None:
        # Room for the other fields.
        pairs = (IN_JSON if json else IN_FORM) // 2 - 200
        hostile, harmless = shape.format(MARKS * pairs), shape.format(PLAIN * pairs)
        limit, taken = self.unit / 4, []
        # A pause of the machine does not affect all three.
        for _ in range(3):
            attacked = await self._send(method, path, values | {name: hostile}, json=json)
            if attacked < limit:
                return
            usual = await self._send(method, path, values | {name: harmless}, json=json)
            if attacked - usual < limit:
                return
            taken.append(attacked - usual)
        raise AssertionError(f"{method} {path} {name} holds up the loop for {taken} s")

    async def _send(self, method: str, path: str, values: dict[str, str], *, json: bool) -> float:
        cookies = dict(self.browser.cookies)
        self.watch.reset()
        url, headers = f"{self.browser.issuer}{path}", {"Origin": self.browser.issuer}
        if method == "get":
            answer = await self.browser.client.get(url, params=values)
        elif json:
            answer = await self.browser.client.post(url, json=values)
        else:
            answer = await self.browser.client.post(url, data=values, headers=headers)
        assert answer.status_code < 500, (path, answer.text)
        assert self.watch.normalised <= MAX_NORMALISED, (path, values.keys())
        # A waiting time, or the end of the session or sign-in, must not keep the next request from being measured.
        self.browser.cookies.update(cookies)
        await execute("DELETE FROM throttle")
        return self.watch.longest


@pytest.fixture
def attack(browser: Browser, watch: Watch) -> Attack:
    return Attack(browser, watch, _unit())


async def _sign_in(browser: Browser, user: User) -> Page:
    return as_page(await browser.sign_in(as_page(await browser.get("/login")), user.email, PASSWORD))


async def test_66_forms_of_the_sign_in(attack: Attack, make_user: MakeUser) -> None:
    """The forms of every first step, before and after a mail, of account recovery, and of the second steps."""
    browser = attack.browser
    for step in (*FIRST, "forgot"):
        login = as_page(await browser.get("/login"))
        page = as_page(await browser.get(f"{login.path}/{step}"))
        await attack.page(page)
        email = f"{secrets.token_hex(6)}@example.com"
        token = page.forms[0].fields.get("csrf_token", "")
        form = {"csrf_token": token, "username": email, "name": "A", "password": "seven tired otters nap"}
        mailed = await browser.post(f"{login.path}/{step}", form | {"action": "send"})
        if isinstance(mailed, Page) and 'name="code"' in mailed.text:
            await attack.page(mailed)
    user = await make_user()
    await equip(user, browser.issuer, [Step.TOTP, Step.RECOVERY_CODE], two_step=True)
    second = await _sign_in(browser, user)
    await attack.page(second)
    await attack.page(as_page(await browser.get(second.path.rpartition("/login/")[0] + second.path + "/recovery_code")))
    names = {field.rpartition(" ")[2] for field in attack.fields}
    assert {"username", "password", "name", "code", "credential"} <= names, names


@pytest.fixture
async def no_upstreams_left(server: Server) -> AsyncIterator[None]:
    """Delete the upstreams that forms of the console created, so that later tests do not see them."""
    before = {upstream.id for upstream in await federation_registry.load_stored()}
    yield
    made = {upstream.id for upstream in await federation_registry.load_stored()} - before
    for name in made:
        await federation_registry.delete(name)
    for name in made:
        await until_offered(server.issuer, name, offered=False)


@pytest.mark.usefixtures("no_upstreams_left")
async def test_66_forms_of_the_account_and_the_console(attack: Attack, make_user: MakeUser) -> None:
    """The forms of every page that a signed-in owner can reach."""
    browser, user = attack.browser, await make_user(name="Ada")
    person = await equip(user, browser.issuer, [Step.TOTP], two_step=True)
    await grant(user.id, Role.OWNER)
    home = as_page(await browser.submit(await _sign_in(browser, user), "totp-submit", code=await person.otp()))
    assert home.path == "/"
    paths = [r.path for r in routes() if r.method == "GET" and r.access is Access.PAGE and "{" not in r.path]
    kinds: set[str] = set()
    for path in paths:
        await _crawl(attack, path, kinds)
    names = {field.rpartition(" ")[2] for field in attack.fields}
    assert {"email", "name", "website", "address.street_address", "redirect_uris"} <= names, names
    assert len(attack.fields) > 60


async def _crawl(attack: Attack, path: str, kinds: set[str]) -> None:
    """A page and those of the console that it links to, one of each kind.

    The operations of the API are one kind, and so are the templates of mails.
    """
    kind = re.sub(r"/[^/]*[0-9][^/]*", "/*", path.partition("?")[0])
    kind = re.sub(r"(/api_reference|/mail_templates)/[^/]+", r"\1/*", kind)
    if kind in kinds or "logout" in path or not path.startswith(("/account", "/admin", "/reset", "/unlock")):
        return
    kinds.add(kind)
    answer = await attack.browser.get(path)
    if not isinstance(answer, Page) or answer.status != 200:
        return
    await attack.page(answer)
    for link in re.findall(r'href="(/admin/[^"#]*)"', answer.text):
        await _crawl(attack, link, kinds)


async def test_66_parameters_of_the_protocol(attack: Attack, client: RelyingParty, make_client: MakeClient) -> None:
    """Each parameter that the code reads by name, at each endpoint, in forms, queries and JSON."""
    folder = Path(idp.__file__).parent
    text = "\n".join(path.read_text(encoding="utf-8") for path in folder.rglob("*.py"))
    names = {*re.findall(r'\.get\("([a-z_]+)"', text), *re.findall(r'words\(parameters, "([a-z_]+)"', text)}
    assert {"username", "password", "state", "login_hint", "scope", "claims", "code", "token", "name"} <= names
    first_party = await make_client(authorization_challenge=True)
    await registry.load()
    app = first_party.parameters(redirect_uri=None, response_type=None, state=None)
    app |= {"client_secret": first_party.client_secret or ""}
    begun = (await attack.browser.client.post(f"{attack.browser.issuer}/challenge", json=app)).json()
    app = {name: app[name] for name in ("client_id", "client_secret")} | {"auth_session": begun["auth_session"]}
    request = client.parameters(prompt="login")
    token = {"client_id": client.client_id, "client_secret": client.client_secret or "", "grant_type": "refresh_token"}
    for name in sorted(names):
        await attack.compare("get", "/authorize", request, name)
        await attack.compare("get", "/logout", {}, name)
        await attack.compare("post", "/token", token, name)
        await attack.compare("post", "/challenge", app, name, json=True)


@pytest.mark.parametrize("shape", [*SHAPES, " {}", "{}" + " " * 1000])
def test_66_addresses_everywhere(watch: Watch, shape: str) -> None:
    """An address from a form, JSON, a command or a file is parsed by the same function."""
    with pytest.raises(InvalidEmailError):
        normalise_email(shape.format(MARKS * (IN_JSON // 2)))
    assert watch.normalised == 0
