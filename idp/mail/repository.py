"""Every statement on the outbox (docs/decisions/0045-repositories.md)."""

from datetime import datetime
from uuid import UUID

import msgspec

from idp.infra.db.engine import execute, fetch, fetchrow
from idp.infra.db.expiring import Expiring
from idp.infra.db.listing import Filter, Listing, Sort
from idp.infra.db.rows import many, one
from idp.mail.tables import Mail

# The outbox marks unsent messages as dead before they are deleted.
EXPIRING = (Expiring(Mail, "1 day"),)

# A message that is not sent is stored too, in its final state, with the reason as its response.
_QUEUE = """
    INSERT INTO mail (id, recipient, template, content, state, attempts, response, created_at, next_attempt_at,
                      expires_at, finished_at)
    SELECT $1, $2, $3, CASE WHEN fate = '' THEN $4::bytea END, CASE WHEN fate = '' THEN 'queued' ELSE 'dead' END, 0,
           fate, now(), CASE WHEN fate = '' THEN now() END,
           now() + make_interval(secs => CASE WHEN fate = '' THEN $5::float8 ELSE $6::float8 END),
           CASE WHEN fate <> '' THEN now() END
    FROM (SELECT CASE WHEN $7::boolean THEN 'No user has this address.'
                      WHEN count(*) >= $8 THEN 'Over its budget.' ELSE '' END AS fate
          FROM mail WHERE recipient = $2 AND template = $3 AND created_at > now() - interval '1 hour'
                      AND (state <> 'dead' OR attempts > 0)) AS decided
    RETURNING state
"""
_CLAIM = """
    WITH due AS MATERIALIZED (
        SELECT id FROM mail WHERE next_attempt_at <= now() ORDER BY next_attempt_at LIMIT $1 FOR UPDATE SKIP LOCKED
    )
    UPDATE mail SET state = 'sending', attempts = attempts + 1, next_attempt_at = now() + make_interval(secs => $2)
    FROM due WHERE mail.id = due.id
    RETURNING mail.id, recipient, template, content, attempts, expires_at > now() AS live
"""
# After its lease is lost, a process may still record that the message was sent, but nothing else.
_FINISH = """
    UPDATE mail SET state = $3, response = $4, content = NULL, next_attempt_at = NULL, finished_at = now(),
                    expires_at = now() + make_interval(secs => $5)
    WHERE id = $1 AND finished_at IS NULL AND (attempts = $2 OR $3 = 'sent')
"""
_DEFER = """
    UPDATE mail SET state = 'deferred', response = $3, next_attempt_at = now() + make_interval(secs => $4)
    WHERE id = $1 AND state = 'sending' AND attempts = $2
"""
_RENEW = """
    UPDATE mail SET next_attempt_at = now() + make_interval(secs => $3)
    WHERE id = $1 AND state = 'sending' AND attempts = $2
"""
_COUNTS = """
    SELECT (SELECT count(*) FROM (SELECT FROM mail WHERE next_attempt_at IS NOT NULL LIMIT 1000) AS m) AS waiting,
           (SELECT count(*) FROM (SELECT FROM mail WHERE state = 'dead' AND attempts > 0
                                  AND finished_at > now() - interval '1 day' LIMIT 1000) AS m) AS dead,
           coalesce((SELECT extract(epoch FROM now() - min(next_attempt_at))::float8 FROM mail
                     WHERE next_attempt_at < now()), 0) AS overdue
"""
_GIVE_UP_ALL = """
    UPDATE mail SET state = 'dead', response = $1, content = NULL, next_attempt_at = NULL, finished_at = now()
    WHERE next_attempt_at IS NOT NULL
"""
_RETRY = "UPDATE mail SET next_attempt_at = now() WHERE id = $1 AND state = 'deferred'"


class DueMessage(msgspec.Struct, frozen=True):
    """A message that this process holds a lease on.

    Attributes:
        content: the encrypted values of its templates; None if the row was damaged.
        attempts: the number of this attempt, which identifies the lease.
        live: whether it is still worth sending.
    """

    id: UUID
    recipient: str
    template: str
    content: bytes | None
    attempts: int
    live: bool


class ListedMessage(msgspec.Struct, frozen=True):
    """A message as administrators see it, without its content."""

    id: UUID
    created_at: datetime
    recipient: str
    template: str
    state: str
    attempts: int
    response: str
    next_attempt_at: datetime | None
    finished_at: datetime | None


class MailCounts(msgspec.Struct, frozen=True):
    """The number of messages that wait, and of those given up within a day; each at most 1000.

    Attributes:
        dead: without those that were never to be sent, because no user has the address or it is over its budget.
        overdue: seconds since the next attempt of a message was due; 0 if none is.
    """

    waiting: int
    dead: int
    overdue: float


async def queue(
    id: UUID, recipient: str, template: str, content: bytes, *, lifetime: float, kept: float, void: bool, budget: int
) -> bool:
    """Insert a message. Returns False if it will not be sent: void, or over the hourly budget of the recipient.

    Args:
        lifetime: seconds until sending is given up.
        kept: seconds for which a message that is not sent is kept.
    """
    row = await fetchrow(_QUEUE, id, recipient, template, content, lifetime, kept, void, budget)
    return row is not None and row["state"] == "queued"


async def claim(limit: int, lease: float) -> list[DueMessage]:
    """Take a lease of so many seconds on messages that are due."""
    return many(DueMessage, await fetch(_CLAIM, limit, lease))


async def renew(id: UUID, attempts: int, lease: float) -> None:
    """Extend the lease on a message."""
    await execute(_RENEW, id, attempts, lease)


async def finish(id: UUID, attempts: int, state: str, response: str, kept: float) -> None:
    """Record that a message is sent or dead, and erase its content."""
    await execute(_FINISH, id, attempts, state, response, kept)


async def defer(id: UUID, attempts: int, response: str, wait: float) -> None:
    """Record a failed attempt. The next one is due after so many seconds."""
    await execute(_DEFER, id, attempts, response, wait)


async def give_up_all(response: str) -> int:
    """Give up every message that waits. Returns their number."""
    return await execute(_GIVE_UP_ALL, response)


async def count_mails() -> MailCounts:
    """Return how many messages wait and how many could not be sent."""
    counts = one(MailCounts, await fetchrow(_COUNTS))
    assert counts is not None  # noqa: S101 -- the statement returns one row
    return counts


async def retry(id: UUID) -> bool:
    """Make a deferred message due now. Returns False if there is no such message."""
    return bool(await execute(_RETRY, id))


async def latest(limit: int, *, state: str | None = None, recipient: str | None = None) -> list[ListedMessage]:
    """Return the most recent messages, newest first."""
    columns = (getattr(Mail, name) for name in ListedMessage.__struct_fields__)
    query = Mail.select(*columns).order_by(Mail.id, ascending=False).limit(limit)
    if state is not None:
        query = query.where(Mail.state == state)
    if recipient is not None:
        query = query.where(Mail.recipient == recipient)
    return many(ListedMessage, await query)


# The list for administrators

MAILS = Listing(
    source="mail AS m",
    columns="m.id, m.recipient, m.template, m.state, m.attempts, m.response, m.created_at, m.next_attempt_at,"
    " m.expires_at, m.finished_at",
    key=Sort("m.id", "uuid"),
    sorts={"created_at": Sort("m.created_at")},
    default_sort="-created_at",
    filters={
        "id": Filter("m.id = {}", "uuid", "One mail."),
        "recipient": Filter("m.recipient = lower({})", help="To this address."),
        "state": Filter("m.state = {}", choices=("queued", "sending", "sent", "deferred", "dead"), help="In it."),
        "template": Filter("m.template = {}", help="Of this kind."),
    },
)
