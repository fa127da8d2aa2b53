"""Captured mail: the messages that the server would have sent."""

import asyncio
import mailbox
from datetime import UTC, datetime
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from typing import Any
from urllib.parse import quote

from litestar import MediaType, Request, Response, get
from litestar.exceptions import NotFoundException
from litestar.params import FromPath

from idp.http.access import Access
from idp.http.forms import query
from idp.http.mail_preview import DARK, LIGHT, framed_mail
from idp.http.pages import page
from idp.mail.deliver import captured_mail

HEADERS = ("From", "To", "Subject", "Date")
NO_SUBJECT = "(no subject)"


def _maildir() -> mailbox.Maildir | None:
    folder = captured_mail()
    return mailbox.Maildir(folder, create=False) if folder.is_dir() else None


def _parse(raw: bytes) -> EmailMessage:
    return BytesParser(policy=policy.default).parsebytes(raw)


def _header(message: EmailMessage, name: str) -> str:
    """Return a header on one line, or an empty string. A header that cannot be parsed is returned unchanged."""
    try:
        value = str(message[name] or "")
    except Exception:
        # The parser of the standard library raises arbitrary errors on malformed headers.
        value = next(str(value) for found, value in message.raw_items() if found.lower() == name.lower())
    return " ".join(value.encode(errors="surrogateescape").decode(errors="replace").split())


def _text(message: EmailMessage, raw: bytes) -> str:
    """Return the plain text of a message. Without one, or if malformed, the whole message."""
    try:
        body = message.get_body(("plain",))
        return str(body.get_content()) if body is not None else raw.decode(errors="replace")
    except Exception:  # likewise
        return raw.decode(errors="replace")


def _html(message: EmailMessage) -> str | None:
    """Return the HTML of a message; None if it has none, or is malformed."""
    try:
        body = message.get_body(("html",))
        return str(body.get_content()) if body is not None else None
    except Exception:  # likewise
        return None


def _all() -> list[tuple[str, str, str, str]]:
    """Return id, recipient, subject and time of each message, newest first."""
    box = _maildir()
    if box is None:
        return []
    found = []
    for key, message in box.iteritems():
        parsed = _parse(box.get_bytes(key))
        found.append((message.get_date(), key, _header(parsed, "To"), _header(parsed, "Subject") or NO_SUBJECT))
    return [
        (key, to, subject, f"{datetime.fromtimestamp(when, UTC):%d %b %Y, %H:%M:%S} UTC")
        for when, key, to, subject in sorted(found, reverse=True)
    ]


def _one(id: str) -> bytes:
    """Return a message as it was sent. The id is compared with the known files and never becomes part of a path."""
    box = _maildir()
    if box is None or id not in list(box.keys()):
        raise NotFoundException
    return box.get_bytes(id)


@get("/dev/mail", opt={"access": Access.PAGE})
async def list_mail(_: Request[Any, Any, Any]) -> Response[Any]:
    """Show all captured mail."""
    return page("dev/mail.html", messages=await asyncio.to_thread(_all))


@get("/dev/mail/{message_id:str}", opt={"access": Access.PAGE})
async def show_mail(request: Request[Any, Any, Any], message_id: FromPath[str]) -> Response[Any]:
    """One message: its HTML as in light or dark mode, and its text."""
    raw = await asyncio.to_thread(_one, message_id)
    message = _parse(raw)
    return page(
        "dev/message.html",
        subject=_header(message, "Subject") or NO_SUBJECT,
        headers=[(name, value) for name in HEADERS if (value := _header(message, name))],
        text=_text(message, raw),
        html=_html(message) is not None,
        scheme=_scheme(request),
        url=f"/dev/mail/{quote(message_id)}",
        framed=["'self'"],
    )


def _scheme(request: Request[Any, Any, Any]) -> str:
    return DARK if query(request).get("scheme") == DARK else LIGHT


@get("/dev/mail/{message_id:str}/html", opt={"access": Access.PAGE})
async def html_mail(request: Request[Any, Any, Any], message_id: FromPath[str]) -> Response[Any]:
    """The HTML of one message, for a frame."""
    html = _html(_parse(await asyncio.to_thread(_one, message_id)))
    if html is None:
        raise NotFoundException
    return framed_mail(html, _scheme(request))


@get("/dev/mail/{message_id:str}/raw", opt={"access": Access.PAGE})
async def raw_mail(_: Request[Any, Any, Any], message_id: FromPath[str]) -> Response[bytes]:
    """One message as it was sent."""
    raw = await asyncio.to_thread(_one, message_id)
    return Response(raw, media_type=MediaType.TEXT, headers={"Cache-Control": "no-store"})


ROUTES = [list_mail, show_mail, html_mail, raw_mail]
