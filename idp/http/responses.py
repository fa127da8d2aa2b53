"""Responses that the router sends: a status, encoded headers, and a body in one piece or in several."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from http import HTTPStatus
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.datastructures import Cookie
from litestar.response import Stream
from litestar.response.base import ASGIResponse
from litestar.types import Message, Receive, Scope, Send

from idp.http.headers import Pairs, complete, encode

#: RFC 9110 section 8.6.
_WITHOUT_LENGTH = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)
JSON_NO_STORE = encode({"Content-Type": "application/json", "Cache-Control": "no-store"})


class BytesResponse:
    """A response whose body is ready. It may be sent more than once.

    Args:
        headers: all except Content-Length and cookies, encoded by :func:`idp.http.headers.encode`.

    Raises:
        ValueError: an empty body has a Content-Type. Libraries that read the type first fail on the body.
    """

    __slots__ = ("body", "headers", "status")

    def __init__(
        self, body: bytes, headers: Iterable[tuple[bytes, bytes]], *, status: int = HTTPStatus.OK,
        cookies: Sequence[Cookie] = (),
    ) -> None:  # fmt: skip
        self.body = body
        self.status = int(status)
        self.headers = [*headers, *(cookie.to_encoded_header() for cookie in cookies)]
        if not body and any(name == b"content-type" for name, _ in self.headers):
            raise ValueError("an empty body has no Content-Type")
        if status not in _WITHOUT_LENGTH:
            self.headers.append((b"content-length", b"%d" % len(body)))

    async def send(self, send: Send, headers: Pairs) -> None:
        """Send the response, with the ``headers`` that it does not have yet."""
        await send({"type": "http.response.start", "status": self.status, "headers": complete(self.headers, headers)})
        await send({"type": "http.response.body", "body": self.body, "more_body": False})


class StreamResponse:
    """A response whose body is produced while it is sent."""

    __slots__ = ("_receive", "_scope", "_stream", "status")

    def __init__(self, stream: ASGIResponse, scope: Scope, receive: Receive) -> None:
        self._stream, self._scope, self._receive = stream, scope, receive
        self.status = stream.status_code

    async def send(self, send: Send, headers: Pairs) -> None:
        """Send the response, with the ``headers`` that it does not have yet. Stops when the client disconnects."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = complete(message["headers"], headers)
            await send(message)

        await self._stream(self._scope, self._receive, send_with_headers)


Sendable = BytesResponse | StreamResponse
#: A handler of a route: takes the request and the parameters of the path.
Handler = Callable[..., Awaitable[BytesResponse | Response[Any]]]


def json(content: Any) -> BytesResponse:
    """Return a JSON response that caches must not store."""
    return BytesResponse(msgspec.json.encode(content), JSON_NO_STORE)


def sendable(response: BytesResponse | Response[Any], request: Request[Any, Any, Any], status: int) -> Sendable:
    """Convert the result of a handler to a response.

    A Content-Type without a body is removed: it describes a body (RFC 9110 section 8.3), and some libraries fail when
    they try to parse the empty body.

    Args:
        status: the status if the response has none.
    """
    if isinstance(response, BytesResponse):
        return response
    if response.content in (None, b"") and not isinstance(response, Stream):
        # Nothing to render, as in a redirect. Litestar's way takes six times as long, and renders None as null.
        own = [pair for pair in encode(response.headers) if pair[0] != b"content-type"]
        return BytesResponse(b"", own, status=response.status_code or status, cookies=response.cookies)
    encoded = response.to_asgi_response(None, request, status_code=status)
    if isinstance(response, Stream):
        return StreamResponse(encoded, request.scope, request.receive)
    unwanted = (b"content-length",) if encoded.body else (b"content-length", b"content-type")
    headers = [pair for pair in encoded.encode_headers() if pair[0] not in unwanted]
    return BytesResponse(encoded.body, headers, status=encoded.status_code)
