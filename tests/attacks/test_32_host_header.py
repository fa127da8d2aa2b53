"""Row 32: no URL that we emit comes from a header of the request."""

import json
import socket
from urllib.parse import urlsplit

import httpx
import pytest

from idp.accounts.tables import User
from idp.keys import jose
from idp.keys.ring import keyring
from tests.support.browser import Browser
from tests.support.oauth import RelyingParty
from tests.support.server import Server

EVIL = "evil.example.net"
HEADERS = [
    {"Host": EVIL},
    {"X-Forwarded-Host": EVIL, "X-Forwarded-Proto": "https", "X-Forwarded-Port": "444"},
    {"Forwarded": f"for=1.2.3.4;host={EVIL};proto=https"},
    {"X-Original-URL": f"https://{EVIL}/", "X-Rewrite-URL": "/evil"},
    {"X-Host": EVIL, "X-Forwarded-Server": EVIL, "X-HTTP-Host-Override": EVIL},
]
PATHS = [
    "/",
    "/login",
    "/logout",
    "/no-such-page",
    "/.well-known/openid-configuration",
    "/.well-known/oauth-authorization-server",
    "/authorize?client_id=nobody",
]


@pytest.mark.parametrize("headers", HEADERS, ids=lambda headers: next(iter(headers)))
@pytest.mark.parametrize("path", PATHS)
async def test_32_pages_redirects_and_documents(
    server: Server, http: httpx.AsyncClient, headers: dict[str, str], path: str
) -> None:
    response = await http.get(f"{server.url}{path}", headers=headers | {"Accept": "text/html"})
    assert EVIL not in response.text
    assert EVIL not in str(response.headers)


@pytest.mark.parametrize("headers", HEADERS, ids=lambda headers: next(iter(headers)))
async def test_32_redirects_and_tokens_of_a_sign_in(
    server: Server, browser: Browser, client: RelyingParty, alice: User, headers: dict[str, str]
) -> None:
    browser.client.headers.update({name: value for name, value in headers.items() if name != "Host"})
    response = await browser.client.get(f"{server.url}/authorize", params=client.parameters(), headers=headers)
    assert urlsplit(response.headers["location"]).netloc == ""
    code = await client.sign_in(browser, alice.email)
    client.http.headers.update(headers)
    client.issuer = server.url
    tokens = (await client.redeem(code)).json()
    for name in ("access_token", "id_token"):
        claims = jose.verify(tokens[name], keyring.verification(), typ=None)
        assert claims["iss"] == server.issuer
        assert EVIL not in json.dumps(claims)


def test_32_a_request_line_with_an_absolute_form(server: Server) -> None:
    """RFC 9112 section 3.2.2: the authority of the request line counts before Host, and for nothing here."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(
            f"GET http://{EVIL}/.well-known/openid-configuration HTTP/1.1\r\nHost: {EVIL}\r\n"
            "Connection: close\r\n\r\n".encode()
        )
        answer = b""
        while data := connection.recv(65536):
            answer += data
    assert EVIL.encode() not in answer
