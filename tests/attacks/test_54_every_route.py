"""Row 54: hostile values in every path segment and list parameter of every route, by an authorized caller."""

import re
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from typing import NamedTuple
from urllib.parse import urlencode

import httpx
import pytest

from idp.accounts.tables import User
from idp.admin.api.operation import OPERATIONS, PREFIX
from idp.admin.roles import Role
from idp.http.access import Access
from idp.infra.db.listing import Filter
from idp.signin.csrf import form_token
from tests.admin.api.conftest import make_caller
from tests.admin.console.conftest import sign_in_admin
from tests.attacks.test_54_never_5xx import FORM, send
from tests.support.browser import Browser, as_page, open_browser
from tests.support.oauth import PASSWORD
from tests.support.routes import Route, routes
from tests.support.server import Server

pytestmark = pytest.mark.fault(15)

#: Path segments as they are sent: beyond ASCII, invalid UTF-8, NUL, line ends and path separators, very long, and
#: almost an identifier.
SEGMENTS = (
    "%E2%82%AC", "€".encode().decode("latin-1"), "%00", "a%00b", "%ff", "%ed%a0%80", "%F0%9F%92%A9", "%0d%0aX:1", "%2f",
    "..", "%2e%2e%2f", "%25", "%", "%zz", "x" * 3000, "-1", "0", "9" * 400, "null", "%22", "%27", "%5c", "%7b%7d",
    "00000000-0000-0000-0000-000000000000", "00000000-0000-7000-8000-00000000000%00",
)  # fmt: skip
#: The same for parameters, and values of other types than the lists accept.
VALUES = (
    "\0", "a\0b", "\ud7ff", "€", "💩", "x" * 3000, "-1", "1e999", "NaN", "9" * 400, "2026-01-01", "true", "'", "%", "_",
    "[]",
)  # fmt: skip


class Callers(NamedTuple):
    """Those who may call routes, by the headers that they send."""

    api: dict[bytes, bytes]
    console: dict[bytes, bytes]
    person: dict[bytes, bytes]
    tokens: dict[str, str]

    def headers(self, route: Route) -> dict[bytes, bytes]:
        if route.path.startswith(PREFIX):
            return self.api
        if route.path.startswith("/admin"):
            return self.console
        return self.person if route.access in (Access.PAGE, Access.ENTRY) else {}

    def body(self, route: Route) -> bytes:
        if route.path.startswith(PREFIX):
            return b"{}"
        purpose = "admin" if route.path.startswith("/admin") else "account"
        return urlencode({"csrf_token": self.tokens[purpose]}).encode()


def _cookies(server: Server, browser: Browser) -> dict[bytes, bytes]:
    cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    return {b"cookie": cookie.encode(), b"origin": server.issuer.encode(), b"content-type": FORM}


@pytest.fixture
async def callers(server: Server, http: httpx.AsyncClient, alice: User) -> Callers:
    async with AsyncExitStack() as stack:
        api = await make_caller(server, http, Role.OWNER)
        admin = await sign_in_admin(server, await stack.enter_async_context(open_browser(server.issuer)), Role.OWNER)
        browser = await stack.enter_async_context(open_browser(server.issuer))
        await browser.sign_in(as_page(await browser.get("/login")), alice.email, PASSWORD)
        tokens = {
            "account": form_token(browser.cookies["__Host-session"], "account"),
            "admin": form_token(admin.browser.cookies["__Host-session"], "admin"),
        }
        bearer = {b"authorization": f"Bearer {api.token}".encode(), b"content-type": b"application/json"}
        by_api = bearer | {b"if-match": b"*"}
        return Callers(by_api, _cookies(server, admin.browser), _cookies(server, browser), tokens)


@pytest.fixture
def unharmed(server: Server) -> Iterator[None]:
    before = len(server.log)
    yield
    assert httpx.get(f"{server.url}/health/ready").is_success
    assert "unexpected_error" not in server.log[before:]


def share(place: int, values: Sequence[str]) -> Sequence[str]:
    """Return the values for one of many places that are parsed alike: each value is tried at every third place."""
    return values[place % 3 :: 3]


async def test_54_every_segment_of_every_path(server: Server, callers: Callers, unharmed: None) -> None:
    """All segments for each kind of parameter of each kind of caller, and some at each place."""
    places = [(route, name) for route in routes() for name in re.findall(r"{(\w+:\w+)}", route.path)]
    assert len({route.path for route, _ in places}) > 50
    kinds = set()
    for place, (route, parameter) in enumerate(places):
        name, _, converter = parameter.partition(":")
        headers = callers.headers(route)
        kind = (converter, route.method, frozenset(headers.items()))
        for segment in share(place, SEGMENTS) if kind in kinds else SEGMENTS:
            target = route.url(**{name: segment})
            status = send(server, route.method, target, headers, callers.body(route))
            assert status < 500, (status, route.method, target)
        kinds.add(kind)


async def test_54_every_parameter_of_every_list(server: Server, callers: Callers, unharmed: None) -> None:
    """All values for each kind of parameter, and some for each parameter of each list."""
    lists = [operation for operation in OPERATIONS if operation.listing is not None]
    assert len(lists) > 5
    kinds = set()
    for place, operation in enumerate(lists):
        assert operation.listing is not None
        for name in (*operation.listing.filters, "sort", "cursor", "limit", "no\0such"):
            each = operation.listing.filters.get(name, Filter())
            kind = (name, each.type, each.prepare)
            for value in share(place, VALUES) if kind in kinds else VALUES:
                query = urlencode({name: value})
                for prefix, headers in ((PREFIX, callers.api), ("/admin", callers.console)):
                    status = send(server, "GET", f"{prefix}{operation.path}?{query}", headers)
                    assert status < 500, (status, prefix, operation.path, name, value)
            kinds.add(kind)
