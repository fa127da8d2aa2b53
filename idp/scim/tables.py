"""Tables: the tokens of SCIM clients, and the ids that these clients gave users and groups."""

from piccolo.table import Table

from idp.accounts.tables import User
from idp.directory.tables import GroupRow
from idp.ids import uuid7
from idp.infra.db.columns import (
    UUID,
    Boolean,
    Bytea,
    ForeignKey,
    PrimaryKey,
    Text,
    Timestamptz,
    TimestamptzNow,
)
from idp.infra.db.engine import engine


class ScimToken(Table, tablename="scim_token", db=engine):
    """A token of a SCIM client. Its id is the client: a rotation replaces the value only.

    ``writes``: it may change what it reads. ``old_token_hash`` is the value before the last rotation, which is valid
    until ``old_expires_at``.
    """

    id = UUID(primary_key=True, default=uuid7)
    name = Text()
    writes = Boolean()
    token_hash = Bytea(unique=True, secret=True)
    expires_at = Timestamptz()
    old_token_hash = Bytea(null=True, unique=True, secret=True)
    old_expires_at = Timestamptz(null=True)
    last_used_at = Timestamptz(null=True)
    created_at = Timestamptz(default=TimestamptzNow())
    updated_at = Timestamptz(default=TimestamptzNow())


class ScimUser(Table, tablename="scim_user", db=engine):
    """The ``externalId`` of a user at a SCIM client. ``origin`` is the client (:class:`idp.scim.access.Caller`)."""

    user_id = ForeignKey(User)
    origin = Text()
    external_id = Text()

    scim_user_pkey = PrimaryKey([user_id, origin])


class ScimGroup(Table, tablename="scim_group", db=engine):
    """The ``externalId`` of a group at a SCIM client."""

    group_id = ForeignKey(GroupRow)
    origin = Text()
    external_id = Text()

    scim_group_pkey = PrimaryKey([group_id, origin])
