"""Deleting what has expired, a little at a time, in the background.

Nothing depends on it: every predicate checks expiry itself. It only keeps the tables small.
"""

import asyncio
import random
import time

import asyncpg
import structlog

from idp.db.engine import DatabaseUnavailable, execute
from idp.web.logs import exception_fields

log = structlog.get_logger()

INTERVAL_SECONDS = 60.0
#: Rows of one statement, whose locks are gone in milliseconds.
BATCH = 500
BATCHES_A_ROUND = 20
#: How long a pause is, in terms of the work before it: whoever waits for the same disk and index pages goes first.
PAUSE = 2

#: Each table, its key, and how long its expired rows are kept: a code replayed within a day still revokes its family.
#: Mail that nobody could send is given up by the outbox first.
EXPIRING = (
    ("signin_flow", "id", "1 hour"),
    ("authorization_request", "id", "1 hour"),
    ("authorization_code", "code_hash", "1 day"),
    ("refresh_token", "jti", "1 day"),
    ("token_family", "id", "1 day"),
    ("revoked_access_token", "jti", "1 hour"),
    ("session", "id", "1 day"),
    ("email_proof", "id", "1 hour"),
    ("invitation", "id", "30 days"),
    ("device", "id", "1 day"),
    ("upstream_attempt", "state_hash", "1 hour"),
    ("mail", "id", "1 day"),
    ("throttle", "key", "1 day"),
)
#: Where the time that rows expire at has another name.
EXPIRY = {"throttle": "free_at"}


async def delete_expired(table: str, key: str, kept: str) -> int:
    """Delete one batch and return its size. Rows that another replica is deleting are passed over."""
    # Table, column and interval are the constants above.
    return await execute(
        f"DELETE FROM {table} WHERE {key} IN (SELECT {key} FROM {table}"  # noqa: S608
        f" WHERE {EXPIRY.get(table, 'expires_at')} < now() - interval '{kept}' LIMIT {BATCH} FOR UPDATE SKIP LOCKED)"
    )


async def round_of_deletions() -> bool:
    """Delete what has expired, up to a bound for each table, giving way to requests between batches.

    Returns:
        whether there may be more.
    """
    more = False
    for table, key, kept in EXPIRING:
        for _ in range(BATCHES_A_ROUND):
            started = time.perf_counter()
            if await delete_expired(table, key, kept) < BATCH:
                break
            await asyncio.sleep(PAUSE * (time.perf_counter() - started))
        else:
            more = True
    return more


async def run() -> None:
    """Keep house for ever. Workers start at random moments so that they do not all work at once."""
    more = False
    while True:
        if not more:
            await asyncio.sleep(random.uniform(0.5, 1.5) * INTERVAL_SECONDS)  # noqa: S311
        more = False
        try:
            more = await round_of_deletions()
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, DatabaseUnavailable) as error:
            log.warning("housekeeping_failed", **exception_fields(error))
