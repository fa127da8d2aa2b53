"""Handing one message over: to an SMTP server, or in development to a folder."""

import asyncio
import mailbox
from email.message import EmailMessage
from pathlib import Path

from idp.errors import OperatorError
from idp.mail import smtp
from idp.mail.messages import sending_host
from idp.settings import settings


class MailNotConfiguredError(OperatorError):
    """There is no SMTP server to hand it to."""

    def __init__(self) -> None:
        super().__init__("IDP_SMTP_URL is not set.")


async def hand_over(message: EmailMessage) -> str:
    """Send a message and return the server's words.

    Raises:
        MailNotConfiguredError: there is no server.
        MailNotSentError: the server cannot be reached, or refuses the message.
    """
    url = settings().smtp_url
    if url is not None:
        return await smtp.send(message, url.get_secret_value(), greeting=sending_host())
    # A command beside a development server has the embedded database to tell it by.
    if settings().dev or settings().database_url is None:
        await asyncio.to_thread(_capture, message, captured_mail())
        return "Captured"
    raise MailNotConfiguredError


def captured_mail() -> Path:
    """The Maildir that takes the mail of a development server without SMTP."""
    return settings().data_dir / "mail"


def _capture(message: EmailMessage, folder: Path) -> None:
    # Made here, because Maildir fails where two make it at once. The mails hold codes and links that sign in.
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    for part in ("tmp", "new", "cur"):
        (folder / part).mkdir(exist_ok=True)
    key = mailbox.Maildir(folder).add(message)
    (folder / "new" / key).chmod(0o600)
