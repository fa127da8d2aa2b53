"""The middleware, with a client that sends its body slowly."""

import asyncio
import urllib.parse

import pytest

from tests.support.server import Server


async def _in_two_parts(server: Server, *headers: str, body: int) -> bytes:
    """Send a request whose body comes after its headers, in two parts, and return the answer."""
    port = urllib.parse.urlsplit(server.url).port
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = (*headers, f"Host: localhost:{port}", f"Content-Length: {body}", "Connection: close", "", "")
    try:
        writer.write("\r\n".join(head).encode())
        for half in (body // 2, body - body // 2):
            await writer.drain()
            await asyncio.sleep(0.3)
            writer.write(b"x" * half)
        await writer.drain()
        return await asyncio.wait_for(reader.read(), 10)
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("request_line", "header", "status"),
    [
        ("POST /none HTTP/1.1", "Accept: */*", 404),
        ("POST /account/two-step HTTP/1.1", "Origin: https://elsewhere.example", 400),
        ("POST /token HTTP/1.1", "Content-Type: text/plain", 400),
        ("POST /admin/clients/none/logo HTTP/1.1", "Origin: https://elsewhere.example", 400),
    ],
)  # fmt: skip
async def test_a_slow_sender_gets_the_refusal(server: Server, request_line: str, header: str, status: int) -> None:
    answer = await _in_two_parts(server, request_line, header, body=40_000)
    assert answer.startswith(b"HTTP/1.1 %d" % status), answer[:80]


async def test_an_endless_body_is_not_read_for_ever(server: Server) -> None:
    """The announced body never arrives, and the response does not wait for it."""
    port = urllib.parse.urlsplit(server.url).port
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST /none HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\nx")
    answer = await asyncio.wait_for(reader.read(12), 10)
    writer.close()
    assert answer == b"HTTP/1.1 404"
