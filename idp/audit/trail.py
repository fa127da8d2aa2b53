"""Reading the trail: the last events, or all of a time, row by row."""

import csv
import io
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg
import msgspec

from idp.infra.db.engine import fetch, fetchrow

#: Rows that are read at a time.
PAGE = 1_000
COLUMNS = (
    "id", "at", "event", "outcome", "actor", "user_id", "client_id", "session_id", "ip_address", "request_id", "detail",
    "seq",
)  # fmt: skip

BEGINNING, END = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)
#: What starts a formula, where a table is opened in a spreadsheet.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")

_ISSUED = "event = 'token_issued' AND detail -> 'issued' @>"
#: What events can be narrowed by, each as a predicate on its value.
FILTERS = {
    "event": "event = {}",
    "outcome": "outcome = {}",
    "actor": "actor = {}",
    "user_id": "user_id = {}::text::uuid",
    "client_id": "client_id = {}",
    "session_id": "session_id = {}::text::uuid",
    "ip_address": "ip_address = {}",
    "request_id": "request_id = {}",
    # Tokens are told several at a time.
    "jti": f"{_ISSUED} jsonb_build_array(jsonb_build_object('jti', {{}}::text))",
    "token_client_id": f"{_ISSUED} jsonb_build_array(jsonb_build_object('client_id', {{}}::text))",
    "token_user_id": f"{_ISSUED} jsonb_build_array(jsonb_build_object('user_id', {{}}::text))",
}
_SELECT = f"SELECT {', '.join(COLUMNS)} FROM audit_event WHERE at >= $1 AND at < $2"  # noqa: S608

_PROOF = """
SELECT e.hash, c.number, c.at FROM audit_event AS e
LEFT JOIN audit_checkpoint AS c ON e.seq BETWEEN c.first_seq AND c.last_seq WHERE e.id = $1
"""


def _narrowed(filters: Mapping[str, str], first: int) -> str:
    """The predicates of filters, whose values are the parameters from this one on."""
    return "".join(f" AND {FILTERS[name].format(f'${n}')}" for n, name in enumerate(filters, start=first))


async def latest(
    filters: Mapping[str, str], *, since: datetime = BEGINNING, until: datetime = END, limit: int
) -> list[asyncpg.Record]:
    """The last events, the newest first.

    Args:
        filters: values by the names of :data:`FILTERS`. All must hold.
        until: the first moment that is too late.
    """
    statement = f"{_SELECT}{_narrowed(filters, 4)} ORDER BY at DESC, id DESC LIMIT $3"
    return await fetch(statement, since, until, limit, *filters.values())


async def events(
    filters: Mapping[str, str], *, since: datetime = BEGINNING, until: datetime = END
) -> AsyncIterator[asyncpg.Record]:
    """All events of a time, the oldest first, a page in memory at a time. Arguments as of :func:`latest`."""
    statement = f"{_SELECT}{_narrowed(filters, 5)} AND (at, id) > ($3, $4) ORDER BY at, id LIMIT {PAGE}"
    at, last = since, UUID(int=0)
    while rows := await fetch(statement, since, until, at, last, *filters.values()):
        for row in rows:
            yield row
        at, last = rows[-1]["at"], rows[-1]["id"]


async def proof(event_id: UUID) -> asyncpg.Record | None:
    """What shows that an event is as it was: its ``hash``, and the checkpoint that covers it (``number``, ``at``)."""
    return await fetchrow(_PROOF, event_id)


def as_dict(row: asyncpg.Record) -> dict[str, Any]:
    """An event with its detail as JSON."""
    return {name: row[name] for name in COLUMNS} | {"detail": msgspec.Raw(row["detail"].encode())}


def jsonl(row: asyncpg.Record) -> str:
    """An event as a line of JSON."""
    return msgspec.json.encode(as_dict(row)).decode() + "\n"


def csv_header() -> str:
    return ",".join(COLUMNS) + "\r\n"


def csv_line(row: asyncpg.Record) -> str:
    """An event as a line of CSV (RFC 4180). No value is a formula: strangers chose some of them."""
    line = io.StringIO()
    csv.writer(line).writerow(_cell(row[name]) for name in COLUMNS)
    return line.getvalue()


def _cell(value: object) -> str:
    text = value.isoformat() if isinstance(value, datetime) else "" if value is None else str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text
