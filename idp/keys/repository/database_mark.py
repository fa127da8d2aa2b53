"""The statements on the mark of the database."""

from datetime import datetime

import msgspec

from idp.infra.db.engine import fetch, fetchrow
from idp.infra.db.rows import many, one

#: Seconds of operation after which the number of the database rises by one.
STEP_SECONDS = 5

_FIND_POSITION = "SELECT epoch, begun, number, at, restored_at FROM database_mark WHERE id = 1"
# The second condition is needed if the clock was set back.
_ADVANCE = f"""
INSERT INTO database_mark AS m (id, epoch, begun, number, at) VALUES (1, 0, 0, 1, now())
ON CONFLICT (id) DO UPDATE SET number = m.number + 1, at = now()
WHERE m.at < now() - interval '{STEP_SECONDS} seconds' OR m.at > now()
RETURNING epoch, begun, number, at, restored_at
"""  # noqa: S608
_BEGIN_EPOCH = """
INSERT INTO database_mark AS m (id, epoch, begun, number, at, restored_at) VALUES (1, $1, $2, $2, now(), now())
ON CONFLICT (id) DO UPDATE SET epoch = greatest(m.epoch + 1, $1), begun = greatest(m.number, $2),
                               number = greatest(m.number, $2), at = now(), restored_at = now()
RETURNING epoch, begun, number, at, restored_at
"""


class Position(msgspec.Struct, frozen=True):
    """Epoch and number of a database.

    Attributes:
        begun: the number at which the epoch began.
        at: when the number last rose, by the database's clock.
        restored_at: the time of the last handled restore.
    """

    epoch: int
    begun: int
    number: int
    at: datetime
    restored_at: datetime | None


async def position() -> Position | None:
    """Return the position of the database, or None if it has never been in use."""
    return one(Position, await fetchrow(_FIND_POSITION))


async def advance() -> Position | None:
    """Raise the number and return the new position. None if it was raised in the last seconds."""
    return one(Position, await fetchrow(_ADVANCE))


async def begin_epoch(epoch: int, number: int) -> Position:
    """Begin an epoch. Its epoch and number are at least these values."""
    return many(Position, await fetch(_BEGIN_EPOCH, epoch, number))[0]
