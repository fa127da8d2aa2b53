"""Tables: the tokens of SCIM clients, and the ids that these clients gave users and groups."""

from piccolo.columns.reference import LazyTableReference
from piccolo.table import Table

from idp.accounts.tables import User
from idp.directory.tables import GroupRow, OrganizationRow, RoleRow
from idp.ids import uuid7
from idp.infra.db.columns import (
    UUID,
    Boolean,
    Bytea,
    CompositeForeignKey,
    ForeignKey,
    PrimaryKey,
    Text,
    Timestamptz,
    TimestamptzNow,
)
from idp.infra.db.engine import engine


class ScimToken(Table, tablename="scim_token", db=engine):
    """A token of a SCIM client. Its id is the client: a rotation replaces the value only.

    One of an organization manages its members and roles only. ``writes``: it may change what it reads.
    ``old_token_hash`` is the value before the last rotation, which is valid until ``old_expires_at``.
    """

    id = UUID(primary_key=True, default=uuid7)
    organization_id = ForeignKey(OrganizationRow, null=True, index=True)
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


class ScimMember(Table, tablename="scim_member", db=engine):
    """The ``externalId`` of a member of an organization at a SCIM client of the organization."""

    user_id = UUID()
    organization_id = ForeignKey(
        # By name, because Piccolo cannot refer to a key that is a reference itself.
        LazyTableReference("OrganizationMember", module_path="idp.directory.tables"),
        target_column="organization_id",
    )
    origin = Text()
    external_id = Text()

    scim_member_pkey = PrimaryKey([user_id, organization_id, origin])
    scim_member_user_id_organization_id_fkey = CompositeForeignKey([user_id, organization_id])


class ScimRole(Table, tablename="scim_role", db=engine):
    """The ``externalId`` of a role of an organization at a SCIM client of the organization."""

    role_id = ForeignKey(RoleRow)
    origin = Text()
    external_id = Text()

    scim_role_pkey = PrimaryKey([role_id, origin])
