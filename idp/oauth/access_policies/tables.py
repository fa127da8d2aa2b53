"""The tables of access policies."""

from piccolo.table import Table

from idp.accounts.attributes.tables import AttributeRow
from idp.directory.tables import GroupRow, OrganizationRow, RoleRow
from idp.infra.db.columns import JSONB, ForeignKey, OnDelete, PrimaryKey, Timestamptz, TimestamptzNow
from idp.infra.db.engine import engine
from idp.oauth.clients.tables import ClientRow


class AccessPolicyRow(Table, tablename="access_policy", db=engine):
    """The policy of a client. ``conditions`` are its :class:`idp.oauth.access_policies.models.Conditions`."""

    client_id = ForeignKey(ClientRow, primary_key=True)
    conditions = JSONB()
    updated_at = Timestamptz(default=TimestamptzNow())


class AccessPolicyGroup(Table, tablename="access_policy_group", db=engine):
    """A group that a policy names. It cannot be deleted: without it, the policy would allow more."""

    client_id = ForeignKey(ClientRow)
    group_id = ForeignKey(GroupRow, OnDelete.restrict, index=True)

    access_policy_group_pkey = PrimaryKey([client_id, group_id])


class AccessPolicyAttribute(Table, tablename="access_policy_attribute", db=engine):
    """An attribute of which a policy names values. It cannot be deleted."""

    client_id = ForeignKey(ClientRow)
    attribute = ForeignKey(AttributeRow, OnDelete.restrict, index=True)

    access_policy_attribute_pkey = PrimaryKey([client_id, attribute])


class AccessPolicyOrganization(Table, tablename="access_policy_organization", db=engine):
    """An organization that a policy names. It cannot be deleted."""

    client_id = ForeignKey(ClientRow)
    organization_id = ForeignKey(OrganizationRow, OnDelete.restrict, index=True)

    access_policy_organization_pkey = PrimaryKey([client_id, organization_id])


class AccessPolicyRole(Table, tablename="access_policy_role", db=engine):
    """A role that a policy names: one of its client or of the whole server.

    It cannot be deleted, except with the client.
    """

    client_id = ForeignKey(ClientRow)
    role_id = ForeignKey(RoleRow, OnDelete.no_action, index=True)

    access_policy_role_pkey = PrimaryKey([client_id, role_id])
