"""How often something may be done: decided in PostgreSQL, by one statement, for all replicas together.

Two kinds of limit. A :class:`Rate` lets so many events come at once, and then one every so often (generic cell rate
algorithm). An :class:`Escalation` lets a few come freely, and after each further one makes the next wait longer.

Call these outside of transactions: what was refused must stay counted when the caller rolls back.
"""

import math
from hashlib import sha256
from typing import NamedTuple

from idp.db.engine import execute, fetch, fetchrow
from idp.errors import TooManyTries


class Rate(NamedTuple):
    """At most ``burst`` events at once, and then one every ``interval`` seconds."""

    name: str
    burst: int
    interval: float


class Escalation(NamedTuple):
    """``free`` events, then waits that double from two seconds up to ``longest`` seconds.

    After a wait of ``longest`` in which nothing came, counting starts anew.
    """

    name: str
    free: int
    longest: float


class Attempt(NamedTuple):
    """The how manieth this is, and how many seconds it comes too early; 0 when it is allowed."""

    number: int
    wait: float


# The keys in order, so that two decisions about the same subjects do not wait for each other.
_SPEND = """
    INSERT INTO throttle AS t (key, rule, number, interval, tolerance, refused, free_at)
    SELECT key, rule, 1, interval, tolerance, false, now() + make_interval(secs => interval)
    FROM unnest($1::bytea[], $2::text[], $3::float8[], $4::float8[]) AS s (key, rule, interval, tolerance) ORDER BY key
    ON CONFLICT (key) DO UPDATE SET
        number = t.number + 1,
        refused = t.free_at > now() + make_interval(secs => EXCLUDED.tolerance),
        free_at = CASE WHEN t.free_at > now() + make_interval(secs => EXCLUDED.tolerance) THEN t.free_at
                       ELSE greatest(t.free_at, now()) + make_interval(secs => EXCLUDED.interval) END
    RETURNING CASE WHEN refused THEN extract(epoch FROM free_at - now())::float8 ELSE 0 END AS wait, tolerance
"""
# Free tries are never refused: of two at once, the later one may have begun before the earlier one was counted.
_ATTEMPT = """
    INSERT INTO throttle AS t (key, rule, number, interval, tolerance, refused, free_at)
    VALUES ($1, $2, 1, $3, 0, false, now())
    ON CONFLICT (key) DO UPDATE SET
        refused = t.number >= $4 AND t.free_at > now(),
        number = CASE WHEN t.number >= $4 AND t.free_at > now() THEN t.number
                     WHEN t.free_at < now() - make_interval(secs => $3) THEN 1
                     ELSE t.number + 1 END,
        free_at = CASE WHEN t.number >= $4 AND t.free_at > now() THEN t.free_at
                       WHEN t.free_at < now() - make_interval(secs => $3) OR t.number < $4 - 1 THEN now()
                       ELSE now() + make_interval(secs => least($3, power(2, least(t.number - $4 + 2, 30)))) END
    RETURNING number, CASE WHEN refused THEN extract(epoch FROM free_at - now())::float8 ELSE 0 END AS wait
"""
_FORGET = "DELETE FROM throttle WHERE key = ANY($1)"


def _key(rule: str, subject: str) -> bytes:
    return sha256(f"{rule}\0{subject}".encode()).digest()


async def spend(*events: tuple[Rate, str]) -> None:
    """Count an event for each rule and subject, or refuse it.

    Raises:
        TooManyTries: one of them is over its rate. Waiting helps: what is refused does not make it longer.
    """
    rates = [rate for rate, _ in events]
    rows = await fetch(
        _SPEND,
        [_key(rate.name, subject) for rate, subject in events],
        [rate.name for rate in rates],
        [rate.interval for rate in rates],
        [rate.interval * (rate.burst - 1) for rate in rates],
    )
    wait = max(row["wait"] - row["tolerance"] if row["wait"] else 0.0 for row in rows)
    if wait > 0:
        raise TooManyTries(math.ceil(wait))


async def attempt(rule: Escalation, subject: str) -> Attempt:
    """Count an event of one subject, unless it comes too early."""
    row = await fetchrow(_ATTEMPT, _key(rule.name, subject), rule.name, rule.longest, rule.free)
    assert row is not None  # noqa: S101 -- INSERT … RETURNING gives its row
    return Attempt(row["number"], row["wait"])


async def forget(*counts: tuple[Escalation | Rate, str]) -> None:
    """Start counting anew for each rule and subject."""
    await execute(_FORGET, sorted(_key(rule.name, subject) for rule, subject in counts))
