"""The short way to the endpoints that programs call all day: past Litestar's routing, to the same handlers.

They take the request alone, so there is nothing for Litestar to resolve, and resolving nothing costs more than all
that they do themselves but the signature (docs/decisions/0017-direct-endpoints.md).
"""

from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import Any, cast

import msgspec
from litestar import Litestar, Request
from litestar.datastructures import Cookie
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute
from litestar.types import Receive, Scope, Send

from idp.web import failures
from idp.web.headers import Pairs, encode

#: What such a route declares beside its ``access``.
DIRECT = {"direct": True}

JSON_NO_STORE = encode({"Content-Type": "application/json", "Cache-Control": "no-store"})


class Answer:
    """A response of bytes that are ready. It may be sent more than once.

    Args:
        headers: all but Content-Length and cookies, as :func:`idp.web.headers.encode` gives them.
    """

    __slots__ = ("body", "headers", "status")

    def __init__(
        self, body: bytes, headers: Pairs, *, status: int = HTTPStatus.OK, cookies: Sequence[Cookie] = ()
    ) -> None:
        self.body = body
        self.status = int(status)
        self.headers = [*headers, *(cookie.to_encoded_header() for cookie in cookies)]
        if status not in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED):
            self.headers.append((b"content-length", b"%d" % len(body)))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": False})


def json(content: Any) -> Answer:
    """A response for this caller only."""
    return Answer(msgspec.json.encode(content), JSON_NO_STORE)


Handler = Callable[[Request[Any, Any, Any]], Awaitable[Answer]]


class Direct:
    """Calls the routes that declare it. Everything else, and what these do not take, goes the long way."""

    def __init__(self, app: Litestar) -> None:
        self.app = app
        self.handlers: dict[tuple[object, object], HTTPRouteHandler] = {
            (method, route.path): handler
            for route in app.routes
            if isinstance(route, HTTPRoute)
            for handler in route.route_handlers
            if handler.opt.get("direct")
            for method in handler.http_methods
        }

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        handler = self.handlers.get((scope.get("method"), scope.get("path")))
        if handler is None:
            return self.app(scope, receive, send)
        return self._answer(handler, scope, receive, send)

    async def _answer(self, handler: HTTPRouteHandler, scope: Scope, receive: Receive, send: Send) -> None:
        # What a request reads from its scope, and the log after it.
        scope["litestar_app"] = self.app
        scope["state"] = {}
        scope["route_handler"] = handler
        scope["path_template"] = scope["path"]
        request: Request[Any, Any, Any] = Request(scope, receive, send)
        try:
            answer = await cast(Handler, handler.fn)(request)
        except Exception as error:
            await failures.answer(request, error).to_asgi_response(None, request)(scope, receive, send)
        else:
            await answer(scope, receive, send)
