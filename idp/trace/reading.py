"""Reading recorded flows: requests in order, with steps in words and how to mend what was refused."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from idp.audit.events import record
from idp.trace import repository
from idp.trace.hints import mend
from idp.trace.kinds import KINDS, Kind
from idp.trace.repository import RecordedRequest

#: The filters that name whose requests are read.
_NAMING: Final = ("user_id", "id", "trace_id", "request_id")


class ShownStep(msgspec.Struct, frozen=True):
    """A step of a request, milliseconds after its begin.

    Attributes:
        sentence: what happened, in words.
        fields: what was asked or found, by name.
    """

    ms: int
    kind: str
    sentence: str
    fields: dict[str, Any]


class ShownRequest(msgspec.Struct, frozen=True):
    """A request of a flow.

    Attributes:
        offset_ms: milliseconds after the first request of the flow.
        mend: how to mend the refusal; empty if nothing is known, or nothing was refused.
    """

    at: datetime
    offset_ms: int
    request_id: str
    trace_id: str
    method: str
    route: str
    status: int
    duration_ms: int
    outcome: str
    error: str | None
    reason: str | None
    hint: str | None
    mend: str
    user_id: UUID | None
    client_id: str | None
    session_id: UUID | None
    family_id: UUID | None
    ip_address: str
    steps: list[ShownStep]


async def record_reading(filters: Mapping[str, str]) -> None:
    """Record in the audit trail that the requests of a user are listed, or a flow or a request of one is shown."""
    named = {name: filters[name] for name in _NAMING if filters.get(name)}
    if named:
        await record("trace_read", detail=named)


async def read_flow(id: str) -> list[ShownRequest]:
    """Return a flow as :func:`flow` does, for an operator: the reading is recorded."""
    await record_reading({"id": id})
    return await flow(id)


async def flow(id: str) -> list[ShownRequest]:
    """Return the requests of the flow that has this id or a request with this id, oldest first; none if it is unknown,
    was not recorded or is older than the retention.
    """
    found = await repository.requests_of_flow(id)
    return [shown(request, found[0].at) for request in found]


def shown(request: RecordedRequest, first: datetime | None = None) -> ShownRequest:
    """Return a request with its steps in words. ``first`` is the time of the first request of the flow."""
    kept = {name: getattr(request, name) for name in RecordedRequest.__struct_fields__ if name not in ("id", "steps")}
    return ShownRequest(
        **kept,
        offset_ms=round((request.at - (first or request.at)).total_seconds() * 1000),
        mend=mend(request.reason, failed=request.outcome == "failed"),
        steps=steps(request.steps),
    )


def steps(text: str) -> list[ShownStep]:
    """Return the steps of a request in words."""
    found: Sequence[tuple[int, str, Mapping[str, Any]]] = msgspec.json.decode(text)
    return [_step(ms, kind, fields) for ms, kind, fields in found]


def _step(ms: int, kind: str, fields: Mapping[str, Any]) -> ShownStep:
    # A newer release may have written a kind that this one does not know.
    known = KINDS.get(kind) or Kind(kind.replace("_", " "), tuple(fields))
    return ShownStep(ms, kind, known.sentence, {name: fields[name] for name in known.fields if name in fields})


def in_words(name: str, value: Any) -> str:
    """Return the value of a field as text for people."""
    if name.endswith("_at"):
        return f"{value[:19].replace('T', ' ')} UTC"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)
