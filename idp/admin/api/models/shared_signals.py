"""Request and response bodies of the operations on streams of Shared Signals."""

from datetime import datetime
from uuid import UUID

from idp.admin.api.models.base import Sent, Shown


class SharedSignalsStream(Shown):
    """``endpoint_url``: null if the receiver polls. ``subjects``: the users that it added; null: it gets the events of
    all users. ``subjects``, ``waiting`` and ``dead`` are at most 1000. ``failures``: attempts that failed in a row.
    """

    id: UUID
    client_id: str
    description: str
    endpoint_url: str | None
    events_requested: list[str]
    format: str
    status: str
    status_reason: str
    subjects: int | None
    waiting: int
    dead: int
    delivered_at: datetime | None
    failures: int
    paused_until: datetime | None
    created_at: datetime
    updated_at: datetime


class StatusReason(Sent):
    """``reason``: for the receiver."""

    reason: str = ""
