"""Structured logs: one event a line, with fields from an allow-list, so that no secret can slip in."""

import logging
import sys
from typing import Any

import msgspec
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from idp.infra.request_context import client_address, request_id
from idp.settings import Settings

#: The only fields that reach a log. A token, code, password or secret has no name here.
FIELDS = frozenset(
    {
        *("event", "level", "timestamp", "request_id", "client_address"),
        *("method", "route", "status", "duration_ms"),
        *("logger", "error", "reason", "hint", "path"),
        *("audit_event", "outcome", "user_id", "client_id", "session_id", "family_id"),
        *("alg", "attempt", "count", "host", "kid", "link", "migration", "port", "resource_servers"),
        *("template", "topic", "version", "workers"),
    }
)


_JSON = msgspec.json.Encoder(enc_hook=repr)


def _allow_listed(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    return {name: value for name, value in event.items() if name in FIELDS}


def _request_context(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    if identifier := request_id.get():
        event.setdefault("request_id", identifier)
        event.setdefault("client_address", client_address.get())
    return event


def _library(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """A library's line: what follows the first line of its text, and the text of an exception, may quote input."""
    event["event"] = str(event["event"]).partition("\n")[0]
    if isinstance(info := event.get("exc_info"), tuple) and info[1] is not None:
        event.update(exception_fields(info[1]))
    return event


def _as_json(_: WrappedLogger, __: str, event: EventDict) -> str:
    return _JSON.encode(event).decode()


def configure_logs(settings: Settings) -> None:
    """Send every log of the process, ours and the libraries', through one pipe to standard error."""
    as_text = settings.log_format == "console"
    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        _request_context,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: Processor = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()) if as_text else _as_json
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    structlog.configure(
        processors=[*shared, _allow_listed, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
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
    # Libraries log only what goes wrong: their everyday lines may hold URLs with codes in them.
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)


def exception_fields(error: BaseException) -> dict[str, Any]:
    """What a log says of an unexpected exception: its class and where, but not its text, which may quote input."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace is not None else "unknown"
    return {"error": type(error).__qualname__, "path": where}
