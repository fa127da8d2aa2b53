"""Spans: the timed parts of a request, or of work in the background.

A part of a request that is not sampled has no span. Names and attributes come from lists in the code, never from a
request: no value of a statement, no path, no query, no header, nothing about a user.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from idp.infra.request_context import span as current
from idp.infra.tracing.summary import summary

if TYPE_CHECKING:
    from opentelemetry import trace

    from idp.infra.tracing.tracer import Tracer

    Span = trace.Span

Attributes = Mapping[str, str | int]

#: The tracer of this worker. None while traces are off.
tracer: "Tracer | None" = None

_NOTHING: AbstractContextManager[None] = nullcontext()


def part(name: str, attributes: Attributes | None = None) -> AbstractContextManager["Span | None"]:
    """Time a block as a part of the current request or work. Yields its span, if it has one."""
    parent = current.get()
    if tracer is None or parent is None or not parent.is_recording():
        return _NOTHING
    return tracer.part(parent, name, attributes or {})


def call(name: str, attributes: Attributes) -> AbstractContextManager["Span | None"]:
    """Time a block that waits for another system."""
    parent = current.get()
    if tracer is None or parent is None or not parent.is_recording():
        return _NOTHING
    return tracer.call(parent, name, attributes)


def statement(text: str) -> AbstractContextManager["Span | None"]:
    """Time a block that waits for a statement of SQL."""
    parent = current.get()
    if tracer is None or parent is None or not parent.is_recording():
        return _NOTHING
    operation, short = summary(text)
    named = {"db.system.name": "postgresql", "db.operation.name": operation, "db.query.summary": short}
    return tracer.call(parent, short, named)


def shared(requests: Sequence["Span | None"]) -> AbstractContextManager[None]:
    """Time a block that works for several requests at once, in the trace of each of them.

    Args:
        requests: the spans of the requests. None: a request without.
    """
    return _NOTHING if tracer is None else tracer.shared(requests)


def work(name: str, attributes: Attributes) -> AbstractContextManager["Span | None"]:
    """Time a block of work in the background, as a trace of its own."""
    return _NOTHING if tracer is None else tracer.work(name, attributes)


def annotate(name: str, value: str) -> None:
    """Add an attribute to the current span."""
    span = current.get()
    if span is not None:
        span.set_attribute(name, value)


def headers() -> dict[str, str]:
    """Return the headers with which another system continues the current trace (W3C Trace Context)."""
    span = current.get()
    return {} if tracer is None or span is None else tracer.headers(span)


def answered(span: "Span", status: int, *, failed: bool) -> None:
    """Record the status of a response of HTTP; 0 if there was none."""
    from idp.infra.tracing.tracer import mark_failed

    if status:
        span.set_attribute("http.response.status_code", status)
    if failed:
        mark_failed(span, str(status) if status else "_OTHER")
