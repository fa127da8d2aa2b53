"""A collector of traces on loopback: OTLP over HTTP, decoded."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Message
from opentelemetry.proto.trace.v1.trace_pb2 import Status


class Exported(NamedTuple):
    """A span as it arrived. Ids are hexadecimal; ``parent`` is empty for the root of a trace."""

    trace_id: str
    span_id: str
    parent: str
    kind: str
    name: str
    attributes: dict[str, Any]
    links: list[tuple[str, str]]
    events: list[str]
    failed: bool
    resource: dict[str, Any]


class Collector:
    """A server in a thread.

    Attributes:
        behaviour: a status, or ``hang``.
        bodies: the body of every request, also of those that were not accepted. headers: their headers.
        spans: those of the accepted requests.
    """

    def __init__(self) -> None:
        self.behaviour = "200"
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.spans: list[Exported] = []
        self._go_on = threading.Event()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                collector.headers.append({name.lower(): value for name, value in self.headers.items()})
                collector.bodies.append(body)
                if collector.behaviour == "hang":
                    collector._go_on.wait()
                    return
                if collector.behaviour == "200" and self.path == "/v1/traces":
                    collector.spans += _decoded(body)
                self.send_response(int(collector.behaviour))
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *arguments: Any) -> None:
                """Log nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def settings(self) -> dict[str, str]:
        """The settings of a server that sends its traces here."""
        return {
            "IDP_TRACING": "true",
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.url,
            "OTEL_BSP_SCHEDULE_DELAY": "50",
        }

    def stop(self) -> None:
        self._go_on.set()
        self._server.shutdown()
        self._server.server_close()

    def named(self, name: str) -> list[Exported]:
        """Return the spans with this name."""
        return [span for span in self.spans if span.name == name]

    def children(self, parent: Exported) -> list[Exported]:
        found = [span for span in self.spans if span.parent == parent.span_id]
        assert {span.trace_id for span in found} <= {parent.trace_id}
        return found

    def below(self, parent: Exported) -> list[Exported]:
        """Return the children of a span, theirs, and so on."""
        return [span for child in self.children(parent) for span in (child, *self.below(child))]


def _decoded(body: bytes) -> list[Exported]:
    return [
        Exported(
            span.trace_id.hex(),
            span.span_id.hex(),
            span.parent_span_id.hex(),
            Message.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
            span.name,
            _values(span.attributes),
            [(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
            [event.name for event in span.events],
            span.status.code == Status.STATUS_CODE_ERROR,
            _values(resource.resource.attributes),
        )
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def _values(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}
