"""The statements on roles."""

from collections.abc import Collection
from uuid import UUID

import asyncpg
import msgspec

from idp.directory import names
from idp.directory.errors import UnknownClientError, UnknownOrganizationError
from idp.directory.models import Role
from idp.directory.repository.filters import NAME
from idp.directory.tables import RoleRow
from idp.infra.db.columns import all_columns
from idp.infra.db.engine import execute, fetch, fetchrow
from idp.infra.db.listing import Filter, Listing, Sort
from idp.infra.db.rows import many, one

_INSERT = f"""
INSERT INTO role (id, client_id, organization_id, name, name_key, description, created_at, updated_at)
VALUES ($1, $2, $3, $4, $5, $6, now(), now())
ON CONFLICT (client_id, organization_id, name_key) DO NOTHING
RETURNING {all_columns(RoleRow)}
"""  # noqa: S608
_BY_ID = f"SELECT {all_columns(RoleRow)} FROM role WHERE id = $1"  # noqa: S608
_BY_NAME = f"""
SELECT {all_columns(RoleRow)} FROM role
WHERE client_id IS NOT DISTINCT FROM $1 AND organization_id IS NOT DISTINCT FROM $2 AND name_key = $3
"""  # noqa: S608
_BY_IDS = f"SELECT {all_columns(RoleRow)} FROM role WHERE id = ANY ($1::uuid[])"  # noqa: S608
_DESCRIBE = f"""
UPDATE role AS r SET name = $2, name_key = $3, description = $4, updated_at = now()
WHERE id = $1 AND NOT EXISTS (
    SELECT FROM role
    WHERE client_id IS NOT DISTINCT FROM r.client_id AND organization_id IS NOT DISTINCT FROM r.organization_id
      AND name_key = $3 AND id <> $1)
RETURNING {all_columns(RoleRow)}
"""  # noqa: S608
# Whoever saves an access policy holds its roles: it is there already, or comes after the deletion.
_HOLD = """
SELECT id FROM role WHERE id = ANY ($1::uuid[]) AND (client_id IS NULL OR client_id = $2) AND organization_id IS NULL
ORDER BY id FOR KEY SHARE
"""
_LOCK = "SELECT FROM role WHERE id = $1 FOR UPDATE"
_USED_BY = """
SELECT DISTINCT c.metadata ->> 'client_name' AS name
FROM access_policy_role AS p JOIN client AS c ON c.client_id = p.client_id WHERE p.role_id = $1 ORDER BY 1 LIMIT 10
"""
_DELETE = "DELETE FROM role WHERE id = $1"
# Unless the contained role contains the other one already. A role of an organization contains only others of it, and
# no other role contains one: whoever has it is a member. $1 role_id  $2 contained_id
# OFFSET 0: see idp.directory.repository.memberships.
_CONTAIN = """
WITH RECURSIVE below (id) AS (
    SELECT $2::uuid
    UNION SELECT c.contained_id FROM below AS b
    CROSS JOIN LATERAL (SELECT contained_id FROM role_contained WHERE role_id = b.id OFFSET 0) AS c
)
INSERT INTO role_contained (role_id, contained_id)
SELECT r.id, c.id FROM role AS r, role AS c
WHERE r.id = $1 AND c.id = $2 AND r.organization_id IS NOT DISTINCT FROM c.organization_id
  AND NOT $1 IN (SELECT id FROM below)
ON CONFLICT DO NOTHING
"""
_CONTAINS = "SELECT FROM role_contained WHERE role_id = $1 AND contained_id = $2"
_RELEASE = "DELETE FROM role_contained WHERE role_id = $1 AND contained_id = $2"
# A role of an organization: to its members only. A role that is deleted at this moment is given to nobody. Without the
# lock, that would stay for ever.
_GIVE = """
INSERT INTO user_role (user_id, role_id, organization_id, origin, created_at)
SELECT u.id, r.id, r.organization_id, $3, now() FROM unnest($1::uuid[]) AS u (id), role AS r
WHERE r.id = $2 AND (r.organization_id IS NULL OR (u.id, r.organization_id) IN (
    SELECT m.user_id, m.organization_id FROM organization_member AS m WHERE m.user_id = ANY ($1::uuid[])))
FOR KEY SHARE OF r
ON CONFLICT DO NOTHING RETURNING user_id
"""
_TAKE = "DELETE FROM user_role WHERE user_id = ANY ($1::uuid[]) AND role_id = $2 RETURNING user_id"
_TAKE_OF_ORIGIN = """
DELETE FROM user_role WHERE user_id = $1 AND role_id = ANY ($2::uuid[]) AND origin = $3 RETURNING role_id
"""
_KEEP = f"""
SELECT {all_columns(RoleRow)} FROM role WHERE id = ANY ($1::uuid[]) AND organization_id IS NULL
ORDER BY id FOR KEY SHARE
"""  # noqa: S608
_COUNT_ROLES = "SELECT count(*) AS number FROM role WHERE organization_id = $1"
_COUNT_HOLDERS = "SELECT count(*) AS number FROM user_role WHERE role_id = $1"
# For an export. Servers have few roles that contain others.
_CONTAINED_PAIRS = "SELECT role_id, contained_id FROM role_contained"
_CONTAINED = f"""
SELECT {all_columns(RoleRow, "r")} FROM role_contained AS c JOIN role AS r ON r.id = c.contained_id
WHERE c.role_id = $1 ORDER BY r.client_id NULLS FIRST, r.name_key
"""  # noqa: S608


async def insert_role(
    id: UUID, name: str, name_key: str, description: str, *, client_id: str | None, organization_id: UUID | None
) -> Role | None:
    """Insert a role. Returns None if the name is taken.

    Raises:
        UnknownClientError: there is no such client. The transaction cannot continue.
        UnknownOrganizationError: there is no such organization. The same.
    """
    try:
        row = await fetchrow(_INSERT, id, client_id, organization_id, name, name_key, description)
    except asyncpg.ForeignKeyViolationError as error:
        raise (UnknownClientError if organization_id is None else UnknownOrganizationError) from error
    return one(Role, row)


async def role_by_id(id: UUID) -> Role | None:
    return one(Role, await fetchrow(_BY_ID, id))


async def lock_role(id: UUID) -> None:
    """Lock a role until the end of the transaction."""
    await fetchrow(_LOCK, id)


async def hold_roles(ids: Collection[UUID], client_id: str) -> set[UUID]:
    """Return those of the roles that are of a client or of the whole server. They are not deleted before the end of the
    transaction.
    """
    return {row["id"] for row in await fetch(_HOLD, list(ids), client_id)}


async def clients_using_role(id: UUID) -> list[str]:
    """Return the names of up to ten clients whose access policies name a role."""
    return [row["name"] for row in await fetch(_USED_BY, id)]


async def role_by_name(client_id: str | None, name_key: str, organization_id: UUID | None = None) -> Role | None:
    return one(Role, await fetchrow(_BY_NAME, client_id, organization_id, name_key))


async def roles_by_ids(ids: Collection[UUID]) -> dict[UUID, Role]:
    """Return the existing roles among these ids."""
    return {role.id: role for role in many(Role, await fetch(_BY_IDS, list(ids)))}


async def describe_role(id: UUID, name: str, name_key: str, description: str) -> Role | None:
    """Set the name and the description. Returns None if there is no such role, or another one has the name."""
    return one(Role, await fetchrow(_DESCRIBE, id, name, name_key, description))


async def delete_role(id: UUID) -> bool:
    """Delete a role. Returns False if there is no such role."""
    return bool(await execute(_DELETE, id))


async def insert_contained(role_id: UUID, contained_id: UUID) -> bool:
    """Let a role contain another one. Returns False if it does, if one is unknown, if that would be a cycle, or if only
    one of them is of an organization, or they are of two.
    """
    return bool(await execute(_CONTAIN, role_id, contained_id))


async def contains(role_id: UUID, contained_id: UUID) -> bool:
    """Return whether a role contains another one directly."""
    return await fetchrow(_CONTAINS, role_id, contained_id) is not None


async def delete_contained(role_id: UUID, contained_id: UUID) -> bool:
    """Let a role no longer contain another one. Returns False if it did not."""
    return bool(await execute(_RELEASE, role_id, contained_id))


async def contained_roles(role_id: UUID) -> list[Role]:
    """Return the roles that a role contains directly."""
    return many(Role, await fetch(_CONTAINED, role_id))


async def contained_pairs() -> list[tuple[UUID, UUID]]:
    """Return every role that contains others, with each of them."""
    return [(row["role_id"], row["contained_id"]) for row in await fetch(_CONTAINED_PAIRS)]


async def count_holders(id: UUID) -> int:
    """Return the number of users who were given a role."""
    row = await fetchrow(_COUNT_HOLDERS, id)
    return int(row["number"]) if row is not None else 0


async def count_roles_of(organization_id: UUID) -> int:
    """Return the number of roles of an organization."""
    row = await fetchrow(_COUNT_ROLES, organization_id)
    return int(row["number"]) if row is not None else 0


async def insert_user_roles(role_id: UUID, user_ids: Collection[UUID], origin: str) -> list[UUID]:
    """Give a role to users that exist; a role of an organization: to members. Returns those who did not have it."""
    return [row["user_id"] for row in await fetch(_GIVE, list(user_ids), role_id, origin)]


async def keep_roles(ids: Collection[UUID]) -> dict[UUID, Role]:
    """Return roles by id, without those of organizations. They are not deleted until the end of the transaction."""
    return {role.id: role for role in many(Role, await fetch(_KEEP, list(ids)))}


async def delete_user_roles_of_origin(user_id: UUID, role_ids: Collection[UUID], origin: str) -> list[UUID]:
    """Take roles from a user that an origin gave. Returns those roles."""
    return [row["role_id"] for row in await fetch(_TAKE_OF_ORIGIN, user_id, list(role_ids), origin)]


async def delete_user_roles(role_id: UUID, user_ids: Collection[UUID]) -> list[UUID]:
    """Take a role from users. Returns those who had it."""
    return [row["user_id"] for row in await fetch(_TAKE, list(user_ids), role_id)]


ROLES = Listing(
    source="role AS r",
    columns="r.id, r.client_id, r.organization_id, r.name, r.description, r.created_at, r.updated_at",
    key=Sort("r.id", "uuid"),
    sorts={"name": Sort("r.name_key", "text"), "created_at": Sort("r.created_at")},
    default_sort="name",
    filters={
        "id": Filter("r.id = {}", "uuid", "One role."),
        "q": Filter(NAME.format("r.name_key"), help="Beginning of the name.", prepare=names.key),
        "client_id": Filter("r.client_id = {}", help="Of one client."),
        "organization_id": Filter("r.organization_id = {}", "uuid", "Of one organization."),
        "server": Filter(
            "(r.client_id IS NULL AND r.organization_id IS NULL) = {}", "boolean", "Whether it is of the whole server."
        ),
        "user_id": Filter(
            "r.id IN (SELECT role_id FROM user_role WHERE user_id = {})", "uuid", "Those that a user was given."
        ),
        "group_id": Filter(
            "r.id IN (SELECT role_id FROM group_role WHERE group_id = {})", "uuid", "Those that a group was given."
        ),
        "contained_in": Filter(
            "r.id IN (SELECT contained_id FROM role_contained WHERE role_id = {})", "uuid", "Those in another role."
        ),
    },
)

#: Those of clients and of the server. Roles of organizations are managed with their organization.
OWN_ROLES = msgspec.structs.replace(ROLES, where="r.organization_id IS NULL")

HOLDERS = Listing(
    source="user_role AS m JOIN users AS u ON u.id = m.user_id JOIN role AS r ON r.id = m.role_id",
    columns="m.user_id, m.role_id, u.email, u.name, u.disabled_at, m.origin, m.created_at",
    key=Sort("m.user_id", "uuid"),
    sorts={"user_id": Sort("m.user_id", "uuid")},
    default_sort="user_id",
    filters={
        "role_id": Filter("m.role_id = {}", "uuid", "With one role."),
        "organization_id": Filter("m.organization_id = {}", "uuid", "With a role of one organization."),
        "user_id": Filter("m.user_id = {}", "uuid", "One user."),
    },
)
