"""Deletes jobs that have ended long ago, in the background."""

import asyncio
import time
from typing import Final

from idp.admin.bulk.repository import items, jobs
from idp.infra.db.engine import transaction

#: Items of one transaction. Their rows are locked until it ends.
BATCH: Final = 1000
#: Seconds of one round, so that other work of the housekeeping has its turn.
ROUND_SECONDS: Final = 5.0


async def delete_expired_jobs() -> bool:
    """Delete jobs after ``IDP_BULK_RETENTION``, for some seconds. Returns whether there may be more."""
    until = time.monotonic() + ROUND_SECONDS
    while time.monotonic() < until:
        started = time.monotonic()
        job_id = await jobs.expired()
        if job_id is None:
            return False
        async with transaction():
            if not await items.delete_some(job_id, BATCH):
                await jobs.delete(job_id)
        # As long as the work before, so that requests have priority.
        await asyncio.sleep(time.monotonic() - started)
    return True
