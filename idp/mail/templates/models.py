"""Templates of mails as values."""

from datetime import datetime

import msgspec

#: The language of a template for every language without one of its own.
ALL = "all"


class Source(msgspec.Struct, frozen=True):
    """The three parts of the template of a mail.

    Attributes:
        html: what is inside of the frame ``mail/base.html``; a whole document if it begins with ``<!doctype``.
        text: without the footer.
    """

    subject: str
    html: str
    text: str


class Override(Source, frozen=True):
    """A template of the console that is used.

    Attributes:
        language: a language, or :data:`ALL`.
        version: its number, from 1.
    """

    template: str
    language: str
    version: int


class Version(msgspec.Struct, frozen=True):
    """A version of the template of a mail. Without a subject, it is the shipped one again."""

    version: int
    created_at: datetime
    subject: str | None
