"""The background tasks of the audit trail: writing the buffer, checkpoints, export, partitions, retention.

They run in every worker of every replica. Each checkpoint is created and sent by one of them.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

import structlog

from idp import clock
from idp.audit import activity, buffer, checkpoint_export, checkpoints, retention
from idp.audit.checkpoint_claims import Read, Sign
from idp.audit.events import note_left_out
from idp.audit.repository import audit_events
from idp.infra.intervals import every
from idp.infra.logs import exception_fields
from idp.settings import settings

log = structlog.get_logger()

WRITE_SECONDS = 0.5
#: Maximum seconds between checks whether a checkpoint is due, and between attempts to export after a failure.
LOOK_SECONDS, LONGEST_WAIT = 5.0, 300.0
RETENTION_SECONDS = 600.0

_every = partial(every, failure="audit_worker_failed")


async def run(sign: Sign, reader: Callable[[], Awaitable[Read]]) -> None:
    """Run the tasks until cancelled, and then write the buffer.

    Args:
        sign: signs checkpoints (:func:`idp.keys.checkpoint_signer.sign`).
        reader: loads the function that verifies them (:func:`idp.keys.checkpoint_signer.reader`).
    """

    async def delete() -> None:
        await retention.apply(sign, await reader())
        await activity.delete_old()

    look = min(LOOK_SECONDS, settings().audit_checkpoint_interval)
    try:
        async with asyncio.TaskGroup() as tasks:  # none of them outlives the others
            for task in (
                _every(WRITE_SECONDS, buffer.write),
                _every(LOOK_SECONDS, _count),
                _every(look, lambda: _checkpoint(sign)),
                _deliver(look),
                _every(RETENTION_SECONDS, lambda: audit_events.create_months(clock.now()), at_once=True),
                _every(RETENTION_SECONDS, delete),
            ):
                tasks.create_task(task)
    finally:
        note_left_out()
        with suppress(Exception):
            await buffer.write()
            await activity.write()


async def _count() -> None:
    note_left_out()
    await activity.write()


async def _checkpoint(sign: Sign) -> None:
    """Create checkpoints until no new rows are left."""
    if not await checkpoints.is_due():
        return
    while True:
        made = await checkpoints.create(sign)
        if made is None or made.rows < checkpoints.MAX_ROWS:
            return


async def _deliver(seconds: float) -> None:
    wait = seconds
    while True:
        await asyncio.sleep(random.uniform(0.8, 1.2) * wait)  # noqa: S311
        try:
            fine = await checkpoint_export.deliver()
        except Exception as error:
            log.warning("audit_worker_failed", **exception_fields(error))
            fine = False
        wait = seconds if fine else min(wait * 2, LONGEST_WAIT)
