"""A real SMTP server on loopback that keeps received mail."""

import asyncio
import re
from collections import defaultdict
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

from aiosmtpd.controller import Controller

from tests.support.server import free_port

SECONDS = 30.0


class Letter:
    """A received message."""

    def __init__(self, recipient: str, content: bytes) -> None:
        self.recipient = recipient
        self._content = content

    @cached_property
    def message(self) -> EmailMessage:
        """Parsed when a test asks for it, because most messages are never read."""
        message = message_from_bytes(self._content, policy=default)
        assert isinstance(message, EmailMessage)
        return message

    @property
    def subject(self) -> str:
        return str(self.message["subject"])

    @cached_property
    def text(self) -> str:
        body = self.message.get_body(("plain",))
        assert body is not None
        text: str = body.get_content()
        return text

    @property
    def code(self) -> str:
        """The code of six digits."""
        found = re.search(r"^\d{6}\r?$", self.text, re.MULTILINE)
        assert found, self.text
        return found[0].strip()

    @property
    def link(self) -> str:
        """The link with a token."""
        found = re.search(r"https?://\S+\?token=\S+", self.text)
        assert found, self.text
        return found[0]

    @property
    def path(self) -> str:
        """The path of the link, without the origin."""
        parts = urlsplit(self.link)
        return f"{parts.path}?{parts.query}"


class Mailbox:
    """All received letters."""

    def __init__(self) -> None:
        self._letters: defaultdict[str, list[Letter]] = defaultdict(list)
        port = free_port()
        self._controller = Controller(self, hostname="127.0.0.1", port=port)
        self._controller.start()
        self.url = f"smtp://127.0.0.1:{port}"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        for recipient in envelope.rcpt_tos:
            self._letters[recipient].append(Letter(recipient, envelope.content))
        return "250 Kept"

    def to(self, recipient: str) -> list[Letter]:
        """Return the letters to a recipient."""
        return list(self._letters.get(recipient, ()))

    async def next(self, recipient: str, count: int = 1) -> Letter:
        """Wait for the nth letter to a recipient."""
        async with asyncio.timeout(SECONDS):
            while len(self.to(recipient)) < count:
                await asyncio.sleep(0.02)
        return self.to(recipient)[count - 1]

    async def about(self, recipient: str, words: str) -> Letter:
        """Wait for a letter to a recipient with these words in its subject: letters that are sent together arrive in
        any order.
        """
        count = 0
        while True:
            count += 1
            letter = await self.next(recipient, count)
            if words in letter.subject:
                return letter

    def stop(self) -> None:
        self._controller.stop()
