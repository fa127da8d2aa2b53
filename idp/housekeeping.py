"""Deleting what has expired, a little at a time, in the background.

Nothing depends on it: every predicate checks expiry itself. It only keeps the tables small.
"""

import asyncio
import random
import time
from datetime import UTC, datetime
from typing import NamedTuple

import asyncpg
import structlog

from idp.db.engine import DatabaseUnavailable, fetchrow
from idp.web.logs import exception_fields

log = structlog.get_logger()

INTERVAL_SECONDS = 60.0
#: Most rows of one statement, and with how many a round begins. They are locked until it has ended.
BATCH, FIRST_BATCH = 500, 50
#: How long rows should be locked, in seconds: a batch that took longer is followed by a smaller one.
LOCKED_SECONDS = 0.02
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
    ("idempotent_answer", "id", "1 hour"),
    ("throttle", "key", "1 day"),
)
BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)
#: How far a round came in the tables that it did not finish.
_reached: dict[str, datetime] = {}
#: Where the time that rows expire at has another name.
EXPIRY = {"throttle": "free_at"}


class Deleted(NamedTuple):
    """How many rows a batch had, and when the last of them expired."""

    rows: int
    until: datetime


async def delete_expired(table: str, key: str, kept: str, limit: int, since: datetime = BEGINNING) -> Deleted:
    """Delete one batch, the oldest first. Rows that another replica is deleting are passed over.

    Args:
        limit: most rows.
        since: where the batch before ended. What was deleted just now still fills the beginning of the index.
    """
    expiry = EXPIRY.get(table, "expires_at")
    # Table, column and interval are the constants above. Without the order, PostgreSQL may read the whole table.
    row = await fetchrow(
        f"WITH old AS (SELECT {key}, {expiry} AS expired_at FROM {table}"  # noqa: S608
        f" WHERE {expiry} < now() - interval '{kept}' AND {expiry} >= $1 ORDER BY {expiry} LIMIT {limit}"
        f" FOR UPDATE SKIP LOCKED), gone AS (DELETE FROM {table} AS t USING old WHERE t.{key} = old.{key})"
        " SELECT count(*) AS rows, max(expired_at) AS until FROM old",
        since,
    )
    assert row is not None  # noqa: S101 -- an aggregate gives its row
    return Deleted(row["rows"], row["until"] or since)


async def round_of_deletions() -> bool:
    """Delete what has expired, up to a bound for each table, giving way to requests between batches.

    Returns:
        whether there may be more.
    """
    more = False
    for table, key, kept in EXPIRING:
        deleted, size = Deleted(0, _reached.pop(table, BEGINNING)), FIRST_BATCH
        for _ in range(BATCHES_A_ROUND):
            started = time.perf_counter()
            deleted = await delete_expired(table, key, kept, size, deleted.until)
            if deleted.rows < size:
                break
            took = time.perf_counter() - started
            size = max(1, size // 2) if took > LOCKED_SECONDS else min(BATCH, 2 * size)
            await asyncio.sleep(PAUSE * took)
        else:
            _reached[table] = deleted.until
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
