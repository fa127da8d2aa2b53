"""The span of a request, by OpenTelemetry's conventions for HTTP servers. It has no path, query, header or address."""

from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from litestar.types import HTTPScope

from idp.http.headers import request_headers
from idp.infra.networks import parse_address
from idp.infra.request_context import refusal, request_id
from idp.infra.tracing import spans
from idp.settings import IPNetwork
from idp.trace import recorder

if TYPE_CHECKING:
    from idp.infra.tracing.tracer import Tracer

METHODS = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"})
#: The attribute of other methods, and of a request that got no response.
OTHER = "_OTHER"


def server(issuer: str) -> spans.Attributes:
    """Return the attributes that are the same for every request: the public URL, whatever the Host header says."""
    parts = urlsplit(issuer)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return {"url.scheme": parts.scheme, "server.address": parts.hostname or "", "server.port": port}


def begin(
    tracer: "Tracer",
    scope: HTTPScope,
    route: str | None,
    server: spans.Attributes,
    trusted_proxies: tuple[IPNetwork, ...],
) -> "spans.Span":
    """Begin the span of a request. It continues the trace of a trusted proxy, and of no other sender.

    Args:
        route: the template of the path; None for a path that has no route.
        server: see :func:`server`.
    """
    method = scope["method"] if scope["method"] in METHODS else OTHER
    name = "HTTP" if method == OTHER else method
    traceparent, peer = request_headers(scope, b"traceparent"), scope.get("client")
    return tracer.request(
        f"{name} {route}" if route else name,
        {"http.request.method": method, **({"http.route": route} if route else {}), **server},
        traceparent,
        request_headers(scope, b"tracestate"),
        trusted=bool(traceparent) and peer is not None and _is_in(peer[0], trusted_proxies),
    )


def _is_in(peer: str, networks: tuple[IPNetwork, ...]) -> bool:
    address = parse_address(peer)
    return address is not None and any(address in network for network in networks)


def end(span: "spans.Span", status: int) -> None:
    """End the span of a request.

    Args:
        status: 0 if there was no response.
    """
    if span.is_recording():
        refused = refusal.get()
        failed = status >= HTTPStatus.INTERNAL_SERVER_ERROR or not status
        succeeded = status < HTTPStatus.BAD_REQUEST and refused is None
        found = {
            "idp.request_id": request_id.get(),
            "idp.flow_id": recorder.trace_id(),
            "idp.outcome": "failed" if failed else "success" if succeeded else "refused",
            "idp.error": refused and refused.error,
            "idp.reason": (refused and refused.reason) or recorder.reason(),
            "idp.client_id": (refused and refused.client_id) or recorder.client_id(),
        }
        span.set_attributes({name: value for name, value in found.items() if value})
        spans.answered(span, status, failed=failed)
    span.end()
