"""The statements on the roles of administrators."""

from collections.abc import Collection
from uuid import UUID

from idp.accounts.tables import AdminRole
from idp.infra.db.engine import execute, fetch, fetchrow
from idp.infra.db.listing import Filter, Listing, Sort

_LOCK_ROLES = "SELECT role FROM admin_role WHERE user_id = $1 FOR SHARE"
_ADMINISTRATORS = "SELECT DISTINCT user_id FROM admin_role WHERE user_id = ANY ($1::uuid[])"
_GRANT = """
    INSERT INTO admin_role (id, user_id, role, granted_by, granted_at)
    VALUES (gen_random_uuid(), $1, $2, $3, now()) ON CONFLICT DO NOTHING
"""
_REVOKE = "DELETE FROM admin_role WHERE user_id = $1 AND role = $2"
_HAS_OTHER_OWNER = """
    SELECT FROM admin_role AS r JOIN users AS u ON u.id = r.user_id
    WHERE r.role = 'owner' AND r.user_id <> $1 AND u.disabled_at IS NULL LIMIT 1
"""


async def roles_of_user(user_id: UUID) -> list[str]:
    """Return the roles of a user."""
    return await AdminRole.select(AdminRole.role).where(AdminRole.user_id == user_id).output(as_list=True)


async def administrators(user_ids: Collection[UUID]) -> set[UUID]:
    """Return those of the users who have a role."""
    return {row["user_id"] for row in await fetch(_ADMINISTRATORS, list(user_ids))}


async def lock_roles(user_id: UUID | None) -> list[str]:
    """Return the roles of a user and lock them until the end of the transaction."""
    return [row["role"] for row in await fetch(_LOCK_ROLES, user_id)]


async def grant_role(user_id: UUID, role: str, granted_by: str) -> bool:
    """Give a user a role. Returns False if the user had it already."""
    return bool(await execute(_GRANT, user_id, role, granted_by))


async def revoke_role(user_id: UUID, role: str) -> bool:
    """Revoke a role of a user. Returns False if the user did not have it."""
    return bool(await execute(_REVOKE, user_id, role))


async def count_owners() -> int:
    """Return the number of owners, including disabled ones."""
    number: int = await AdminRole.count().where(AdminRole.role == "owner")
    return number


async def has_other_owner(user_id: UUID) -> bool:
    """Return whether another user is an enabled owner."""
    return await fetchrow(_HAS_OTHER_OWNER, user_id) is not None


ADMINS = Listing(
    source="admin_role AS r JOIN users AS u ON u.id = r.user_id",
    columns="r.id, r.user_id, u.email, u.name, r.role, r.granted_by, r.granted_at",
    key=Sort("r.id", "uuid"),
    sorts={"granted_at": Sort("r.granted_at")},
    default_sort="granted_at",
    filters={
        "id": Filter("r.id = {}", "uuid", "One of them."),
        "user_id": Filter("r.user_id = {}", "uuid", "Of one user."),
        "role": Filter("r.role = {}", help="With this role."),
    },
)
