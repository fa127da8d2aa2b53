"""The parts of every step of a job: the authority of who asked, and the statement that moves the job on."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Final
from uuid import UUID

import msgspec

from idp.accounts.repository import users
from idp.admin.access import Caller, hold_absent
from idp.admin.bulk.models import Failure, Job
from idp.admin.bulk.repository import jobs
from idp.errors import ConflictError, IdpError
from idp.infra.db.outages import outage

#: Does the next items of a job for a holder, in transactions that move it on. Returns the job as it is then.
Step = Callable[[Job, UUID], Awaitable[Job]]

UNEXPECTED: Final = "An unexpected error. The log of the server has it."


class JobLostError(ConflictError):
    """The job was cancelled, or another process has it."""


def caller_of(job: Job) -> Caller | None:
    """Return the administrator who asked for a job; None: the command line."""
    return msgspec.json.decode(job.caller, type=Caller) if job.caller is not None else None


async def held(job: Job, user_ids: Collection[UUID] = ()) -> None:
    """Lock users and the administrator who asked, and check that the administrator still has the roles of that time.

    Raises:
        PermissionDeniedError: they have been revoked.
    """
    caller = caller_of(job)
    asker = {caller.user_id} if caller is not None and caller.user_id is not None else set()
    await users.lock_users({*user_ids, *asker})
    if caller is not None:
        await hold_absent(caller)


async def advanced(job: Job, holder: UUID, passed: int, changed: int, failures: Sequence[Failure]) -> Job:
    """Move a job on, at the end of the transaction of a step.

    Raises:
        JobLostError: the job was cancelled, or another process has it.
    """
    after = await jobs.advance(job, holder, passed, changed, failures)
    if after is None:
        raise JobLostError
    return after


def interrupts(error: Exception) -> bool:
    """Return whether an error is not one of an item: the job has ended, the database is down, a key is missing."""
    return isinstance(error, IdpError) or outage(error) is not None
