"""The range query for breached passwords, against a real server with right and wrong responses."""

import asyncio
import gzip
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest
from structlog.testing import capture_logs

from idp.accounts import breaches
from idp.accounts.breaches import is_breached
from idp.accounts.passwords import InvalidPasswordError, check_new_password
from idp.settings import settings

PASSWORD = "correct horse battery staple"
DIGEST = hashlib.sha1(PASSWORD.encode()).hexdigest().upper()
OTHERS = [f"{number:035X}:{number}" for number in range(1, 900)]

#: Reads a request's head, and writes an answer.
Answer = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]
UseService = Callable[[str | None], None]


@pytest.fixture
def use_service(monkeypatch: pytest.MonkeyPatch) -> UseService:
    """Set the URL of the service."""

    def use(url: str | None) -> None:
        changed = settings().model_copy(update={"breached_passwords_url": url})
        monkeypatch.setattr(breaches, "settings", lambda: changed)

    return use


@asynccontextmanager
async def service(answer: Answer) -> AsyncIterator[str]:
    """A server on loopback. Yields the address of its range query."""
    connections: set[asyncio.StreamWriter] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.add(writer)
        with suppress(ConnectionError):
            await answer(await reader.readuntil(b"\r\n\r\n"), writer)
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/range/"
    finally:
        server.close()
        for writer in connections:
            writer.close()


def answering(body: bytes, status: str = "200 OK", headers: str = "") -> Answer:
    async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 {status}\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        await writer.drain()

    return answer


def listing(*lines: str) -> bytes:
    return "\r\n".join([*OTHERS[:400], *lines, *OTHERS[400:]]).encode()


async def test_a_breached_password_is_refused(use_service: UseService) -> None:
    heads = []

    async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
        heads.append(head)
        await answering(listing(f"{DIGEST[5:]}:3"))(head, writer)

    async with service(answer) as url:
        use_service(url)
        with pytest.raises(InvalidPasswordError, match="breach"):
            await check_new_password(PASSWORD)
    (head,) = heads
    assert head.startswith(f"GET /range/{DIGEST[:5]} HTTP/1.1\r\n".encode())
    assert b"add-padding: true" in head.lower()
    assert DIGEST[5:].encode() not in head.upper()


async def test_the_form_that_is_hashed_is_the_one_that_is_asked_for(use_service: UseService) -> None:
    async with service(answering(listing(f"{DIGEST[5:]}:3"))) as url:
        use_service(url)
        with pytest.raises(InvalidPasswordError, match="breach"):
            await check_new_password(PASSWORD.replace("c", "\uff43"))


@pytest.mark.parametrize("line", [f"{DIGEST[5:]}:0", f"{DIGEST[:35]}:7", ""], ids=["padding", "another", "none"])
async def test_others_are_not(use_service: UseService, line: str) -> None:
    with capture_logs() as logs:
        async with service(answering(listing(*filter(None, [line])))) as url:
            use_service(url)
            await check_new_password(PASSWORD)
    assert logs == []


async def hang(head: bytes, writer: asyncio.StreamWriter) -> None:
    await writer.wait_closed()


async def drip(head: bytes, writer: asyncio.StreamWriter) -> None:
    """Every byte comes in time, but there is no end of them."""
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while not writer.is_closing():
        writer.write(b"0")
        await writer.drain()
        await asyncio.sleep(0.02)


async def drop(head: bytes, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


FOUND = listing(f"{DIGEST[5:]}:3")


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(hang, id="slow"),
        pytest.param(drip, id="endless in time"),
        pytest.param(drop, id="dropped"),
        pytest.param(answering(FOUND, "500 Internal Server Error"), id="500"),
        pytest.param(answering(FOUND, "429 Too Many Requests"), id="429"),
        pytest.param(answering(b"", "302 Found", "Location: /elsewhere\r\n"), id="redirect"),
        pytest.param(answering(b"<html>Sign in to the network</html>"), id="a page"),
        pytest.param(answering(b"\xff\0" * 50), id="bytes"),
        pytest.param(answering(FOUND + b"\nmore"), id="half nonsense"),
        pytest.param(answering(listing(*OTHERS * 20, f"{DIGEST[5:]}:3")), id="too long"),
        pytest.param(answering(gzip.compress(FOUND), headers="Content-Encoding: gzip\r\n"), id="compressed"),
    ],
)
async def test_failure_is_logged_and_lets_the_password_pass(
    use_service: UseService, monkeypatch: pytest.MonkeyPatch, answer: Answer
) -> None:
    monkeypatch.setattr(breaches, "TIMEOUT_SECONDS", 0.3)
    with capture_logs() as logs:
        async with service(answer) as url:
            use_service(url)
            async with asyncio.timeout(30):
                await check_new_password(PASSWORD)
    (line,) = logs
    assert (line["event"], line["log_level"]) == ("breach_check_failed", "warning")
    assert PASSWORD not in str(line)
    assert DIGEST[:5] not in str(line)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/", "http://[::1", "nonsense", "http://name.invalid/", "http://\0/"]
)
async def test_a_service_that_is_not_there(use_service: UseService, url: str) -> None:
    use_service(url)
    with capture_logs() as logs:
        await check_new_password(PASSWORD)
    assert [line["event"] for line in logs] == ["breach_check_failed"]


async def test_without_a_service_there_is_no_request(use_service: UseService) -> None:
    use_service(None)
    with capture_logs() as logs:
        assert not await is_breached("password")
    assert logs == []


async def test_a_weak_password_is_not_asked_for(use_service: UseService) -> None:
    asked = []

    async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
        asked.append(head)

    async with service(answer) as url:
        use_service(url)
        with pytest.raises(InvalidPasswordError, match="guess"):
            await check_new_password("password")
    assert asked == []
