"""The statements of the replay store."""

from datetime import datetime
from uuid import UUID

import asyncpg
import structlog

from idp.infra.db.coalescing import CoalescedQuery
from idp.infra.db.engine import execute, fetchrow, transaction

log = structlog.get_logger()

#: Duration of a slot, in seconds.
SLOT = 600
#: Maximum remaining life of a value, in seconds.
MAX_LIFETIME = 6 * SLOT
#: Maximum number of further slots that a value reaches into. One more than its life has, for clocks that differ.
_FURTHER = MAX_LIFETIME // SLOT + 1
#: Number of partitions: the previous slot, this one, those that a value can reach into, and two to empty.
SLOTS = 2 + _FURTHER + 2
#: Seconds for which a slot is kept after its end: longer than any statement runs that began in it.
GRACE = 120
#: Maximum wait of the clean-up for a transaction that reads a whole partition, such as a backup.
LOCK_TIMEOUT_MS = 100


def _slot(moment: str) -> str:
    return f"floor(date_part('epoch', {moment}) / {SLOT})::bigint"


_STEPS = ", ".join(f"({step})" for step in range(_FURTHER + 1))
# A use inserts a row for every slot from now until the expiry, and counts only if it inserted all of them: so any two
# uses of one value, also by servers on both sides of the end of a slot, want a row in common. Of several requests for
# one value in a run, the first is asked. Rows are inserted in the same order by all (no deadlock).
_USE = CoalescedQuery(
    "key uuid, expires_at timestamptz",
    f"""
    WITH used AS (
        SELECT DISTINCT ON (key) number, key, {_slot("now()")} AS slot,
               {_slot("expires_at")} - {_slot("now()")} AS further
        FROM asked WHERE expires_at > now() ORDER BY key, number
    ), inserted AS (
        INSERT INTO used_jwt (slot, key)
        SELECT (slot + step) % {SLOTS}, key FROM used, (VALUES {_STEPS}) AS steps (step)
        WHERE step <= further AND further <= {_FURTHER} ORDER BY key, step
        ON CONFLICT DO NOTHING RETURNING key
    )
    SELECT number FROM used JOIN inserted USING (key) GROUP BY number, further HAVING count(*) = further + 1
    """,  # noqa: S608
)
# The clock moves on while the statement waits for a lock, unlike now().
_BEFORE = f"clock_timestamp() - interval '{GRACE} s'"
_PAST = f"SELECT array[({_slot(_BEFORE)} - 2) % {SLOTS}, ({_slot(_BEFORE)} - 1) % {SLOTS}] AS past"


async def use(key: UUID, expires_at: datetime) -> bool:
    """Returns False if the key was used, has expired by the database's clock, or expires after :data:`MAX_LIFETIME`."""
    return await _USE.fetchrow(key=key, expires_at=expires_at) is not None


async def empty_past_slots() -> None:
    """Empty the partitions whose values have expired."""
    for slot in await _past():
        if await fetchrow(f"SELECT FROM used_jwt_{slot} LIMIT 1") is not None:
            await _empty(slot)


async def _past() -> list[int]:
    row = await fetchrow(_PAST)
    return list(row["past"]) if row is not None else []


async def _empty(slot: int) -> None:
    """Empty a partition, if its slot is still past."""
    name = f"used_jwt_{slot}"
    try:
        async with transaction():
            await execute(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}")
            await execute(f"LOCK TABLE ONLY {name} IN ACCESS EXCLUSIVE MODE")
            if slot in await _past():
                await execute(f"TRUNCATE ONLY {name}")
    except asyncpg.LockNotAvailableError:
        # The next round does it.
        log.info("partition_busy", table=name)
    except asyncpg.InsufficientPrivilegeError:
        log.warning("partition_not_owned", table=name)
