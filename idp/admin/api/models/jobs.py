"""Request and response bodies of the operations on bulk jobs."""

from datetime import datetime
from typing import Any
from uuid import UUID

from idp.admin.api.models.base import Sent, Shown
from idp.admin.bulk.models import State


class Job(Shown):
    """``done`` of ``total`` items: ``changed``, ``failed``, and the others were so before. ``error``: why it failed."""

    id: UUID
    kind: str
    parameters: dict[str, Any]
    actor: str
    state: State
    error: str
    total: int
    done: int
    changed: int
    failed: int
    created_at: datetime
    started_at: datetime | None
    heartbeat_at: datetime | None
    finished_at: datetime | None


class NewJob(Sent):
    """``users``: addresses or ids; or ``filter``: the filters of ``/users``, where an empty object means all users.

    ``expected``: the number of users, which some kinds require; with another number nothing is done.
    """

    kind: str
    parameters: dict[str, Any] = {}
    users: list[str] | None = None
    filter: dict[str, str] | None = None
    expected: int | None = None


class JobError(Shown):
    """An item on which a job could not act."""

    number: int
    name: str
    reason: str


class JobKind(Shown):
    """A kind of job. ``permission`` is the scope that it needs; ``counted``: whether ``expected`` is required."""

    name: str
    effect: str
    undo: str
    permission: str
    counted: bool
