"""Sends a message to an SMTP server."""

import asyncio
import ssl
from contextlib import suppress
from email.message import EmailMessage
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

import aiosmtplib

from idp.errors import RemoteError
from idp.infra.tracing import spans
from idp.settings import SettingsError, settings

#: Timeout of each step of the conversation.
TIMEOUT_SECONDS = 15

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_STARTTLS = {"require": True, "never": False}
_leaving: set[asyncio.Task[None]] = set()


def connection_options(url: str) -> dict[str, Any]:
    """Convert an SMTP URL to the arguments of aiosmtplib.

    ``smtps://`` is implicit TLS. ``smtp://`` uses STARTTLS if the server offers it, always with ``?starttls=require``,
    never with ``?starttls=never``. With a password and a remote host, STARTTLS is required by default.

    Raises:
        SettingsError: the URL is malformed.
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
        # None: use STARTTLS if the server offers it.
        default = True if parts.username is not None and host not in _LOOPBACK else None
        options["start_tls"] = _STARTTLS.get(asked, default)
    return options


class MailNotSentError(RemoteError):
    """The server did not accept the message. The text is the server's response, if there is one.

    Attributes:
        final: a permanent failure for this message or recipient (RFC 5321 section 4.2.1).
    """

    def __init__(self, words: str, *, final: bool = False) -> None:
        super().__init__(words)
        self.final = final


async def send(message: EmailMessage, url: str, *, greeting: str) -> str:
    """Send a message to its recipients and return the response of the server.

    Args:
        greeting: the host name for EHLO. aiosmtplib's default is a blocking DNS lookup.

    Raises:
        SettingsError: the URL is malformed.
        MailNotSentError: the server is unreachable or rejected the message.
    """
    options = connection_options(url)
    client = aiosmtplib.SMTP(timeout=TIMEOUT_SECONDS, local_hostname=greeting, **options)
    try:
        _check_allowed()
        with spans.call("SMTP", {"server.address": options["hostname"]}):
            return await _converse(client, message)
    except (aiosmtplib.SMTPRecipientsRefused, aiosmtplib.SMTPDataError) as error:
        refusals = error.recipients if isinstance(error, aiosmtplib.SMTPRecipientsRefused) else [error]
        final = all(refusal.code >= 500 for refusal in refusals)
        raise MailNotSentError("; ".join(map(_words, refusals)), final=final) from error
    except aiosmtplib.SMTPNotSupported as error:
        # An address that needs SMTPUTF8 (RFC 6531 section 3.2) fails permanently; other extensions may return.
        raise MailNotSentError(_words(error), final="SMTPUTF8" in str(error)) from error
    except (aiosmtplib.SMTPException, OSError) as error:
        # A certificate that is not accepted after STARTTLS is an error of the operating system's kind.
        raise MailNotSentError(_words(error)) from error


class Conversation(NamedTuple):
    """How an SMTP server answers.

    Attributes:
        encrypted: whether the conversation used TLS.
        authenticated: whether the server accepted the password; None: there is none.
    """

    encrypted: bool
    authenticated: bool | None


class TestFailedError(RemoteError):
    """A step of a conversation failed. The text is the server's response, if there is one.

    Attributes:
        step: ``connect``, ``tls`` or ``login``.
    """

    def __init__(self, step: str, words: str) -> None:
        super().__init__(words)
        self.step = step


async def test(url: str, *, greeting: str) -> Conversation:
    """Greet a server, start TLS and authenticate as :func:`send` does, without a message.

    Raises:
        SettingsError: the URL is malformed.
        TestFailedError: a step failed.
    """
    client = aiosmtplib.SMTP(timeout=TIMEOUT_SECONDS, local_hostname=greeting, **connection_options(url))
    try:
        _check_allowed()
        await client.connect()
        encrypted = client.transport is not None and client.transport.get_extra_info("ssl_object") is not None
        return Conversation(encrypted, True if urlsplit(url).username is not None else None)
    except aiosmtplib.SMTPAuthenticationError as error:
        raise TestFailedError("login", _words(error)) from error
    except (aiosmtplib.SMTPException, OSError) as error:
        raise TestFailedError(_failed_step(error), _words(error)) from error
    finally:
        await _quit(client)


def _check_allowed() -> None:
    if settings().isolated:
        raise aiosmtplib.SMTPConnectError("IDP_ISOLATED is set")


def _failed_step(error: Exception) -> str:
    if "AUTH" in str(error):
        return "login"
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return "tls"
        cause = cause.__cause__ or cause.__context__
    return "tls" if "TLS" in str(error) else "connect"


async def _converse(client: aiosmtplib.SMTP, message: EmailMessage) -> str:
    try:
        await client.connect()
        _, words = await client.send_message(message)
    except asyncio.CancelledError:
        client.close()
        raise
    finally:
        # QUIT runs in the background: until the caller records the result, a crash would send the message again.
        task = asyncio.create_task(_quit(client))
        _leaving.add(task)
        task.add_done_callback(_leaving.discard)
    return words


async def _quit(client: aiosmtplib.SMTP) -> None:
    with suppress(aiosmtplib.SMTPException, OSError):
        await client.quit()
    client.close()


def _words(error: Exception) -> str:
    if isinstance(error, aiosmtplib.SMTPResponseException):
        return f"{error.code} {error.message}"
    return f"{type(error).__name__}: {error}"
