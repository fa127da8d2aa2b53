"""Runs the jobs of attributes, batch by batch. If a process is killed, another goes on with the next batch."""

import asyncio
import random
import time

import asyncpg
import structlog

from idp.accounts.attributes.jobs import repository
from idp.accounts.attributes.jobs.repository import Job
from idp.accounts.attributes.registry import TOPIC
from idp.infra.db import outages
from idp.infra.db.cache_invalidation import exclusive_change
from idp.infra.db.engine import in_own_transaction, transaction
from idp.infra.logs import exception_fields

log = structlog.get_logger()

#: Seconds between two looks for jobs.
POLL_SECONDS = 2.0
#: Values of the first batch, and of the largest one. Their rows are locked until it ends.
FIRST_BATCH, LARGEST_BATCH = 250, 5000
#: Seconds that a batch should take: after a slower one the next is smaller.
BATCH_SECONDS = 0.1
#: Seconds that a change of a declaration works on its job itself. Most attributes have few values.
AT_ONCE_SECONDS = 0.5
#: Seconds until a value that is being changed, or a job of another process, is looked at again.
WAIT_SECONDS = 0.02


class Runner:
    """Works on jobs, with batches that are as large as their time allows."""

    def __init__(self) -> None:
        self.size = FIRST_BATCH

    async def work(self, attribute: str | None = None) -> bool:
        """Do a batch of a job, or end it. Returns False if there is none on which no other process works.

        Args:
            attribute: only of this one.
        """
        started = time.perf_counter()
        try:
            done, job = await self._batch(attribute)
        except asyncpg.LockNotAvailableError:
            self.size = max(1, self.size // 2)
            await asyncio.sleep(WAIT_SECONDS)
            return True
        if job is None:
            return False
        if not done:
            await _end(job)
            return True
        took = time.perf_counter() - started
        self.size = max(1, self.size // 2) if took > BATCH_SECONDS else min(LARGEST_BATCH, 2 * self.size)
        # As long as the work before, so that requests have priority.
        await asyncio.sleep(took)
        return True

    async def _batch(self, attribute: str | None) -> tuple[bool, Job | None]:
        """Return whether values were changed, or others come next, and the job."""
        async with transaction():
            job = await repository.take(attribute)
            if job is None:
                return False, None
            if await repository.change_some(job, self.size):
                return True, job
            if job.kind == "delete" and job.after_key is not None:
                await repository.begin_others(job)
                return True, job
        return False, job


async def _end(job: Job) -> None:
    """End a job that found nothing more to do."""
    # Not in the transaction, which others wait for: after many deletions this reads what the index has of deleted rows.
    if job.kind == "delete":
        await repository.has_values(job.attribute)
    # The declaration before the job, as in a change of it.
    async with exclusive_change(TOPIC):
        if await repository.end(job):
            log.info("attribute_job_finished", attribute=job.attribute, kind=job.kind, count=job.done)


async def work_at_once(attribute: str) -> None:
    """Work on the job of an attribute for a moment: a few values are changed when this returns.

    Not inside a transaction of the caller, which would keep the locks of all batches.
    """
    if in_own_transaction():
        return
    runner, until = Runner(), time.monotonic() + AT_ONCE_SECONDS
    while time.monotonic() < until and await repository.job(attribute) is not None:
        if not await runner.work(attribute):
            # Another process works on it.
            await asyncio.sleep(WAIT_SECONDS)


async def run() -> None:
    """Work on jobs until cancelled."""
    runner = Runner()
    while True:
        try:
            while await runner.work():
                pass
        except outages.ERRORS as error:
            log.warning("attribute_jobs_interrupted", error=type(error).__name__)
        except Exception as error:
            # Not log.exception: the text of an exception may quote anything.
            log.error("attribute_jobs_failed", **exception_fields(error))  # noqa: TRY400
        await asyncio.sleep(POLL_SECONDS * random.uniform(0.8, 1.2))  # noqa: S311
