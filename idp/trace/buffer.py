"""A buffer in memory of recorded requests. They are written in batches within a second.

A process that is killed loses the buffer. While the database is down, the buffer fills up and newer requests are left
out: a record for support is worth less than memory.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from idp.audit.events import MAX_CLIENT_ID, storable
from idp.infra.event_limits import EventLimit
from idp.infra.metrics.declared import Counter
from idp.infra.observers import observing, written
from idp.settings import settings
from idp.trace import repository
from idp.trace.kinds import KINDS

RECORDED = Counter("idp_traces", "Requests that the flow recorder wrote, by outcome.", "outcome")
LEFT_OUT = Counter("idp_traces_left_out", "Requests that the flow recorder left out, by cause.", "cause")

#: Maximum of requests in the buffer, and of rows per INSERT statement.
MAX_WAITING, BATCH = 2_000, 100
#: Characters of a value, and values of a list. Longer ones are cut.
MAX_LENGTH, MAX_VALUES = 300, 20
#: A text that could be a token, code or secret is not stored, whatever field it is in: a JWT, or long random text.
_SECRET = re.compile(r"eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_.-]*|(?<![A-Za-z0-9_-])[A-Za-z0-9_-]{40,}(?![A-Za-z0-9_-])")
LEFT_OUT_TEXT = "[left out]"

Field = str | int | float | bool | datetime | UUID | Sequence[str] | None
#: Milliseconds since the begin of the request, kind, fields.
Step = tuple[int, str, Mapping[str, Field]]


class Recorded(NamedTuple):
    """A request to write: the columns of :class:`idp.trace.tables.Trace`."""

    id: UUID
    at: datetime
    request_id: str
    trace_id: str
    outcome: str
    method: str
    route: str
    status: int
    duration_ms: int
    error: str | None
    reason: str | None
    hint: str | None
    user_id: UUID | None
    client_id: str | None
    session_id: UUID | None
    family_id: UUID | None
    ip_address: str
    steps: Sequence[Step]


_waiting: list[Recorded] = []
_limit = EventLimit()
#: Whether the table has reached ``IDP_TRACE_MAX_SIZE``.
full = False


def add(recorded: Recorded) -> None:
    """Add a request to the buffer, within the limits for successes and for refusals."""
    succeeded = recorded.outcome == "success"
    limit = settings().trace_success_limit if succeeded else settings().trace_failure_limit
    if full:
        LEFT_OUT.add("size")
    elif len(_waiting) >= MAX_WAITING:
        LEFT_OUT.add("buffer")
    elif not _limit.admitted("success" if succeeded else "failure", _limit_key(recorded), limit):
        LEFT_OUT.add("limit")
    else:
        _waiting.append(recorded)


def _limit_key(recorded: Recorded) -> str:
    """A flow of a known user shares a limit, and so do refusals of a client that has authenticated itself. Anyone can
    name a client, and begin sign-ins: others share that of their address, so that a stranger does not use up what is
    for the users of a client.
    """
    anonymous = recorded.ip_address if settings().address_limits else ""
    if recorded.outcome == "success":
        return recorded.trace_id if recorded.user_id is not None else anonymous or recorded.request_id
    if recorded.client_id and any(
        kind == "client_authenticated" and fields.get("auth_method") != "none" for _, kind, fields in recorded.steps
    ):
        return recorded.client_id
    return anonymous or recorded.client_id or recorded.request_id


async def write() -> None:
    """Write the buffer. What cannot be written is kept for the next write."""
    while batch := _waiting[:BATCH]:
        rows: list[tuple[object, ...]] = []
        for recorded in batch:
            # One that cannot be written must not hold up the others for ever.
            with observing("flow_recorder"):
                rows.append(_row(recorded))
        await written(repository.insert, rows, "flow_recorder")
        # Newer ones were appended in the meantime.
        del _waiting[: len(batch)]
        for recorded in batch:
            RECORDED.add(recorded.outcome)


def _row(recorded: Recorded) -> tuple[object, ...]:
    steps = [[at, kind, _fields(kind, fields)] for at, kind, fields in recorded.steps]
    client_id = recorded.client_id[:MAX_CLIENT_ID] if recorded.client_id else None
    changed = recorded._replace(
        client_id=storable(client_id), ip_address=storable(recorded.ip_address), hint=_value(recorded.hint)
    )
    return (*changed[:-1], msgspec.json.encode(storable(steps)).decode())


def _fields(kind: str, fields: Mapping[str, Field]) -> dict[str, Any]:
    allowed = KINDS[kind].fields
    return {
        name: _value(value) for name, value in fields.items() if name in allowed and value not in (None, "", (), [])
    }


def _value(value: Any) -> Any:
    if isinstance(value, str):
        # Cut after that: of a secret at the end, a part would be too short to look like one.
        return _SECRET.sub(LEFT_OUT_TEXT, value[: 10 * MAX_LENGTH])[:MAX_LENGTH]
    if isinstance(value, Sequence | set | frozenset):
        return [_value(str(each)) for each in list(value)[:MAX_VALUES]]
    return value
