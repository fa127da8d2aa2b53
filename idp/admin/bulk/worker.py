"""Works on jobs: one process works on one job at a time, a few items a transaction.

The transaction of a batch locks the users and the administrator who asked, checks the authority, acts, and moves the
job on by one conditional statement. If the process is killed, the transaction is rolled back, and another process goes
on with the same items after the lease. A cancelled job lets the statement change nothing, and the batch is rolled back.
"""

import asyncio
import random
import time
from uuid import UUID

import msgspec
import structlog

from idp import ids
from idp.accounts.repository import users
from idp.admin.access import Caller, check_target, hold_absent
from idp.admin.bulk.kinds import Kind, kind_of
from idp.admin.bulk.models import Failure, Item, Job, State
from idp.admin.bulk.repository import items, jobs
from idp.audit.events import record
from idp.errors import ConflictError, DomainError, IdpError, PermissionDeniedError
from idp.infra import request_context
from idp.infra.db.engine import transaction
from idp.infra.db.locks import lock
from idp.infra.db.outages import outage
from idp.infra.logs import exception_fields
from idp.settings import settings

log = structlog.get_logger()

#: Seconds between two looks for jobs, and of one turn, after which a job that has waited longer is next.
POLL_SECONDS, TURN_SECONDS = 2.0, 10.0
#: Items of one transaction. Their users are locked until it ends.
BATCH = 20
#: Length of a pause as a multiple of the work before it, so that requests have priority.
PAUSE = 1.0

_UNEXPECTED = "An unexpected error. The log of the server has it."


class _JobLostError(ConflictError):
    """The job was cancelled, or another process has it."""


async def run() -> None:
    """Work on jobs until cancelled."""
    while True:
        try:
            while await work():
                pass
        except Exception as error:
            # An unexpected error must not stop the jobs of this process.
            log.warning("bulk_job_interrupted", **exception_fields(error))
        await asyncio.sleep(POLL_SECONDS * random.uniform(0.8, 1.2))  # noqa: S311


async def work() -> bool:
    """Work on a job for one turn. Returns False if there is none, or a process works on one already."""
    if not await jobs.is_one_due():
        return False
    holder = ids.uuid7()
    async with transaction():
        await lock("bulk_jobs")
        job = await jobs.claim(holder)
    if job is None:
        return False
    actor = request_context.actor.set(job.actor)
    # The events of the acts name the job.
    request_id = request_context.request_id.set(str(job.id))
    try:
        await _turn(job, holder)
    except _JobLostError:
        log.info("bulk_job_lost")
    finally:
        request_context.actor.reset(actor)
        request_context.request_id.reset(request_id)
        # Also while this process stops, so that another one goes on at once.
        await jobs.release(job.id, holder)
    return True


async def _turn(job: Job, holder: UUID) -> None:
    ends = time.monotonic() + TURN_SECONDS
    try:
        kind, began = kind_of(job.kind), time.monotonic()
        job = await _batch(job, kind, holder)
        while job.done < job.total and time.monotonic() < ends:
            await asyncio.sleep(PAUSE * (time.monotonic() - began))
            began = time.monotonic()
            job = await _batch(job, kind, holder)
    except _JobLostError:
        raise
    except DomainError as error:
        await _end(job, holder, State.FAILED, error.description)
    else:
        if job.done >= job.total:
            await _end(job, holder, State.FINISHED)


async def _batch(job: Job, kind: Kind, holder: UUID) -> Job:
    """Act on the next items. If that fails unexpectedly, act on each alone, so that one does not stop the others.

    Raises:
        DomainError: the job cannot go on.
    """
    batch = await items.following(job.id, job.done, BATCH)
    try:
        return await _act(job, kind, batch, holder)
    except Exception as error:
        if _interrupts(error):
            raise
        log.warning("bulk_batch_failed", **exception_fields(error))
    for item in batch:
        try:
            job = await _act(job, kind, [item], holder)
        except Exception as error:
            if _interrupts(error):
                raise
            log.warning("bulk_item_failed", **exception_fields(error))
            async with transaction():
                job = await _advanced(job, holder, 1, 0, [Failure(item.number, item.name, _UNEXPECTED)])
    return job


def _interrupts(error: Exception) -> bool:
    """Return whether an error is not one of an item: the job has ended, the database is down, a key is missing."""
    return isinstance(error, IdpError) or outage(error) is not None


async def _act(job: Job, kind: Kind, batch: list[Item], holder: UUID) -> Job:
    caller = msgspec.json.decode(job.caller, type=Caller) if job.caller is not None else None
    parameters = msgspec.json.decode(job.parameters, type=kind.parameters)
    user_ids = {item.user_id for item in batch if item.user_id is not None}
    asker = {caller.user_id} if caller is not None and caller.user_id is not None else set()
    changed, failures = 0, list[Failure]()
    async with transaction():
        await users.lock_users(user_ids | asker)
        if caller is not None:
            await hold_absent(caller)
        existing = await users.emails_by_id(user_ids)
        for item in batch:
            try:
                changed += await _act_on(kind, parameters, caller, item.user_id if item.user_id in existing else None)
            except kind.stops:
                raise
            except DomainError as error:
                failures.append(Failure(item.number, item.name, error.description))
        return await _advanced(job, holder, len(batch), changed, failures)


async def _act_on(kind: Kind, parameters: msgspec.Struct, caller: Caller | None, user_id: UUID | None) -> bool:
    """
    Raises:
        DomainError: it is refused for this user.
    """
    if user_id is None:
        raise PermissionDeniedError("There is no such user.")
    if kind.spares_asker and caller is not None:
        if user_id == caller.user_id:
            raise PermissionDeniedError("This is the administrator who asked, who is left out.")
        await check_target(caller, user_id)
    return await kind.act(user_id, parameters)


async def _advanced(job: Job, holder: UUID, passed: int, changed: int, failures: list[Failure]) -> Job:
    after = await jobs.advance(job, holder, passed, changed, failures)
    if after is None:
        raise _JobLostError
    return after


async def _end(job: Job, holder: UUID, state: State, error: str = "") -> None:
    async with transaction():
        ended = await jobs.finish(job.id, holder, state, error, settings().bulk_retention)
        if ended is None:
            raise _JobLostError
        detail = {
            "job_id": str(job.id), "kind": job.kind, "total": ended.total, "done": ended.done,
            "changed": ended.changed, "failed": ended.failed,
        } | ({"cause": error} if error else {})  # fmt: skip
        await record("bulk_job_finished", outcome="failure" if error else "success", detail=detail)
