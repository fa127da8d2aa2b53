"""The response mode form_post in a real browser, as the client's server receives it."""

import asyncio
from urllib.parse import parse_qs

import pytest
from playwright.async_api import Page

from tests.conftest import MakeClient
from tests.support.server import Server

pytestmark = pytest.mark.browser


@pytest.mark.fault(32)
@pytest.mark.parametrize("page", [{"width": 1280, "height": 800}], indirect=True)
async def test_the_post_names_where_it_comes_from(page: Page, server: Server, make_client: MakeClient) -> None:
    """Servers compare Origin against cross-site requests, and refuse `null`."""
    received: asyncio.Queue[bytes] = asyncio.Queue()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if head.startswith(b"POST "):
            length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
            received.put_nowait(head + await reader.readexactly(length))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
        writer.close()

    listening = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    try:
        client = await make_client(redirect_uris=[f"http://127.0.0.1:{port}/callback"])
        query = client.parameters(response_mode="form_post", prompt="none")
        await page.goto("/authorize?" + "&".join(f"{name}={value}" for name, value in query.items()))
        request = await asyncio.wait_for(received.get(), 20)
    finally:
        listening.close()
    head, _, body = request.partition(b"\r\n\r\n")
    headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
    assert headers["Origin"] == server.issuer
    # The URL of the page contains the request, and must not be sent anywhere.
    assert headers.get("Referer") == f"{server.issuer}/"
    assert parse_qs(body.decode())["error"] == ["login_required"]
