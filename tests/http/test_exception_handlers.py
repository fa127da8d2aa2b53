"""Every exception becomes a response: JSON for programs, a page with links to continue for users."""

import ast
import asyncio
import io
import json
import re
from collections.abc import AsyncIterator, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
import structlog
from litestar import Request, route

import idp
from idp.errors import (
    BearerError,
    ConflictError,
    InsufficientScopeError,
    InvalidClientError,
    InvalidScopeError,
    InvalidTokenError,
    MissingTokenError,
    NoSigningKeyError,
    OAuthError,
    OverloadedError,
    PageError,
)
from idp.http import exception_handlers, pages
from idp.http.access import Access
from idp.http.body import MAX_BODY_BYTES
from idp.infra.db.outages import DatabaseUnavailableError
from idp.infra.logs import configure_logs
from idp.settings import load, settings
from tests.support.browser import Page
from tests.support.routes import router

SECRET = "hunter2-in-the-text-of-an-exception"
#: RFC 6749 section 5.2: printable ASCII without quotation mark and backslash.
ALLOWED = re.compile(r"[\x20-\x21\x23-\x5b\x5d-\x7e]+")


def _because(cause: Exception) -> DatabaseUnavailableError:
    error = DatabaseUnavailableError(SECRET)
    error.__cause__ = cause
    return error


#: The exceptions that the routes of the tests raise.
EXCEPTIONS: dict[str, Exception] = {
    "invalid_scope": InvalidScopeError("The scope is unknown."),
    "invalid_client": InvalidClientError(),
    "invalid_client_basic": InvalidClientError(challenge=True),
    "invalid_token": InvalidTokenError(),
    "insufficient_scope": InsufficientScopeError("openid"),
    "missing_token": MissingTokenError(),
    "bearer_twice": BearerError("invalid_request", "The token is sent twice."),
    "page": PageError("It has expired", "Begin again.", code="invalid_request"),
    "page_status": PageError("It is gone", "Begin again.", status=410),
    "domain": ConflictError('A "key" is published already.'),
    "overloaded": OverloadedError(),
    "database": DatabaseUnavailableError(SECRET),
    "cannot_connect": asyncpg.CannotConnectNowError(SECRET),
    "connection_lost": asyncpg.ConnectionDoesNotExistError(SECRET),
    "interface": asyncpg.InterfaceError(SECRET),
    "deadlock": asyncpg.DeadlockDetectedError(SECRET),
    "too_many_connections": asyncpg.TooManyConnectionsError(SECRET),
    "refused": _because(ConnectionRefusedError(SECRET)),
    "timeout": _because(TimeoutError(SECRET)),
    "read_only": asyncpg.ReadOnlySQLTransactionError(SECRET),
    "disk_full": asyncpg.DiskFullError(SECRET),
    "statement_timeout": asyncpg.QueryCanceledError(SECRET),
    "shutdown": asyncpg.AdminShutdownError(SECRET),
    "crash": asyncpg.CrashShutdownError(SECRET),
    "locked": asyncpg.LockNotAvailableError(SECRET),
    "serialization": asyncpg.SerializationError(SECRET),
    "io": asyncpg.PostgresIOError(SECRET),
    "password": asyncpg.InvalidPasswordError(SECRET),
    "stale_plan": asyncpg.InvalidCachedStatementError(SECRET),
    "not_prepared": asyncpg.InvalidSQLStatementNameError(SECRET),
    "no_key": NoSigningKeyError("RS256"),
    "file": FileNotFoundError(SECRET),
    "other_timeout": TimeoutError(SECRET),
    "syntax": asyncpg.PostgresSyntaxError(SECRET),
    "feature": asyncpg.FeatureNotSupportedError(SECRET),
    "unexpected": KeyError(SECRET),
    "constraint": asyncpg.UniqueViolationError(SECRET),
    "assertion": AssertionError(SECRET),
    "recursion": RecursionError(SECRET),
}


async def _raise(request: Request[Any, Any, Any], name: str) -> None:
    if name == "shows_page":
        pages.page("error.html")
    raise EXCEPTIONS[name]


def _route(access: Access) -> Any:
    return route(f"/{access}/{{name:str}}", http_method=["GET", "POST"], opt={"access": access})(_raise)


@pytest.fixture(scope="module")
def log() -> Iterator[io.StringIO]:
    """The log lines of a test, parsed from JSON."""
    lines = io.StringIO()
    before = structlog.get_config()
    configure_logs(load(log_format="json", log_level="debug"))
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(lines), cache_logger_on_first_use=False)
    yield lines
    structlog.configure(**before)


@pytest.fixture
async def small() -> AsyncIterator[httpx.AsyncClient]:
    """An application with the product's router around routes that raise."""
    transport = httpx.ASGITransport(router([_route(access) for access in Access]))  # type: ignore[arg-type]
    headers = {"Origin": settings().origin}
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=headers) as client:
        yield client


PROGRAMS, PEOPLE = ("client", "bearer", "public"), ("entry", "page")


def assert_page(response: httpx.Response, status: int) -> Page:
    """Check that a response is a complete page with links to continue and the request id."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.headers["cache-control"] == "no-store"
    assert "frame-ancestors 'none'" in response.headers["content-security-policy"]
    assert response.headers["x-request-id"] in response.text
    assert re.search(r'<a role="button" href="/"', response.text)
    return Page(response)


def assert_json(response: httpx.Response, status: int, error: str) -> None:
    """An error response as RFC 6749 section 5.2 has it."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    assert response.headers["cache-control"] == "no-store"
    assert response.json().keys() == {"error", "error_description"}
    assert response.json()["error"] == error
    assert ALLOWED.fullmatch(response.json()["error_description"])


@pytest.mark.parametrize(
    ("name", "status", "error"),
    [
        ("invalid_scope", 400, "invalid_scope"),
        ("invalid_client", 401, "invalid_client"),
        ("invalid_token", 401, "invalid_token"),
        ("insufficient_scope", 403, "insufficient_scope"),
        ("page", 400, "invalid_request"),
        ("page_status", 410, "invalid_request"),
        ("domain", 409, "invalid_request"),
        ("overloaded", 503, "temporarily_unavailable"),
        ("database", 503, "temporarily_unavailable"),
        ("deadlock", 503, "temporarily_unavailable"),
        ("unexpected", 500, "server_error"),
    ],
)
async def test_programs_get_json(small: httpx.AsyncClient, name: str, status: int, error: str) -> None:
    """The Accept header does not matter: a browser's fetch accepts anything, and still expects JSON."""
    for access in PROGRAMS:
        for accept in ("*/*", "text/html"):
            assert_json(await small.get(f"/{access}/{name}", headers={"Accept": accept}), status, error)


@pytest.mark.parametrize(
    ("name", "status", "error"),
    [
        ("invalid_scope", 400, "invalid_scope"),
        ("page", 400, "invalid_request"),
        ("page_status", 410, ""),
        ("domain", 409, ""),
        ("overloaded", 503, ""),
        ("database", 503, ""),
        ("unexpected", 500, ""),
    ],
)
async def test_people_get_a_page(small: httpx.AsyncClient, name: str, status: int, error: str) -> None:
    for access in PEOPLE:
        for accept in ("*/*", "text/html", "application/json"):
            page = assert_page(await small.get(f"/{access}/{name}", headers={"Accept": accept}), status)
            assert page.error == error


async def test_challenges(small: httpx.AsyncClient) -> None:
    """RFC 6749 section 5.2: only to a client that tried the header. RFC 6750 section 3: always to a bearer."""
    basic = await small.post("/client/invalid_client_basic")
    assert basic.headers["www-authenticate"] == 'Basic realm="idp", charset="UTF-8"'
    assert "www-authenticate" not in (await small.post("/client/invalid_client")).headers
    for name in ("invalid_token", "insufficient_scope", "bearer_twice"):
        challenge = (await small.get(f"/bearer/{name}")).headers["www-authenticate"]
        assert challenge.startswith('Bearer realm="idp", error="')
    missing = await small.get("/bearer/missing_token")
    assert (missing.status_code, missing.headers["www-authenticate"]) == (
        401,
        'Bearer realm="idp", DPoP algs="ES256 ES384 ES512 PS256 PS384 PS512 RS256 EdDSA Ed25519"',
    )
    assert 'scope="openid"' in (await small.get("/bearer/insufficient_scope")).headers["www-authenticate"]


PASSES = (
    "database", "cannot_connect", "connection_lost", "interface", "too_many_connections", "refused", "timeout",
    "overloaded", "read_only", "disk_full", "statement_timeout", "shutdown", "crash", "locked", "deadlock",
    "serialization", "io", "password", "stale_plan", "not_prepared", "no_key",
)  # fmt: skip


@pytest.mark.fault(41)
@pytest.mark.parametrize("name", PASSES)
async def test_temporary_errors_have_retry_after(small: httpx.AsyncClient, name: str) -> None:
    for access in Access:
        response = await small.get(f"/{access}/{name}")
        assert response.status_code == 503
        assert int(response.headers["retry-after"]) > 0


@pytest.mark.fault(41)
@pytest.mark.parametrize("name", ["file", "other_timeout", "syntax", "feature", "constraint"])
async def test_other_database_errors_are_500(small: httpx.AsyncClient, name: str) -> None:
    for access in Access:
        assert (await small.get(f"/{access}/{name}")).status_code == 500


@pytest.mark.parametrize("name", ["unexpected", "constraint", "assertion", "recursion", "database", "timeout"])
async def test_nothing_leaks(small: httpx.AsyncClient, log: io.StringIO, name: str) -> None:
    """The text of an exception may quote anything, so neither the response nor the log contains it."""
    for access in Access:
        log.truncate(log.seek(0))
        response = await small.get(f"/{access}/{name}?token={SECRET}")
        assert response.status_code in (500, 503)
        for text in (response.text, str(response.headers), log.getvalue()):
            assert SECRET not in text
            assert "Traceback" not in text
        assert type(EXCEPTIONS[name]).__name__ not in response.text
        assert __file__ not in response.text
        lines = [json.loads(line) for line in log.getvalue().splitlines()]
        reason = EXCEPTIONS[name].__cause__ or EXCEPTIONS[name]
        assert type(reason).__name__ in {line.get("error") for line in lines}


@pytest.mark.fault(41)
async def test_a_template_that_cannot_be_read_is_no_outage(
    small: httpx.AsyncClient, log: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other operating system errors are not outages either: the log has our frames and the request id."""

    def denied(*_: Any, **__: Any) -> None:
        raise PermissionError(SECRET)

    monkeypatch.setattr(pages, "templates", denied)
    log.truncate(log.seek(0))
    response = await small.get("/client/shows_page")
    assert_json(response, 500, "server_error")
    lines = {line["event"]: line for line in map(json.loads, log.getvalue().splitlines())}
    assert lines.keys() == {"unexpected_error", "request"}
    unexpected = lines["unexpected_error"]
    assert (unexpected["error"], unexpected["request_id"]) == ("PermissionError", response.headers["x-request-id"])
    assert re.fullmatch(r"idp/http/pages\.py:\d+ page", unexpected["trace"][-1])
    assert SECRET not in log.getvalue()


async def test_the_request_id_leads_from_the_page_to_the_log(small: httpx.AsyncClient, log: io.StringIO) -> None:
    log.truncate(log.seek(0))
    response = await small.get("/page/unexpected")
    identifier = response.headers["x-request-id"]
    assert re.fullmatch(r"[0-9a-f]{20}", identifier)
    assert_page(response, 500)
    lines = {line["event"]: line for line in map(json.loads, log.getvalue().splitlines())}
    assert lines["unexpected_error"]["request_id"] == lines["request"]["request_id"] == identifier
    assert lines["unexpected_error"]["error"] == "KeyError"
    assert f"{__file__}:" in lines["unexpected_error"]["path"]
    assert lines["request"]["status"] == 500


async def test_each_request_has_a_different_id(small: httpx.AsyncClient) -> None:
    """Also for concurrent requests on one connection, and whatever id the client sends."""
    responses = await asyncio.gather(
        *(small.get("/page/unexpected", headers={"X-Request-ID": "mine"}) for _ in range(20))
    )
    identifiers = {response.headers["x-request-id"] for response in responses}
    assert len(identifiers) == 20
    assert "mine" not in identifiers
    for response in responses:
        assert response.headers["x-request-id"] in response.text


async def test_an_unknown_path(small: httpx.AsyncClient) -> None:
    """Without a route, the Accept header decides the format."""
    assert_json(await small.get("/none-such"), 404, "invalid_request")
    assert_json(await small.get("/none-such", headers={"Accept": "application/json"}), 404, "invalid_request")
    page = assert_page(await small.get("/none-such", headers={"Accept": "text/html,*/*;q=0.8"}), 404)
    assert "There is no such page" in page.text
    assert "none-such" not in page.text


async def test_methods(small: httpx.AsyncClient) -> None:
    """RFC 9110 section 15.5.6: the response names the allowed methods."""
    for method in ("PUT", "DELETE", "PATCH"):
        response = await small.request(method, "/client/invalid_scope")
        assert_json(response, 405, "invalid_request")
        assert {"GET", "POST"} <= set(re.split(r",\s*", response.headers["allow"]))
        assert response.headers["allow"] in response.json()["error_description"]
        html = await small.request(method, "/client/invalid_scope", headers={"Accept": "text/html"})
        assert_page(html, 405)
        assert html.headers["allow"] == response.headers["allow"]


async def test_bodies_that_are_too_large(small: httpx.AsyncClient) -> None:
    """Whether they declare their length or not."""

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"x" * (MAX_BODY_BYTES // 10)

    for body in (b"x" * 2 * MAX_BODY_BYTES, chunks()):
        assert_json(await small.post("/client/invalid_scope", content=body), 413, "invalid_request")
    for body in (b"x" * 2 * MAX_BODY_BYTES, chunks()):
        assert_page(await small.post("/page/invalid_scope", content=body), 413)
    assert_json(await small.post("/client/invalid_scope", content=b"x" * MAX_BODY_BYTES), 400, "invalid_scope")


def _descriptions() -> Iterator[str]:
    """Return every literal description of a protocol error in the code."""
    family = {kind.__name__ for kind in (OAuthError, *OAuthError.__subclasses__(), *BearerError.__subclasses__())}
    for path in Path(idp.__file__).parent.rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text())):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in family:
                for node in ast.walk(call):
                    if isinstance(node, ast.Constant) and isinstance(node.value, str):
                        yield node.value


def test_descriptions_stay_inside_their_character_set() -> None:
    found = list(_descriptions())
    assert len(found) > 50
    assert [text for text in found if text and not ALLOWED.fullmatch(text)] == []


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nope", 404), ("PUT", "/page/unexpected", 405)])
async def test_a_page_for_an_address_that_opens_none(
    small: httpx.AsyncClient, method: str, path: str, status: int
) -> None:
    """The whole page is in the language of the browser, and has no phrase of HTTP."""
    headers = {"Accept": "text/html", "Accept-Language": "de"}
    response = await small.request(method, path, headers=headers)
    assert response.status_code == status
    assert HTTPStatus(status).phrase not in response.text


@pytest.mark.parametrize("dev", [True, False])
async def test_causes_are_shown_in_development_mode_only(monkeypatch: pytest.MonkeyPatch, dev: bool) -> None:
    changed = settings().model_copy(update={"dev": dev})
    monkeypatch.setattr(exception_handlers, "settings", lambda: changed)
    error = PageError("It has expired", "Begin again.", hint="A cause.", facts=(("Sent", "https://<evil>.example"),))
    shown = exception_handlers.error_page(error).content
    assert ("A cause." in shown) is dev
    assert ("https://&lt;evil&gt;.example" in shown) is dev
