"""The short way to the endpoints that programs call all day: past Litestar's routing, to the same handlers.

They take the request alone, so there is nothing for Litestar to resolve, and resolving nothing costs more than all
that they do themselves but the signature (docs/decisions/0017-direct-endpoints.md).
"""

import time
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import Any, cast

import msgspec
from litestar import Litestar, Request
from litestar.datastructures import Cookie
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute
from litestar.types import HTTPScope, Receive, Scope, Send

from idp.http import exception_handlers
from idp.http.body import Body, body_of
from idp.http.cors import Cors
from idp.http.headers import Pairs, encode
from idp.http.middleware import Middleware
from idp.infra.db.readiness import readiness

#: What such a route declares beside its ``access``.
FAST_PATH = {"direct": True}

#: The others are rare, or, as HEAD is, answered like one of these by the edge.
_METHODS = ("GET", "POST")

JSON_NO_STORE = encode({"Content-Type": "application/json", "Cache-Control": "no-store"})


class Answer:
    """A response of bytes that are ready. It may be sent more than once.

    Args:
        headers: all but Content-Length and cookies, encoded by :func:`idp.http.headers.encode`. Without a body there
            is no Content-Type.

    Raises:
        ValueError: an empty body has a Content-Type. Libraries that read it first fail on the body.
    """

    __slots__ = ("body", "headers", "status")

    def __init__(
        self, body: bytes, headers: Pairs, *, status: int = HTTPStatus.OK, cookies: Sequence[Cookie] = ()
    ) -> None:
        if not body and any(name == b"content-type" for name, _ in headers):
            raise ValueError("an empty body has no Content-Type")
        self.body = body
        self.status = int(status)
        self.headers = [*headers, *(cookie.to_encoded_header() for cookie in cookies)]
        if status not in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED):
            self.headers.append((b"content-length", b"%d" % len(body)))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.send(send, ())

    async def send(self, send: Send, headers: Pairs) -> None:
        """Send it, with these headers too."""
        await send({"type": "http.response.start", "status": self.status, "headers": [*self.headers, *headers]})
        await send({"type": "http.response.body", "body": self.body, "more_body": False})


def json(content: Any) -> Answer:
    """A response for this caller only."""
    return Answer(msgspec.json.encode(content), JSON_NO_STORE)


def _failed(request: Request[Any, Any, Any], error: Exception) -> Answer:
    response = exception_handlers.answer(request, error).to_asgi_response(None, request)
    headers = tuple(pair for pair in response.encode_headers() if pair[0] != b"content-length")
    return Answer(response.body, headers, status=response.status_code)


Handler = Callable[[Request[Any, Any, Any]], Awaitable[Answer]]


class _Request(Request[Any, Any, Any]):
    """A request most of which nobody asks for: what Litestar sets up at first is set up when it is."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope, self.receive, self.send = cast(HTTPScope, scope), receive, send

    def __getattr__(self, name: str) -> Any:
        super().__init__(self.scope, self.receive, self.send)
        return object.__getattribute__(self, name)


class FastPath:
    """Calls the routes that declare it. Everything else, and what these do not take, goes the long way."""

    def __init__(self, app: Litestar, edge: Middleware, cors: Cors) -> None:
        """
        Args:
            edge: the long way, and what both have in common.
        """
        self.app, self.edge, self.cors = app, edge, cors
        self.handlers: dict[tuple[object, object], HTTPRouteHandler] = {
            (method, route.path): handler
            for route in app.routes
            if isinstance(route, HTTPRoute)
            for handler in route.route_handlers
            if handler.opt.get("direct")
            for method in handler.http_methods
            if method in _METHODS
        }

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        handler = self.handlers.get((scope.get("method"), scope.get("path")))
        if handler is None:
            return self.edge(scope, receive, send)
        return self._answer(handler, cast(HTTPScope, scope), receive, send)

    async def _answer(self, handler: HTTPRouteHandler, scope: HTTPScope, receive: Receive, send: Send) -> None:
        started, body = time.perf_counter(), Body(scope, receive)
        headers = self.edge.begin(scope) + self.cors.headers(scope)
        # What a request reads from its scope, and the log after it.
        scope["litestar_app"] = self.app
        scope["state"] = {}
        scope["route_handler"] = handler
        scope["path_template"] = scope["path"]
        request, status = _Request(scope, body.receive, send), 0
        try:
            answer = await self._call(handler, request)
            await body.read_out()
            status = answer.status
            await answer.send(send, headers)
        finally:
            self.edge.end(scope, status, started)

    async def _call(self, handler: HTTPRouteHandler, request: Request[Any, Any, Any]) -> Answer:
        try:
            await body_of(request).read()
            if not readiness.joined:
                readiness.require(handler.opt)
            return await cast(Handler, handler.fn)(request)
        except Exception as error:
            self.edge.choose_language(request.scope)
            return _failed(request, error)
