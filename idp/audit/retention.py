"""Retention: deletes old rows, in a way that verification can distinguish from tampering.

First a signed checkpoint states up to which row they are deleted, always a whole checkpoint; then they are deleted. The
checkpoints stay.

With a long retention, whole months are dropped, and only the other rows are deleted one by one. So a row stays up to a
month and a day longer, a tenth of the retention at most.
"""

import asyncio
import time
from datetime import datetime, timedelta

import structlog

from idp import clock
from idp.audit import checkpoints
from idp.audit.checkpoint_claims import Read, Sign, read
from idp.audit.events import record
from idp.audit.repository import audit_checkpoints, audit_events
from idp.infra.db.engine import transaction
from idp.infra.db.partitions import PartitionBusyError, month_of
from idp.settings import settings

log = structlog.get_logger()

DAY = timedelta(days=1)
#: The shortest retention with which whole months are dropped.
BY_MONTHS = timedelta(days=320)

#: Rows deleted by one statement, which holds its locks for milliseconds.
BATCH = 500
BATCHES_A_ROUND = 200
#: Duration of a pause, as a multiple of the statement before it.
PAUSE = 2


async def apply(sign: Sign, read_signed: Read) -> int:
    """Delete rows older than ``audit_retention``, up to the limit of one round.

    Returns:
        the number of rows that were deleted one by one.
    """
    if not settings().audit_retention:
        return 0
    before = _before()
    stated = await _state(before, sign, read_signed)
    if not stated:
        return 0
    try:
        await audit_events.drop_months(before, stated)
    except PartitionBusyError:
        # The next round drops it. Deleting its rows one by one until then would cost more.
        log.info("partition_busy", table="audit_event")
        return 0
    deleted = 0
    for _ in range(BATCHES_A_ROUND):
        started = time.perf_counter()
        number = await audit_events.delete_events(stated, BATCH)
        deleted += number
        if number < BATCH:
            break
        await asyncio.sleep(PAUSE * (time.perf_counter() - started))
    return deleted


def _before() -> datetime:
    """Return the time up to which checkpoints are old."""
    before = clock.now() - timedelta(seconds=settings().audit_retention)
    if timedelta(seconds=settings().audit_retention) < BY_MONTHS:
        return before
    # The last rows of a month may be in a checkpoint of the next day (the longest audit_checkpoint_interval).
    return month_of(before - DAY) + DAY


async def _state(before: datetime, sign: Sign, read_signed: Read) -> int:
    """Create the checkpoint that states what may be deleted, unless there is one. Returns the last row of that.

    The age of rows is taken from signed checkpoints, not from columns that may have been changed.
    """
    last = await audit_checkpoints.last_checkpoint()
    stated = read(last.statement, read_signed) if last is not None else None
    if stated is None:
        return 0
    statement = await audit_checkpoints.last_statement_before(before)
    old = read(statement, read_signed) if statement is not None else None
    if old is None or old.at >= before or old.last_seq <= stated.deleted_to:
        return stated.deleted_to
    async with transaction():
        await record("audit_rows_deleted", detail={"deleted_to": old.last_seq, "reason": "retention"})
        made = await checkpoints.create(sign, deleted_to=old.last_seq)
    return made.deleted_to if made is not None else stated.deleted_to
