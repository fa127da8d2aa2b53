"""Row 34: no header identifies a user. No proxy is trusted for that."""

import ast
import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

import idp
from idp.accounts.tables import User
from tests.support.browser import Redirect, as_page, open_browser
from tests.support.oauth import RelyingParty
from tests.support.server import Server

NAMES = [
    "X-Forwarded-User", "X_Forwarded_User", "X-Forwarded-Email", "X-Forwarded-Preferred-Username", "X-Forwarded-Groups",
    "X-Auth-Request-User", "X-Auth-Request-Email", "X-Remote-User", "Remote-User", "REMOTE_USER", "Remote-Email",
    "X-Authenticated-User", "X-User", "X-Email", "X-WebAuth-User", "X-SSL-Client-S-DN", "SSL-Client-Cert",
    "X-Client-Cert", "Client-Cert", "X-Forwarded-Access-Token", "X-Original-User", "Cf-Access-Authenticated-User-Email",
    "X-authentik-username", "X-Goog-Authenticated-User-Email", "Tailscale-User-Login",
]  # fmt: skip

#: All headers of a request that the server reads, besides those that Litestar reads for cookies, forms and compression.
READ = {
    "accept", "accept-language", "authorization", "content-length", "content-type", "host", "if-none-match", "origin",
    "user-agent", "x-forwarded-for", "access-control-request-method", "access-control-request-headers", "x-request-id",
    "cookie", "sec-fetch-site", "vary", "if-match", "etag", "idempotency-key",
    # The page to return to after a choice of the language: used only if it is one of ours.
    "referer",
    # Of a request that a doctor makes: its token says whose it is.
    "x-doctor-token", "x-doctor-padding",
    # Of the response to a call that the server made.
    "content-encoding", "x-ratelimit-remaining", "age", "cache-control", "date", "expires", "retry-after",
    # Of our own response, to which a page adds, and of our own error, which it explains.
    "content-security-policy", "allow",
}  # fmt: skip


@pytest.mark.parametrize("trusted", ["", "127.0.0.0/8"], ids=["direct", "behind a proxy"])
async def test_34_no_header_signs_a_user_in(
    start_server: Callable[..., Server], client: RelyingParty, alice: User, trusted: str
) -> None:
    """Not even from a proxy whose word on addresses is believed."""
    server = await asyncio.to_thread(start_server, IDP_TRUSTED_PROXIES=trusted)
    client.issuer = server.issuer
    async with open_browser(server.issuer) as browser:
        for value in (alice.email, str(alice.id), f"CN={alice.email}"):
            browser.client.headers.update(dict.fromkeys(NAMES, value))
            assert as_page(await browser.get("/account")).path.startswith("/login/")
            assert alice.email not in as_page(await browser.get("/")).text
            answer = await client.authorize(browser, prompt="none")
            assert isinstance(answer, Redirect)
            assert answer.parameters["error"] == "login_required"
            userinfo = await browser.client.get(f"{server.issuer}/userinfo")
            assert userinfo.status_code == 401
            token = await browser.client.post(
                f"{server.issuer}/token", data={"grant_type": "client_credentials", "client_id": client.client_id}
            )
            assert token.status_code == 401
        assert not browser.signed_in


def _headers_read() -> set[str]:
    """Every text that is looked up in something called headers."""
    found = set()
    for path in Path(idp.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            key: ast.expr | None = None
            if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
                where, key = node.value, node.slice
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
                where, key = node.func.value, node.args[0]
                if node.func.attr not in ("get", "getone", "getall", "get_list"):
                    continue
            elif isinstance(node, ast.Call) and ast.unparse(node.func) == "request_header":
                name = node.args[1]
                assert isinstance(name, ast.Constant)
                found.add(name.value.decode())
            if isinstance(key, ast.Constant) and isinstance(key.value, str) and "headers" in ast.unparse(where):
                found.add(key.value.lower())
    return found


def test_34_no_other_header_is_read() -> None:
    """A new header must be added to this list, after considering who may send it."""
    found = _headers_read()
    assert "authorization" in found
    assert found <= READ
