"""Making a message from its templates: ``mail/<name>.txt`` and ``mail/<name>.html``."""

import re
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, make_msgid
from html import unescape
from urllib.parse import urlsplit

from idp import clock
from idp.infra import i18n
from idp.infra.templates import templates
from idp.settings import settings

#: In characters. Longer ones are sentences.
MAX_NAME_LENGTH = 60
#: What is part of an address of any kind, and what is part of a telephone number.
_NO_NAME = re.compile(r"[/\\@:<>\[\]]|\bwww\b|\w\.\w{2,}|(?:\d[ .()-]*){5}", re.IGNORECASE)

_TITLE = re.compile(r"<title>(.*?)</title>", re.DOTALL)


def sending_host() -> str:
    """The name by which our mail says where it comes from."""
    return urlsplit(settings().issuer).hostname or "localhost"


def _called(name: object) -> str | None:
    """What a mail calls a person by: their name, if it is one.

    People choose their names, and some choose them for what a mail then says. So a name with signs that are not seen or
    turn the text around, with an address or a number in it, or as long as a sentence, is left out.
    """
    if not isinstance(name, str) or len(name) > MAX_NAME_LENGTH or not name.isprintable() or _NO_NAME.search(name):
        return None
    return name


def compose(to: str, template: str, message_id: str | None = None, **context: object) -> EmailMessage:
    """Make a message: plain text, and the same in HTML, whose title is the subject.

    Args:
        to: the address of the recipient, who is also called by it where ``name`` is not given, or is no name.
        template: its name, as ``welcome``.
        message_id: what is unique about it, so that its like can be told; by default it is like no other.
        context: what the template needs besides ``name``, ``when`` and ``issuer``.

    Raises:
        jinja2.TemplateError: there is no such template, or it needs a value that is not given.
    """
    now = clock.now()
    values = context | {
        "name": _called(context.get("name")) or to,
        "when": i18n.exact_moment(now),
        "issuer": settings().issuer,
    }
    html = templates().render(f"mail/{template}.html", **values)
    title = _TITLE.search(html)
    message = EmailMessage(policy=SMTP)
    # A header is one line, whatever names are part of it.
    message["Subject"] = " ".join(unescape(title[1]).split()) if title else settings().product_name
    message["From"] = settings().mail_from
    message["To"] = to
    message["Date"] = format_datetime(now)
    message["Message-ID"] = f"<{message_id}@{sending_host()}>" if message_id else make_msgid(domain=sending_host())
    # So that nobody's holiday notice answers (RFC 3834 section 5; the second one is Microsoft's).
    message["Auto-Submitted"] = "auto-generated"
    message["X-Auto-Response-Suppress"] = "All"
    message.set_content(templates().render(f"mail/{template}.txt", **values))
    message.add_alternative(html, subtype="html")
    return message
