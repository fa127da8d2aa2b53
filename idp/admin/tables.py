"""Admins, the set-up that makes the first one, and answers that the admin API can repeat."""

from piccolo.columns import UUID, Bytea, ForeignKey, Integer, OnDelete, SmallInt, Text, Timestamptz
from piccolo.columns.defaults.timestamptz import TimestamptzNow
from piccolo.constraints import Unique
from piccolo.table import Table

from idp.accounts.tables import User
from idp.ids import uuid7
from idp.infra.db.engine import engine


class AdminRole(Table, tablename="admin_role", db=engine):
    """A role of :class:`idp.admin.roles.Role` that a user has."""

    id = UUID(primary_key=True, default=uuid7)
    user_id = ForeignKey(User, on_delete=OnDelete.cascade, null=False, index=False)
    role = Text()
    granted_by = Text(default="")
    granted_at = Timestamptz(default=TimestamptzNow())

    one_each = Unique([user_id, role])


class Setup(Table, tablename="setup", db=engine):
    """The door to the first admin: one row. Once it is completed, it never opens again."""

    id = SmallInt(primary_key=True, default=1)
    token_hash = Bytea(secret=True)
    created_at = Timestamptz(default=TimestamptzNow())
    completed_at = Timestamptz(null=True, default=None)


class IdempotentAnswer(Table, tablename="idempotent_answer", db=engine):
    """What was answered to a request with an ``Idempotency-Key``. The body is sealed: it may hold a new secret."""

    id = Bytea(primary_key=True)
    request_hash = Bytea()
    status = Integer(null=True, default=None)
    headers = Text(default="{}")
    body = Bytea(null=True, default=None, secret=True)
    created_at = Timestamptz(default=TimestamptzNow())
    expires_at = Timestamptz(index=True)
