"""Logs are JSON lines of allowed fields, and contain no secrets."""

import ast
import asyncio
import io
import json
import logging
import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote, quote_plus

import httpx
import pytest
import structlog

from idp.accounts.addresses import InvalidEmailError, normalise_email
from idp.accounts.tables import User
from idp.audit.row_hmac import LockedError
from idp.infra import logs
from idp.infra.db import engine
from idp.infra.db.outages import DatabaseUnavailableError
from idp.infra.logs import FIELDS, LogFieldError, configure_logs, exception_fields
from idp.infra.request_context import client_address, request_id
from idp.settings import load
from tests.conftest import MASTER_KEY, MakeClient
from tests.support.browser import Browser, Page, open_browser
from tests.support.oauth import PASSWORD, RelyingParty
from tests.support.server import Server
from tests.support.tour import tour
from tests.test_architecture import modules

SECRET = "hunter2"


# The pipe


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """The product's logging in this process; gives the lines that were written."""
    lines = io.StringIO()
    monkeypatch.setattr("sys.stderr", lines)
    before, root = structlog.get_config(), logging.getLogger()
    handlers, level = root.handlers[:], root.level
    configure_logs(load(log_format="json", log_level="debug"))
    structlog.configure(cache_logger_on_first_use=False)
    yield lambda: [json.loads(line) for line in lines.getvalue().splitlines()]
    structlog.configure(**before)
    root.handlers[:], root.level = handlers, level


@pytest.fixture
def lenient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the log drop unknown fields, as in production."""
    monkeypatch.setattr(logs, "strict", False)
    logs.refused_fields.clear()


def test_other_fields_are_dropped(pipe: Callable[[], list[dict[str, Any]]], lenient: None) -> None:
    """And a line names each of them, once."""
    for _ in range(2):
        structlog.get_logger().info("x", client_id="c", password=SECRET, headers={"a": SECRET})
    *told, line, again = sorted(pipe(), key=lambda line: line["event"])
    assert line.keys() == again.keys() == {"event", "level", "timestamp", "client_id"}
    assert SECRET not in str(pipe())
    assert {(each["event"], each["hint"]) for each in told} == {
        ("log_field_refused", f"The event x has the field {name}, which is not in the allow-list.")
        for name in ("password", "headers")
    }
    assert len(told) == 2
    assert set(logs.refused_fields.values()) == {2}


def test_other_fields_are_an_error_in_tests(pipe: object) -> None:
    with pytest.raises(LogFieldError, match="password"):
        structlog.get_logger().error("x", password=SECRET)


@pytest.mark.parametrize("name", sorted(modules()))
def test_every_event_has_allowed_fields_only(name: str) -> None:
    for node in ast.walk(modules()[name]):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and isinstance(node.func.value, ast.Name)
            and node.func.value.id == "log"
            and node.func.attr in ("debug", "info", "warning", "error", "exception", "log", "bind")
        ):
            assert {keyword.arg for keyword in node.keywords} - {None} <= FIELDS, f"{name}:{node.lineno}"


def test_bound_fields_are_no_way_around(pipe: Callable[[], list[dict[str, Any]]], lenient: None) -> None:
    structlog.get_logger().bind(client_secret=SECRET).warning("x", user_id="u")
    structlog.contextvars.bind_contextvars(cookie=SECRET)
    structlog.get_logger().error("x")
    structlog.contextvars.clear_contextvars()
    assert SECRET not in str(pipe())
    assert [line["level"] for line in pipe() if line["event"] == "x"] == ["warning", "error"]


def test_libraries_go_through_the_same_pipe(pipe: Callable[[], list[dict[str, Any]]]) -> None:
    """Their lines are JSON, without extra fields, and from level warning: other lines may contain URLs with codes."""
    for name in ("asyncio", "httpx", "litestar", "asyncpg", "some.library"):
        logging.getLogger(name).warning("x %s", "y", extra={"password": SECRET})
        logging.getLogger(name).info("GET /callback?code=%s", SECRET)
        logging.getLogger(name).debug(SECRET)
    assert [line["event"] for line in pipe()] == ["x y"] * 5
    assert {line["logger"] for line in pipe()} >= {"asyncio", "some.library"}
    assert all(line.keys() == {"event", "level", "timestamp", "logger"} for line in pipe())


def test_exceptions_are_named_and_not_quoted(pipe: Callable[[], list[dict[str, Any]]]) -> None:
    """The place where they were raised is enough; their texts may quote input."""
    try:
        raise KeyError(SECRET)
    except KeyError as error:
        # As asyncio words it.
        logging.getLogger("asyncio").exception("Task exception was never retrieved\nfuture: <Task exception=%r>", error)
        structlog.get_logger().exception("x")
        structlog.get_logger().error("x", exc_info=True, **exception_fields(error))
    assert SECRET not in str(pipe())
    library, named, ours = pipe()
    for line in (library, named, ours):
        assert line["error"] == "KeyError"
        assert line["path"].startswith(f"{__file__}:")
    assert library["event"] == "Task exception was never retrieved"


def test_a_traceback_has_our_frames_without_values(pipe: Callable[[], list[dict[str, Any]]]) -> None:
    try:
        normalise_email(SECRET)
    except InvalidEmailError as error:
        structlog.get_logger().error("x", **exception_fields(error))
    (line,) = pipe()
    assert SECRET not in str(line)
    assert (line["error"], len(line["trace"])) == ("InvalidEmailError", 3)
    first, cause, second = line["trace"]
    assert re.fullmatch(r"idp/accounts/addresses\.py:\d+ normalise_email", first)
    assert re.fullmatch(r"from Email\w+Error", cause)
    assert re.fullmatch(r"idp/accounts/addresses\.py:\d+ \w+", second)


def test_the_text_of_an_operator_error_is_logged(pipe: Callable[[], list[dict[str, Any]]]) -> None:
    structlog.get_logger().error("x", **exception_fields(LockedError()))
    assert pipe()[0]["hint"].startswith("The audit trail needs")


def test_a_condition_that_passes_has_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine.engine, "lines", None)
    with pytest.raises(DatabaseUnavailableError) as raised:
        engine.lines()
    assert "trace" not in exception_fields(raised.value)


def test_a_traceback_for_people(monkeypatch: pytest.MonkeyPatch, pipe: object) -> None:
    text = io.StringIO()
    monkeypatch.setattr("sys.stderr", text)
    configure_logs(load(log_format="console"))
    structlog.configure(cache_logger_on_first_use=False)
    try:
        normalise_email(SECRET)
    except InvalidEmailError as error:
        structlog.get_logger().error("x", **exception_fields(error))
    assert re.search(r"\n    idp/accounts/addresses\.py:\d+ normalise_email\n", text.getvalue())


def test_no_field_is_named_for_a_secret() -> None:
    for name in FIELDS:
        for part in (
            "password",
            "secret",
            "token",
            "code",
            "cookie",
            "csrf",
            "state",
            "nonce",
            "verifier",
            "url",
            "email",
        ):
            assert part not in name


def test_lines_name_their_request(pipe: Callable[[], list[dict[str, Any]]]) -> None:
    tokens = request_id.set("0123456789abcdef"), client_address.set("192.0.2.1")
    structlog.get_logger().info("x")
    request_id.reset(tokens[0])
    client_address.reset(tokens[1])
    structlog.get_logger().info("y")
    one, other = pipe()
    assert (one["request_id"], one["client_address"]) == ("0123456789abcdef", "192.0.2.1")
    assert "request_id" not in other


# The server


class Watched(httpx.AsyncBaseTransport):
    """Collects every secret that the server sets or that its responses contain."""

    def __init__(self) -> None:
        self.inner = httpx.AsyncHTTPTransport()
        self.secrets: set[str] = set()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await self.inner.handle_async_request(request)
        for header in response.headers.get_list("set-cookie"):
            self.secrets.add(header.partition("=")[2].partition(";")[0])
        return response


def _flow_ids(tour_responses: list[httpx.Response]) -> set[str]:
    """Return the ids in URLs of sign-in flows. They are useless without their cookie, and are not logged anyway."""
    paths = {response.url.path for response in tour_responses}
    return {path.split("/")[2] for path in paths if path.startswith(("/login/", "/authorize/", "/consent/"))}


async def _protocol(client: RelyingParty, cookie_client: RelyingParty, browser: Browser, email: str) -> set[str]:
    """Every endpoint, right and wrong. Returns the secrets that were used."""
    used = {client.verifier, client.client_secret or "", cookie_client.verifier}
    code = await client.sign_in(browser, email, state="the-secret-state", nonce="the-secret-nonce")
    tokens = (await client.redeem(code)).json()
    assert (await client.redeem(code)).json()["error"] == "invalid_grant"
    other = await client.sign_in(browser, email, login_hint="somebody@example.com")
    assert (await client.redeem(other, code_verifier="wrong-verifier-" * 4)).status_code == 400
    fresh = await client.tokens(browser, email, claims='{"userinfo":{"email":{"essential":true}}}')
    rotated = (await client.refresh(fresh["refresh_token"])).json()
    await client.refresh("no-such-refresh-token")
    await client.userinfo(rotated["access_token"])
    await client.userinfo("no-such-access-token")
    await client.http.post(f"{client.issuer}/userinfo", data={"access_token": rotated["access_token"]})
    # The query is the wrong place for a token, and proxies and browsers would keep it.
    await client.http.get(f"{client.issuer}/userinfo?access_token={rotated['access_token']}")
    for token in (rotated["access_token"], rotated["refresh_token"], "no-such-token"):
        await client.introspect(token)
    await client.http.post(f"{client.issuer}/token", data={"grant_type": "x"}, auth=(client.client_id, "wrong-secret"))
    await client.http.post(
        f"{client.issuer}/token", data={"client_id": client.client_id, "client_secret": "wrong-secret-too"}
    )
    await client.http.post(f"{client.issuer}/token", content='{"client_secret": "secret-in-json"}')
    await client.authorize(browser, id_token_hint=fresh["id_token"], prompt="none")
    await client.authorize(browser, id_token_hint="no-such-id-token", prompt="none")
    await client.http.get(f"{client.issuer}/secret-in-a-path?code=secret-in-a-query")
    await client.post("/revoke", token=rotated["access_token"])
    await client.post("/revoke", token=rotated["refresh_token"])
    await client.refresh(rotated["refresh_token"])
    in_cookie = await cookie_client.sign_in(browser, email)
    answer = await cookie_client.redeem(in_cookie, headers={"Origin": "https://app.example.com"})
    assert "refresh_token" not in answer.json()
    used |= {header.partition("=")[2].partition(";")[0] for header in answer.headers.get_list("set-cookie")}
    await browser.get("/logout", id_token_hint=fresh["id_token"], state="the-secret-logout-state")
    for answers in (tokens, fresh, rotated):
        used |= {answers[name] for name in ("access_token", "id_token", "refresh_token")}
    return used | {
        code, other, in_cookie, answer.json()["access_token"], "the-secret-state", "the-secret-nonce", "wrong-verifier",
        "the-secret-logout-state", "no-such-refresh-token", "no-such-access-token", "no-such-token", "no-such-id-token",
        "wrong-secret", "secret-in-json", "secret-in-a-path", "secret-in-a-query", "somebody@example.com",
    }  # fmt: skip


async def _mistakes(browser: Browser, email: str) -> set[str]:
    """Send the typing errors of users, and requests from other sites."""
    page = await browser.get("/login")
    assert isinstance(page, Page)
    await browser.sign_in(page, email, "the-wrong-password")
    await browser.sign_in(page, "the-password-in-the-wrong-field", PASSWORD)
    await browser.post(page.path, {"username": email, "password": PASSWORD, "csrf_token": "the-wrong-csrf-token"})
    await browser.post(page.path, {"password": "the-password-from-elsewhere"}, origin="https://evil.example")
    await browser.client.post(f"{browser.issuer}{page.path}", json={"password": "the-password-in-json"})
    await browser.client.post(f"{browser.issuer}{page.path}", content="password=%ff&x=the-password-in-a-broken-form")
    await browser.client.get(f"{browser.issuer}/", headers={"Cookie": "__Host-session=the-stale-cookie"})
    return {
        "the-wrong-password", "the-password-in-the-wrong-field", "the-wrong-csrf-token", "the-password-from-elsewhere",
        "the-password-in-json", "the-password-in-a-broken-form", "the-stale-cookie",
        page.forms[0].fields["csrf_token"], page.path.split("/")[2],
    }  # fmt: skip


async def test_no_secret_is_logged(start_server: Callable[..., Server], make_client: MakeClient, alice: User) -> None:
    """At the chattiest level, after everything that people, clients and attackers do."""
    server = start_server(IDP_LOG_LEVEL="debug")
    asking = await make_client(at=server, post_logout_redirect_uris=["https://app.example.com/bye"])
    client = await make_client(at=server, skip_consent=True)
    in_cookie = await make_client(
        at=server, skip_consent=True, token_endpoint_auth_method="none", refresh_token_cookie=True
    )
    secrets = {PASSWORD, MASTER_KEY, alice.email, asking.client_secret or ""}
    async with open_browser(server.issuer) as browser:
        watched = Watched()
        browser.client._transport = watched
        seen = await tour(browser, asking, alice.email)
        secrets |= _flow_ids(seen.responses)
        secrets |= {value for page in seen.pages.values() for value in _hidden(page)}
        secrets |= await _mistakes(browser, alice.email)
        secrets |= await _protocol(client, in_cookie, browser, alice.email)
        secrets |= watched.secrets
    server.stop()
    # Not secret, and so short that any word may contain them.
    secrets -= {"", "s", "x", '""'}
    assert len(secrets) > 50
    log = server.log
    assert "Traceback" not in log
    for secret in secrets:
        # A token without its end, or a part of a token, is still a token.
        parts = [secret, quote(secret), quote_plus(secret), *(part for part in secret.split(".") if len(part) > 20)]
        assert [part for part in parts if part in log or (len(part) > 40 and part[:40] in log)] == []


def _hidden(page: httpx.Response) -> list[str]:
    """The CSRF token, code, state and so on that a page carries. An error is one of our own sentences."""
    told = ("iss", "client_id", "error", "error_description")
    return [value for form in Page(page).forms for name, value in form.fields.items() if name not in told]


async def test_every_line_is_json(start_server: Callable[..., Server], make_client: MakeClient, alice: User) -> None:
    """One event a line, of allowed fields; those of one request share the id that its answer carried."""
    server = start_server(IDP_LOG_LEVEL="debug")
    client = await make_client(at=server)
    async with open_browser(server.issuer) as browser:
        page = await client.authorize(browser)
        assert isinstance(page, Page)
        failed = await browser.sign_in(page, alice.email, "wrong")
        assert isinstance(failed, Page)
        assert isinstance(await browser.get("/none"), Page)
    server.stop()
    lines = [json.loads(line) for line in server.log.splitlines()]
    for line in lines:
        assert line.keys() <= FIELDS
        assert {"event", "level", "timestamp"} <= line.keys()
    requests = [line for line in lines if line["event"] == "request"]
    assert {line["route"] for line in requests} >= {"/authorize", "/login/{flow_id}", "/token", "/health/ready", ""}
    assert all({"request_id", "client_address", "method", "status", "duration_ms"} <= line.keys() for line in requests)
    assert len({line["request_id"] for line in requests}) == len(requests)
    identifier = failed.response.headers["x-request-id"]
    same = [line for line in lines if line.get("request_id") == identifier]
    assert [(line["event"], line.get("audit_event"), line.get("outcome")) for line in same] == [
        ("audit", "sign_in", "failure"),
        ("request", None, None),
    ]
    assert (same[1]["error"], same[1]["reason"]) == ("access_denied", "wrong_password")
    assert same[1]["user_id"] == same[0]["user_id"]


async def test_frequent_requests_are_logged_only_if_refused(server: Server, client: RelyingParty) -> None:
    """The authorization endpoint refuses with a redirect."""

    async def statuses(**changes: str | None) -> dict[str, int]:
        form = client.parameters(**changes)
        pushed = await client.post("/par", **form)
        sent = await client.http.get(f"{client.issuer}/authorize", params=form)
        return {response.headers["x-request-id"]: response.status_code for response in (pushed, sent)}

    good, refused = await statuses(), await statuses(code_challenge_method="plain")
    assert (list(good.values()), list(refused.values())) == ([201, 303], [400, 303])
    async with asyncio.timeout(30):
        while not set(refused) <= (logged := _requests_of(server)).keys():
            await asyncio.sleep(0.02)
    assert [logged[identifier]["error"] for identifier in refused] == ["invalid_request"] * 2
    assert not set(good) & logged.keys()


def _requests_of(server: Server) -> dict[str, dict[str, Any]]:
    lines = [json.loads(line) for line in server.log.splitlines()]
    return {line["request_id"]: line for line in lines if line["event"] == "request"}


async def test_levels(start_server: Callable[..., Server], http: httpx.AsyncClient) -> None:
    """Lines below the level are not written."""
    server = start_server(IDP_LOG_LEVEL="warning")
    assert (await http.get(f"{server.issuer}/none")).status_code == 404
    server.stop()
    assert server.log == ""


async def test_text_for_people(start_server: Callable[..., Server], http: httpx.AsyncClient) -> None:
    server = start_server(IDP_LOG_FORMAT="console")
    identifier = (await http.get(f"{server.issuer}/none")).headers["x-request-id"]
    server.stop()
    (line,) = [line for line in server.log.splitlines() if identifier in line]
    assert "status=404" in line
    assert "\x1b" not in line
