"""Deleting what has expired, a little at a time, in the background.

Nothing depends on it: every predicate checks expiry itself. It only keeps the tables small.
"""

import asyncio
import random
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import structlog

from idp.infra.db import outages
from idp.infra.db.engine import execute, fetch
from idp.infra.logs import exception_fields
from idp.settings import settings

log = structlog.get_logger()

INTERVAL_SECONDS = 60.0
#: Most rows of one table in a round. They are looked for together, which locks nothing.
ROUND = 2000
#: Most rows of one statement, and with how many a round begins. They are locked until it has ended.
BATCH, FIRST_BATCH = 100, 25
#: How long rows should be locked, in seconds: a batch that took longer is followed by a smaller one.
LOCKED_SECONDS = 0.01
#: Length of a pause as a multiple of the work before it, so that requests get the disk and the index pages first.
PAUSE = 2
BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)


class Expiring(NamedTuple):
    """A table whose rows expire, and how long they are kept after that.

    Attributes:
        expiry: the column of the time at which they do.
        outlives_tokens: whether it stays until its refresh tokens are gone. PostgreSQL would delete them with it in one
            statement, however many they are.
    """

    name: str
    key: str
    kept: str
    expiry: str = "expires_at"
    outlives_tokens: bool = False

    @property
    def find(self) -> str:
        """The oldest that may go. $1 where the round before ended: what it deleted still fills the index until there"""
        # Without the order, PostgreSQL may read the whole table.
        return (
            f"SELECT {self.key} AS key, {self.expiry} AS expired_at FROM {self.name} AS t"  # noqa: S608
            f" WHERE {self._expired} AND {self.expiry} >= $1 ORDER BY {self.expiry} LIMIT {ROUND}"
        )

    @property
    def delete(self) -> str:
        """Those that may still go and that nobody holds. $1 keys"""
        return (
            f"WITH old AS (SELECT {self.key} FROM {self.name} AS t"  # noqa: S608
            f" WHERE {self.key} = ANY($1) AND {self._expired} FOR UPDATE OF t SKIP LOCKED)"
            f" DELETE FROM {self.name} AS t USING old WHERE t.{self.key} = old.{self.key}"
        )

    @property
    def _expired(self) -> str:
        expired = f"{self.expiry} < now() - interval '{self.kept}'"
        if not self.outlives_tokens:
            return expired
        # Its last token expires so much later. Without that, all that still have some would be looked at each time.
        tokens = f"interval '{settings().refresh_token_lifetime} seconds'"
        return f"{expired} - {tokens} AND NOT EXISTS (SELECT FROM refresh_token AS r WHERE r.family_id = t.id)"


#: A code replayed within a day still revokes its family. Mail that nobody could send is given up by the outbox first.
EXPIRING = (
    Expiring("signin_flow", "id", "1 hour"),
    Expiring("authorization_request", "id", "1 hour"),
    Expiring("authorization_code", "code_hash", "1 day"),
    Expiring("refresh_token", "jti", "1 day"),
    Expiring("token_family", "id", "1 day", outlives_tokens=True),
    Expiring("revoked_access_token", "jti", "1 hour"),
    Expiring("session", "id", "1 day"),
    Expiring("email_proof", "id", "1 hour"),
    Expiring("invitation", "id", "30 days"),
    Expiring("device", "id", "1 day"),
    Expiring("upstream_attempt", "state_hash", "1 hour"),
    Expiring("mail", "id", "1 day"),
    Expiring("idempotent_answer", "id", "1 hour"),
    Expiring("throttle", "key", "1 day", "free_at"),
)
#: How far a round came in the tables that it did not finish.
_reached: dict[str, datetime] = {}


async def delete(table: Expiring, keys: Sequence[object]) -> int:
    """Delete rows that were found, and return how many of them this did."""
    return await execute(table.delete, keys)


async def clean(table: Expiring) -> bool:
    """Delete what has expired in a table, up to a bound, giving way to requests between batches.

    Returns:
        whether there may be more.
    """
    found = await fetch(table.find, _reached.pop(table.name, BEGINNING))
    keys, size = [row["key"] for row in found], FIRST_BATCH
    while keys:
        batch, keys = keys[:size], keys[size:]
        started = time.perf_counter()
        if not await delete(table, batch):
            # Another worker is at it, and two would find the same rows again and again.
            return False
        took = time.perf_counter() - started
        size = max(1, size // 2) if took > LOCKED_SECONDS else min(BATCH, 2 * size)
        await asyncio.sleep(PAUSE * took)
    if len(found) < ROUND:
        return False
    _reached[table.name] = found[-1]["expired_at"]
    return True


async def round_of_deletions() -> bool:
    """Clean every table once. Returns whether there may be more."""
    return any([await clean(table) for table in EXPIRING])


async def run() -> None:
    """Keep house for ever. Workers start at random moments so that they do not all work at once."""
    more = False
    while True:
        if not more:
            await asyncio.sleep(random.uniform(0.5, 1.5) * INTERVAL_SECONDS)  # noqa: S311
        more = False
        try:
            more = await round_of_deletions()
        except outages.ERRORS as error:
            log.warning("housekeeping_failed", **exception_fields(error))
