"""Every statement on the outbox of deliveries (docs/decisions/0062-one-outbox-for-deliveries.md)."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from idp.delivery.handlers import NOT_SENT
from idp.delivery.tables import Delivery, DeliveryStream
from idp.infra.db.coalescing import CoalescedQuery
from idp.infra.db.engine import execute, fetch, fetchrow
from idp.infra.db.expiring import Expiring
from idp.infra.db.listing import Filter, Listing, Sort
from idp.infra.db.rows import many, one

STATES = ("queued", "deferred", "delivered", "dead")
#: Maximum number of waiting streams that a statement reads at a time.
WALK = 500
#: Failed attempts in a row after which a receiver counts as failing.
FAILURES = 5

# The outbox marks deliveries as dead before they are deleted. A pause is at most minutes long.
EXPIRING = (
    Expiring(Delivery, "1 day"),
    Expiring(DeliveryStream, "1 day", key=("stream",), expiry="free_at"),
)

# The time of the statement, not of the transaction: it orders the deliveries of transactions that wait for each other.
_QUEUE = """
    INSERT INTO delivery (id, kind, stream, content, user_id, session_id, state, attempts, response, created_at,
                          next_attempt_at, expires_at, urgent)
    SELECT id, kind, stream, content, user_id, session_id, 'queued', 0, '', statement_timestamp(),
           statement_timestamp(), statement_timestamp() + make_interval(secs => lifetime), urgent
    FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bytea[], $5::uuid[], $6::uuid[], $7::float8[], $8::boolean[])
         AS q (id, kind, stream, content, user_id, session_id, lifetime, urgent)
"""
# The streams after $1 with waiting deliveries, each by one look into the index.
_WALK = f"""
    walk (stream, number) AS (
        (SELECT stream, 1 FROM delivery WHERE next_attempt_at IS NOT NULL AND stream > $1 ORDER BY stream LIMIT 1)
        UNION ALL
        SELECT (SELECT d.stream FROM delivery AS d WHERE d.next_attempt_at IS NOT NULL AND d.stream > walk.stream
                ORDER BY d.stream LIMIT 1), number + 1
        FROM walk WHERE walk.stream IS NOT NULL AND number < {WALK}
    )
"""  # noqa: S608
_WAITING = f"""
    WITH RECURSIVE {_WALK}
    SELECT walk.stream, coalesce(s.failures, 0) AS failures,
           coalesce(s.free_at <= now(), true) AND EXISTS (
               SELECT FROM delivery AS d WHERE d.stream = walk.stream AND d.next_attempt_at <= now()
                                           AND d.kind = ANY ($2::text[])) AS due
    FROM walk LEFT JOIN delivery_stream AS s ON s.stream = walk.stream
    WHERE walk.stream IS NOT NULL ORDER BY walk.number
"""  # noqa: S608
_LEASE = """
    INSERT INTO delivery_stream AS s (stream, holder, failures, free_at)
    SELECT stream, $2, 0, now() + make_interval(secs => $3) FROM unnest($1::text[]) AS stream ORDER BY stream
    ON CONFLICT (stream) DO UPDATE SET holder = excluded.holder, free_at = excluded.free_at WHERE s.free_at <= now()
    RETURNING stream, failures
"""
_RENEW = """
    UPDATE delivery_stream SET free_at = now() + make_interval(secs => $3)
    WHERE stream = $1 AND holder = $2 AND free_at > now()
"""
# Several processes free and lease streams at the same time, in the order of their names (no deadlock).
_FREE = CoalescedQuery(
    "stream text, holder uuid",
    """
    WITH held AS MATERIALIZED (
        SELECT s.stream, a.number FROM asked AS a JOIN delivery_stream AS s USING (stream, holder)
        ORDER BY s.stream FOR UPDATE OF s
    ), freed AS (DELETE FROM delivery_stream WHERE stream IN (SELECT stream FROM held))
    SELECT number FROM held
    """,
)
_PAUSE = """
    UPDATE delivery_stream SET holder = NULL, failures = $3, free_at = now() + make_interval(secs => $4)
    WHERE stream = $1 AND holder = $2
"""


def _due(condition: str) -> str:
    return f"""
        SELECT id, kind, stream, content, user_id, session_id, attempts, urgent, next_attempt_at FROM delivery
        WHERE stream = $1 AND next_attempt_at <= now() AND {condition} AND kind = ANY ($2::text[])
        ORDER BY next_attempt_at, id LIMIT $3
    """  # noqa: S608


# Each of the two reads the beginning of an index.
_DUE = f"""
    SELECT id, kind, stream, content, user_id, session_id, attempts
    FROM (({_due("urgent")}) UNION ALL ({_due("NOT urgent")})) AS d ORDER BY urgent DESC, next_attempt_at, id LIMIT $3
"""  # noqa: S608
_EXPIRE = """
    WITH old AS MATERIALIZED (
        SELECT id FROM delivery WHERE stream = $1 AND next_attempt_at IS NOT NULL AND expires_at <= now()
        ORDER BY id FOR NO KEY UPDATE
    )
    UPDATE delivery SET state = 'dead', next_attempt_at = NULL, finished_at = now(),
                        response = CASE response WHEN '' THEN 'It was too late to send it.' ELSE response END,
                        expires_at = now() + make_interval(secs => $2)
    WHERE id IN (SELECT id FROM old) AND next_attempt_at IS NOT NULL
    RETURNING kind
"""
# After its lease is lost, a process may still record that a delivery is finished, but not a failure. Whatever finishes
# several deliveries locks them in the order of their ids (no deadlock).
_FINISH = CoalescedQuery(
    "id uuid, state text, response text, kept float8",
    """
    WITH found AS MATERIALIZED (
        SELECT d.id, a.number, a.state, a.response, a.kept FROM asked AS a JOIN delivery AS d USING (id)
        WHERE d.next_attempt_at IS NOT NULL ORDER BY d.id FOR NO KEY UPDATE OF d
    ), finished AS (
        UPDATE delivery AS d SET state = f.state, response = f.response, attempts = d.attempts + 1,
                                 next_attempt_at = NULL, finished_at = now(),
                                 expires_at = now() + make_interval(secs => f.kept),
                                 content = CASE f.state WHEN 'dead' THEN d.content END
        FROM found AS f WHERE d.id = f.id
    )
    SELECT number FROM found
    """,
)
_DEFER = """
    UPDATE delivery SET state = 'deferred', response = $3, attempts = attempts + 1,
                        next_attempt_at = CASE WHEN $4::float8 > 0 THEN now() + make_interval(secs => $4)
                                               ELSE next_attempt_at END
    WHERE id = $1 AND next_attempt_at IS NOT NULL AND attempts = $2
"""
# Least ignores NULL. A deferred delivery keeps its place in its stream.
_REPLAY = """
    WITH again AS (
        UPDATE delivery SET state = 'queued', attempts = 0, next_attempt_at = least(next_attempt_at, now()),
                            finished_at = NULL, expires_at = now() + make_interval(secs => $2)
        WHERE id = $1 AND state IN ('dead', 'deferred') AND content IS NOT NULL RETURNING stream
    ), freed AS (
        UPDATE delivery_stream AS s SET free_at = now() FROM again WHERE s.stream = again.stream AND s.holder IS NULL
    ) SELECT FROM again
"""
_REPLAY_STREAM = """
    WITH dead AS MATERIALIZED (
        SELECT id FROM delivery WHERE stream = $1 AND state = 'dead' ORDER BY id LIMIT $3 FOR NO KEY UPDATE
    )
    UPDATE delivery SET state = 'queued', attempts = 0, next_attempt_at = now(), finished_at = NULL,
                        expires_at = now() + make_interval(secs => $2)
    WHERE id IN (SELECT id FROM dead) AND state = 'dead' AND content IS NOT NULL
"""
_GIVE_UP_STREAM = """
    WITH waiting AS MATERIALIZED (
        SELECT id FROM delivery WHERE stream = $1 AND next_attempt_at IS NOT NULL ORDER BY id FOR NO KEY UPDATE
    )
    UPDATE delivery SET state = 'dead', response = $2, content = NULL, next_attempt_at = NULL, finished_at = now(),
                        expires_at = now() + make_interval(secs => $3)
    WHERE id IN (SELECT id FROM waiting) AND next_attempt_at IS NOT NULL
"""
# Receivers for which something waits.
_FAILING = f"""
    FROM delivery_stream AS s
    WHERE failures >= {FAILURES} AND EXISTS (
        SELECT FROM delivery AS d WHERE d.stream = s.stream AND d.next_attempt_at IS NOT NULL)
"""
_FAILING_STREAMS = f"SELECT stream, failures {_FAILING} ORDER BY failures DESC, stream LIMIT $1"
_END_PAUSE = "UPDATE delivery_stream SET free_at = now() WHERE stream = $1 AND holder IS NULL"
_CHANGE_KIND = """
    WITH waiting AS MATERIALIZED (
        SELECT id FROM delivery WHERE stream = $1 AND next_attempt_at IS NOT NULL AND kind <> $2
        ORDER BY id FOR NO KEY UPDATE
    )
    UPDATE delivery SET kind = $2 WHERE id IN (SELECT id FROM waiting) AND next_attempt_at IS NOT NULL
"""
_ACKNOWLEDGE = """
    WITH found AS MATERIALIZED (
        SELECT d.id, a.reason FROM unnest($2::uuid[], $3::text[]) AS a (id, reason) JOIN delivery AS d USING (id)
        WHERE d.stream = $1 AND d.next_attempt_at IS NOT NULL ORDER BY d.id FOR NO KEY UPDATE OF d
    )
    UPDATE delivery AS d SET state = CASE f.reason WHEN '' THEN 'delivered' ELSE 'dead' END, response = f.reason,
                             attempts = attempts + 1, next_attempt_at = NULL, finished_at = now(),
                             expires_at = now() + make_interval(secs => $4),
                             content = CASE f.reason WHEN '' THEN NULL ELSE content END
    FROM found AS f WHERE d.id = f.id
"""
# A delivery of a paused stream waits for the end of the pause, and one that no server sends for its receiver.
_NEXT_ATTEMPT = f"""
    CASE WHEN d.next_attempt_at IS NOT NULL AND d.kind NOT IN {NOT_SENT} THEN greatest(d.next_attempt_at, (
        SELECT s.free_at FROM delivery_stream AS s WHERE s.stream = d.stream AND s.holder IS NULL)) END
"""  # noqa: S608
_STATES_OF_SESSION = f"""
    SELECT d.id, d.kind, d.stream, d.state, d.attempts, d.response, d.created_at, {_NEXT_ATTEMPT} AS next_attempt_at,
           d.finished_at
    FROM delivery AS d WHERE d.user_id = $1 AND d.session_id = $2 ORDER BY d.id
"""  # noqa: S608
_COUNT_WAITING = """
    SELECT count(*) AS number FROM (
        SELECT FROM delivery WHERE stream = $1 AND next_attempt_at IS NOT NULL LIMIT $2) AS d
"""
# A delivery is overdue if its stream may be served, and no process does. The times of one stream are in its order.
_COUNTS = f"""
    WITH RECURSIVE {_WALK}
    SELECT (SELECT count(*) FROM (SELECT FROM delivery WHERE next_attempt_at IS NOT NULL LIMIT 1000) AS d) AS waiting,
           (SELECT count(*) FROM (SELECT FROM delivery WHERE state = 'dead' AND finished_at > now() - interval '1 day'
                                  LIMIT 1000) AS d) AS dead,
           (SELECT count(*) FROM (SELECT {_FAILING} LIMIT 1000) AS s) AS failing,
           coalesce((
               SELECT extract(epoch FROM now() - min(greatest(d.next_attempt_at, s.free_at)))::float8
               FROM walk LEFT JOIN delivery_stream AS s ON s.stream = walk.stream CROSS JOIN LATERAL (
                   SELECT kind, next_attempt_at FROM delivery AS d
                   WHERE d.stream = walk.stream AND d.next_attempt_at < now() ORDER BY d.next_attempt_at LIMIT 1
               ) AS d
               WHERE d.kind NOT IN {NOT_SENT} AND coalesce(s.free_at <= now(), true)
           ), 0) AS overdue
"""  # noqa: S608


def columns_of_stream(stream: str) -> str:
    """Return the columns that say how far the deliveries to a receiver are, for lists of receivers.

    ``waiting`` and ``dead`` are numbers, each at most 1000. ``delivered_at`` is the time of the last acknowledgement,
    ``failures`` how many attempts failed in a row, ``paused_until`` the time of the next one.

    Args:
        stream: the expression that names the stream.
    """
    return f"""
        (SELECT count(*) FROM (SELECT FROM delivery AS d WHERE d.stream = {stream} AND d.next_attempt_at IS NOT NULL
                               LIMIT 1000) AS d) AS waiting,
        (SELECT count(*) FROM (SELECT FROM delivery AS d WHERE d.stream = {stream} AND d.state = 'dead'
                               LIMIT 1000) AS d) AS dead,
        (SELECT d.finished_at FROM delivery AS d WHERE d.stream = {stream} AND d.state = 'delivered'
         ORDER BY d.finished_at DESC LIMIT 1) AS delivered_at,
        coalesce((SELECT r.failures FROM delivery_stream AS r WHERE r.stream = {stream}), 0) AS failures,
        (SELECT r.free_at FROM delivery_stream AS r
         WHERE r.stream = {stream} AND r.holder IS NULL AND r.free_at > now()) AS paused_until
    """  # noqa: S608


class NewDelivery(msgspec.Struct, frozen=True):
    """A delivery to store. ``lifetime``: seconds until it is given up."""

    id: UUID
    kind: str
    stream: str
    content: bytes
    user_id: UUID | None
    session_id: UUID | None
    lifetime: float
    urgent: bool


class WaitingStream(msgspec.Struct, frozen=True):
    """A stream with unfinished deliveries.

    Attributes:
        failures: how many attempts failed in a row.
        due: whether it may be served now.
    """

    stream: str
    failures: int
    due: bool


class Lease(msgspec.Struct, frozen=True):
    """A stream that this process serves."""

    stream: str
    failures: int


class FailingStream(msgspec.Struct, frozen=True):
    """A receiver that fails. ``failures``: attempts that failed in a row."""

    stream: str
    failures: int


class StoredDelivery(msgspec.Struct, frozen=True):
    """A delivery that is due. ``content`` is encrypted; None if the row was damaged."""

    id: UUID
    kind: str
    stream: str
    content: bytes | None
    user_id: UUID | None
    session_id: UUID | None
    attempts: int


class DeliveryState(msgspec.Struct, frozen=True):
    """How far a delivery is.

    Attributes:
        state: queued (not tried yet), deferred (tried, and tried again), delivered or dead.
        response: the receiver's last response, or our reason.
        finished_at: the time at which it was delivered or given up.
    """

    id: UUID
    kind: str
    stream: str
    state: str
    attempts: int
    response: str
    created_at: datetime
    next_attempt_at: datetime | None
    finished_at: datetime | None


class DeliveryCounts(msgspec.Struct, frozen=True):
    """The number of deliveries that wait, of those given up within a day, and of failing receivers; each at most 1000.

    Attributes:
        overdue: seconds for which a delivery has been due without a server that sends it; 0 if none is. Of
            :data:`WALK` receivers.
    """

    waiting: int
    dead: int
    failing: int
    overdue: float


async def queue(deliveries: Sequence[NewDelivery]) -> None:
    """Insert deliveries."""
    columns = zip(*(msgspec.structs.astuple(delivery) for delivery in deliveries), strict=True)
    await execute(_QUEUE, *map(list, columns))


async def waiting_streams(after: str, kinds: Sequence[str]) -> list[WaitingStream]:
    """Return the streams with unfinished deliveries in order of their names, up to :data:`WALK`."""
    return many(WaitingStream, await fetch(_WAITING, after, kinds))


async def lease(streams: Sequence[str], holder: UUID, seconds: float) -> list[Lease]:
    """Take a lease on those of the streams that no process serves and that are not paused."""
    return many(Lease, await fetch(_LEASE, streams, holder, seconds))


async def renew(stream: str, holder: UUID, seconds: float) -> bool:
    """Extend a lease. Returns False if it was lost."""
    return bool(await execute(_RENEW, stream, holder, seconds))


async def free(stream: str, holder: UUID) -> None:
    """End a lease on a receiver that works."""
    await _FREE.fetchrow(stream=stream, holder=holder)


async def pause(stream: str, holder: UUID, failures: int, seconds: float) -> None:
    """End a lease on a receiver that fails. Its next delivery is sent after so many seconds."""
    await execute(_PAUSE, stream, holder, failures, seconds)


async def due(stream: str, kinds: Sequence[str], limit: int) -> list[StoredDelivery]:
    """Return the deliveries of a stream that are due, in order."""
    return many(StoredDelivery, await fetch(_DUE, stream, kinds, limit))


async def expire(stream: str, kept: float) -> list[str]:
    """Give up the deliveries of a stream whose lifetime has ended. Returns their kinds."""
    return [row["kind"] for row in await fetch(_EXPIRE, stream, kept)]


async def finish(id: UUID, state: str, response: str, kept: float) -> None:
    """Record that a delivery is delivered, which erases its content, or dead.

    Args:
        kept: seconds for which the state is kept.
    """
    await _FINISH.fetchrow(id=id, state=state, response=response, kept=kept)


async def defer(id: UUID, attempts: int, response: str, wait: float) -> None:
    """Record a failed attempt.

    Args:
        attempts: the number of attempts before it.
        wait: seconds until the next one; 0 keeps the place of the delivery in its stream.
    """
    await execute(_DEFER, id, attempts, response, wait)


async def replay(id: UUID, lifetime: float) -> bool:
    """Send a dead or deferred delivery now, even if its stream is paused.

    Returns False if there is none, or its content is gone.
    """
    return await fetchrow(_REPLAY, id, lifetime) is not None


async def replay_stream(stream: str, lifetime: float, limit: int) -> int:
    """Send the oldest dead deliveries of a stream again, in their order. Returns their number."""
    return await execute(_REPLAY_STREAM, stream, lifetime, limit)


async def give_up_stream(stream: str, response: str, kept: float) -> int:
    """Give up every waiting delivery of a stream whose receiver is gone. Returns their number."""
    return await execute(_GIVE_UP_STREAM, stream, response, kept)


async def failing_streams(limit: int) -> list[FailingStream]:
    """Return the receivers that failed :data:`FAILURES` times, and for which something waits, the worst first."""
    return many(FailingStream, await fetch(_FAILING_STREAMS, limit))


async def end_pause(stream: str) -> None:
    """Let a stream that failed be tried again now."""
    await execute(_END_PAUSE, stream)


async def change_kind(stream: str, kind: str) -> None:
    """Give the waiting deliveries of a stream to another handler."""
    await execute(_CHANGE_KIND, stream, kind)


async def acknowledge(stream: str, results: Sequence[tuple[UUID, str]], kept: float) -> int:
    """Record what a receiver says that it fetched: ids, each with the reason of its refusal, or an empty text.

    Ids of other streams have no effect. Returns how many were recorded.
    """
    ids, reasons = map(list, zip(*results, strict=True))
    return await execute(_ACKNOWLEDGE, stream, ids, reasons, kept)


async def states_of_session(user_id: UUID, session_id: UUID) -> list[DeliveryState]:
    """Return the deliveries about a session, oldest first."""
    return many(DeliveryState, await fetch(_STATES_OF_SESSION, user_id, session_id))


async def count_waiting(stream: str, limit: int) -> int:
    """Return how many deliveries to a receiver wait, at most ``limit``."""
    row = await fetchrow(_COUNT_WAITING, stream, limit)
    return int(row["number"]) if row is not None else 0


async def count_deliveries() -> DeliveryCounts:
    """Return how many deliveries wait and how many were given up, and how many receivers fail."""
    counts = one(DeliveryCounts, await fetchrow(_COUNTS, ""))
    assert counts is not None  # noqa: S101 -- the statement returns one row
    return counts


# The list for administrators

DELIVERIES = Listing(
    source="delivery AS d",
    columns="d.id, d.kind, d.stream, d.user_id, d.session_id, d.state, d.attempts, d.response, d.created_at,"
    f" {_NEXT_ATTEMPT} AS next_attempt_at, d.expires_at, d.finished_at",
    key=Sort("d.id", "uuid"),
    sorts={"created_at": Sort("d.created_at")},
    default_sort="-created_at",
    filters={
        "id": Filter("d.id = {}", "uuid", "One delivery."),
        "kind": Filter("d.kind = {}", help="Of this kind."),
        "stream": Filter("d.stream = {}", help="To this receiver, such as client:CLIENT_ID."),
        "state": Filter("d.state = {}", choices=STATES, help="In it."),
        "user_id": Filter("d.user_id = {}", "uuid", "About this user."),
        "session_id": Filter("d.session_id = {}", "uuid", "About this session."),
    },
)
