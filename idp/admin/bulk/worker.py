"""Works on jobs: one process works on one job at a time, a few items a transaction.

The transaction of a batch locks the users and the administrator who asked, checks the authority, acts, and moves the
job on by one conditional statement. If the process is killed, the transaction is rolled back, and another process goes
on with the same items after the lease. A cancelled job lets the statement change nothing, and the batch is rolled back.
"""

import asyncio
import random
import time
from uuid import UUID

import structlog

from idp import ids
from idp.admin.bulk import files, users
from idp.admin.bulk.kinds import kind_of
from idp.admin.bulk.models import Job, State
from idp.admin.bulk.repository import items, jobs
from idp.admin.bulk.step import JobLostError, Step
from idp.audit.events import record
from idp.errors import DomainError
from idp.infra import request_context
from idp.infra.db.engine import transaction
from idp.infra.db.locks import lock
from idp.infra.logs import exception_fields
from idp.settings import settings

log = structlog.get_logger()

#: Seconds between two looks for jobs, and of one turn, after which a job that has waited longer is next.
POLL_SECONDS, TURN_SECONDS = 2.0, 10.0
#: Length of a pause as a multiple of the work before it, so that requests have priority.
PAUSE = 1.0


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
    except JobLostError:
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
        step, began = await _begin(job), time.monotonic()
        job = await step(job, holder)
        while job.done < job.total and (time.monotonic() < ends or not await jobs.is_one_waiting()):
            await asyncio.sleep(PAUSE * (time.monotonic() - began))
            began = time.monotonic()
            job = await step(job, holder)
    except JobLostError:
        raise
    except DomainError as error:
        await _end(job, holder, State.FAILED, error.description)
    else:
        if job.done >= job.total:
            await _end(job, holder, State.FINISHED)


async def _begin(job: Job) -> Step:
    kind = kind_of(job.kind)
    return users.steps(kind, kind.act) if kind.act is not None else await files.steps(job)


async def _end(job: Job, holder: UUID, state: State, error: str = "") -> None:
    async with transaction():
        if state is State.FINISHED:
            await items.delete_file(job.id)
        ended = await jobs.finish(job.id, holder, state, error, settings().bulk_retention)
        if ended is None:
            raise JobLostError
        detail = {
            "job_id": str(job.id), "kind": job.kind, "total": ended.total, "done": ended.done,
            "changed": ended.changed, "failed": ended.failed,
        } | ({"cause": error} if error else {})  # fmt: skip
        await record("bulk_job_finished", outcome="failure" if error else "success", detail=detail)
