"""Row 63: connections that send nothing, half a head, half a body, or leave.

A worker holds thousands of them and answers everybody else; it cuts each in bounded time. Nothing of it is an error.
"""

import asyncio
import json
import resource
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from idp.cli.workers import OTHER_FILES, connection_limit
from idp.settings import load
from tests.support.server import TLS, Server

pytestmark = pytest.mark.fault(5)

HEADER_TIMEOUT, BODY_TIMEOUT = 4, 3
#: More than Granian's own limit of 1,024, and as many of each kind as the limit of open files allows.
MOST = 1500
HOST = "Host: localhost\r\n"
FORM = "Content-Type: application/x-www-form-urlencoded\r\n"
#: The head that is sent for each kind of held connection, complete or not.
HALVES = {
    "nothing": "",
    "half a head": f"GET /health/live HTTP/1.1\r\n{HOST}X-Slow: ",
    "half a body for a program": f"POST /token HTTP/1.1\r\n{HOST}{FORM}Content-Length: 1000\r\n\r\ngrant_type=",
    "half a body for a page": f"POST /reset HTTP/1.1\r\n{HOST}{FORM}Content-Length: 1000\r\n\r\ntoken=",
}


def _server(folder: Path, db: str) -> Server:
    """Start a server of one worker that is quick to cut."""
    from tests.conftest import MASTER_KEY

    return Server(
        folder,
        IDP_DATABASE_URL=db,
        IDP_MASTER_KEY=MASTER_KEY,
        IDP_ADDRESS_LIMITS="false",
        IDP_HEADER_TIMEOUT=str(HEADER_TIMEOUT),
        IDP_BODY_TIMEOUT=str(BODY_TIMEOUT),
    )


@pytest.fixture(scope="module")
def held(db: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = _server(tmp_path_factory.mktemp("held"), db)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def logged(db: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server for tests that wait for the log line of each of their requests: no line of another test comes late."""
    server = _server(tmp_path_factory.mktemp("logged"), db)
    yield server
    server.stop()


def _origin(server: Server, head: str) -> str:
    """A page's form comes from our own pages."""
    return head.replace(HOST, f"{HOST}Origin: {server.issuer}\r\n")


async def _connect(server: Server, text: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(_origin(server, text).encode())
    return reader, writer


def _requests(server: Server) -> list[dict[str, Any]]:
    """Return the log lines of requests, and warnings and errors."""
    lines = [json.loads(line) for line in server.log.splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == "request" or line["level"] in ("error", "critical")]


async def test_63_other_requests_are_answered(held: Server) -> None:
    """Health and keys answer while every kind of connection is held, and all of them end."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    each = min(MOST, soft - OTHER_FILES) // len(HALVES)
    async with AsyncExitStack() as stack:
        readers = []
        for text in HALVES.values():
            for _ in range(each):
                reader, writer = await _connect(held, text)
                stack.callback(writer.close)
                readers.append(reader)
        http = await stack.enter_async_context(httpx.AsyncClient(timeout=30, verify=TLS))
        for path in ("/health/live", "/health/ready", "/.well-known/jwks.json"):
            # Each on its own connection.
            answer = await http.get(f"{held.url}{path}", headers={"Connection": "close"})
            assert answer.status_code == 200, path
        # Bounded: the limits, plus the time that a busy machine needs for so many pages.
        answers = await asyncio.wait_for(asyncio.gather(*(reader.read() for reader in readers)), 120)
    assert {answer[:12] for answer in answers[: 2 * each]} == {b""}
    assert {answer[:12] for answer in answers[2 * each :]} == {b"HTTP/1.1 408"}


@pytest.mark.parametrize("pause", [0.5, 1.0])
async def test_63_a_body_that_trickles_is_cut(held: Server, pause: float) -> None:
    """The time is that of the whole body: a byte now and then does not prolong it."""
    reader, writer = await _connect(held, HALVES["half a body for a program"])
    answer = asyncio.create_task(reader.read())
    for _ in range(30):
        if answer.done():
            break
        writer.write(b"x")
        await asyncio.wait([answer], timeout=pause)
    writer.close()
    head, _, body = (await answer).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408")
    assert b"connection: close" in head.lower()
    assert json.loads(body)["error"] == "invalid_request"


@pytest.mark.parametrize("path", ["/token", "/reset", "/none", "/admin/api/v1/users"])
@pytest.mark.parametrize(
    ("head", "body"),
    [("Content-Length: 1000", "a=1"), ("Transfer-Encoding: chunked", "5\r\na=1"), ("Transfer-Encoding: chunked", "")],
)
async def test_63_a_disconnect_is_no_error(logged: Server, path: str, head: str, body: str) -> None:
    """The log has the request as a refused one, and no error."""
    before = len(_requests(logged))
    _, writer = await _connect(logged, f"POST {path} HTTP/1.1\r\n{HOST}{FORM}{head}\r\n\r\n{body}")
    await writer.drain()
    writer.close()
    async with asyncio.timeout(60):
        while not (said := _requests(logged)[before:]):
            await asyncio.sleep(0.05)
    assert [(line["event"], line["level"]) for line in said] == [("request", "info")]
    assert said[0]["status"] in (400, 404)


@pytest.mark.parametrize("path", ["/token", "/reset", "/none", "/authorize", "/admin/api/v1/users"])
@pytest.mark.parametrize(
    "chunk", ["zz\r\na=1", "3\r\na=1zz\r\n", "-1\r\n", "fffffffffffffffffff\r\n", "3;\0\r\na=1\r\n"]
)
async def test_63_malformed_chunks_are_no_error(held: Server, path: str, chunk: str) -> None:
    reader, writer = await _connect(
        held, f"POST {path} HTTP/1.1\r\n{HOST}{FORM}Transfer-Encoding: chunked\r\n\r\n{chunk}"
    )
    writer.write_eof()
    answer = await asyncio.wait_for(reader.read(), 60)
    writer.close()
    # Empty where the server takes it for the end of the connection.
    assert answer == b"" or 400 <= int(answer.split()[1]) < 500, answer
    assert [line for line in _requests(held) if line["level"] != "info"] == []


def test_63_the_limit_is_what_the_system_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    """The soft limit of open files is raised up to the hard limit."""
    limits, raised = (1024, 4096), list[tuple[int, int]]()
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits)
    monkeypatch.setattr(resource, "setrlimit", lambda _, new: raised.append(new))
    assert connection_limit(load(max_connections=2000)) == 2000
    assert raised.pop() == (2000 + OTHER_FILES, 4096)
    assert connection_limit(load(max_connections=100_000)) == 4096 - OTHER_FILES
    assert raised.pop() == (4096, 4096)
    limits = (100_000, 100_000)
    assert connection_limit(load(max_connections=2000)) == 2000
    assert raised == []


async def test_63_beyond_the_limit_others_wait_their_turn(start_server: Callable[..., Server], tmp_path: Path) -> None:
    """More connections than there may be: they wait, and are answered once idle ones are cut."""
    server = start_server(IDP_MAX_CONNECTIONS="64", IDP_HEADER_TIMEOUT="2", IDP_BODY_TIMEOUT="2")
    async with AsyncExitStack() as stack:
        for _ in range(200):
            _, writer = await _connect(server, "")
            stack.callback(writer.close)
        http = await stack.enter_async_context(httpx.AsyncClient(timeout=60, verify=TLS))
        assert (await http.get(f"{server.url}/health/live")).status_code == 200
