"""The background tasks of the flow recorder: writing the buffer, partitions, retention, the limit of the size."""

import asyncio
from contextlib import suppress
from datetime import timedelta
from functools import partial

import structlog

from idp import clock
from idp.infra.db.partitions import PartitionBusyError, next_day
from idp.infra.intervals import every
from idp.settings import settings
from idp.trace import buffer, repository

log = structlog.get_logger()

WRITE_SECONDS, TIDY_SECONDS = 0.5, 120.0
MEGABYTE, DAY = 1_000_000, timedelta(days=1)
#: Rows deleted by one statement, and statements of a round.
BATCH, BATCHES = 500, 100

_every = partial(every, failure="trace_worker_failed")


async def run() -> None:
    """Run the tasks until cancelled, and then write the buffer."""
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_every(WRITE_SECONDS, buffer.write))
            tasks.create_task(_every(TIDY_SECONDS, tidy, at_once=True))
    finally:
        with suppress(Exception):
            await buffer.write()


async def tidy() -> None:
    """Create the partitions of the next days, and drop those that are older than the retention.

    If the rest is larger than ``trace_max_size``, the oldest days are dropped too. If this day alone is larger, nothing
    is recorded until the next one.
    """
    now = clock.now()
    with suppress(PartitionBusyError):
        await repository.create_days(now)
        oldest = now - timedelta(seconds=settings().trace_retention)
        await repository.drop_days(oldest)
        for _ in range(BATCHES):
            if await repository.delete_before(oldest - DAY, BATCH) < BATCH:
                break
        sizes, limit = await repository.days(), settings().trace_max_size * MEGABYTE
        while sizes and sum(size for _, size in sizes) > limit and next_day(sizes[0][0]) <= now:
            await repository.drop_days(next_day(sizes.pop(0)[0]))
        is_full = sum(size for _, size in sizes) > limit
        if is_full and not buffer.full:
            log.warning("traces_full", table="trace")
        buffer.full = is_full
