"""What surrounds every request: its id, its client's address, security headers, one line in the log."""

import random
import time
from collections.abc import Awaitable
from http import HTTPStatus
from logging import DEBUG, INFO, WARNING

import structlog
from litestar.enums import HttpMethod, ScopeType
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

from idp.http.body import Body
from idp.http.client_address import client_address as address_of
from idp.http.headers import Pairs, add, drop_type_of_nothing, encode, request_header
from idp.infra.i18n import from_header, locale
from idp.infra.request_context import client_address, refusal, request_id
from idp.infra.request_context import head as only_head
from idp.settings import Settings

log = structlog.get_logger()


def _security_headers(settings: Settings) -> Pairs:
    """Headers of every response that does not set its own. Only a page needs a more lenient content policy."""
    headers = {
        "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
        "Referrer-Policy": "same-origin",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
    }
    if settings.issuer.startswith("https://"):
        headers["Strict-Transport-Security"] = "max-age=63072000; includeSubDomains"
    return encode(headers)


class Middleware:
    """The outermost application, around routing too, so that a 404 has all of this as well."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app = app
        self.trusted_proxies = settings.trusted_proxies
        self.default_locale = settings.default_locale
        self.headers = _security_headers(settings)
        self.tells_everything = settings.log_level == "debug"
        # A developer whose application is refused looks here first, and development logs nothing milder.
        self.of_refusals = WARNING if settings.dev else INFO

    def begin(self, scope: HTTPScope) -> Pairs:
        """Give a request its id, and note where it comes from. Returns the headers that every answer to it has."""
        # It names a request and keeps no secret, so the system need not be asked for it.
        identifier = f"{random.getrandbits(64):016x}"
        request_id.set(identifier)
        refusal.set(None)
        client_address.set(address_of(scope, self.trusted_proxies))
        return (*self.headers, (b"x-request-id", identifier.encode()))

    def choose_language(self, scope: HTTPScope) -> None:
        """Answer in the language that the request asks for."""
        wanted = request_header(scope, b"accept-language")
        locale.set((from_header(wanted) if wanted else None) or self.default_locale)

    def end(self, scope: HTTPScope, status: int, started: float) -> None:
        """Tell the log what became of a request, by the route's template: a path may name a sign-in flow, a query
        string may hold anything.
        """
        route, handler = scope.get("path_template") or "", scope.get("route_handler")
        # What programs ask all day is told when it is refused.
        answered = handler is not None and "direct" in handler.opt and 0 < status < HTTPStatus.BAD_REQUEST
        everyday = answered or route.startswith("/health/")
        if not everyday or self.tells_everything:
            refused = refusal.get()
            log.log(
                self.of_refusals if refused else DEBUG if everyday else INFO,
                "request",
                method=scope["method"],
                route=route,
                status=status,
                duration_ms=round((time.perf_counter() - started) * 1000, 1),
                **({name: value for name, value in refused._asdict().items() if value} if refused else {}),
            )

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] != ScopeType.HTTP:
            return self.app(scope, receive, send)
        return self._answer(scope, receive, send)

    async def _answer(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        headers = self.begin(scope)
        self.choose_language(scope)
        started, status, body = time.perf_counter(), 0, Body(scope, receive)
        head = scope["method"] == "HEAD"
        only_head.set(head)
        if head:
            # Answered as GET is, less the body (RFC 9110 section 9.3.2).
            scope["method"] = HttpMethod.GET

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                await body.read_out()
                status = int(message["status"])
                drop_type_of_nothing(message)
                add(message, headers)
            elif head and message["type"] == "http.response.body":
                message["body"] = b""
            await send(message)

        try:
            await self.app(scope, body.receive, send_with_headers)
        finally:
            self.end(scope, status, started)
