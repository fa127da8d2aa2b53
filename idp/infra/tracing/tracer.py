"""Makes spans with OpenTelemetry's library."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from idp.infra.observers import observing
from idp.infra.request_context import span as current

Attributes = Mapping[str, str | int]

#: Versions of the header may be longer than the 55 characters of today's (W3C Trace Context section 3.2.4). No longer
#: one is read.
MAX_TRACEPARENT = 256

#: What a failure is counted as.
OBSERVER = "traces"

_PROPAGATOR = TraceContextTextMapPropagator()


def _inside(parent: Span) -> Context:
    return trace.set_span_in_context(parent, Context())


class Tracer:
    """Begins spans. Without a parent, the sampler of the settings decides whether a trace is recorded."""

    def __init__(self, tracer: trace.Tracer) -> None:
        self._tracer = tracer

    def part(self, parent: Span, name: str, attributes: Attributes) -> "Timed":
        return Timed(self._start(name, _inside(parent), SpanKind.INTERNAL, attributes))

    def call(self, parent: Span, name: str, attributes: Attributes) -> "Timed":
        return Timed(self._start(name, _inside(parent), SpanKind.CLIENT, attributes))

    def work(self, name: str, attributes: Attributes) -> "Timed":
        return Timed(self._start(name, Context(), SpanKind.INTERNAL, attributes))

    def request(
        self, name: str, attributes: Attributes, traceparent: Sequence[str], tracestate: Sequence[str], *, trusted: bool
    ) -> Span:
        """Begin the span of a request.

        Args:
            traceparent, tracestate: the headers of the request with these names.
            trusted: whether the request continues the trace of its sender, with the sender's decision to record it.
                Otherwise it begins a trace with a link to that of the sender.
        """
        sender = Context()
        if len(traceparent) == 1 and len(traceparent[0]) <= MAX_TRACEPARENT:
            carrier = {"traceparent": traceparent, "tracestate": tracestate if trusted else ()}
            with observing(OBSERVER):
                sender = _PROPAGATOR.extract(carrier, sender)
        if trusted:
            return self._start(name, sender, SpanKind.SERVER, attributes)
        theirs = trace.get_current_span(sender).get_span_context()
        links = [Link(theirs)] if theirs.is_valid else []
        return self._start(name, Context(), SpanKind.SERVER, attributes, links)

    @contextmanager
    def shared(self, requests: Sequence[Span | None]) -> Iterator[None]:
        """See :func:`idp.infra.tracing.spans.shared`.

        What is done in the block belongs to the first of the requests whose trace is recorded. Each of the others has a
        span of the same time with a link to it.
        """
        recorded = [span for span in requests if span is not None and span.is_recording()]
        own: list[Span] = []
        if len(requests) > 1 and recorded:
            first, *others = recorded
            whole = self._start_shared(first, others, len(requests))
            own = [whole, *[self._start_shared(other, [whole], len(requests)) for other in others]]
        token = current.set(next(iter(own or recorded), None))
        try:
            yield
        except BaseException as error:
            for span in own:
                fail(span, error)
            raise
        finally:
            current.reset(token)
            for span in own:
                span.end()

    def _start_shared(self, parent: Span, linked: Sequence[Span], requests: int) -> Span:
        links = [Link(span.get_span_context()) for span in linked]
        named = {"idp.requests": requests}
        return self._start("shared statement", _inside(parent), SpanKind.INTERNAL, named, links)

    def _start(
        self, name: str, context: Context, kind: SpanKind, attributes: Attributes, links: Sequence[Link] = ()
    ) -> Span:
        """Start a span. A failure gives one that is not recorded."""
        with observing(OBSERVER):
            return self._tracer.start_span(name, context, kind, attributes, links)
        return trace.INVALID_SPAN

    def headers(self, span: Span) -> dict[str, str]:
        """See :func:`idp.infra.tracing.spans.headers`."""
        found: dict[str, str] = {}
        _PROPAGATOR.inject(found, _inside(span))
        return found


class Timed:
    """A span for the duration of a block. An error that leaves the block ends it as failed."""

    __slots__ = ("_span", "_token")

    def __init__(self, span: Span) -> None:
        self._span = span

    def __enter__(self) -> Span:
        self._token = current.set(self._span)
        return self._span

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        current.reset(self._token)
        with observing(OBSERVER):
            if error is not None:
                fail(self._span, error)
            self._span.end()


def fail(span: Span, error: BaseException) -> None:
    """Mark a span as failed, by the class of an error. The text of the error may quote anything."""
    kind: Any = getattr(error, "sqlstate", None)
    if kind:
        span.set_attribute("db.response.status_code", kind)
    mark_failed(span, kind or type(error).__qualname__)


def mark_failed(span: Span, kind: str) -> None:
    """Mark a span as failed, by a kind of errors."""
    span.set_attribute("error.type", kind)
    span.set_status(StatusCode.ERROR)
