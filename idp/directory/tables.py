"""Tables: groups, organizations and their members, roles and who has them."""

from piccolo.columns.reference import LazyTableReference
from piccolo.constraints import Unique
from piccolo.table import Table

from idp.accounts.tables import User
from idp.ids import uuid7
from idp.infra.db.columns import (
    UUID,
    Array,
    Boolean,
    Bytea,
    CompositeForeignKey,
    ForeignKey,
    Integer,
    OnDelete,
    PrimaryKey,
    Text,
    Timestamptz,
    TimestamptzNow,
)
from idp.infra.db.engine import engine


class GroupRow(Table, tablename="groups", db=engine):
    """A group. ``path`` are the ids of the groups above it, the topmost first, and its own.

    ``name_key`` is the name as it is compared (:func:`idp.directory.names.key`).
    """

    id = UUID(primary_key=True, default=uuid7)
    name = Text()
    name_key = Text(unique=True)
    description = Text()
    parent_id = ForeignKey("self", OnDelete.restrict, null=True)
    path = Array(UUID())
    created_at = Timestamptz(default=TimestamptzNow())
    updated_at = Timestamptz(default=TimestamptzNow())


class DirectoryDeletion(Table, tablename="directory_deletion", db=engine):
    """A group, a role or an organization that is deleted, whose memberships are deleted in the background.

    ``kind`` is the table of what was deleted. Memberships have no foreign key to it: what is deleted has no row, and
    nothing follows from a membership without one.
    """

    id = UUID(primary_key=True, default=uuid7)
    kind = Text()
    created_at = Timestamptz(default=TimestamptzNow())


class GroupMember(Table, tablename="group_member", db=engine):
    """A member of a group. Members of the groups below it are not listed.

    ``origin`` is what added it: ``admin``, or what may remove it again: ``upstream:<id>``, the rules of an upstream.
    """

    user_id = ForeignKey(User)
    group_id = UUID()
    origin = Text()
    created_at = Timestamptz(default=TimestamptzNow())

    group_member_pkey = PrimaryKey([user_id, group_id])


class OrganizationRow(Table, tablename="organization", db=engine):
    """An organization: a customer, a department or a tenant. ``slug`` names it in requests, and never changes.

    ``second_factor`` and the columns after it are its :class:`idp.directory.sign_in_policy.SignInPolicy`.
    """

    id = UUID(primary_key=True, default=uuid7)
    slug = Text(unique=True)
    name = Text()
    second_factor = Boolean(default=False)
    session_max_age = Integer(null=True)
    session_idle = Integer(null=True)
    ways = Array(Text(), null=True)
    created_at = Timestamptz(default=TimestamptzNow())
    updated_at = Timestamptz(default=TimestamptzNow())
    disabled_at = Timestamptz(null=True)


class OrganizationMember(Table, tablename="organization_member", db=engine):
    """A member of an organization. An ``admin`` manages it. ``origin`` as in :class:`GroupMember`.

    A membership with ``disabled_at`` does not count, as that of a disabled organization. ``managed``: the SCIM client
    of the organization made the account (docs/decisions/0086-scim-of-an-organization.md).
    """

    user_id = ForeignKey(User)
    organization_id = UUID()
    origin = Text()
    admin = Boolean(default=False)
    managed = Boolean(default=False)
    created_at = Timestamptz(default=TimestamptzNow())
    disabled_at = Timestamptz(null=True)

    organization_member_pkey = PrimaryKey([user_id, organization_id])


class OrganizationDomain(Table, tablename="organization_domain", db=engine):
    """A domain that an organization claims, or has verified. A verified one belongs to one organization.

    ``token`` is what a TXT record must contain. ``missing_since``: since when a check of a verified domain did not find
    it. Addresses of an ``enforced`` domain sign in at the upstreams of the organization only.
    """

    id = UUID(primary_key=True, default=uuid7)
    organization_id = ForeignKey(OrganizationRow)
    domain = Text()
    token = Text()
    enforced = Boolean(default=False)
    created_at = Timestamptz(default=TimestamptzNow())
    verified_at = Timestamptz(null=True)
    checked_at = Timestamptz(null=True)
    missing_since = Timestamptz(null=True)
    next_check_at = Timestamptz(null=True)

    organization_domain_claimed_once = Unique([organization_id, domain])


class OrganizationInvitation(Table, tablename="organization_invitation", db=engine):
    """An invitation of an address into an organization, with the roles there that its person gets.

    It is open until ``outcome`` is set, or it expires. ``outcome``: ``accepted`` or ``declined`` by ``user_id``,
    ``revoked``, or ``expired`` if another one took its place. ``user_id`` is null if the link of the mail declined it.
    """

    id = UUID(primary_key=True, default=uuid7)
    organization_id = ForeignKey(OrganizationRow)
    email = Text(index=True)
    role_ids = Array(UUID())
    admin = Boolean(default=False)
    token_hash = Bytea(secret=True, unique=True)
    invited_by = ForeignKey(User, OnDelete.set_null, null=True)
    user_id = ForeignKey(User, null=True)
    outcome = Text(null=True)
    created_at = Timestamptz(default=TimestamptzNow())
    sent_at = Timestamptz()
    expires_at = Timestamptz(index=True)
    ended_at = Timestamptz(null=True)


class RoleRow(Table, tablename="role", db=engine):
    """A role: of one client, of one organization, or of the whole server if both are null."""

    id = UUID(primary_key=True, default=uuid7)
    client_id = ForeignKey(LazyTableReference("ClientRow", module_path="idp.oauth.clients.tables"), null=True)
    organization_id = ForeignKey(OrganizationRow, null=True)
    name = Text()
    name_key = Text()
    description = Text()
    created_at = Timestamptz(default=TimestamptzNow())
    updated_at = Timestamptz(default=TimestamptzNow())

    role_one_per_name = Unique([client_id, name_key, organization_id], nulls_distinct=False)


class RoleContained(Table, tablename="role_contained", db=engine):
    """A role that another role contains. Whoever has the other one has it too."""

    role_id = ForeignKey(RoleRow)
    contained_id = ForeignKey(RoleRow, index=True)

    role_contained_pkey = PrimaryKey([role_id, contained_id])


class UserRole(Table, tablename="user_role", db=engine):
    """A role that was given to a user. ``origin`` as in :class:`GroupMember`.

    ``organization_id`` is that of the role. It goes with the membership.
    """

    user_id = ForeignKey(User)
    role_id = UUID()
    organization_id = ForeignKey(
        # By name, because Piccolo cannot refer to a key that is a reference itself.
        LazyTableReference("OrganizationMember", module_path=__name__),
        target_column="organization_id",
        null=True,
    )
    origin = Text()
    created_at = Timestamptz(default=TimestamptzNow())

    user_role_pkey = PrimaryKey([user_id, role_id])
    user_role_user_id_organization_id_fkey = CompositeForeignKey([user_id, organization_id])


class GroupRole(Table, tablename="group_role", db=engine):
    """A role that was given to a group. All who are in the group have it."""

    group_id = ForeignKey(GroupRow)
    role_id = ForeignKey(RoleRow, index=True)

    group_role_pkey = PrimaryKey([group_id, role_id])
