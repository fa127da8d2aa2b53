"""Runs the jobs of targets: one process works on a job at a time, step by step, and stores how far it is.

If a process is killed, another goes on after the lease. A job that is stopped goes on where it was when it is resumed.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from uuid import UUID

import structlog

from idp import ids
from idp.audit.events import record
from idp.delivery.handlers import DeliveryFailedError
from idp.errors import OperatorError, RemoteError
from idp.infra.db import outages
from idp.infra.db.engine import transaction
from idp.infra.logs import exception_fields
from idp.provisioning import check, connection, push
from idp.provisioning.desired import ScopeGoneError
from idp.provisioning.models import Target
from idp.provisioning.protocol import UnauthorizedError
from idp.provisioning.repository import jobs as repository
from idp.provisioning.repository import targets
from idp.provisioning.repository.jobs import Job, Kind
from idp.settings import settings

log = structlog.get_logger()

#: Seconds between two looks for jobs; of one turn; until a job that cannot go on is looked at again.
POLL_SECONDS, TURN_SECONDS, WAIT_SECONDS = 2.0, 10.0, 2.0
#: Seconds after which a push begins again: it queues what deliveries gave up, such as the deactivation of a user.
REPEAT_SECONDS = 86400.0
#: Attempts that may fail in a row, and the wait after the first one, which doubles.
ATTEMPTS, FIRST_WAIT, LONGEST_WAIT = 12, 5.0, 600.0

Step = Callable[[Target, Job], Awaitable[tuple[Job, bool]]]
STEPS: dict[Kind, Step] = {"push": push.step, "check": check.step}


async def run() -> None:
    """Start checks that are due, and work on jobs, until cancelled."""
    while True:
        try:
            if interval := settings().provisioning_check_interval:
                await repository.start_due_checks(float(interval))
            while await work():
                pass
        except Exception as error:
            # An unexpected error must not stop the jobs of this process.
            log.warning("provisioning_job_failed", **exception_fields(error))
        await asyncio.sleep(POLL_SECONDS * random.uniform(0.8, 1.2))  # noqa: S311


async def work(target_id: UUID | None = None) -> bool:
    """Work on a job that is due for one turn. Returns False if there is none.

    Args:
        target_id: only of this target.
    """
    await repository.repeat(REPEAT_SECONDS)
    holder = ids.uuid7()
    job = await repository.take(holder, target_id)
    if job is None:
        return False
    target = await targets.target(job.target_id)
    if target is None:
        return True
    try:
        await _turn(target, job, holder)
    except Exception as error:
        if outages.outage(error) is not None:
            raise
        await _failed(target, job, holder, error)
    return True


async def _turn(target: Target, job: Job, holder: UUID) -> None:
    ends = time.monotonic() + TURN_SECONDS
    while True:
        try:
            job, at_once = await STEPS[job.kind](target, job)
        except push.TooManyLeaveError as error:
            async with transaction():
                if await repository.halt(error.job, holder, error.description):
                    await _record(target, error.job, "stopped", error.description)
            return
        if job.phase == "done":
            async with transaction():
                if await repository.finish(job, holder, "done"):
                    await _record(target, job, "done")
            # A push only queues.
            await connection.works(target, asked=job.kind == "check")
            return
        pause = 0.0 if at_once else WAIT_SECONDS
        over = not at_once or time.monotonic() > ends
        if not await repository.save(job, holder, wait=pause if over else None) or over:
            return


async def _failed(target: Target, job: Job, holder: UUID, error: Exception) -> None:
    """Let a job go on later, or end it after :data:`ATTEMPTS`. An unexpected error must not keep it for ever."""
    if isinstance(error, RemoteError | OperatorError):
        text = error.description
    else:
        text = f"There was an unexpected error, {type(error).__name__}. The log has it."
    if isinstance(error, UnauthorizedError):
        text = (await connection.refused(target, error)).description
    elif isinstance(error, ScopeGoneError):
        await connection.failing(target, text)
    log.warning("provisioning_job_failed", kind=job.kind, stream=target.stream, **exception_fields(error))
    # How far it is was stored after the last step.
    current = await repository.job(job.target_id, job.kind) or job
    if current.attempts + 1 >= ATTEMPTS:
        async with transaction():
            if await repository.finish(current, holder, "failed", text):
                await _record(target, current, "failed", text)
        return
    asked = error.wait if isinstance(error, DeliveryFailedError) else 0.0
    wait = min(FIRST_WAIT * 2.0**current.attempts, LONGEST_WAIT) * random.uniform(0.8, 1.2)  # noqa: S311
    await repository.defer(job, holder, text, max(wait, asked))


async def _record(target: Target, job: Job, state: str, cause: str = "") -> None:
    detail = {"target_id": str(target.id), "name": target.name, "job": job.kind, "counts": job.counts}
    await record(
        "provisioning_job_stopped" if state == "stopped" else "provisioning_job_finished",
        outcome="success" if state == "done" else "failure",
        detail=detail | ({"cause": cause} if cause else {}),
    )  # fmt: skip
