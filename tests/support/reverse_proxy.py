"""A reverse proxy before a server, with TLS or without, that breaks what a test tells it to."""

import asyncio
import gzip
import re
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

#: The address that the proxy says its client has: on loopback all have the same one.
CLIENT = "203.0.113.9"
Head = list[tuple[str, str]]


class ReverseProxy:
    """Passes requests to a server, one for each connection.

    Attributes:
        port: of the server.
        path: changes the path of a request.
        request, response: change the headers of a request and of a response.
        body: changes the body of a response, by its path.
        max_head, max_body, max_response: limits in bytes, as those of nginx.
        cache: whether it answers a second request for a URL from a copy.
        plain: answers every request, whatever it is.
    """

    def __init__(self) -> None:
        self.port = 0
        self.mend()

    def mend(self) -> None:
        """Pass everything as it should be."""
        self.path: Callable[[str], str] = lambda path: path
        self.request: Callable[[Head], Head] = forwarded
        self.response: Callable[[Head], Head] = lambda head: head
        self.body: Callable[[str, bytes], bytes] = lambda _, body: body
        self.max_head, self.max_body, self.max_response = 16_384, 1 << 20, 16_384
        self.cache = False
        self.copies: dict[str, bytes] = {}
        self.plain = b""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if self.plain:
                await reader.read(1 << 16)
            writer.write(self.plain or await self._answer(reader))
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError, ssl.SSLError):
            pass
        finally:
            writer.close()
            with suppress(OSError, ssl.SSLError):
                await writer.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader) -> bytes:
        line, head, size = await _read_head(reader)
        method, target, _ = line.split(" ")
        body = await reader.readexactly(int(dict(head).get("content-length", 0)))
        if size > self.max_head:
            return _refusal(431)
        if len(body) > self.max_body:
            return _refusal(413)
        if self.cache and target in self.copies:
            return self.copies[target]
        answer = await self._pass_on(f"{method} {self.path(target)} HTTP/1.1", target, self.request(head), body)
        self.copies[target] = answer
        return answer

    async def _pass_on(self, line: str, target: str, head: Head, body: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        kept = [(name, value) for name, value in head if name != "connection"]
        writer.write(_head(line, [*kept, ("connection", "close")]) + body)
        await writer.drain()
        status, answered, size = await _read_head(reader)
        content = self.body(target, await reader.readexactly(int(dict(answered).get("content-length", 0))))
        writer.close()
        if size > self.max_response:
            return _refusal(502)
        changed = [pair for pair in self.response(answered) if pair[0] not in ("content-length", "connection")]
        return _head(status, [*changed, ("content-length", str(len(content))), ("connection", "close")]) + content


async def _read_head(reader: asyncio.StreamReader) -> tuple[str, Head, int]:
    raw = await reader.readuntil(b"\r\n\r\n")
    line, *lines = raw.decode("latin-1").strip().split("\r\n")
    head = [(name.lower(), value.strip()) for name, _, value in (text.partition(":") for text in lines)]
    return line, head, len(raw)


def _head(line: str, head: Head) -> bytes:
    return "\r\n".join([line, *(f"{name}: {value}" for name, value in head), "", ""]).encode("latin-1")


def _refusal(status: int) -> bytes:
    return _head(f"HTTP/1.1 {status} Refused", [("content-length", "0"), ("connection", "close")])


def forwarded(head: Head) -> Head:
    """Append the address of the client, as a proxy should."""
    before = [value for name, value in head if name == "x-forwarded-for"]
    others = [pair for pair in head if pair[0] not in ("x-forwarded-for", "x-ssl-client-cert")]
    return [*others, ("x-forwarded-for", ", ".join([*before, CLIENT]))]


def without(*names: str) -> Callable[[Head], Head]:
    """Return a change that removes headers."""
    return lambda head: [pair for pair in head if pair[0] not in names]


def compressed(head: Head) -> Head:
    return [*head, ("content-encoding", "gzip")]


def gzipped(_: str, body: bytes) -> bytes:
    return gzip.compress(body)


def rewritten(pattern: str, replacement: str) -> Callable[[str, bytes], bytes]:
    """Return a change of bodies."""
    return lambda _, body: re.sub(pattern.encode(), replacement.encode(), body)


@asynccontextmanager
async def reverse_proxy(port: int, tls: ssl.SSLContext | None = None) -> AsyncIterator[ReverseProxy]:
    """Serve on a port, with TLS or without."""
    proxy = ReverseProxy()
    listener = await asyncio.start_server(proxy.serve, "127.0.0.1", port, ssl=tls, limit=1 << 20)
    try:
        yield proxy
    finally:
        listener.close()
