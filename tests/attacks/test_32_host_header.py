"""Row 32: no emitted URL comes from a header of the request."""

import asyncio
import json
import re
import socket
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from idp.accounts.tables import User
from idp.infra.db.engine import execute
from idp.keys import jose
from idp.keys.key_set import key_set
from tests.conftest import MakeClient
from tests.support.browser import Browser, Page, sent_to
from tests.support.mailbox import Mailbox
from tests.support.oauth import REDIRECT_URI, RelyingParty
from tests.support.server import Server
from tests.support.tour import tour

EVIL = "evil.example.net"
HEADERS = [
    {"Host": EVIL},
    {"X-Forwarded-Host": EVIL, "X-Forwarded-Proto": "https", "X-Forwarded-Port": "444"},
    {"Forwarded": f"for=1.2.3.4;host={EVIL};proto=https"},
    {"X-Original-URL": f"https://{EVIL}/", "X-Rewrite-URL": "/evil", "X-Forwarded-Prefix": f"//{EVIL}"},
    {"X-Host": EVIL, "X-Forwarded-Server": EVIL, "X-HTTP-Host-Override": EVIL, "Referer": f"https://{EVIL}/"},
]
ALL = {name: value for headers in HEADERS for name, value in headers.items()}
DOCUMENTS = ["/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"]
PATHS = ["/", "/login", "/logout", "/no-such-page", "/authorize?client_id=nobody", *DOCUMENTS]
URL = re.compile(r"https?://[^\s\"'<>)]+")


def _name(headers: dict[str, str]) -> str:
    return next(iter(headers))


@pytest.mark.parametrize("headers", HEADERS, ids=_name)
@pytest.mark.parametrize("path", PATHS)
async def test_32_hostile_host_headers(
    server: Server, http: httpx.AsyncClient, headers: dict[str, str], path: str
) -> None:
    response = await http.get(f"{server.url}{path}", headers=headers | {"Accept": "text/html"})
    assert EVIL not in response.text
    assert EVIL not in str(response.headers)
    assert (sent_to(response) or "/").startswith("/")


@pytest.mark.parametrize("path", DOCUMENTS)
async def test_32_documents(server: Server, http: httpx.AsyncClient, path: str) -> None:
    urls = URL.findall((await http.get(f"{server.url}{path}", headers=ALL)).text)
    assert len(urls) > 5
    assert [url for url in urls if url != server.issuer and not url.startswith(f"{server.issuer}/")] == []


async def test_32_every_kind_of_page(browser: Browser, make_client: MakeClient, alice: User) -> None:
    """On the way through all of them with all the headers, of redirects too; each URL is ours or the client's."""
    client = await make_client(post_logout_redirect_uris=["https://app.example.com/bye"])
    browser.client.headers.update({name: value for name, value in ALL.items() if name != "Host"})
    seen = await tour(browser, client, alice.email)
    ours = {browser.issuer, "https://app.example.com"}
    found = set()
    for response in seen.responses:
        assert EVIL not in response.text
        assert EVIL not in str(response.headers)
        for url in URL.findall(f"{response.text} {response.headers.get('location', '')}"):
            found.add("://".join(urlsplit(url)[:2]))
    assert found == ours


@pytest.mark.parametrize("headers", HEADERS, ids=_name)
async def test_32_a_sign_in_from_its_first_redirect_to_the_tokens(
    server: Server, browser: Browser, client: RelyingParty, alice: User, headers: dict[str, str]
) -> None:
    browser.client.headers.update({name: value for name, value in headers.items() if name != "Host"})
    first = await browser.client.get(f"{server.url}/authorize", params=client.parameters(), headers=headers)
    assert first.headers["location"].startswith("/")
    await client.sign_in(browser, alice.email)
    # By name, because of the cookies; the header names another host.
    answer = await browser.client.get(f"{server.issuer}/authorize", params=client.parameters(), headers=headers)
    location = answer.headers["location"]
    assert location.startswith(f"{REDIRECT_URI}?")
    parameters = {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}
    assert parameters["iss"] == server.issuer
    client.http.headers.update(headers)
    client.issuer = server.url
    tokens = (await client.redeem(parameters["code"])).json()
    for name in ("access_token", "id_token"):
        claims = jose.verify(tokens[name], key_set.verification(), typ=None)
        assert claims["iss"] == server.issuer
        assert EVIL not in json.dumps(claims)
    refreshed = (await client.refresh(tokens["refresh_token"])).json()
    assert jose.verify(refreshed["access_token"], key_set.verification(), typ=None)["iss"] == server.issuer


async def test_32_a_page_is_not_ours_because_the_request_says_so(browser: Browser, alice: User) -> None:
    """The origin of a form is compared with the issuer, not with the Host header."""
    page = await browser.get("/login")
    assert isinstance(page, Page)
    form = page.forms[0]
    url = f"{browser.issuer}{form.action}"
    data = form.fields | {"username": alice.email, "password": "correct horse battery staple"}
    for headers in HEADERS:
        for origin in (f"http://{EVIL}", f"https://{EVIL}"):
            refused = await browser.client.post(url, data=data, headers=headers | {"Origin": origin})
            assert refused.status_code == 400
            assert "set-cookie" not in refused.headers
    answer = await browser.client.post(url, data=data, headers={"Host": EVIL, "Origin": browser.issuer})
    assert sent_to(answer) == "/"


async def test_32_mail(
    start_server: Callable[..., Server],
    mailbox: Mailbox,
    browser: Browser,
    client: RelyingParty,
    server: Server,
    alice: User,
) -> None:
    """A mail of a request with every header contains URLs of the issuer only, and is sent to the token's user."""
    token = (await client.tokens(browser, alice.email))["refresh_token"]
    # It takes requests at another address. Either of the two sends the mail.
    client.issuer = (await asyncio.to_thread(start_server, IDP_ISSUER=server.issuer)).url
    client.http.headers.update(ALL)
    await client.refresh(token)
    await execute(
        "UPDATE refresh_token SET rotated_at = rotated_at - interval '10 minutes' WHERE token_hash = sha256($1)",
        token.encode(),
    )
    assert (await client.refresh(token)).status_code == 400
    letter = await mailbox.next(alice.email)
    texts = [str(part.get_content()) for part in letter.message.walk() if part.get_content_maintype() == "text"]
    assert len(texts) == 2
    text = "".join([str(letter.message), *texts])
    assert EVIL not in text
    assert set(URL.findall(text)) == {server.issuer}


def _raw(server: Server, *lines: str) -> bytes:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall("".join(f"{line}\r\n" for line in (*lines, "Connection: close", "")).encode())
        answer = b""
        while data := connection.recv(65536):
            answer += data
    return answer


@pytest.mark.parametrize(
    "target", [f"http://{EVIL}", f"https://{EVIL}:444", f"http://{EVIL}@localhost", "http://localhost"]
)
@pytest.mark.parametrize("path", ["/.well-known/openid-configuration", "/login", "/no-such-page"])
def test_32_a_request_line_with_an_absolute_form(server: Server, target: str, path: str) -> None:
    """RFC 9112 section 3.2.2: the authority of the request line has precedence over Host, and is ignored here."""
    answer = _raw(server, f"GET {target}{path} HTTP/1.1", f"Host: {EVIL}", "Accept: text/html")
    assert answer.startswith(b"HTTP/1.1 ")
    assert not answer.startswith(b"HTTP/1.1 5")
    assert EVIL.encode() not in answer


def test_32_odd_host_headers(server: Server) -> None:
    """None, two, or one that is no host: refused with 400 on every path, never repeated (RFC 9112 section 3.2)."""
    control = _raw(server, "GET /.well-known/openid-configuration HTTP/1.1", "Host: localhost")
    assert server.issuer.encode() in control
    for hosts in (
        [],
        [f"Host: {EVIL}", "Host: localhost"],
        ["Host: localhost", f"Host: {EVIL}"],
        [f"Host: {EVIL}/x?y"],
    ):
        for line in (
            "GET /login",
            "GET /jwks",
            "POST /token",
            "OPTIONS /token",
            "GET /no-such-page",
            "GET /health/live",
        ):
            answer = _raw(server, f"{line} HTTP/1.1", *hosts)
            assert answer.startswith(b"HTTP/1.1 400")
            assert b"x-request-id: " in answer.lower()
            assert EVIL.encode() not in answer


def test_32_an_old_client_names_no_host(server: Server) -> None:
    """HTTP/1.0 has no Host header, and some probes speak it."""
    assert _raw(server, "GET /health/live HTTP/1.0").split(b" ", 1)[1].startswith(b"200")
