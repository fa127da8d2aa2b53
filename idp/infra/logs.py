"""Structured logs: one event per line, with fields from an allow-list, so that no secret is logged."""

import logging
import os
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from traceback import walk_tb
from typing import Any

import msgspec
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from idp.errors import IdpError, OperatorError, RemoteError, TryLaterError
from idp.infra.request_context import client_address, request_id, span
from idp.settings import Settings

#: The only fields that are logged. No token, code, password or secret has a field.
FIELDS = frozenset(
    {
        *("event", "level", "timestamp", "request_id", "client_address", "trace_id", "span_id"),
        *("method", "route", "status", "duration_ms"),
        *("logger", "error", "reason", "hint", "path", "trace"),
        *("audit_event", "outcome", "user_id", "client_id", "session_id", "family_id"),
        *("alg", "attempt", "attribute", "count", "host", "kid", "kind", "link", "port"),
        *("resource_servers", "stream", "table", "template", "topic", "version", "workers"),
    }
)


#: Whether a field outside of the allow-list is an error. Tests switch it on.
strict = False
#: How often each such field was dropped.
refused_fields = Counter[str]()
#: Lines that could not be formatted or written since they were last counted (:mod:`idp.infra.observers`).
failures = Counter[str]()

_OURS = Path(__file__).parents[1]
_ROOT = _OURS.parent
#: Maximum number of logged frames of an exception, innermost first, and of the exceptions that caused it.
MAX_FRAMES, MAX_CAUSES = 40, 10

_JSON = msgspec.json.Encoder(enc_hook=repr)


class LogFieldError(IdpError):
    """A log event has a field that is not in the allow-list."""


def _allow_listed(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    return {name: value for name, value in event.items() if name in FIELDS}


def _check_fields(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Drop fields outside of the allow-list from one of our events, with a warning once per event and field.

    Raises:
        LogFieldError: in tests (:data:`strict`).
    """
    for name in event.keys() - FIELDS:
        hint = f"The event {event['event']} has the field {name}, which is not in the allow-list."
        if strict:
            raise LogFieldError(hint)
        refused_fields[hint] += 1
        if refused_fields[hint] == 1:
            structlog.get_logger().error("log_field_refused", hint=hint)
    return _allow_listed(_, __, event)


def _exception(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Log the class of the exception of ``log.exception`` without its text."""
    info = event.pop("exc_info", None)
    error = info if isinstance(info, BaseException) else sys.exc_info()[1] if info else None
    if error is not None:
        event.update(exception_fields(error))
    return event


def _request_context(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    if identifier := request_id.get():
        event.setdefault("request_id", identifier)
        event.setdefault("client_address", client_address.get())
    if (current := span.get()) is not None:
        context = current.get_span_context()
        # Not that of a span that could not be started.
        if context.is_valid:
            event["trace_id"], event["span_id"] = f"{context.trace_id:032x}", f"{context.span_id:016x}"
    return event


def _library(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Reduce a library's event: the text after its first line and the text of an exception may quote input."""
    event["event"] = str(event["event"]).partition("\n")[0]
    if isinstance(info := event.get("exc_info"), tuple) and info[1] is not None:
        event.update(exception_fields(info[1]))
    return event


def _as_json(_: WrappedLogger, __: str, event: EventDict) -> str:
    return _JSON.encode(event).decode()


def _as_text() -> Processor:
    """Format an event as one line for people, and one line per frame. ``NO_COLOR`` turns the colours off."""
    line = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty() and not os.environ.get("NO_COLOR"))

    def render(logger: WrappedLogger, name: str, event: EventDict) -> str:
        trace = event.pop("trace", ())
        return "\n    ".join([str(line(logger, name, event)), *trace])

    return render


def configure_logs(settings: Settings) -> None:
    """Send all logs of the process, ours and those of libraries, in one format to standard error."""
    as_text = settings.log_format == "console"
    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        _request_context,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: Processor = _as_text() if as_text else _as_json
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]

    class Surviving(structlog.make_filtering_bound_logger(level)):  # type: ignore[misc]
        """A logger whose failures, such as a full disk, do not fail what is logged."""

        def _proxy_to_logger(self, method_name: str, event: str | None = None, **fields: Any) -> Any:
            try:
                return super()._proxy_to_logger(method_name, event, **fields)
            except Exception:
                if strict:
                    raise
                failures["logs"] += 1

    structlog.configure(
        processors=[*shared, _exception, _check_fields, renderer],
        wrapper_class=Surviving,
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name, _library],
            processors=[_allow_listed, renderer],
        )
    )
    # Libraries log warnings and errors only: their other lines may contain URLs with codes.
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)


def exception_fields(error: BaseException) -> dict[str, Any]:
    """Return the log fields of an exception: its class, where it was raised, and our frames.

    Values and the text are left out, because they may quote input. Only the text of an :class:`OperatorError` is
    logged. Temporary conditions, and those of other servers, have no frames, because they are not bugs.
    """
    fields: dict[str, Any] = {"error": type(error).__qualname__, "path": _where(error)}
    if isinstance(error, OperatorError):
        fields["hint"] = error.description
    if not isinstance(error, TryLaterError | RemoteError) and (trace := list(_trace(error))):
        fields["trace"] = trace
    return fields


def _where(error: BaseException) -> str:
    frames = list(walk_tb(error.__traceback__))
    return f"{frames[-1][0].f_code.co_filename}:{frames[-1][1]}" if frames else "unknown"


def _trace(error: BaseException) -> Iterator[str]:
    """Return our own frames, outermost first, and those of the exceptions that caused it."""
    yield from _frames(error)
    for _ in range(MAX_CAUSES):
        cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        if cause is None:
            break
        yield f"from {type(cause).__qualname__}"
        yield from _frames(cause)
        error = cause


def _frames(error: BaseException) -> list[str]:
    found = [(Path(each.f_code.co_filename), line, each.f_code.co_name) for each, line in walk_tb(error.__traceback__)]
    ours = [f"{path.relative_to(_ROOT)}:{line} {name}" for path, line, name in found if path.is_relative_to(_OURS)]
    return ours[-MAX_FRAMES:]
