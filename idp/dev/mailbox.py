"""Captured mail: what the server would have sent."""

import asyncio
import mailbox
from datetime import UTC, datetime
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from typing import Any

from litestar import MediaType, Response, get
from litestar.exceptions import NotFoundException
from litestar.params import FromPath

from idp.mail.deliver import captured_mail
from idp.web.access import Access
from idp.web.pages import page

HEADERS = ("From", "To", "Subject", "Date")


def _maildir() -> mailbox.Maildir | None:
    folder = captured_mail()
    return mailbox.Maildir(folder, create=False) if folder.is_dir() else None


def _parse(raw: bytes) -> EmailMessage:
    return BytesParser(policy=policy.default).parsebytes(raw)


def _all() -> list[tuple[str, str, str, str]]:
    """Id, recipient, subject and time of each message, the newest first."""
    box = _maildir()
    if box is None:
        return []
    found = []
    for key, message in box.iteritems():
        parsed = _parse(message.as_bytes())
        found.append((message.get_date(), key, str(parsed["To"]), str(parsed["Subject"])))
    return [
        (key, to, subject, f"{datetime.fromtimestamp(when, UTC):%d %b %Y, %H:%M:%S} UTC")
        for when, key, to, subject in sorted(found, reverse=True)
    ]


def _one(id: str) -> bytes:
    """A message as it was sent, looked up among those that there are: the id never becomes part of a path."""
    box = _maildir()
    if box is None or id not in list(box.keys()):
        raise NotFoundException
    return box.get_bytes(id)


@get("/dev/mail", opt={"access": Access.PAGE})
async def list_mail() -> Response[Any]:
    """All captured mail."""
    return page("dev/mail.html", messages=await asyncio.to_thread(_all))


@get("/dev/mail/{message_id:str}", opt={"access": Access.PAGE})
async def show_mail(message_id: FromPath[str]) -> Response[Any]:
    """One message."""
    message = _parse(await asyncio.to_thread(_one, message_id))
    text = message.get_body(("plain",))
    return page(
        "dev/message.html",
        subject=str(message["Subject"]),
        headers=[(name, str(message[name])) for name in HEADERS],
        text=text.get_content() if text else "",
        raw_url=f"/dev/mail/{message_id}/raw",
    )


@get("/dev/mail/{message_id:str}/raw", opt={"access": Access.PAGE})
async def raw_mail(message_id: FromPath[str]) -> Response[bytes]:
    """One message as it was sent."""
    return Response(await asyncio.to_thread(_one, message_id), media_type=MediaType.TEXT)


ROUTES = [list_mail, show_mail, raw_mail]
