"""Row 54: hostile input in any encoding is answered with a refusal, never with a 5xx."""

import json
import socket
from collections.abc import Callable, Iterator
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from idp.accounts.tables import User
from idp.infra.db.engine import fetch, fetchrow
from tests.conftest import MakeClient
from tests.support.browser import Browser, Page, open_browser
from tests.support.oauth import PASSWORD, RelyingParty
from tests.support.routes import routes
from tests.support.server import Server

FORM = b"application/x-www-form-urlencoded"
Header = tuple[bytes, bytes]

# The requests

NAMES = (
    "client_id", "client_secret", "redirect_uri", "response_type", "response_mode", "scope", "state", "nonce",
    "prompt", "max_age", "claims", "id_token_hint", "login_hint", "acr_values", "code_challenge", "resource",
    "code_challenge_method", "request", "grant_type", "code", "code_verifier", "refresh_token", "token",
    "access_token", "token_type_hint", "username", "password", "action", "csrf_token", "post_logout_redirect_uri",
    "ui_locales", "display", "", "%00", "%ff", "é",
)  # fmt: skip

#: A value in its encoded form: text with lone surrogates, arbitrary bytes, input that breaks parsers, huge values.
VALUES = st.one_of(
    st.text(max_size=40).map(lambda text: quote(text.encode("utf-8", "surrogatepass"))),
    st.binary(max_size=30).map(quote),
    st.sampled_from(
        (
            "%00", "a%00b", "%ff%fe", "%ED%A0%80", "%ed%b0%80", "%", "%zz", "", "%F0%9F%92%A9", "%c0%af", "1e999", "-1",
            "9" * 400, "NaN", "null", "[]", "{}", "true", "%22", "%5Cud800", "+", "%0d%0aX:1", "a;b=c", "%e2%80%ae",
            "authorization_code", "refresh_token", "client_credentials", "code", "openid", "none", "query", "form_post",
            "S256", "allow", "deny", "switch", "cancel", "login", "x.y.z", "..", "eyJhbGciOiJub25lIn0.e30.",
            quote('{"id_token":{"acr":{"value":"\\u0000"}}}'), quote('{"userinfo":{"name":{"values":["\\u0000"]}}}'),
            quote('{"id_token":{"sub":{"value":"\\u0000"}}}'), quote('{"id_token":{"\\u0000":{"value":"x"}}}'),
            quote('{"id_token":{"sub":{"value":"\\ud800"}}}'), quote('{"userinfo":{"\\u0000":null}}'),
            quote('{"id_token":{"acr":{"essential":true,"values":[{},[],1e999]}}}'), quote("[" * 500),
            quote('{"userinfo":' + '{"a":' * 300), "https://%5B", "https%3A%2F%2F%5B%3A%3A1", "urn:%00",
        )
    ),
    st.integers(min_value=3000, max_value=70000).map(lambda length: "x" * length),
)  # fmt: skip
PAIRS = st.lists(st.tuples(st.sampled_from(NAMES), VALUES), max_size=6)
#: Few enough that the rest of the request, which is valid, gets past the first checks.
FEW = st.lists(st.tuples(st.sampled_from(NAMES), VALUES), max_size=2, unique_by=lambda pair: pair[0])

AUTHORIZATION = st.one_of(
    st.sampled_from(
        (
            b"Basic", b"Basic ", b"Basic =", b"Basic AAAA", b"Basic Og==", b"Basic OjA=", b"Basic JTAwOiUwMA==",
            b"Basic /////w==", b"basic eA==:", b"Bearer", b"Bearer ", b"Bearer \xff", b"Bearer x.y.z", b"Digest x",
            b"Bearer eyJhbGciOiJub25lIn0.e30.", b"\xff", b",", b"Basic " + b"A" * 9000, b"Bearer " + b"a." * 4000,
        )
    ),
    st.binary(max_size=40).map(lambda data: b"Basic " + quote(data).encode()),
    st.binary(max_size=40).map(lambda data: b"Bearer " + data.translate(None, b"\r\n\0")),
)  # fmt: skip
#: Parameters that every endpoint reads or records, and on which none depends.
ASIDE: dict[bytes, st.SearchStrategy[bytes]] = {
    b"cookie": st.one_of(
        st.sampled_from(
            (
                b"__Host-session=%00", b"__Host-session=\xff", b"=;;=", b"__Host-flow.x=" + b"y" * 5000, b";" * 500,
                b'__Host-session="\\000"', b"__Host-session", b"__Host-session=a; __Host-session=b", b"\xed\xa0\x80",
            )
        ),
        st.binary(max_size=60).map(lambda data: b"__Host-session=" + data.translate(None, b"\r\n\0")),
    ),
    b"x-forwarded-for": st.sampled_from((b"not an address", b"::1, 300.1.1.1", b"\xff", b"," * 500)),
    b"user-agent": st.sampled_from((b"", b"\xff\xfe", b"\xc2\xad" * 400, b"\t")),
    b"accept": st.sampled_from((b"text/html", b"\xff", b"*/*;q=x", b"application/json")),
    b"if-none-match": st.sampled_from((b"*", b"\xff", b'W/"', b"," * 500)),
    b"accept-language": st.sampled_from((b"\xff", b"x" * 3000, b"*;q=9")),
}  # fmt: skip
ASIDES = st.fixed_dictionaries({}, optional=ASIDE)
HEADERS = st.fixed_dictionaries(
    {},
    optional=ASIDE
    | {
        b"authorization": AUTHORIZATION,
        b"content-type": st.sampled_from(
            (b"application/json", b"text/plain", b"multipart/form-data", b"\xff", b"", b"/", FORM + b";charset=x")
        ),
        b"origin": st.sampled_from((b"null", b"\xff", b"https://evil.example", b"http://[", b"")),
        b"host": st.sampled_from((b"", b"evil.example", b"\xff", b"[", b"a" * 5000)),
    },
)
BODIES = st.one_of(
    st.binary(max_size=200),
    st.recursive(st.none() | st.booleans() | st.floats() | st.text(max_size=20), st.lists, max_leaves=6).map(
        lambda value: json.dumps(value).encode()
    ),
    st.sampled_from((b"", b"&" * 300, b"=" * 300, b"a=1&" * 200, b'{"grant_type":"\\ud800"}', b"\xff" * 90, b"%" * 90)),
)  # fmt: skip

bounded = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


# How they are sent, and what the answer must be


def send(server: Server, method: str, target: str, headers: dict[bytes, bytes], body: bytes = b"") -> int:
    """Send the exact bytes of a request, and return the status, or 0 if the server closes the connection."""
    lines = {b"host": b"localhost", b"content-length": str(len(body)).encode()} | headers | {b"connection": b"close"}
    head = b"".join(name + b": " + value + b"\r\n" for name, value in lines.items())
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        try:
            connection.sendall(f"{method} {target} HTTP/1.1\r\n".encode("latin-1", "replace") + head + b"\r\n" + body)
            answer = connection.recv(100)
        except ConnectionError:
            return 0
    return int(answer.split()[1]) if answer else 0


def encoded(pairs: list[tuple[str, str]]) -> str:
    return "&".join(f"{quote(name, safe='%')}={value}" for name, value in pairs)


def mutated(fields: dict[str, str], pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return a valid request with the pairs in place of its parameters, or in addition to them."""
    names = {name for name, _ in pairs}
    return [(name, quote(value, safe="")) for name, value in fields.items() if name not in names] + pairs


@pytest.fixture
def unharmed(server: Server) -> Iterator[None]:
    """Afterwards the server lives, answers, and has nothing unexpected in its log."""
    before = len(server.log)
    yield
    assert httpx.get(f"{server.url}/health/ready").is_success
    log = server.log[before:]
    for sign in ("unexpected_error", "Traceback", '"level":"error"', "panicked"):
        assert sign not in log


Send = Callable[..., None]


@pytest.fixture
def must_refuse(server: Server, unharmed: None) -> Send:
    def refuse(method: str, target: str, headers: dict[bytes, bytes], body: bytes = b"") -> None:
        status = send(server, method, target, headers, body)
        assert status < 500, (status, method, target, headers, body)

    return refuse


PATHS = sorted({route.url() for route in routes()} | {"/login/%00", "/authorize/%ff", "/consent/..", "/static/%00"})


@settings(bounded, max_examples=300)
@given(
    method=st.sampled_from(("GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE", "X")),
    path=st.sampled_from(PATHS) | st.text(max_size=20).map(lambda text: "/" + quote(text.encode("utf-8", "replace"))),
    query=PAIRS.map(encoded) | st.binary(max_size=30).map(quote),
    body=PAIRS.map(encoded).map(str.encode) | BODIES,
    headers=HEADERS,
)
def test_54_anything_anywhere(
    must_refuse: Send, method: str, path: str, query: str, body: bytes, headers: dict[bytes, bytes]
) -> None:
    must_refuse(method, f"{path}?{query[:8000]}", {b"content-type": FORM} | headers, body)


@bounded
@given(pairs=FEW, headers=ASIDES, get=st.booleans())
def test_54_authorization_requests(
    must_refuse: Send, client: RelyingParty, pairs: list[tuple[str, str]], headers: dict[bytes, bytes], get: bool
) -> None:
    """Requests of a registered client."""
    text = encoded(mutated(client.parameters(), pairs))
    if get:
        must_refuse("GET", f"/authorize?{text[:60000]}", headers)
    else:
        must_refuse("POST", "/authorize", {b"content-type": FORM} | headers, text.encode())


GRANTS = (
    {"grant_type": "authorization_code", "code": "x", "code_verifier": "x" * 43},
    {"grant_type": "refresh_token", "refresh_token": "x.y.z"},
    {"grant_type": "client_credentials", "scope": "x"},
    {"token": "x.y.z"},
    {},
)


@bounded
@given(
    path=st.sampled_from(("/token", "/par", "/introspect", "/revoke", "/userinfo")),
    grant=st.sampled_from(GRANTS),
    authorization=st.none() | AUTHORIZATION,
    pairs=FEW,
    headers=ASIDES,
)
def test_54_endpoints_for_clients(
    must_refuse: Send,
    client: RelyingParty,
    path: str,
    grant: dict[str, str],
    authorization: bytes | None,
    pairs: list[tuple[str, str]],
    headers: dict[bytes, bytes],
) -> None:
    """Beyond client authentication, unless that is the target."""
    known = {"client_id": client.client_id, "redirect_uri": client.redirect_uri} | grant
    if authorization is not None:
        headers = headers | {b"authorization": authorization}
    basic = httpx.BasicAuth(client.client_id, client.client_secret or "")._auth_header.encode()
    text = encoded(mutated(known, pairs))
    must_refuse("POST", path, {b"content-type": FORM, b"authorization": basic} | headers, text.encode())


@bounded
@given(
    path=st.sampled_from(
        ("/token", "/par", "/introspect", "/revoke", "/userinfo", "/login/x", "/logout", "/authorize")
    ),
    body=BODIES,
    kind=st.sampled_from((FORM, b"application/json", b"text/plain", b"multipart/form-data; boundary=x", b"")),
)
def test_54_bodies(must_refuse: Send, server: Server, path: str, body: bytes, kind: bytes) -> None:
    must_refuse("POST", path, {b"content-type": kind, b"origin": server.issuer.encode()}, body)


@pytest.fixture
async def pages(server: Server, client: RelyingParty, alice: User) -> list[tuple[Page, dict[bytes, bytes]]]:
    """The forms of sign-in, consent and sign-out, each with its cookies."""
    found = []
    for prompt in ("login", "consent", "logout"):
        async with open_browser(server.issuer) as browser:
            page = await client.authorize(browser)
            assert isinstance(page, Page)
            if prompt != "login":
                answer = await browser.sign_in(page, alice.email, PASSWORD)
                assert isinstance(answer, Page)
                page = answer
            if prompt == "logout":
                answer = await browser.get("/logout")
                assert isinstance(answer, Page)
                page = answer
            cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
            headers = {b"cookie": cookie.encode(), b"origin": server.issuer.encode(), b"content-type": FORM}
            found.append((page, headers))
    return found


@bounded
@given(at=st.integers(0, 2), pairs=FEW, headers=ASIDES)
def test_54_forms_of_pages(
    must_refuse: Send,
    pages: list[tuple[Page, dict[bytes, bytes]]],
    at: int,
    pairs: list[tuple[str, str]],
    headers: dict[bytes, bytes],
) -> None:
    """Beyond the checks of origin and token, unless those are the target."""
    page, needed = pages[at]
    form = page.forms[0]
    fields = form.fields | {"username": "nobody@example.com", "password": "x", "action": "login"}
    must_refuse("POST", form.action, headers | needed, encoded(mutated(fields, pairs)).encode())


@pytest.mark.parametrize("hostile", ["a\0b", "\0", "\ud800", "é" * 400, "x" * 30000, "<svg>", "' OR 1=1 --", "\u202e"])
@pytest.mark.parametrize("field", ["username", "password"])
async def test_54_fields_of_the_sign_in(
    browser: Browser, client: RelyingParty, alice: User, field: str, hostile: str
) -> None:
    """Every field of the sign-in is sent on to hashing, the database and the audit trail, which stores the failure."""
    page = await client.authorize(browser)
    assert isinstance(page, Page)
    form = page.forms[0].fields | {"username": alice.email, "password": PASSWORD, "action": "login", field: hostile}
    body = "&".join(f"{name}={quote(value.encode('utf-8', 'surrogatepass'))}" for name, value in form.items())
    headers = {"Origin": client.issuer, "Content-Type": FORM.decode()}
    url = f"{browser.issuer}{page.forms[0].action}"
    response = await browser.client.post(url, content=body, headers=headers)
    # The attempts of all tests are counted together.
    assert response.status_code in (400, 429)
    if response.status_code == 400 and hostile.isprintable() and "\ud800" not in hostile:
        assert "That email and password do not match." in response.text
        rows = await fetch("SELECT outcome FROM audit_event WHERE request_id = $1", response.headers["x-request-id"])
        assert [row["outcome"] for row in rows] == ["failure"]


async def test_54_a_user_agent_cannot_stop_the_audit(browser: Browser, client: RelyingParty, alice: User) -> None:
    """Recorded values are made storable first."""
    browser.client.headers.encoding = "latin-1"
    browser.client.headers["User-Agent"] = "badé\xadagent" + "x" * 5000
    await client.sign_in(browser, alice.email)
    row = await fetchrow("SELECT user_agent FROM session WHERE user_id = $1", alice.id)
    assert row is not None
    assert row["user_agent"].startswith("bad")
    assert len(row["user_agent"]) <= 300
    event = await fetchrow("SELECT 1 FROM audit_event WHERE user_id = $1 AND event = 'sign_in'", alice.id)
    assert event is not None


async def test_54_a_body_that_is_too_large(server: Server, http: httpx.AsyncClient, make_client: MakeClient) -> None:
    for path in ("/token", "/authorize", "/login/x", "/userinfo"):
        headers = {"Origin": server.issuer}
        try:
            response = await http.post(f"{server.issuer}{path}", data={"code": "x" * 200_000}, headers=headers)
        except httpx.TransportError:
            # The server closed the connection while it was sent a request that it refuses.
            continue
        assert response.status_code in (400, 413)
    # On a connection that the server has not closed.
    async with httpx.AsyncClient() as fresh:
        assert (await fresh.get(f"{server.issuer}/health/live")).status_code == 200


@pytest.mark.parametrize(
    "request_line",
    [
        b"",
        b"\r\n\r\n",
        b"GET",
        b"GET / HTTP/9.9",
        b"\x16\x03\x01\x02\x00",
        b"GET /\0 HTTP/1.1",
        b"GET http:// HTTP/1.1",
    ],
)
def test_54_malformed_http(server: Server, unharmed: None, request_line: bytes) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(request_line + b"\r\nHost: x\r\nConnection: close\r\n\r\n")
        connection.shutdown(socket.SHUT_WR)
        answer = connection.recv(100)
    assert not answer or int(answer.split()[1]) < 500
