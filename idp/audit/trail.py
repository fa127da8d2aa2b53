"""Events as JSON and CSV, for exports."""

import csv
import io
from datetime import datetime
from typing import Any

import msgspec

from idp.audit.repository.audit_events import Event

COLUMNS = Event.__struct_fields__
#: First characters of a formula in a spreadsheet.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def as_dict(event: Event) -> dict[str, Any]:
    """Return an event with its detail as JSON."""
    return {name: getattr(event, name) for name in COLUMNS} | {"detail": msgspec.Raw(event.detail.encode())}


def jsonl(event: Event) -> str:
    """Return an event as a line of JSON."""
    return msgspec.json.encode(as_dict(event)).decode() + "\n"


def csv_header() -> str:
    return ",".join(COLUMNS) + "\r\n"


def csv_line(event: Event) -> str:
    """An event as a line of CSV (RFC 4180). No value is a formula, because some come from unauthenticated requests."""
    line = io.StringIO()
    csv.writer(line).writerow(_cell(getattr(event, name)) for name in COLUMNS)
    return line.getvalue()


def _cell(value: object) -> str:
    text = value.isoformat() if isinstance(value, datetime) else "" if value is None else str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text
