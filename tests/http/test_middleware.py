"""The middleware, with a client that sends its body slowly."""

import asyncio
import json
import urllib.parse
from collections.abc import Callable

import pytest

from tests.support.browser import as_page, open_browser
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


async def test_only_the_pages_that_ask_with_head_again_and_again_leave_the_log(
    start_server: Callable[..., Server],
) -> None:
    server = start_server()
    async with open_browser(server.issuer) as browser:
        path = as_page(await browser.get("/login")).path
        before = _logged(server, "/login/{flow_id:str}")
        assert (await browser.client.head(f"{server.issuer}{path}")).status_code == 200
        assert (await browser.client.head(f"{server.issuer}/account")).status_code == 303
    async with asyncio.timeout(30):
        while _logged(server, "/account") < 1:
            await asyncio.sleep(0.05)
    assert _logged(server, "/login/{flow_id:str}") == before


def _logged(server: Server, route: str) -> int:
    lines = [json.loads(line) for line in server.log.splitlines() if line.startswith("{")]
    return sum(line["event"] == "request" and line["route"] == route for line in lines)
