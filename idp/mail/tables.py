"""The table of the mail outbox."""

from piccolo.table import Table

from idp.ids import uuid7
from idp.infra.db.columns import UUID, Bytea, SmallInt, Text, Timestamptz, TimestamptzNow
from idp.infra.db.engine import engine


class Mail(Table, tablename="mail", db=engine):
    """A message to a user, stored in the transaction of the change that it reports.

    ``content`` has the values of its templates. It is encrypted, because it contains codes and links, and erased when
    the message is sent or dead. ``state`` is queued, sending, sent, deferred or dead; ``response`` is the SMTP
    server's response or our own reason. ``next_attempt_at`` is null once the message is finished; then ``expires_at``
    is the time of its deletion.
    """

    id = UUID(primary_key=True, default=uuid7)
    recipient = Text(index=True)
    template = Text()
    content = Bytea(null=True, secret=True)
    state = Text()
    attempts = SmallInt(default=0)
    response = Text()
    created_at = Timestamptz(default=TimestamptzNow())
    next_attempt_at = Timestamptz(null=True, index=True)
    expires_at = Timestamptz(index=True)
    finished_at = Timestamptz(null=True)
