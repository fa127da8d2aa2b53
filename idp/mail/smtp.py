"""Handing a message to an SMTP server."""

from email.message import EmailMessage
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import aiosmtplib

from idp.settings import SettingsError

#: For each step of the conversation.
TIMEOUT_SECONDS = 15

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_STARTTLS = {"require": True, "never": False}


def connection_options(url: str) -> dict[str, Any]:
    """What an SMTP URL means to aiosmtplib.

    ``smtps://`` is TLS from the start. ``smtp://`` uses STARTTLS where the server offers it; always with
    ``?starttls=require``, never with ``?starttls=never``. A password goes over a network only if one of the two was
    said, or TLS is there: otherwise STARTTLS is required.

    Raises:
        SettingsError: it is not such a URL.
    """
    parts = urlsplit(url)
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    query = parse_qs(parts.query, keep_blank_values=True)
    asked = query.pop("starttls", [""])[-1]
    if parts.scheme not in ("smtp", "smtps") or not host or query or asked not in ("", *_STARTTLS):
        raise SettingsError("IDP_SMTP_URL must look like smtp://user:password@host:587 or smtps://host:465.")
    options: dict[str, Any] = {"hostname": host, "port": port, "use_tls": parts.scheme == "smtps"}
    if parts.username is not None:
        options |= {"username": unquote(parts.username), "password": unquote(parts.password or "")}
    if parts.scheme == "smtp":
        # None: where the server offers it.
        default = True if parts.username is not None and host not in _LOOPBACK else None
        options["start_tls"] = _STARTTLS.get(asked, default)
    return options


async def send(message: EmailMessage, url: str, *, greeting: str) -> None:
    """Send a message to its recipients.

    Args:
        greeting: the name of this machine for the server. aiosmtplib would ask DNS for it, and block.

    Raises:
        SettingsError: the URL is malformed.
        SMTPException: the server cannot be reached, or refuses the message.
    """
    await aiosmtplib.send(message, timeout=TIMEOUT_SECONDS, local_hostname=greeting, **connection_options(url))
