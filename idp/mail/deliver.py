"""Delivers one message: to an SMTP server, or in development to a Maildir."""

import asyncio
import mailbox
from email.message import EmailMessage
from pathlib import Path

from idp.errors import OperatorError
from idp.mail import smtp
from idp.mail.messages import sending_host
from idp.settings import settings


class MailNotConfiguredError(OperatorError):
    """No SMTP server is configured."""

    def __init__(self) -> None:
        super().__init__("IDP_SMTP_URL is not set.")


async def hand_over(message: EmailMessage) -> str:
    """Send a message and return the response of the SMTP server.

    Raises:
        MailNotConfiguredError: no SMTP server is configured.
        MailNotSentError: the server is unreachable or rejected the message.
    """
    url = settings().smtp_url
    if url is not None:
        return await smtp.send(message, url.get_secret_value(), greeting=sending_host())
    # A command run beside a development server has no database URL: it uses the embedded database.
    if settings().dev or settings().database_url is None:
        await asyncio.to_thread(_capture, message, captured_mail())
        return "Captured"
    raise MailNotConfiguredError


def captured_mail() -> Path:
    """Return the Maildir for the mail of a development server without SMTP."""
    return settings().data_dir / "mail"


def _capture(message: EmailMessage, folder: Path) -> None:
    # Maildir's own creation fails if two processes do it at once. The mails contain codes and sign-in links.
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    for part in ("tmp", "new", "cur"):
        (folder / part).mkdir(exist_ok=True)
    key = mailbox.Maildir(folder).add(message)
    (folder / "new" / key).chmod(0o600)
