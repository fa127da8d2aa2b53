"""The recorded requests of sign-ins, as the API shows them."""

from datetime import datetime
from typing import Any
from uuid import UUID

from idp.admin.api.models.base import Shown


class TraceStep(Shown):
    """A step of a request, ``ms`` milliseconds after its begin: what happened, and what was asked or found."""

    ms: int
    kind: str
    sentence: str
    fields: dict[str, Any]


class TracedRequest(Shown):
    """A recorded request. ``trace_id`` is the id of its flow, ``mend`` how to mend a refusal."""

    at: datetime
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
    steps: list[TraceStep]


class TracedFlow(Shown):
    """All recorded requests of a flow, oldest first. ``id`` is the id of the first one."""

    id: str
    requests: list[TracedRequest]
