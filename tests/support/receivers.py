"""A server on loopback that receives deliveries, with a behaviour for each path."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import NamedTuple, Self

BEHAVIOURS = ("ok", "slow", "hang", "500", "redirect", "huge", "drip", "drop")


class Received(NamedTuple):
    path: str
    headers: Mapping[str, str]
    body: bytes


class Receivers:
    """Any number of receivers: ``url("name")`` is one of them.

    Attributes:
        behaviours: by name: a status with optional headers and body (``429 Retry-After: 7``), ``slow``, ``hang``,
            ``redirect``, ``huge``, ``drip`` or ``drop``; ``held`` before another one waits first. By default 204.
        received: every request, in order of arrival.
        accepted: the requests that were answered with 2xx, by name.
        go_on: ends all hanging.
    """

    def __init__(self) -> None:
        self.behaviours: dict[str, str] = {}
        self.received: list[Received] = []
        self.accepted: dict[str, list[Received]] = defaultdict(list)
        self.go_on = asyncio.Event()
        self.entered = asyncio.Event()
        self.connections = self.concurrent = self.most_concurrent = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self._port}/{name}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=2**20, backlog=1000)
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        assert self._server is not None
        self.go_on.set()
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                while await self._answer(reader, writer):
                    pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request. Returns whether the connection stays open."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        path = head[0].split(" ")[1].lstrip("/")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        received = Received(path, headers, await reader.readexactly(int(headers.get("content-length", "0"))))
        self.received.append(received)
        self.entered.set()
        self.concurrent += 1
        self.most_concurrent = max(self.most_concurrent, self.concurrent)
        try:
            return await self._behave(received, writer)
        finally:
            self.concurrent -= 1

    async def _behave(self, received: Received, writer: asyncio.StreamWriter) -> bool:
        behaviour = self.behaviours.get(received.path, "204")
        if behaviour == "drop":
            return False
        if behaviour == "hang":
            await self.go_on.wait()
            return False
        if behaviour.startswith("held "):
            await self.go_on.wait()
            behaviour = behaviour.removeprefix("held ")
        if behaviour == "slow":
            await asyncio.sleep(0.05)
            behaviour = "204"
        if behaviour == "redirect":
            writer.write(f"HTTP/1.1 302 x\r\nLocation: {self.url('elsewhere')}\r\nContent-Length: 0\r\n\r\n".encode())
        elif behaviour in ("huge", "drip"):
            self.accepted[received.path].append(received)
            writer.write(b"HTTP/1.1 200 x\r\nContent-Length: 1000000000\r\n\r\n")
            while behaviour == "huge":
                writer.write(b"x" * 65536)
                await writer.drain()
            writer.write(b"x")
            await self.go_on.wait()
            return False
        else:
            status, _, rest = behaviour.partition(" ")
            header, _, body = rest.partition("|")
            if status.startswith("2"):
                self.accepted[received.path].append(received)
            lines = [f"HTTP/1.1 {status} x", *([header] if header else []), f"Content-Length: {len(body)}"]
            writer.write(("\r\n".join(lines) + "\r\n\r\n" + body).encode())
        await writer.drain()
        return True
