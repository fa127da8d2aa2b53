"""Jobs as values."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

import msgspec


class State(StrEnum):
    """The state of a job. The last three are final, but a cancelled or failed job can be resumed."""

    QUEUED = "queued"
    RUNNING = "running"
    FINISHED = "finished"
    CANCELLED = "cancelled"
    FAILED = "failed"


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A job.

    Attributes:
        parameters: of its kind, as JSON.
        actor: who asked, as in the audit trail.
        caller: the administrator who asked, with the roles at that time, as JSON; None: the command line.
        error: why it failed; empty otherwise.
        total: how many items it has.
        done: how many of them it has passed, in their order: those that it changed, those that were so before, and
            those that failed.
        heartbeat_at: when it moved on last.
    """

    id: UUID
    kind: str
    parameters: str
    actor: str
    caller: str | None
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

    @property
    def is_over(self) -> bool:
        return self.finished_at is not None

    @property
    def can_resume(self) -> bool:
        return self.state in (State.CANCELLED, State.FAILED) and self.done < self.total

    @property
    def unchanged(self) -> int:
        """How many items were as wanted before."""
        return self.done - self.changed - self.failed


class Item(msgspec.Struct, frozen=True):
    """A user of a job: the number, starting at 1, the id if the user was found, and the name as entered or listed."""

    number: int
    user_id: UUID | None
    name: str


class Failure(NamedTuple):
    """An item that failed, and why, as one sentence."""

    number: int
    name: str
    reason: str


class Selection(msgspec.Struct, frozen=True):
    """The users of a job: those that match filters of the list of users, or those with these addresses or ids.

    Attributes:
        filters: values by the names of :data:`idp.accounts.repository.users.EVERY_USER`. Without any, all users.
        names: addresses or ids. If given, the filters do not apply.
    """

    filters: Mapping[str, str] = {}
    names: tuple[str, ...] | None = None
