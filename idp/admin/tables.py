"""Tables of the set-up and idempotent responses."""

from piccolo.table import Table

from idp.infra.db.columns import Bytea, Integer, SmallInt, Text, Timestamptz, TimestamptzNow
from idp.infra.db.engine import engine


class Setup(Table, tablename="setup", db=engine):
    """The set-up of the first admin: one row. Once completed, it stays closed."""

    id = SmallInt(primary_key=True)
    token_hash = Bytea(null=True, secret=True)
    created_at = Timestamptz(default=TimestamptzNow())
    completed_at = Timestamptz(null=True)


class IdempotentAnswer(Table, tablename="idempotent_answer", db=engine):
    """The response to a request with an ``Idempotency-Key``. The body is encrypted: it may contain a new secret."""

    id = Bytea(primary_key=True)
    request_hash = Bytea()
    status = Integer(null=True)
    headers = Text()
    body = Bytea(null=True, secret=True)
    created_at = Timestamptz(default=TimestamptzNow())
    expires_at = Timestamptz(index=True)
