"""The outbox."""

from piccolo.table import Table

from idp.ids import uuid7
from idp.infra.db.columns import UUID, Bytea, SmallInt, Text, Timestamptz, TimestamptzNow
from idp.infra.db.engine import engine


class Mail(Table, tablename="mail", db=engine):
    """A message to a person, written in the transaction of what it tells of.

    ``content`` is what its templates need, sealed, because codes and links are among it; it is erased once the
    message is sent or given up. ``state`` is queued, sending, sent, deferred or dead; ``response`` the server's words,
    or ours. ``next_attempt_at`` is empty once there is nothing more to do; then ``expires_at`` is when the row goes.
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
