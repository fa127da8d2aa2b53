"""A TCP proxy before PostgreSQL that can withhold responses."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import parse_qs, urlsplit

SOCKET = ".s.PGSQL.5432"


class Proxy:
    """Passes bytes between one server and PostgreSQL.

    Attributes:
        withhold: once set, responses of PostgreSQL no longer arrive.
        withhold_after: bytes in a request that set ``withhold``.
        listen: the treatment of LISTEN: allowed, refused, or the connection is closed.
    """

    def __init__(self, dsn: str) -> None:
        parts = urlsplit(dsn)
        self._parts = parts
        self.database = parts.path
        self.withhold = False
        self.withhold_after = b""
        self.listen = "allowed"
        self.dsn = ""
        self._tasks: set[asyncio.Task[None]] = set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream_writer = await self._connect()
        for coroutine in (self._up(reader, upstream_writer), self._down(upstream_reader, writer)):
            task = asyncio.create_task(coroutine)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._parts.hostname:
            return await asyncio.open_connection(self._parts.hostname, self._parts.port or 5432)
        return await asyncio.open_unix_connection(f"{parse_qs(self._parts.query)['host'][0]}/{SOCKET}")

    async def _up(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                if self.withhold_after and self.withhold_after in data:
                    self.withhold = True
                if self.listen == "cut" and b"LISTEN" in data:
                    break
                # The same length, and a syntax error.
                writer.write(data.replace(b"LISTEN", b"LOSTEN") if self.listen == "refused" else data)
                await writer.drain()
        writer.close()

    async def _down(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                if self.withhold:
                    continue
                writer.write(data)
                await writer.drain()
        writer.close()

    def cancel(self) -> None:
        for task in self._tasks:
            task.cancel()


@asynccontextmanager
async def proxy_to(dsn: str) -> AsyncIterator[Proxy]:
    """Start a proxy on a free port; ``proxy.dsn`` is the same database through it."""
    proxy = Proxy(dsn)
    listener = await asyncio.start_server(proxy._serve, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    account = proxy._parts.netloc.rpartition("@")[0] or "postgres"
    proxy.dsn = f"postgresql://{account}@127.0.0.1:{port}{proxy.database}"
    try:
        yield proxy
    finally:
        proxy.cancel()
        listener.close()
