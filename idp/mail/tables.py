"""The outbox."""

from piccolo.columns import UUID, Bytea, SmallInt, Text, Timestamptz
from piccolo.columns.defaults.timestamptz import TimestamptzNow
from piccolo.table import Table

from idp.ids import uuid7
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
    content = Bytea(null=True, default=None, secret=True)
    state = Text(default="queued")
    attempts = SmallInt(default=0)
    response = Text(default="")
    created_at = Timestamptz(default=TimestamptzNow())
    next_attempt_at = Timestamptz(null=True, default=TimestamptzNow(), index=True)
    expires_at = Timestamptz(index=True)
    finished_at = Timestamptz(null=True, default=None)
