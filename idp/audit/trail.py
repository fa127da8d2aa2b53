"""Events as JSON and CSV, for exports."""

from typing import Any

import msgspec

from idp.audit.repository.audit_events import Event
from idp.infra import csv_lines

COLUMNS = Event.__struct_fields__


def as_dict(event: Event) -> dict[str, Any]:
    """Return an event with its detail as JSON."""
    return {name: getattr(event, name) for name in COLUMNS} | {"detail": msgspec.Raw(event.detail.encode())}


def jsonl(event: Event) -> str:
    """Return an event as a line of JSON."""
    return msgspec.json.encode(as_dict(event)).decode() + "\n"


def csv_header() -> str:
    return ",".join(COLUMNS) + "\r\n"


def csv_line(event: Event) -> str:
    """An event as a line of CSV."""
    return csv_lines.csv_line(getattr(event, name) for name in COLUMNS)
