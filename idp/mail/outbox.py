"""The mail outbox: messages are stored with the change that causes them, and every server process sends them.

No message is lost when SMTP is down or a server is killed, because it is stored first. One process at a time sends a
message: it holds a lease of :data:`LEASE_SECONDS` that it renews while sending. If the process is killed, another one
takes the message when the lease ends. Delivery is at least once: if a process is killed, or has no database for longer
than the lease, after the SMTP server accepted the message and before that is recorded, the message is sent twice with
the same Message-ID. SMTP cannot tell whether a message was accepted.
"""

import asyncio
import random
from contextlib import suppress
from functools import partial
from typing import Any
from uuid import UUID

import msgspec
import structlog

from idp import ids
from idp.audit.events import storable
from idp.branding.registry import brands
from idp.branding.registry import current as current_brand
from idp.errors import RemoteError
from idp.infra import i18n
from idp.infra.db import outages, retries
from idp.infra.db.engine import ping
from idp.infra.logs import exception_fields
from idp.infra.tracing import spans
from idp.keys import vault
from idp.mail import deliver, repository
from idp.mail.brand import for_mail
from idp.mail.messages import compose
from idp.mail.repository import DueMessage
from idp.mail.smtp import MailNotSentError
from idp.mail.templates.registry import overrides
from idp.settings import settings

log = structlog.get_logger()

LEASE_SECONDS, RENEW_SECONDS = 20.0, 5.0
#: Maximum duration of an SMTP conversation.
SEND_SECONDS = 120.0
#: Wait after a database outage before taking messages, so that other processes can record what they sent.
SETTLE_SECONDS = 5.0
#: Wait between attempts: doubled from the first to the longest, with a jitter of 20 %.
FIRST_WAIT, LONGEST_WAIT = 5.0, 900.0
#: Interval of polling the outbox.
POLL_SECONDS = 1.0
#: Time for unfinished conversations at shutdown. It must be less than ``drain_timeout``.
LAST_SECONDS = 5.0
#: Messages that one process sends concurrently.
CONNECTIONS = 4
#: Maximum number of messages of one template to one address within an hour. Each template has its own, so that what
#: one session causes keeps no other message away, such as that for a new password.
HOURLY_BUDGET = 60
MAX_RESPONSE_LENGTH = 300

_woken = asyncio.Event()

#: Record a result. An unrecorded message is sent again.
_record = partial(retries.write, waiting="outbox_failed", not_done="mail_not_recorded")


class MailRejectedError(RemoteError):
    """The message will never be accepted. The text says why."""


async def queue(
    to: str,
    template: str,
    *,
    language: str | None = None,
    lifetime: int | None = None,
    void: bool = False,
    budget: int | None = None,
    **context: Any,
) -> None:
    """Store a message, in the caller's transaction.

    Args:
        to: the address of the recipient.
        template: the name of the message, such as ``welcome``; see :func:`idp.mail.messages.compose`.
        language: that of the recipient's profile, as a BCP 47 tag. The message is in it if it is available, else in the
            language of the request.
        lifetime: seconds after which the message is useless. By default sending is retried for days.
        void: do not send it, because no account has this address. The same work is done, so that the response time
            does not reveal it.
        budget: the maximum number of messages of this template to this address within an hour, if it is not
            :data:`HOURLY_BUDGET`.
        context: the values of its templates. By default ``brand`` is that of the sign-in in which it is queued, or else
            the server's when it is sent.
    """
    mail_id = ids.uuid7()
    locale = i18n.choose([language or ""]) or i18n.locale.get()
    if (brand := current_brand.get()) is not None:
        context = {"brand": for_mail(brand)} | context
    content = msgspec.json.encode({"locale": locale, "context": context})
    queued = await repository.queue(
        mail_id,
        to,
        template,
        vault.encrypt(content, _context(mail_id)),
        lifetime=float(lifetime or settings().mail_retry_lifetime),
        kept=float(settings().mail_kept),
        void=void,
        budget=HOURLY_BUDGET if budget is None else budget,
    )
    if not queued and not void:
        log.warning("mail_budget_spent", template=template)
    _woken.set()


def _context(id: UUID) -> str:
    return f"mail.content:{id}"


async def run() -> None:
    """Send due messages until cancelled. Unfinished conversations then get :data:`LAST_SECONDS` to end."""
    sending: set[asyncio.Task[None]] = set()
    settled = True
    try:
        while True:
            try:
                if not settled:
                    await ping()
                    await asyncio.sleep(SETTLE_SECONDS)
                sending |= await _start(CONNECTIONS - len(sending))
                settled = True
            except Exception as error:
                # An unexpected error must not stop the outbox of this process.
                log.warning("outbox_failed", **exception_fields(error))
                settled = False
            if len(sending) < CONNECTIONS:
                await _pause()
            else:
                await asyncio.wait(sending, return_when=asyncio.FIRST_COMPLETED)
            sending = {task for task in sending if not task.done()}
    finally:
        # An interrupted conversation leaves open whether the message was sent.
        if sending:
            await asyncio.wait(sending, timeout=LAST_SECONDS)
        for task in sending:
            task.cancel()
        await asyncio.gather(*sending, return_exceptions=True)


async def _start(count: int) -> set[asyncio.Task[None]]:
    messages = await repository.claim(count, LEASE_SECONDS)
    return {asyncio.create_task(_deliver(message)) for message in messages}


async def _pause() -> None:
    """Wait until this process stores a message, or for the polling interval."""
    with suppress(TimeoutError):
        async with asyncio.timeout(POLL_SECONDS):
            await _woken.wait()
            _woken.clear()
            # The transaction that stored the message is not committed yet.
            await asyncio.sleep(0.02)


async def deliver_due() -> int:
    """Send one batch of due messages and return its size. For commands, which end after it."""
    await overrides.load()
    await brands.load()
    messages = await repository.claim(CONNECTIONS, LEASE_SECONDS)
    await asyncio.gather(*(asyncio.create_task(_deliver(message)) for message in messages))
    return len(messages)


async def _deliver(message: DueMessage) -> None:
    """Send one message and record the result. Raises nothing."""
    template = message.template
    renewing = asyncio.create_task(_renew(message))
    try:
        with spans.work(f"send mail {template}", {"idp.mail_id": str(message.id), "idp.attempt": message.attempts}):
            response = await _send(message)
    except MailRejectedError as error:
        log.error("mail_dead", template=template, reason=type(error.__cause__ or error).__name__)  # noqa: TRY400
        await _finish(message, "dead", str(error))
    except Exception as error:
        # Any other error is retried. Its text may contain the address, so only its type is logged.
        event = "mail_not_configured" if isinstance(error, deliver.MailNotConfiguredError) else "mail_deferred"
        log.warning(event, template=template, error=type(error).__name__)
        wait = min(FIRST_WAIT * 2 ** min(message.attempts - 1, 20), LONGEST_WAIT) * random.uniform(0.8, 1.2)  # noqa: S311
        await _record(partial(repository.defer, message.id, message.attempts, _response(error), wait))
    else:
        await _finish(message, "sent", response)
    finally:
        renewing.cancel()


async def _renew(message: DueMessage) -> None:
    """Renew the lease of a message while it is sent. During a database outage the lease is lost."""
    while True:
        await asyncio.sleep(RENEW_SECONDS)
        with suppress(*outages.ERRORS):
            await repository.renew(message.id, message.attempts, LEASE_SECONDS)


async def _send(message: DueMessage) -> str:
    """Send one message and return the response of the SMTP server.

    Raises:
        MailRejectedError: it cannot be sent, now or later.
    """
    if not message.live:
        raise MailRejectedError("It was too late to send it.")
    if message.content is None:
        raise MailRejectedError("Its content is missing.")
    content = msgspec.json.decode(vault.decrypt(message.content, _context(message.id)))
    i18n.locale.set(content["locale"])
    try:
        # In a thread, because a template may have to be compiled first.
        mail = await asyncio.to_thread(
            compose, message.recipient, message.template, message_id=str(message.id), **content["context"]
        )
    except Exception as error:
        raise MailRejectedError(f"It could not be made: {type(error).__name__}.") from error
    try:
        async with asyncio.timeout(SEND_SECONDS):
            return await deliver.hand_over(mail)
    except MailNotSentError as error:
        if error.final:
            raise MailRejectedError(str(error)) from error
        raise


def _response(error: Exception) -> str:
    """Return what administrators see of a failure: the SMTP server's response, or the type of our error."""
    text = str(error) if isinstance(error, MailNotSentError | deliver.MailNotConfiguredError) else type(error).__name__
    return str(storable(text))[:MAX_RESPONSE_LENGTH]


async def _finish(message: DueMessage, state: str, response: str) -> None:
    text = str(storable(response))[:MAX_RESPONSE_LENGTH]
    kept = float(settings().mail_kept)
    await _record(partial(repository.finish, message.id, message.attempts, state, text, kept))
