"""A browser without a screen: keeps cookies, follows redirects inside the server, fills in forms."""

import re
from collections.abc import AsyncIterator, Generator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from html import unescape
from html.parser import HTMLParser
from http.cookies import SimpleCookie
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx

from tests.support.server import TLS

NAVIGATION = re.compile(r'<meta http-equiv="refresh" content="0; url=([^"]*)">')

#: Paths of forms of account and console that are answered with a page, as patterns, and why. Every other one is
#: answered with a redirect, so that a reload does not send it again.
ANSWERED_POSTS = {
    "/account/data/download": "a file",
    "/account/data/delete": "the account is gone, and its session with it",
    "/admin/mail_templates/[^/]+/preview": "what a frame shows; nothing has changed",
    "/admin/api_reference/[a-z_]+": "a refusal, or a response that is too long for a cookie and may have a new secret",
    "/admin/jobs/new": "the question before a job, with what was chosen; nothing has changed",
}


@dataclass
class Form:
    action: str
    method: str
    fields: dict[str, str] = field(default_factory=dict)
    buttons: dict[str, tuple[str, str]] = field(default_factory=dict)


class _Forms(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self.ids: set[str] = set()
        self._by_id: dict[str, Form] = {}
        #: Buttons outside of their form, which they name: id of the form, id, name and value.
        self._apart: list[tuple[str, str, str, str]] = []

    def close(self) -> None:
        super().close()
        for form, button, name, value in self._apart:
            self._by_id[form].buttons[button] = (name, value)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.ids.add(values.get("id", ""))
        if tag == "form":
            self.forms.append(Form(values.get("action", ""), values.get("method", "get").lower()))
            self._by_id[values.get("id", "")] = self.forms[-1]
        elif values.get("type") == "checkbox" and "checked" not in values:
            return  # Sent only if it is ticked.
        elif tag == "input" and self.forms and "name" in values:
            self.forms[-1].fields[values["name"]] = values.get("value", "")
        elif tag == "button" and "form" in values:
            self._apart.append((values["form"], values.get("id", ""), values.get("name", ""), values.get("value", "")))
        elif tag == "button" and self.forms:
            self.forms[-1].buttons[values.get("id", "")] = (values.get("name", ""), values.get("value", ""))


def sent_to(response: httpx.Response) -> str | None:
    """Return where a response sends the browser, by a redirect or by a page that navigates."""
    if response.has_redirect_location:
        return response.headers["location"]
    navigation = NAVIGATION.search(response.text)
    return unescape(navigation[1]) if navigation else None


class Page:
    """A page in the browser."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.url = str(response.url)
        self.path = response.url.path
        self.status = response.status_code
        self.text = response.text
        parser = _Forms()
        parser.feed(self.text)
        parser.close()
        self.forms, self.ids = parser.forms, parser.ids

    @property
    def error(self) -> str:
        """The error code that the page shows."""
        marker = 'id="oidc-error"'
        return self.text.partition(marker)[2].partition(">")[2].partition("<")[0].strip()


class Redirect:
    """A redirect outside of the server, to a client.

    ``session_state`` is apart from the other parameters, because nearly every response has one.
    """

    def __init__(self, location: str) -> None:
        self.location = location
        parts = urlsplit(location)
        self.parameters = {name: values[0] for name, values in parse_qs(parts.query).items()}
        self.fragment = {name: values[0] for name, values in parse_qs(parts.fragment).items()}
        self.session_state = self.parameters.pop("session_state", None) or self.fragment.pop("session_state", None)


def as_page(answer: Page | Redirect) -> Page:
    """Return a response that must be a page."""
    assert isinstance(answer, Page), answer.location
    return answer


class Cookies(httpx.Auth):
    """The cookies of one host. Like real browsers, it keeps Secure cookies from http://localhost."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        if self.values:
            request.headers["cookie"] = "; ".join(f"{name}={value}" for name, value in self.values.items())
        response = yield request
        for header in response.headers.get_list("set-cookie"):
            for name, morsel in SimpleCookie(header).items():
                if morsel["max-age"] == "0":
                    self.values.pop(name, None)
                else:
                    self.values[name] = morsel.value


class Browser:
    """A browser at one server.

    Attributes:
        cookies: the cookies by name. Tests may change them.
    """

    def __init__(self, issuer: str, client: httpx.AsyncClient, cookies: dict[str, str]) -> None:
        self.issuer = issuer
        self.client = client
        self.cookies = cookies

    def _url(self, path: str) -> str:
        """Return the URL of a path below the issuer."""
        prefix = urlsplit(self.issuer).path
        below = path.removeprefix(prefix) if path.startswith(f"{prefix}/") else path
        return path if "://" in path else f"{self.issuer}{below}"

    async def get(self, path: str, **parameters: str) -> Page | Redirect:
        response = await self.client.get(self._url(path), params=parameters or None)
        return await self._follow(response)

    async def post(self, path: str, data: dict[str, str], *, origin: str | None = "own") -> Page | Redirect:
        """Send a form. ``origin`` is the Origin header, by default our own; None sends none."""
        own = self.issuer.removesuffix(urlsplit(self.issuer).path)
        headers = {} if origin is None else {"Origin": own if origin == "own" else origin}
        response = await self.client.post(self._url(path), data=data, headers=headers)
        self._check_redirected(response)
        return await self._follow(response)

    def _check_redirected(self, response: httpx.Response) -> None:
        """Refuse that a form of account or console is answered with a page, unless it is listed."""
        path = response.url.path.removeprefix(urlsplit(self.issuer).path)
        if path.startswith(("/account", "/admin", "/organization/")) and response.status_code == httpx.codes.OK:
            assert sent_to(response) or any(re.fullmatch(one, path) for one in ANSWERED_POSTS), (
                f"POST {path} is answered with a page."
            )

    async def submit(self, page: Page, button: str, **fields: str) -> Page | Redirect:
        """Fill in the form with this button and press it."""
        form = next(form for form in page.forms if button in form.buttons)
        name, value = form.buttons[button]
        data = form.fields | fields | ({name: value} if name else {})
        return await self.post(urljoin(page.url, form.action), data)

    async def sign_in(self, page: Page, username: str, password: str) -> Page | Redirect:
        return await self.submit(page, "login-submit", username=username, password=password)

    async def ask_for_code(self, page: Page, username: str) -> Page | Redirect:
        """Press the button that mails a code, on a page with its own address."""
        form = next(form for form in page.forms if "email-code-send" in form.buttons)
        data = form.fields | {"username": username, "password": "", "action": "send"}
        return await self.post(f"{form.action.rpartition('/')[0]}/email_code", data)

    @property
    def signed_in(self) -> bool:
        """Return whether the browser has the cookie of a session."""
        return any(name.endswith("session") for name in self.cookies)

    async def _follow(self, response: httpx.Response) -> Page | Redirect:
        for _ in range(10):
            target = sent_to(response)
            if target is None:
                return Page(response)
            location = urljoin(str(response.url), target)
            # The demo client is on the same server, but is a client like any other.
            if not location.startswith(self.issuer + "/"):
                return Redirect(location)
            response = await self.client.get(location)
        raise AssertionError("The server redirects in circles.")


@asynccontextmanager
async def open_browser(issuer: str) -> AsyncIterator[Browser]:
    """Open a fresh browser."""
    cookies = Cookies()
    async with httpx.AsyncClient(auth=cookies, timeout=30, verify=TLS) as client:
        yield Browser(issuer, client, cookies.values)
