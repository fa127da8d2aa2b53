"""Rate limits, decided in PostgreSQL for all replicas together.

There are two kinds of limit. A :class:`Rate` allows a burst of events, then one per interval (generic cell rate
algorithm). An :class:`Escalation` allows a few events, then makes each wait longer than the one before.

Every limit that a request is subject to is decided in one call of the SQL function ``throttle_decide``: if one of
them refuses, none is counted. Call :func:`spend` outside of transactions, so that a rollback does not undo the count.
"""

import math
from hashlib import sha256
from typing import Any, NamedTuple

import msgspec

from idp.errors import TooManyRequestsError
from idp.infra.db.engine import execute, fetchrow
from idp.infra.db.expiring import Expiring
from idp.infra.tables import Throttle


class Rate(NamedTuple):
    """At most ``burst`` events at once, and then one every ``interval`` seconds."""

    name: str
    burst: int
    interval: float


class Escalation(NamedTuple):
    """``free`` events, then waits that double from two seconds up to ``longest`` seconds.

    After a wait of ``longest`` without an event, counting starts again.
    """

    name: str
    free: int
    longest: float


Limit = Rate | Escalation
#: A limit, and the subject whose events it counts.
Event = tuple[Limit, str]

EXPIRING = (Expiring(Throttle, "1 day", expiry="free_at"),)

_SPEND = "SELECT over, counted FROM throttle_decide($1::jsonb)"
_WAITS = """
    SELECT coalesce(greatest(0, max(extract(epoch FROM t.free_at - now()))), 0) AS seconds
    FROM throttle AS t JOIN unnest($1::bytea[], $2::int[]) AS e (key, free) ON e.key = t.key WHERE t.number >= e.free
"""
_FORGET = "DELETE FROM throttle WHERE key = ANY($1)"


def key(rule: Limit, subject: str) -> bytes:
    """Return the key of the counter of a subject."""
    return sha256(f"{rule.name}\0{subject}".encode()).digest()


def _values(rule: Limit, subject: str) -> dict[str, Any]:
    escalates = isinstance(rule, Escalation)
    return {
        "key": key(rule, subject).hex(),
        "rule": rule.name,
        "escalates": escalates,
        "free": rule.free if isinstance(rule, Escalation) else rule.burst,
        "seconds": rule.longest if isinstance(rule, Escalation) else rule.interval,
    }


async def spend(*events: Event) -> int:
    """Count all of the events, or none. At most one of them has an :class:`Escalation`.

    Returns:
        the number of escalated waits so far, starting at 1; 0 if there is none.

    Raises:
        TooManyRequestsError: one of the limits refuses. A refusal does not make the wait longer.
    """
    if not events:
        return 0
    row = await fetchrow(_SPEND, msgspec.json.encode([_values(rule, subject) for rule, subject in events]).decode())
    assert row is not None  # noqa: S101 -- the function returns one row
    if row["over"] > 0:
        raise TooManyRequestsError(math.ceil(row["over"]))
    return row["counted"] or 0


async def waits(*counts: Event) -> float:
    """Return the longest wait, in seconds, before the next event of these :class:`Escalation` limits; 0: none."""
    values = [_values(rule, subject) for rule, subject in counts]
    row = await fetchrow(_WAITS, [bytes.fromhex(each["key"]) for each in values], [each["free"] for each in values])
    return float(row["seconds"]) if row is not None else 0.0


async def forget(*counts: Event) -> None:
    """Reset the counters of these rules and subjects."""
    await execute(_FORGET, sorted(key(rule, subject) for rule, subject in counts))
