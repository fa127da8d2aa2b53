"""Lines of CSV (RFC 4180) for spreadsheets."""

import csv
import io
from collections.abc import Iterable
from datetime import datetime

#: First characters of a formula in a spreadsheet.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def csv_line(values: Iterable[object]) -> str:
    """Return a line. No value is a formula, because some come from unauthenticated requests."""
    line = io.StringIO()
    csv.writer(line).writerow(map(_cell, values))
    return line.getvalue()


def _cell(value: object) -> str:
    text = value.isoformat() if isinstance(value, datetime) else "" if value is None else str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text
