"""The security headers of every response, and the content policy of each kind of page."""

import re
from collections.abc import Callable

import httpx
import pytest

from idp.accounts.tables import User
from idp.http.middleware import Middleware
from idp.http.responses import JSON_NO_STORE, BytesResponse
from idp.settings import load
from tests.conftest import MakeClient
from tests.support.browser import Browser
from tests.support.routes import routes
from tests.support.server import Server
from tests.support.tour import Tour, tour

APP = "https://app.example.com"
FORM_POST = {"form_post", "form_post error"}


@pytest.fixture
async def seen(browser: Browser, make_client: MakeClient, alice: User) -> Tour:
    client = await make_client(post_logout_redirect_uris=[f"{APP}/bye"])
    return await tour(browser, client, alice.email)


def policy(response: httpx.Response) -> dict[str, set[str]]:
    """The directives of the one content security policy."""
    (header,) = response.headers.get_list("content-security-policy")
    parts = (directive.split() for directive in header.split(";"))
    return {name: set(sources) for name, *sources in parts}


async def test_the_policy_of_each_page(seen: Tour) -> None:
    for name, response in seen.pages.items():
        expected = {
            "default-src": {"'none'"},
            "style-src": {"'self'"},
            "img-src": {"'self'", "https:", "data:"},
            "font-src": {"'self'"},
            "form-action": {"'self'"},
            "frame-ancestors": {"'none'"},
            "base-uri": {"'none'"},
        }
        found = policy(response)
        if "data-passkey" in response.text:
            assert found.pop("script-src") == {"'self'"}, name
            assert found.pop("connect-src") == {"'self'"}, name
        if name in FORM_POST:
            (source,) = found.pop("script-src")
            assert re.fullmatch(r"'nonce-[A-Za-z0-9_-]{22}'", source), name
            del expected["form-action"]
        assert found == expected, name


async def test_pages_have_only_allowed_scripts(seen: Tour) -> None:
    """Our files where there are passkeys; on the form_post page one script that a nonce allows, new on every page."""
    nonces = []
    for name, response in seen.pages.items():
        scripts = re.findall(r"<script[^>]*>", response.text)
        assert not re.search(r"<[^>]+\s(on\w+|style)\s*=", response.text), name
        if name not in FORM_POST:
            own = re.compile(r'<script src="/static/(fields|passkey|tab)\.js\?v=[0-9a-f]{8}" defer>')
            names = [match[1] for script in scripts if (match := own.fullmatch(script))]
            assert len(names) == len(scripts), name
            assert names == (["fields", "passkey", "tab"] if "data-passkey" in response.text else []), name
            continue
        (found,) = re.findall(r'<script nonce="([\w-]+)">', response.text)
        assert len(scripts) == 1
        assert policy(response)["script-src"] == {f"'nonce-{found}'"}
        nonces.append(found)
    assert len(set(nonces)) == len(FORM_POST)


@pytest.mark.fault(32)
async def test_every_response_has_security_headers(seen: Tour) -> None:
    """Redirects and errors like pages."""
    assert {response.status_code for response in seen.responses} >= {200, 303, 400, 404}
    form_posts = [seen.pages[name] for name in FORM_POST]
    for response in seen.responses:
        assert_protected(response, "origin" if response in form_posts else "same-origin")
        assert response.headers["cache-control"] == "no-store"


def assert_protected(response: httpx.Response, referrer: str = "same-origin") -> None:
    what = f"{response.request.method} {response.url.path}: {response.status_code}"
    assert policy(response)["default-src"] == {"'none'"}, what
    assert policy(response)["frame-ancestors"] == {"'none'"}, what
    assert response.headers["x-frame-options"] == "DENY", what
    assert response.headers["x-content-type-options"] == "nosniff", what
    assert response.headers["referrer-policy"] == referrer, what
    assert re.fullmatch(r"[0-9a-f]{20}", response.headers["x-request-id"]), what


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/.well-known/openid-configuration"), ("GET", "/.well-known/jwks.json"), ("GET", "/health/live"),
        ("GET", "/health/ready"), ("GET", "/static/idp.css"), ("GET", "/static/favicon.svg"), ("GET", "/favicon.ico"),
        ("GET", "/static/none"), ("GET", "/userinfo"), ("POST", "/token"), ("POST", "/introspect"), ("POST", "/revoke"),
        ("OPTIONS", "/token"), ("PUT", "/token"), ("GET", "/none"), ("TRACE", "/"), ("GET", "/%00"),
    ],
)  # fmt: skip
async def test_responses_other_than_pages_have_security_headers(
    http: httpx.AsyncClient, server: Server, method: str, path: str
) -> None:
    response = await http.request(method, f"{server.issuer}{path}")
    assert_protected(response)
    assert policy(response) == {"default-src": {"'none'"}, "frame-ancestors": {"'none'"}}


@pytest.mark.fault(35)
async def test_an_empty_answer_has_no_type(http: httpx.AsyncClient, server: Server, seen: Tour) -> None:
    """On every route, including redirects: a library that reads the type would fail on the empty body."""
    asked = [
        await http.request(method, f"{server.issuer}{route.url()}")
        for route in routes()
        for method in {route.method, "OPTIONS"}
    ]
    empty = [response for response in [*seen.responses, *asked] if response.headers.get("content-length", "0") == "0"]
    assert {response.status_code for response in empty} >= {204, 303}
    for response in empty:
        assert "content-type" not in response.headers, f"{response.request.method} {response.url.path}"


@pytest.mark.fault(35)
def test_a_direct_answer_without_a_body_cannot_have_a_type() -> None:
    with pytest.raises(ValueError, match="Content-Type"):
        BytesResponse(b"", JSON_NO_STORE)


async def test_secret_responses_are_not_cached(http: httpx.AsyncClient, server: Server) -> None:
    for method, path in (("POST", "/token"), ("POST", "/introspect"), ("POST", "/revoke"), ("GET", "/userinfo")):
        response = await http.request(method, f"{server.issuer}{path}")
        assert response.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("issuer", "expected"),
    [("https://id.example.com", "max-age=63072000; includeSubDomains"), ("http://localhost:8000", None)],
)
async def test_https_is_for_good(issuer: str, expected: str | None) -> None:
    """RFC 6797: sent only if the issuer uses https."""

    headers = Middleware(load(issuer=issuer)).headers
    found = dict(headers).get(b"strict-transport-security")
    assert (found and found.decode()) == expected


async def test_https_server(start_server: Callable[..., Server], http: httpx.AsyncClient) -> None:
    """A server behind its reverse proxy with https."""
    server = start_server(IDP_ISSUER="https://id.example.com")
    for path in ("/", "/none", "/token", "/health/live", "/static/idp.css"):
        response = await http.get(f"{server.url}{path}", headers={"Host": "id.example.com"})
        assert response.headers["strict-transport-security"] == "max-age=63072000; includeSubDomains"
        assert_protected(response)
