"""What an admin may do: roles, the permissions that each has, and which user or client has which role.

A permission is also a scope of the admin API, so what a token may do is what both its role and its scope allow. What no
role names, nobody may do.
"""

from collections.abc import Collection
from enum import StrEnum
from uuid import UUID

from idp.accounts.last_owner import check_owner_remains
from idp.audit.events import record
from idp.infra.db.engine import execute, fetch, fetchrow, transaction


class Permission(StrEnum):
    """To look at, or to change, one kind of record. The value is the scope."""

    USERS_READ = "admin:users:read"
    USERS_WRITE = "admin:users:write"
    SESSIONS_READ = "admin:sessions:read"
    SESSIONS_WRITE = "admin:sessions:write"
    CONSENTS_READ = "admin:consents:read"
    CONSENTS_WRITE = "admin:consents:write"
    OUTBOX_READ = "admin:outbox:read"
    OUTBOX_WRITE = "admin:outbox:write"
    CLIENTS_READ = "admin:clients:read"
    CLIENTS_WRITE = "admin:clients:write"
    RESOURCE_SERVERS_READ = "admin:resource_servers:read"
    RESOURCE_SERVERS_WRITE = "admin:resource_servers:write"
    UPSTREAMS_READ = "admin:upstreams:read"
    UPSTREAMS_WRITE = "admin:upstreams:write"
    KEYS_READ = "admin:keys:read"
    KEYS_WRITE = "admin:keys:write"
    AUDIT_READ = "admin:audit:read"
    SETTINGS_READ = "admin:settings:read"
    ADMINS_READ = "admin:admins:read"
    ADMINS_WRITE = "admin:admins:write"


class Role(StrEnum):
    """What a person or a service is to this server."""

    OWNER = "owner"
    KEY_ADMIN = "key_admin"
    CLIENT_ADMIN = "client_admin"
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
            *(_P.UPSTREAMS_READ, _P.KEYS_READ),
        }
    ),
    Role.SUPPORT: frozenset(
        {
            *(_P.USERS_READ, _P.USERS_WRITE, _P.SESSIONS_READ, _P.SESSIONS_WRITE),
            *(_P.CONSENTS_READ, _P.CONSENTS_WRITE, _P.OUTBOX_READ, _P.OUTBOX_WRITE, _P.CLIENTS_READ),
        }
    ),
    Role.AUDITOR: READ,
}

_LOCK_USER = "SELECT FROM users WHERE id = $1 FOR NO KEY UPDATE"
_ROLES_OF = "SELECT role FROM admin_role WHERE user_id = $1"
_GRANT = """
INSERT INTO admin_role (id, user_id, role, granted_by, granted_at) VALUES (gen_random_uuid(), $1, $2, $3, now())
ON CONFLICT DO NOTHING
"""
_REVOKE = "DELETE FROM admin_role WHERE user_id = $1 AND role = $2"


def permissions(roles: Collection[Role]) -> frozenset[Permission]:
    """All that these roles allow together."""
    return frozenset[Permission]().union(*(PERMISSIONS[role] for role in roles))


async def roles_of(user_id: UUID) -> frozenset[Role]:
    """The roles of a user; almost everybody has none. Asked anew for every request, so that none outlives its end."""
    return frozenset(Role(row["role"]) for row in await fetch(_ROLES_OF, user_id))


async def lock_user(user_id: UUID) -> None:
    """Let nobody be given a role for the rest of the transaction. Asked for their roles after that, they keep."""
    await fetchrow(_LOCK_USER, user_id)


async def grant(user_id: UUID, role: Role, *, granted_by: str = "") -> bool:
    """Give a user a role. Returns whether this call did it."""
    async with transaction():
        await lock_user(user_id)
        if not await execute(_GRANT, user_id, role, granted_by):
            return False
        await record("admin_role_granted", user_id=user_id, detail={"role": role})
    return True


async def revoke(user_id: UUID, role: Role) -> bool:
    """Take a role from a user. Returns whether this call did it.

    Raises:
        LastOwnerError: this is the last owner.
    """
    async with transaction():
        if role is Role.OWNER:
            await check_owner_remains(user_id)
        if not await execute(_REVOKE, user_id, role):
            return False
        await record("admin_role_revoked", user_id=user_id, detail={"role": role})
    return True
