"""Request and response bodies of the operations on mail templates."""

from datetime import datetime

from idp.admin.api.models.base import Sent, Shown


class MailTemplate(Shown):
    """The template of a mail, for a language or for all.

    ``id``: the name of the mail and the language, such as sign_in_code.de or sign_in_code.all. ``version``: the newest
    one, 0 if it was never changed. The shipped one has no ``created_at``. ``html``: inside of the
    frame; ``text``: without the footer.
    """

    id: str
    template: str
    language: str
    version: int
    subject: str
    html: str
    text: str
    created_at: datetime | None


class NewMailTemplate(Sent):
    """A whole template. It is checked before it is saved."""

    subject: str
    html: str
    text: str


class TestMail(Sent):
    """The address that gets a test email."""

    email: str


class SentTestMail(Shown):
    """Whether the SMTP server accepted it, and its response, or the reason."""

    accepted: bool
    response: str
