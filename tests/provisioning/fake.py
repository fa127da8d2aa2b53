"""A SCIM server on loopback that can be made to behave badly."""

import asyncio
import re
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec

_EQUALS = re.compile(r'^([\w.]+) eq (".*")$')
_MEMBER = re.compile(r'^members\[value eq (".*")\]$')


class Asked(NamedTuple):
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


#: Takes the place of a response: a status with headers and a body, or None for the usual response.
Answer = tuple[int, dict[str, str], bytes]
Behaviour = Callable[[Asked], Answer | None]


class FakeScim:
    """Users and groups in memory.

    Attributes:
        patch, etag, cursor: what it supports.
        token: the one that it accepts.
        unique: whether a second account with a userName is refused.
        behave: called for every request; by default None.
        asked: every request, in order of arrival.
        go_on: ends all hanging.
    """

    def __init__(self) -> None:
        self.patch, self.etag, self.cursor, self.unique = True, False, False, True
        self.token = "the-token"
        self.behave: Behaviour = lambda _: None
        self.asked: list[Asked] = []
        self.users: dict[str, dict[str, Any]] = {}
        self.groups: dict[str, dict[str, Any]] = {}
        self.go_on = asyncio.Event()
        self.hangs = False
        self.most_concurrent = self._concurrent = 0
        self._number = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/scim"

    def count(self, method: str, part: str = "") -> int:
        return sum(asked.method == method and part in asked.path for asked in self.asked)

    def add(self, kind: str = "users", **values: Any) -> dict[str, Any]:
        """Add a resource that was there before."""
        self._number += 1
        resource = {"id": f"r{self._number}", **values}
        self._kind(kind)[resource["id"]] = resource
        self._touch(resource)
        return resource

    def _kind(self, name: str) -> dict[str, dict[str, Any]]:
        return self.users if name.lower() == "users" else self.groups

    def _touch(self, resource: dict[str, Any]) -> None:
        self._number += 1
        resource["meta"] = {"version": f'W/"{self._number}"'}

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=2**22, backlog=1000)
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
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                while True:
                    asked = await self._read(reader)
                    self.asked.append(asked)
                    if self.hangs:
                        await self.go_on.wait()
                        return
                    self._concurrent += 1
                    self.most_concurrent = max(self.most_concurrent, self._concurrent)
                    await asyncio.sleep(0)
                    status, headers, body = self.behave(asked) or self._answer(asked)
                    self._concurrent -= 1
                    lines = [f"HTTP/1.1 {status} x", *(f"{name}: {value}" for name, value in headers.items())]
                    if "content-length" not in {name.lower() for name in headers}:
                        lines.append(f"Content-Length: {len(body)}")
                    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode() + body)
                    await writer.drain()
        finally:
            self._tasks.discard(task)
            writer.close()

    @staticmethod
    async def _read(reader: asyncio.StreamReader) -> Asked:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        method, target, _ = head[0].split(" ")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        parts = urlsplit(target)
        query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        return Asked(
            method, parts.path.removeprefix("/scim"), query, headers, msgspec.json.decode(body) if body else None
        )

    def _answer(self, asked: Asked) -> Answer:
        if asked.headers.get("authorization") != f"Bearer {self.token}":
            return self._error(401, "The token is wrong.")
        if asked.path == "/ServiceProviderConfig":
            return self._ok(
                {
                    "patch": {"supported": self.patch}, "etag": {"supported": self.etag},
                    "pagination": {"cursor": self.cursor},
                }
            )  # fmt: skip
        _, name, *rest = asked.path.split("/")
        kind = self._kind(name)
        if not rest:
            return self._create(kind, asked.body) if asked.method == "POST" else self._list(kind, asked.query)
        resource = kind.get(unquote(rest[0]))
        if resource is None:
            return self._error(404, "There is none.")
        if asked.method == "GET":
            return self._ok(resource)
        expected = asked.headers.get("if-match")
        if self.etag and expected is not None and expected != resource["meta"]["version"]:
            return self._error(412, "It has changed.")
        if asked.method == "DELETE":
            del kind[resource["id"]]
            return 204, {}, b""
        if asked.method == "PUT":
            self._replace(resource, asked.body)
        else:
            if not self.patch:
                return self._error(501, "There is no PATCH.")
            for operation in asked.body["Operations"]:
                self._apply(resource, operation)
        self._touch(resource)
        return self._ok(resource)

    def _create(self, kind: dict[str, dict[str, Any]], body: dict[str, Any]) -> Answer:
        name = "userName" if kind is self.users else "displayName"
        taken = any(each.get(name, "").lower() == body[name].lower() for each in kind.values())
        if taken and self.unique:
            return self._error(409, "It is taken.")
        resource = self.add("users" if kind is self.users else "groups", **body)
        return 201, {}, msgspec.json.encode(resource)

    def _list(self, kind: dict[str, dict[str, Any]], query: dict[str, str]) -> Answer:
        found = [each for each in kind.values() if self._matches(each, query.get("filter"))]
        count = min(int(query.get("count", "100")), 100)
        page: dict[str, Any] = {"totalResults": len(found)}
        if self.cursor and "cursor" in query:
            start = int(query["cursor"] or "0")
            if start + count < len(found):
                page["nextCursor"] = str(start + count)
        else:
            start = int(query.get("startIndex", "1")) - 1
        return self._ok(page | {"Resources": found[start : start + count]})

    @staticmethod
    def _matches(resource: dict[str, Any], text: str | None) -> bool:
        if text is None:
            return True
        parsed = _EQUALS.match(text)
        assert parsed is not None
        name, value = parsed[1], msgspec.json.decode(parsed[2])
        if name == "emails.value":
            return value in [each.get("value") for each in resource.get("emails", [])]
        return str(resource.get(name, "")).lower() == value.lower()

    @staticmethod
    def _replace(resource: dict[str, Any], body: dict[str, Any]) -> None:
        kept = resource["id"]
        resource.clear()
        resource.update(body, id=kept)

    def _apply(self, resource: dict[str, Any], operation: dict[str, Any]) -> None:
        path, value = operation.get("path"), operation.get("value")
        if path is None:
            resource.update(value)
        elif (member := _MEMBER.match(path)) is not None:
            gone = msgspec.json.decode(member[1])
            resource["members"] = [each for each in resource.get("members", []) if each["value"] != gone]
        elif path == "members":
            known = {each["value"] for each in resource.get("members", [])}
            resource["members"] = resource.get("members", []) + [each for each in value if each["value"] not in known]
        else:
            name, _, sub = path.rpartition(":") if path.startswith("urn:") else path.partition(".")
            inside = resource.setdefault(name, {}) if sub else resource
            if operation["op"] == "remove":
                inside.pop(sub or path, None)
            else:
                inside[sub or path] = value

    @staticmethod
    def _ok(content: Any) -> Answer:
        return 200, {"Content-Type": "application/scim+json"}, msgspec.json.encode(content)

    @staticmethod
    def _error(status: int, detail: str) -> Answer:
        return status, {}, msgspec.json.encode({"status": str(status), "detail": detail})
