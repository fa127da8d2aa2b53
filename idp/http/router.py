"""The ASGI application that handles every request.

In order: request id and client address, the form of the Host header, route, guards of the route's declaration, handler,
response with security and CORS headers, one line in the log (docs/decisions/0047-one-way-through-http.md).
"""

import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from http import HTTPStatus
from traceback import format_exc
from typing import Any, cast

from litestar import Request
from litestar.enums import HttpMethod, ScopeType
from litestar.exceptions import NotFoundException
from litestar.types import HTTPScope, Message, Receive, Scope, Send

from idp.http import access, cors, exception_handlers
from idp.http.body import Body
from idp.http.headers import Pairs, encode
from idp.http.host import check_host
from idp.http.middleware import Middleware
from idp.http.responses import BytesResponse, Handler, Sendable, sendable
from idp.http.routes import Route, Routes, canonical
from idp.infra.i18n import locale
from idp.infra.request_context import head as only_head
from idp.infra.request_context import response_headers

#: Runs while the application does.
Lifespan = Callable[[], AbstractAsyncContextManager[None]]


class Router:
    """The ASGI application of one worker."""

    def __init__(
        self, routes: Routes, middleware: Middleware, is_client_origin: Callable[[str], bool], lifespan: Lifespan
    ) -> None:
        """
        Args:
            is_client_origin: whether an origin belongs to a registered client. An opaque origin (``null``) never does.
        """
        self.routes = routes
        self.middleware = middleware
        self.is_client_origin = is_client_origin
        self.lifespan = lifespan

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == ScopeType.HTTP:
            await self._serve(scope, receive, send)
        elif scope["type"] == ScopeType.WEBSOCKET:
            # No route accepts WebSockets. Closing before accepting is answered with 403.
            await send({"type": "websocket.close", "code": 1000, "reason": None})
        else:
            await self._live(receive, send)

    async def _serve(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        started, status, body = time.perf_counter(), 0, Body(scope, receive)
        # Litestar caches the parsed parts of a request in this dict, so each request has its own.
        scope["state"] = {}
        headers, head = self.middleware.begin(scope), scope["method"] == "HEAD"
        only_head.set(head)
        if head:
            # Answered as GET, without the body (RFC 9110 section 9.3.2).
            scope["method"], send = HttpMethod.GET, _without_body(send)
        found = self.routes.find(scope["path"])
        route, scope["path_params"] = found if found is not None else (None, {})
        self.middleware.trace(scope, route)
        if route is not None:
            # Links and return paths are built from it, so it is canonical.
            scope["path"] = canonical(scope["path"])
            headers += cors.headers(route.cors, scope, self.is_client_origin)
        try:
            response = await self._respond(route, Request(scope, receive), headers)
            await body.read_out()
            status = response.status
            await response.send(send, headers + response_headers.get())
        finally:
            self.middleware.end(scope, status, started)

    async def _respond(self, route: Route | None, request: Request[Any, Any, Any], headers: Pairs) -> Sendable:
        """Return the response of the handler, or that of an exception."""
        scope = request.scope
        try:
            check_host(scope)
            if route is None:
                raise NotFoundException
            scope["path_template"] = route.template
            method = scope["method"]
            if method == "OPTIONS":
                if cors.is_preflight(route.cors, scope):
                    return cors.preflight(route.cors, headers, route.handlers)
                if method not in route.handlers:
                    return BytesResponse(b"", encode({"Allow": route.allow}), status=HTTPStatus.NO_CONTENT)
            scope["route_handler"] = handler = route.handler(method)
            if "language" in handler.opt:
                locale.set(handler.opt["language"])
            await access.admit(request, handler.opt)
            response = await cast(Handler, handler.fn)(request, **scope["path_params"])
            return sendable(response, request, handler.status_code)
        except Exception as error:
            failed = exception_handlers.answer(request, error, self.routes.errors(scope["path"]))
            return sendable(failed, request, HTTPStatus.INTERNAL_SERVER_ERROR)

    async def _live(self, receive: Receive, send: Callable[[Any], Awaitable[None]]) -> None:
        """Handle the lifespan protocol of ASGI."""
        await receive()
        state = "startup"
        try:
            async with self.lifespan():
                await send({"type": "lifespan.startup.complete"})
                state = "shutdown"
                await receive()
        except BaseException:
            await send({"type": f"lifespan.{state}.failed", "message": format_exc()})
            raise
        await send({"type": "lifespan.shutdown.complete"})


def _without_body(send: Send) -> Send:
    async def send_headers(message: Message) -> None:
        if message["type"] == "http.response.body":
            message["body"] = b""
        await send(message)

    return send_headers
