"""Begins and ends the traces of a worker. The SDK reads its variables, ``OTEL_…``, itself."""

import asyncio
import logging
import os
import threading
import time
from typing import TYPE_CHECKING, Any

import structlog

from idp import __version__
from idp.infra.tracing import spans
from idp.settings import SettingsError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

log = structlog.get_logger()

#: Seconds in which the last spans are sent when a worker stops.
FLUSH_SECONDS = 2.0
#: Minimum seconds between two log lines about the same trouble.
LOG_SECONDS = 60.0
#: The protocol of the exporter, and the variables that can name another.
PROTOCOL = "http/protobuf"
PROTOCOL_VARIABLES = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")

_provider: "TracerProvider | None" = None


def check() -> None:
    """Load the library, in the process that forks the workers.

    Raises:
        SettingsError: it is not installed, or cannot do what the variables say.
    """
    try:
        import opentelemetry.exporter.otlp.proto.http.trace_exporter
        import opentelemetry.sdk.trace  # noqa: F401
    except ImportError as error:
        raise SettingsError(
            "IDP_TRACING needs OpenTelemetry, which is not installed. Install the extra `otel` (docs/install.md)."
        ) from error
    for variable in PROTOCOL_VARIABLES:
        if os.environ.get(variable, PROTOCOL) not in (PROTOCOL, ""):
            raise SettingsError(f"{variable} must be {PROTOCOL}: traces are sent over HTTP, usually to port 4318.")


def start() -> None:
    """Trace what this worker does from now on. The exporter has a thread, so this comes after the fork.

    Raises:
        SettingsError: see :func:`check`.
    """
    global _provider
    check()
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.trace import NoOpTracer

    from idp.infra.tracing.tracer import Tracer

    library = logging.getLogger("opentelemetry")
    library.propagate = False
    library.handlers = [_Trouble()]
    ours: dict[str, Any] = {"service.name": "idp", "service.version": __version__, "process.pid": os.getpid()}
    theirs = OTELResourceDetector().detect().attributes
    provider = TracerProvider(resource=Resource.create(ours | dict(theirs)), shutdown_on_exit=False)
    tracer = provider.get_tracer("idp", __version__)
    if isinstance(tracer, NoOpTracer):  # OTEL_SDK_DISABLED
        return
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    _provider, spans.tracer = provider, Tracer(tracer)


async def stop() -> None:
    """Send what is left, within :data:`FLUSH_SECONDS`."""
    global _provider
    if _provider is None:
        return
    provider, _provider, spans.tracer = _provider, None, None
    # The SDK waits for half a minute. The process does not wait for a daemon thread when it ends.
    sending = threading.Thread(target=provider.shutdown, name="last-spans", daemon=True)
    sending.start()
    await asyncio.to_thread(sending.join, FLUSH_SECONDS)


class _Trouble(logging.Handler):
    """Logs the warnings of the library: a collector that does not answer, spans that were dropped.

    Only the constant part of a message and a status are logged. The rest may quote the URL of the collector or a header
    of a request.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._logged: dict[str, float] = {}

    def emit(self, record: logging.LogRecord) -> None:
        words, now = str(record.msg), time.monotonic()
        if now - self._logged.get(words, -LOG_SECONDS) < LOG_SECONDS:
            return
        self._logged[words] = now
        arguments = record.args if isinstance(record.args, tuple) else ()
        status = next((found for found in arguments if isinstance(found, int)), None)
        log.warning("tracing_failed", reason=words, **({} if status is None else {"status": status}))
