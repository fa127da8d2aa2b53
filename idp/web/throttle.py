"""How often something may be done: decided in PostgreSQL, by one statement, for all replicas together.

Two kinds of limit. A :class:`Rate` lets so many events come at once, and then one every so often (generic cell rate
algorithm). An :class:`Escalation` lets a few come freely, and after each further one makes the next wait longer.

Call these outside of transactions: what was refused must stay counted when the caller rolls back.
"""

import math
from collections.abc import Iterable
from hashlib import sha256
from typing import NamedTuple

import asyncpg

from idp.db.engine import execute
from idp.db.named import Named
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


# The keys come in order, so that two decisions about the same subjects do not wait for each other.
_SPEND = """
    INSERT INTO throttle AS t (key, rule, number, interval, tolerance, refused, free_at)
    SELECT key, rule, 1, interval, tolerance, false, now() + make_interval(secs => interval)
    FROM unnest(:rate_keys::bytea[], :rates::text[], :intervals::float8[], :tolerances::float8[])
         AS s (key, rule, interval, tolerance)
    ON CONFLICT (key) DO UPDATE SET
        number = t.number + 1,
        refused = t.free_at > now() + make_interval(secs => EXCLUDED.tolerance),
        free_at = CASE WHEN t.free_at > now() + make_interval(secs => EXCLUDED.tolerance) THEN t.free_at
                       ELSE greatest(t.free_at, now()) + make_interval(secs => EXCLUDED.interval) END
    RETURNING CASE WHEN refused THEN extract(epoch FROM free_at - now())::float8 - tolerance ELSE 0 END AS wait
"""
# Free tries are never refused: of two at once, the later one may have begun before the earlier one was counted.
_TRY = """
    INSERT INTO throttle AS t (key, rule, number, interval, tolerance, refused, free_at)
    SELECT {key}, :rule, 1, :longest, 0, false, now() WHERE NOT EXISTS (SELECT FROM spent WHERE wait > 0)
    ON CONFLICT (key) DO UPDATE SET
        refused = t.number >= :free AND t.free_at > now(),
        number = CASE WHEN t.number >= :free AND t.free_at > now() THEN t.number
                     WHEN t.free_at < now() - make_interval(secs => :longest) THEN 1
                     ELSE t.number + 1 END,
        free_at = CASE WHEN t.number >= :free AND t.free_at > now() THEN t.free_at
                       WHEN t.free_at < now() - make_interval(secs => :longest) OR t.number < :free - 1 THEN now()
                       ELSE now() + make_interval(secs => least(:longest, power(2, least(t.number - :free + 2, 30))))
                  END
    RETURNING number, CASE WHEN refused THEN extract(epoch FROM free_at - now())::float8 ELSE 0 END AS wait
"""
#: Parts of a statement that counts an attempt, where ``{key}`` is its row in SQL: what comes behind WITH, and what
#: comes behind SELECT for :func:`attempted`. The parameters are those of :func:`attempting`.
ATTEMPT = f"spent AS ({_SPEND}), tried AS ({_TRY})"
ATTEMPTED = """
    (SELECT max(wait) FROM spent) AS over, tried.number, tried.wait FROM (SELECT) AS always LEFT JOIN tried ON true
"""
_SPEND_ALONE, _ATTEMPT_ALONE = Named(_SPEND), Named(f"WITH {ATTEMPT.format(key=':key')} SELECT {ATTEMPTED}")
_FORGET = "DELETE FROM throttle WHERE key = ANY($1)"


def key(rule: Escalation | Rate, subject: str) -> bytes:
    """The row of a subject."""
    return sha256(f"{rule.name}\0{subject}".encode()).digest()


def _spending(events: Iterable[tuple[Rate, str]]) -> dict[str, object]:
    keyed = sorted((key(rate, subject), rate) for rate, subject in events)
    rates = [rate for _, rate in keyed]
    return {
        "rate_keys": [key for key, _ in keyed],
        "rates": [rate.name for rate in rates],
        "intervals": [rate.interval for rate in rates],
        "tolerances": [rate.interval * (rate.burst - 1) for rate in rates],
    }


def _refuse(wait: float) -> None:
    if wait > 0:
        raise TooManyTries(math.ceil(wait))


async def spend(*events: tuple[Rate, str]) -> None:
    """Count an event for each rule and subject, or refuse it.

    Raises:
        TooManyTries: one of them is over its rate. Waiting helps: what is refused does not make it longer.
    """
    _refuse(max(row["wait"] for row in await _SPEND_ALONE.fetch(**_spending(events))))


async def attempt(rule: Escalation, subject: str) -> Attempt:
    """Count an event of one subject, unless it comes too early."""
    row = await _ATTEMPT_ALONE.fetchrow(key=key(rule, subject), **attempting(rule))
    assert row is not None  # noqa: S101 -- there is always one
    return attempted(row)


def attempting(rule: Escalation, events: Iterable[tuple[Rate, str]] = ()) -> dict[str, object]:
    """The parameters of :data:`ATTEMPT`.

    Args:
        events: what is spent before. Where a rate refuses it, the attempt is not counted.
    """
    return _spending(events) | {"rule": rule.name, "longest": rule.longest, "free": rule.free}


def attempted(row: asyncpg.Record) -> Attempt:
    """What :data:`ATTEMPTED` says.

    Raises:
        TooManyTries: an event is over its rate.
    """
    _refuse(row["over"] or 0)
    return Attempt(row["number"], row["wait"])


async def forget(*counts: tuple[Escalation | Rate, str]) -> None:
    """Start counting anew for each rule and subject."""
    await execute(_FORGET, sorted(key(rule, subject) for rule, subject in counts))
