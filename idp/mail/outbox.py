"""The outbox: messages written with the change that causes them, and sent by every server process in turn.

A message is in the database before anybody waits for it, so nothing is lost when SMTP is down or a server is killed.
It is taken up by one process at a time, by a lease of :data:`LEASE_SECONDS` that is renewed while it is sent; who is
killed while sending leaves it to the next one after that time. Delivery is at least once: a process that is killed, or
has no database for longer than the lease, between the SMTP server's answer and our note of it, sends the message twice,
under the same Message-ID. SMTP has no way to ask whether a message was accepted.
"""

import asyncio
import random
from contextlib import suppress
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
import structlog

from idp import ids
from idp.audit.events import storable
from idp.errors import RemoteError
from idp.infra import i18n
from idp.infra.db import outages
from idp.infra.db.engine import execute, fetch, fetchrow
from idp.infra.logs import exception_fields
from idp.keys import vault
from idp.mail import deliver
from idp.mail.messages import compose
from idp.mail.smtp import MailNotSentError
from idp.settings import settings

log = structlog.get_logger()

LEASE_SECONDS, RENEW_SECONDS = 20.0, 5.0
#: Longest conversation with an SMTP server.
SEND_SECONDS = 120.0
#: After the database was away nothing is taken up for so long: others note first what they have sent meanwhile.
SETTLE_SECONDS = 5.0
#: Waits between attempts: the first, doubled up to the last, each give or take a fifth.
FIRST_WAIT, LONGEST_WAIT = 5.0, 900.0
#: Waits between attempts to note what became of a message, while the database is away.
NOTE_WAITS = (0.1, *[1.0] * 300)
#: How often the outbox is looked at without being told.
POLL_SECONDS = 1.0
#: How long what is under way may hold up the end of a process; after ``drain_timeout`` it would be killed.
LAST_SECONDS = 5.0
#: Messages that one process sends at a time.
CONNECTIONS = 4
#: More than that to one address within an hour is given up, whatever caused it.
HOURLY_BUDGET = 30
MAX_RESPONSE_LENGTH = 300

# What is not sent is written down too, finished: its fate is said in words.
_QUEUE = """
    INSERT INTO mail (id, recipient, template, content, state, attempts, response, created_at, next_attempt_at,
                      expires_at, finished_at)
    SELECT $1, $2, $3, CASE WHEN fate = '' THEN $4::bytea END, CASE WHEN fate = '' THEN 'queued' ELSE 'dead' END, 0,
           fate, now(), CASE WHEN fate = '' THEN now() END,
           now() + make_interval(secs => CASE WHEN fate = '' THEN $5::float8 ELSE $6::float8 END),
           CASE WHEN fate <> '' THEN now() END
    FROM (SELECT CASE WHEN $7::boolean THEN 'Nobody here has this address.'
                      WHEN count(*) >= $8 THEN 'Over its budget.' ELSE '' END AS fate
          FROM mail WHERE recipient = $2 AND created_at > now() - interval '1 hour'
                      AND (state <> 'dead' OR attempts > 0)) AS decided
    RETURNING state
"""
# A subquery with LIMIT in place of the CTE may be planned to run more than once, and then takes more than its limit.
_CLAIM = """
    WITH due AS (SELECT id FROM mail WHERE next_attempt_at <= now() ORDER BY next_attempt_at LIMIT $1
                 FOR UPDATE SKIP LOCKED)
    UPDATE mail SET state = 'sending', attempts = attempts + 1, next_attempt_at = now() + make_interval(secs => $2)
    FROM due WHERE mail.id = due.id
    RETURNING mail.id, recipient, template, content, attempts, expires_at > now() AS live
"""
# Whoever was so slow that another took the message up has a say only if it was sent.
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
_RETRY = "UPDATE mail SET next_attempt_at = now() WHERE id = $1 AND state = 'deferred'"

_woken = asyncio.Event()


class MailRejectedError(RemoteError):
    """The message will never be accepted, for the reason given."""


async def queue(to: str, template: str, *, lifetime: int | None = None, void: bool = False, **context: Any) -> None:
    """Write a message, in the caller's transaction.

    Args:
        to: the address of the recipient.
        template: the name of the message, as ``welcome``; see :func:`idp.mail.messages.compose`.
        lifetime: seconds after which it is of no use any more; by default sending is tried for days.
        void: it is not sent, because nobody has the address. The work is the same, so that its time tells nothing.
        context: what its templates need.
    """
    mail_id = ids.uuid7()
    content = msgspec.json.encode({"locale": i18n.locale.get(), "context": context})
    row = await fetchrow(
        _QUEUE,
        mail_id,
        to,
        template,
        vault.seal(content, _context(mail_id)),
        float(lifetime or settings().mail_retry_lifetime),
        float(settings().mail_kept),
        void,
        HOURLY_BUDGET,
    )
    if row is not None and row["state"] == "dead" and not void:
        log.warning("mail_budget_spent", template=template)
    _woken.set()


def _context(id: UUID) -> str:
    return f"mail.content:{id}"


async def retry(id: UUID) -> bool:
    """Try a deferred message again now. Returns whether it is one."""
    return bool(await execute(_RETRY, id))


async def run() -> None:
    """Send what is due, for ever. When cancelled, end what is under way first, within :data:`LAST_SECONDS`."""
    sending: set[asyncio.Task[None]] = set()
    settled = True
    try:
        while True:
            try:
                if not settled:
                    await fetchrow("SELECT 1")
                    await asyncio.sleep(SETTLE_SECONDS)
                sending |= await _take_up(CONNECTIONS - len(sending))
                settled = True
            except Exception as error:
                # Whatever it is, the mail of this process must not end with it.
                log.warning("outbox_failed", **exception_fields(error))
                settled = False
            if len(sending) < CONNECTIONS:
                await _pause()
            else:
                await asyncio.wait(sending, return_when=asyncio.FIRST_COMPLETED)
            sending = {task for task in sending if not task.done()}
    finally:
        # Half a conversation would leave a message in doubt.
        if sending:
            await asyncio.wait(sending, timeout=LAST_SECONDS)
        for task in sending:
            task.cancel()
        await asyncio.gather(*sending, return_exceptions=True)


async def _take_up(count: int) -> set[asyncio.Task[None]]:
    rows = await fetch(_CLAIM, count, LEASE_SECONDS)
    return {asyncio.create_task(_deliver(row)) for row in rows}


async def _pause() -> None:
    """Wait until something is written in this process; others, and what is deferred, are looked for by the clock."""
    with suppress(TimeoutError):
        async with asyncio.timeout(POLL_SECONDS):
            await _woken.wait()
            _woken.clear()
            # The transaction that woke us is not committed yet.
            await asyncio.sleep(0.02)


async def deliver_due() -> int:
    """Send one batch of what is due, and return its size: for commands, which end after it."""
    rows = await fetch(_CLAIM, CONNECTIONS, LEASE_SECONDS)
    await asyncio.gather(*(asyncio.create_task(_deliver(row)) for row in rows))
    return len(rows)


async def _deliver(row: asyncpg.Record) -> None:
    """Send one message and note what became of it. Raises nothing."""
    template = row["template"]
    renewing = asyncio.create_task(_renew(row))
    try:
        response = await _send(row)
    except MailRejectedError as error:
        log.error("mail_dead", template=template, reason=type(error.__cause__ or error).__name__)  # noqa: TRY400
        await _finish(row, "dead", str(error))
    except Exception as error:
        # Whatever it is, the message waits for it to be mended. The text of the error may quote the address.
        event = "mail_not_configured" if isinstance(error, deliver.MailNotConfiguredError) else "mail_deferred"
        log.warning(event, template=template, error=type(error).__name__)
        wait = min(FIRST_WAIT * 2 ** min(row["attempts"] - 1, 20), LONGEST_WAIT) * random.uniform(0.8, 1.2)  # noqa: S311
        await _note(_DEFER, row["id"], row["attempts"], _words(error), wait)
    else:
        await _finish(row, "sent", response)
    finally:
        renewing.cancel()


async def _renew(row: asyncpg.Record) -> None:
    """Keep the lease of a message while it is sent. It is lost while the database is away."""
    while True:
        await asyncio.sleep(RENEW_SECONDS)
        with suppress(*outages.ERRORS):
            await execute(_RENEW, row["id"], row["attempts"], LEASE_SECONDS)


async def _send(row: asyncpg.Record) -> str:
    """Send one message and return the server's words.

    Raises:
        MailRejectedError: it cannot be sent, now or later.
    """
    if not row["live"]:
        raise MailRejectedError("It was too late to send it.")
    content = msgspec.json.decode(vault.open(row["content"], _context(row["id"])))
    i18n.locale.set(content["locale"])
    try:
        message = compose(row["recipient"], row["template"], message_id=str(row["id"]), **content["context"])
    except Exception as error:
        raise MailRejectedError(f"It could not be made: {type(error).__name__}.") from error
    try:
        async with asyncio.timeout(SEND_SECONDS):
            return await deliver.hand_over(message)
    except MailNotSentError as error:
        if error.final:
            raise MailRejectedError(str(error)) from error
        raise


def _words(error: Exception) -> str:
    """What an admin sees of a failure: the server's own words, or ours."""
    text = str(error) if isinstance(error, MailNotSentError | deliver.MailNotConfiguredError) else type(error).__name__
    return str(storable(text))[:MAX_RESPONSE_LENGTH]


async def _finish(row: asyncpg.Record, state: str, response: str) -> None:
    words = str(storable(response))[:MAX_RESPONSE_LENGTH]
    await _note(_FINISH, row["id"], row["attempts"], state, words, float(settings().mail_kept))


async def _note(statement: str, *arguments: object) -> None:
    """Write down what became of a message, once the database is there: what is not noted is sent again."""
    for attempt, wait in enumerate((*NOTE_WAITS, 0.0)):
        try:
            await execute(statement, *arguments)
        except Exception as error:
            if attempt == 0:
                log.warning("outbox_failed", **exception_fields(error))
            await asyncio.sleep(wait)
        else:
            return
