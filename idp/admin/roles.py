"""Roles of administrators, their permissions, and who has which role.

A permission is also a scope of the admin API: a token may do what both the role and the scope allow. Without a role
there is no permission.
"""

from collections.abc import Collection
from enum import StrEnum
from uuid import UUID

from idp.accounts.last_owner import check_owner_remains
from idp.accounts.repository import admin_roles, users
from idp.audit.events import record
from idp.directory import invitation_events
from idp.infra.db.engine import transaction


class Permission(StrEnum):
    """Permission to read or change one kind of record. The value is the scope."""

    USERS_READ = "admin:users:read"
    USERS_WRITE = "admin:users:write"
    ATTRIBUTES_READ = "admin:attributes:read"
    ATTRIBUTES_WRITE = "admin:attributes:write"
    SESSIONS_READ = "admin:sessions:read"
    SESSIONS_WRITE = "admin:sessions:write"
    CONSENTS_READ = "admin:consents:read"
    CONSENTS_WRITE = "admin:consents:write"
    OUTBOX_READ = "admin:outbox:read"
    OUTBOX_WRITE = "admin:outbox:write"
    MAIL_TEMPLATES_READ = "admin:mail_templates:read"
    MAIL_TEMPLATES_WRITE = "admin:mail_templates:write"
    GROUPS_READ = "admin:groups:read"
    GROUPS_WRITE = "admin:groups:write"
    CLIENTS_READ = "admin:clients:read"
    CLIENTS_WRITE = "admin:clients:write"
    RESOURCE_SERVERS_READ = "admin:resource_servers:read"
    RESOURCE_SERVERS_WRITE = "admin:resource_servers:write"
    UPSTREAMS_READ = "admin:upstreams:read"
    UPSTREAMS_WRITE = "admin:upstreams:write"
    KEYS_READ = "admin:keys:read"
    KEYS_WRITE = "admin:keys:write"
    ORGANIZATIONS_READ = "admin:organizations:read"
    ORGANIZATIONS_WRITE = "admin:organizations:write"
    BRANDING_READ = "admin:branding:read"
    BRANDING_WRITE = "admin:branding:write"
    EVENTS_READ = "admin:events:read"
    EVENTS_WRITE = "admin:events:write"
    SCIM_TOKENS_READ = "admin:scim_tokens:read"
    SCIM_TOKENS_WRITE = "admin:scim_tokens:write"
    PROVISIONING_READ = "admin:provisioning:read"
    PROVISIONING_WRITE = "admin:provisioning:write"
    AUDIT_READ = "admin:audit:read"
    SETTINGS_READ = "admin:settings:read"
    ADMINS_READ = "admin:admins:read"
    ADMINS_WRITE = "admin:admins:write"


class Role(StrEnum):
    """A role of an administrator."""

    OWNER = "owner"
    KEY_ADMIN = "key_admin"
    CLIENT_ADMIN = "client_admin"
    GROUP_ADMIN = "group_admin"
    SUPPORT = "support"
    AUDITOR = "auditor"


_P = Permission
READ = frozenset(permission for permission in Permission if permission.endswith(":read"))

PERMISSIONS: dict[Role, frozenset[Permission]] = {
    Role.OWNER: frozenset(Permission),
    Role.KEY_ADMIN: frozenset(
        {_P.KEYS_READ, _P.KEYS_WRITE, _P.RESOURCE_SERVERS_READ, _P.RESOURCE_SERVERS_WRITE, _P.SETTINGS_READ}
    ),
    Role.CLIENT_ADMIN: frozenset(
        {
            *(_P.CLIENTS_READ, _P.CLIENTS_WRITE, _P.RESOURCE_SERVERS_READ, _P.RESOURCE_SERVERS_WRITE),
            *(_P.UPSTREAMS_READ, _P.KEYS_READ, _P.ATTRIBUTES_READ),
        }
    ),
    # Chooses among users and clients, and so sees them.
    Role.GROUP_ADMIN: frozenset({_P.GROUPS_READ, _P.GROUPS_WRITE, _P.USERS_READ, _P.CLIENTS_READ}),
    Role.SUPPORT: frozenset(
        {
            *(_P.USERS_READ, _P.USERS_WRITE, _P.ATTRIBUTES_READ, _P.SESSIONS_READ, _P.SESSIONS_WRITE),
            *(_P.CONSENTS_READ, _P.CONSENTS_WRITE, _P.OUTBOX_READ, _P.OUTBOX_WRITE, _P.CLIENTS_READ),
            _P.GROUPS_READ,
            _P.ORGANIZATIONS_READ,
        }
    ),
    Role.AUDITOR: READ,
}


def permissions(roles: Collection[Role]) -> frozenset[Permission]:
    """Return the union of the permissions of these roles."""
    return frozenset[Permission]().union(*(PERMISSIONS[role] for role in roles))


async def roles_of(user_id: UUID) -> frozenset[Role]:
    """Return the roles of a user. Read for every request, so that a revoked role ends at once."""
    # A role that a newer version gave before a downgrade allows nothing here.
    return frozenset(Role(role) for role in await admin_roles.roles_of_user(user_id) if role in set(Role))


async def grant(user_id: UUID, role: Role, *, granted_by: str = "") -> bool:
    """Give a user a role. Returns False if the user had it already."""
    async with transaction():
        await users.lock_user(user_id)
        if not await admin_roles.grant_role(user_id, role, granted_by):
            return False
        await record("admin_role_granted", user_id=user_id, detail={"role": role})
    return True


async def revoke(user_id: UUID, role: str) -> bool:
    """Revoke a role of a user, also one that this version does not know. Returns False if the user did not have it.

    Only owners invite administrators of organizations: with this role end the open invitations that the user sent.

    Raises:
        LastOwnerError: this is the last owner.
    """
    async with transaction():
        await users.lock_user(user_id)
        if role == Role.OWNER:
            await check_owner_remains(user_id)
        if not await admin_roles.revoke_role(user_id, role):
            return False
        await record("admin_role_revoked", user_id=user_id, detail={"role": role})
        if role == Role.OWNER:
            await invitation_events.revoke_of_inviter(user_id)
    return True
