"""Retention: deletes old rows, in a way that verification can distinguish from tampering.

First a signed checkpoint states up to which row they are deleted, always a whole checkpoint; then they are deleted. The
checkpoints stay.
"""

import asyncio
import time
from datetime import timedelta

from idp import clock
from idp.audit import checkpoints
from idp.audit.checkpoint_claims import Read, Sign, read
from idp.audit.events import record
from idp.audit.repository import audit_checkpoints, audit_events
from idp.infra.db.engine import transaction
from idp.settings import settings

#: Rows deleted by one statement, which holds its locks for milliseconds.
BATCH = 500
BATCHES_A_ROUND = 200
#: Duration of a pause, as a multiple of the statement before it.
PAUSE = 2


async def apply(sign: Sign, read_signed: Read) -> int:
    """Delete rows older than ``audit_retention``, up to the limit of one round. Returns their number."""
    if not settings().audit_retention:
        return 0
    stated = await _state(sign, read_signed)
    if not stated:
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


async def _state(sign: Sign, read_signed: Read) -> int:
    """Create the checkpoint that states what may be deleted, unless there is one. Returns the last row of that.

    The age of rows is taken from signed checkpoints, not from columns that a person may have changed.
    """
    last = await audit_checkpoints.last_checkpoint()
    stated = read(last.statement, read_signed) if last is not None else None
    if stated is None:
        return 0
    before = clock.now() - timedelta(seconds=settings().audit_retention)
    statement = await audit_checkpoints.last_statement_before(before)
    old = read(statement, read_signed) if statement is not None else None
    if old is None or old.at >= before or old.last_seq <= stated.deleted_to:
        return stated.deleted_to
    async with transaction():
        await record("audit_rows_deleted", detail={"deleted_to": old.last_seq, "reason": "retention"})
        made = await checkpoints.create(sign, deleted_to=old.last_seq)
    return made.deleted_to if made is not None else stated.deleted_to
