"""Sending mail without making anybody wait for it."""

import asyncio
import mailbox
from email.message import EmailMessage
from pathlib import Path

import structlog

from idp.mail import smtp
from idp.mail.messages import compose, sending_host
from idp.settings import settings

log = structlog.get_logger()

#: Messages of one process that may be under way. The server is down or slow when there are more.
MAX_WAITING = 200
CONNECTIONS = 4

_under_way: set[asyncio.Task[None]] = set()
_connections = asyncio.Semaphore(CONNECTIONS)


def send_later(to: str, template: str, **context: object) -> None:
    """Send a message in the background. What goes wrong is logged and told to nobody.

    Args:
        to: the address of the recipient.
        template: the name of the message, as ``welcome``; see :func:`idp.mail.messages.compose`.
        context: what its templates need.
    """
    if len(_under_way) >= MAX_WAITING:
        log.error("mail_dropped", template=template, count=len(_under_way))
        return
    task = asyncio.create_task(_send(to, template, context))
    _under_way.add(task)
    task.add_done_callback(_under_way.discard)


async def finish() -> None:
    """Wait for the messages under way: before a command or a worker ends."""
    while _under_way:
        await asyncio.wait(_under_way)


async def _send(to: str, template: str, context: dict[str, object]) -> None:
    try:
        async with _connections:
            await _hand_over(compose(to, template, **context), template)
    except Exception as error:
        # Nobody waits for this task. The text of the error may quote the address.
        log.error("mail_failed", template=template, error=type(error).__name__)  # noqa: TRY400


async def _hand_over(message: EmailMessage, template: str) -> None:
    url = settings().smtp_url
    if url is not None:
        await smtp.send(message, url.get_secret_value(), greeting=sending_host())
    elif settings().dev or settings().database_url is None:
        # A command beside a development server has the embedded database to tell it by.
        await asyncio.to_thread(_capture, message, captured_mail())
    else:
        log.warning("mail_not_configured", template=template)


def captured_mail() -> Path:
    """The Maildir that takes the mail of a development server without SMTP."""
    return settings().data_dir / "mail"


def _capture(message: EmailMessage, folder: Path) -> None:
    # Made here, because Maildir fails where two make it at once.
    for part in ("tmp", "new", "cur"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    mailbox.Maildir(folder).add(message)
