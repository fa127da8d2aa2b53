"""An HTTP server on loopback that records what reaches it, and is ready or not as a test wants."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple


class Received(NamedTuple):
    """A request."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name]


class RecordingServer:
    """Answers each request with 200.

    Attributes:
        port: where it listens on 127.0.0.1.
        received: the requests, without those for its health.
        ready: the status of /health/ready is 200, otherwise 503.
        probes: how often its readiness was asked for.
        cuts: it closes the connection after the request, without an answer.
    """

    def __init__(self) -> None:
        self.port = 0
        self.received: list[Received] = []
        self.ready, self.cuts, self.probes = True, False, 0

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while request := await _read(reader):
                status = 200
                if request.target == "/health/ready":
                    self.probes += 1
                    status = 200 if self.ready else 503
                else:
                    self.received.append(request)
                    if self.cuts:
                        break
                writer.write(f"HTTP/1.1 {status} Status\r\nContent-Length: 2\r\n\r\nok".encode())
                await writer.drain()
        writer.close()


async def _read(reader: asyncio.StreamReader) -> Received | None:
    head = await reader.readuntil(b"\r\n\r\n")
    line, *lines = head.decode("latin-1").strip().split("\r\n")
    headers = [(name.lower(), value.strip()) for name, _, value in (text.partition(":") for text in lines)]
    method, target, _ = line.split(" ")
    if ("transfer-encoding", "chunked") in headers:
        body = b""
        while size := int(await reader.readline(), 16):
            body += await reader.readexactly(size)
            await reader.readline()
        await reader.readline()
    else:
        body = await reader.readexactly(int(dict(headers).get("content-length", 0)))
    return Received(method, target, headers, body)


@asynccontextmanager
async def recording_server() -> AsyncIterator[RecordingServer]:
    server = RecordingServer()
    listener = await asyncio.start_server(server._serve, "127.0.0.1", 0, limit=1 << 20)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
