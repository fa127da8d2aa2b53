"""The table of the mail templates of the console."""

from piccolo.table import Table

from idp.infra.db.columns import Integer, PrimaryKey, Text, Timestamptz, TimestamptzNow
from idp.infra.db.engine import engine


class MailTemplate(Table, tablename="mail_template", db=engine):
    """A version of the template of a mail, for a language or for all. The newest one is used.

    Its parts are null if the template was reset to the shipped one.
    """

    template = Text()
    language = Text()
    version = Integer()
    subject = Text(null=True)
    html = Text(null=True)
    text = Text(null=True)
    created_at = Timestamptz(default=TimestamptzNow())

    mail_template_pkey = PrimaryKey([template, language, version])
