"""Gives every request an id, client address, language, security headers and a log line."""

import random
import time
from http import HTTPStatus
from logging import DEBUG, INFO, WARNING

import structlog
from litestar.types import HTTPScope

from idp.branding.registry import current as current_brand
from idp.http import request_span
from idp.http.client_address import client_address as address_of
from idp.http.client_certificate import client_certificate as certificate_of
from idp.http.headers import Pairs, encode, request_header
from idp.http.language import chosen_language
from idp.http.routes import Route
from idp.infra.i18n import explicit, from_header, locale
from idp.infra.metrics.declared import Counter, Histogram
from idp.infra.observers import observing
from idp.infra.request_context import (
    client_address,
    client_certificate,
    head,
    refusal,
    request_id,
    response_headers,
    span,
)
from idp.infra.tracing import spans
from idp.settings import Settings
from idp.trace import recorder

log = structlog.get_logger()

REQUESTS = Counter("idp_http_requests", "Requests, by route template and status.", "method", "route", "status")
REFUSALS = Counter("idp_refusals", "Refused requests, by route, error and reason.", "route", "error", "reason")
DURATION = Histogram("idp_http_request_duration_seconds", "Duration of requests, by route template.", "route")
#: The label of requests that have no route, and of methods that no route has.
OTHER = "other"

#: Values of ``opt={"quiet": ...}``: when requests of a route are logged at debug level only.
#: ``ON_HEAD``: a page asks with HEAD, again and again, whether it is still of use.
ON_HEAD, ON_SUCCESS, ALWAYS = "on_head", "on_success", "always"


def _security_headers(settings: Settings) -> Pairs:
    """Return the headers of every response that does not set its own, as pages do with their content policy."""
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
    """Begins and ends every request, including those without a route."""

    def __init__(self, settings: Settings) -> None:
        self.trusted_proxies = settings.trusted_proxies
        self.certificate_header = settings.client_certificate_header
        self.certificates_verified = settings.client_certificates_verified
        self.default_locale = settings.default_locale
        self.headers = _security_headers(settings)
        self.server = request_span.server(settings.issuer)
        self.tells_everything = settings.log_level == "debug"
        # Developers look here first when their client is refused, and development mode shows warnings only.
        self.of_refusals = WARNING if settings.dev else INFO

    def begin(self, scope: HTTPScope) -> Pairs:
        """Set the request's id, client address and language. Returns the headers that every response has."""
        # An identifier, not a secret: no cryptographic randomness needed. It begins with the time in milliseconds, as a
        # UUIDv7 does: events of one time lie together, so that the audit trail needs no index entry for each.
        identifier = f"{time.time_ns() // 1_000_000:012x}{random.getrandbits(32):08x}"
        request_id.set(identifier)
        refusal.set(None)
        current_brand.set(None)
        recorder.begin()
        span.set(None)
        response_headers.set(())
        client_address.set(address_of(scope, self.trusted_proxies))
        if self.certificate_header is not None:
            verified = self.certificates_verified
            found = certificate_of(scope, self.certificate_header, verified, self.trusted_proxies)
            client_certificate.set(found)
        wanted, chosen = request_header(scope, b"accept-language"), chosen_language(scope)
        explicit.set(chosen is not None)
        locale.set(chosen or (from_header(wanted) if wanted else None) or self.default_locale)
        return (*self.headers, (b"x-request-id", identifier.encode()))

    def trace(self, scope: HTTPScope, route: Route | None) -> None:
        """Begin the span of the request, unless its route is one that monitoring and browsers call all the time."""
        handler = route.handlers.get(scope["method"]) if route is not None else None
        if spans.tracer is None or (handler is not None and handler.opt.get("quiet") == ALWAYS):
            return
        template = route.template if route is not None else None
        span.set(request_span.begin(spans.tracer, scope, template, self.server, self.trusted_proxies))

    def end(self, scope: HTTPScope, status: int, started: float) -> None:
        """Log the request, with the route's template instead of its path: a path may name a sign-in flow, and a query
        string may hold anything.
        """
        seconds, route = time.perf_counter() - started, scope.get("path_template") or ""
        handler = scope.get("route_handler")
        REQUESTS.add(scope["method"] if handler is not None else OTHER, route or OTHER, str(status))
        DURATION.observe(seconds, route or OTHER)
        recorder.finish(scope["method"], route, status, seconds)
        quiet = handler.opt.get("quiet") if handler is not None else None
        refused = refusal.get()
        if refused is not None:
            REFUSALS.add(route or OTHER, refused.error, refused.reason or "")
        # The authorization endpoint refuses with a redirect.
        succeeded = 0 < status < HTTPStatus.BAD_REQUEST and refused is None
        expected = quiet == ON_SUCCESS or (quiet == ON_HEAD and head.get())
        everyday = quiet == ALWAYS or (expected and succeeded)
        if not everyday or self.tells_everything:
            log.log(
                self.of_refusals if refused else DEBUG if everyday else INFO,
                "request",
                method=scope["method"],
                route=route,
                status=status,
                duration_ms=round(seconds * 1000, 1),
                **({name: value for name, value in refused._asdict().items() if value} if refused else {}),
            )
        if (current := span.get()) is not None:
            with observing("traces"):
                request_span.end(current, status)
