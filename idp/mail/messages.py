"""Composes a message from its templates ``mail/<name>.txt`` and ``mail/<name>.html``."""

from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, make_msgid
from urllib.parse import urlsplit

from idp import clock
from idp.mail.names import ENCODED_WORD, suitable_name
from idp.mail.templates import rendering
from idp.mail.templates.rendering import Parts
from idp.settings import settings


def sending_host() -> str:
    """Return the host name for Message-IDs and the SMTP greeting."""
    return urlsplit(settings().issuer).hostname or "localhost"


def compose(to: str, template: str, message_id: str | None = None, **context: object) -> EmailMessage:
    """Compose a message in plain text and HTML.

    Args:
        to: the address of the recipient, also used as salutation if there is no suitable ``name``.
        template: the name of the templates, such as ``welcome``.
        message_id: the local part of the Message-ID; by default a random one.
        context: the values of the templates besides ``name``, ``when`` and ``issuer``; ``brand`` is that of
            :func:`idp.mail.brand.for_mail`, by default the server's.

    Raises:
        jinja2.TemplateError: there is no such template, or a value is missing.
    """
    parts = rendering.render(template, rendering.values_of(to, suitable_name(context.get("name")), context))
    return message_of(to, parts, message_id)


def message_of(to: str, parts: Parts, message_id: str | None = None) -> EmailMessage:
    """Return the message of a rendered mail.

    Args:
        message_id: the local part of the Message-ID; by default a random one.

    Raises:
        ValueError: ``to`` has a line break or an encoded word (RFC 2047).
    """
    # EmailMessage decodes encoded words in what it is given: they would be another recipient, or a header of their own.
    if ENCODED_WORD in to:
        raise ValueError("Header values may not contain encoded words.")
    message = EmailMessage(policy=SMTP)
    message["Subject"] = parts.subject.replace(ENCODED_WORD, "= ?")
    message["From"] = settings().mail_from
    message["To"] = to
    message["Date"] = format_datetime(clock.now())
    message["Message-ID"] = f"<{message_id}@{sending_host()}>" if message_id else make_msgid(domain=sending_host())
    # Suppresses automatic replies (RFC 3834 section 5; the second header is Microsoft's).
    message["Auto-Submitted"] = "auto-generated"
    message["X-Auto-Response-Suppress"] = "All"
    message.set_content(parts.text)
    message.add_alternative(parts.html, subtype="html")
    return message
