"""The statements on groups and their members."""

from collections.abc import Collection
from uuid import UUID

from idp.directory import names
from idp.directory.models import Group
from idp.directory.repository.filters import NAME
from idp.directory.tables import GroupRow
from idp.infra.db.columns import all_columns
from idp.infra.db.engine import execute, fetch, fetchrow
from idp.infra.db.listing import Filter, Listing, Sort
from idp.infra.db.rows import many, one

# $1 id  $2 name  $3 name_key  $4 description  $5 parent_id  $6 maximum depth
_INSERT = f"""
INSERT INTO groups (id, name, name_key, description, parent_id, path, created_at, updated_at)
SELECT $1, $2, $3, $4, $5, coalesce(p.path, '{{}}') || $1::uuid, now(), now()
FROM (VALUES (1)) AS always LEFT JOIN groups AS p ON p.id = $5
WHERE $5::uuid IS NULL OR cardinality(p.path) < $6
ON CONFLICT (name_key) DO NOTHING
RETURNING {all_columns(GroupRow)}
"""  # noqa: S608
_BY_ID = f"SELECT {all_columns(GroupRow)} FROM groups WHERE id = $1"  # noqa: S608
_KEEP_ONE = f"{_BY_ID} FOR KEY SHARE"
_BY_NAME = f"SELECT {all_columns(GroupRow)} FROM groups WHERE name_key = $1"  # noqa: S608
_BY_NAMES = f"SELECT {all_columns(GroupRow)}, name_key FROM groups WHERE name_key = ANY ($1::text[])"  # noqa: S608
_DESCRIBE = f"""
UPDATE groups SET name = $2, name_key = $3, description = $4, updated_at = now()
WHERE id = $1 AND NOT EXISTS (SELECT FROM groups WHERE name_key = $3 AND id <> $1)
RETURNING {all_columns(GroupRow)}
"""  # noqa: S608
# A group moves with those below it. Not below itself, nor too deep. $1 id  $2 parent_id  $3 maximum depth
_MOVE = """
WITH moved AS (
    SELECT g.id, g.path, cardinality(g.path) AS depth, coalesce(p.path, '{}') AS above
    FROM groups AS g LEFT JOIN groups AS p ON p.id = $2
    WHERE g.id = $1 AND ($2::uuid IS NULL OR p.id IS NOT NULL AND NOT g.id = ANY (p.path))
), deepest AS (
    SELECT max(cardinality(b.path) - m.depth + 1 + cardinality(m.above)) AS depth
    FROM moved AS m JOIN groups AS b ON b.path @> ARRAY[m.id]
)
UPDATE groups AS b
SET path = m.above || b.path[m.depth:],
    parent_id = CASE WHEN b.id = m.id THEN $2 ELSE b.parent_id END,
    updated_at = CASE WHEN b.id = m.id THEN now() ELSE b.updated_at END
FROM moved AS m, deepest AS d
WHERE b.path @> ARRAY[m.id] AND d.depth <= $3
"""
_LOCK = "SELECT FROM groups WHERE id = $1 FOR UPDATE"
_USED_BY = """
SELECT DISTINCT c.metadata ->> 'client_name' AS name
FROM access_policy_group AS p JOIN client AS c ON c.client_id = p.client_id WHERE p.group_id = $1 ORDER BY 1 LIMIT 10
"""
_DELETE = "DELETE FROM groups AS g WHERE id = $1 AND NOT EXISTS (SELECT FROM groups WHERE parent_id = g.id)"
_COUNT_MEMBERS = "SELECT count(*) AS number FROM group_member WHERE group_id = $1"
_NAMES = "SELECT id, name FROM groups WHERE id = ANY ($1::uuid[])"
# A transaction that refers to groups keeps them: it is first, or comes after the deletion.
_KEEP = "SELECT id, name FROM groups WHERE id = ANY ($1::uuid[]) ORDER BY id FOR KEY SHARE"
# A group that is deleted at this moment gets no members. Without the lock, they would stay for ever.
_ADD_MEMBERS = """
INSERT INTO group_member (user_id, group_id, origin, created_at)
SELECT u.id, g.id, $3, now() FROM unnest($1::uuid[]) AS u (id), groups AS g WHERE g.id = $2
FOR KEY SHARE OF g
ON CONFLICT DO NOTHING RETURNING user_id
"""
# Arrays, one element per membership.
_ADD_PAIRS = """
INSERT INTO group_member (user_id, group_id, origin, created_at)
SELECT u.id, g.id, $3, now() FROM unnest($1::uuid[], $2::uuid[]) AS p (user_id, group_id)
JOIN users AS u ON u.id = p.user_id JOIN groups AS g ON g.id = p.group_id
FOR KEY SHARE OF g
ON CONFLICT DO NOTHING RETURNING user_id, group_id
"""
_COUNT_PAIRS = """
SELECT count(*) AS number FROM unnest($1::uuid[], $2::uuid[]) AS p (user_id, group_id)
JOIN group_member AS m ON m.user_id = p.user_id AND m.group_id = p.group_id
"""
_REMOVE_MEMBERS = "DELETE FROM group_member WHERE user_id = ANY ($1::uuid[]) AND group_id = $2 RETURNING user_id"
_REMOVE_OF_ORIGIN = """
DELETE FROM group_member WHERE user_id = $1 AND group_id = ANY ($2::uuid[]) AND origin = $3 RETURNING group_id
"""
# Not one of an organization, which only its members have.
_GIVE_ROLE = """
INSERT INTO group_role (group_id, role_id) SELECT g.id, r.id FROM groups AS g, role AS r
WHERE g.id = $1 AND r.id = $2 AND r.organization_id IS NULL
ON CONFLICT DO NOTHING
"""
# For an export. Servers have few groups with roles.
_ALL_ROLES = "SELECT group_id, role_id FROM group_role"
_TAKE_ROLE = "DELETE FROM group_role WHERE group_id = $1 AND role_id = $2"


async def insert_group(
    id: UUID, name: str, name_key: str, description: str, *, parent_id: UUID | None, max_depth: int
) -> Group | None:
    """Insert a group. Returns None if the name is taken, the parent is unknown, or the group would be too deep."""
    return one(Group, await fetchrow(_INSERT, id, name, name_key, description, parent_id, max_depth))


async def group_by_id(id: UUID) -> Group | None:
    return one(Group, await fetchrow(_BY_ID, id))


async def keep_group(id: UUID) -> Group | None:
    """Return a group, which is neither deleted nor renamed until the end of the transaction."""
    return one(Group, await fetchrow(_KEEP_ONE, id))


async def lock_group(id: UUID) -> None:
    """Lock a group until the end of the transaction."""
    await fetchrow(_LOCK, id)


async def clients_using_group(id: UUID) -> list[str]:
    """Return the names of up to ten clients whose access policies name a group."""
    return [row["name"] for row in await fetch(_USED_BY, id)]


async def group_by_name(name_key: str) -> Group | None:
    return one(Group, await fetchrow(_BY_NAME, name_key))


async def groups_by_names(name_keys: Collection[str]) -> dict[str, Group]:
    """Return the existing groups with one of these names, by the key of the name."""
    rows = await fetch(_BY_NAMES, list(name_keys))
    return dict(zip((row["name_key"] for row in rows), many(Group, rows), strict=True))


async def describe_group(id: UUID, name: str, name_key: str, description: str) -> Group | None:
    """Set the name and the description. Returns None if there is no such group, or another one has the name."""
    return one(Group, await fetchrow(_DESCRIBE, id, name, name_key, description))


async def move_group(id: UUID, parent_id: UUID | None, max_depth: int) -> bool:
    """Put a group, with those below it, into another one. Returns False if one of them is unknown, the other one is
    below it, or a group would be too deep.
    """
    return bool(await execute(_MOVE, id, parent_id, max_depth))


async def delete_group(id: UUID) -> bool:
    """Delete a group without groups below it. Returns False if there is no such group."""
    return bool(await execute(_DELETE, id))


async def count_members(id: UUID) -> int:
    """Return the number of members of a group, without those of the groups below it."""
    row = await fetchrow(_COUNT_MEMBERS, id)
    return int(row["number"]) if row is not None else 0


async def names_of_groups(ids: Collection[UUID]) -> dict[UUID, str]:
    """Return the names of the existing groups among these ids."""
    return {row["id"]: row["name"] for row in await fetch(_NAMES, list(ids))}


async def keep_groups(ids: Collection[UUID]) -> dict[UUID, str]:
    """As :func:`names_of_groups`. They are not deleted until the end of the transaction."""
    return {row["id"]: row["name"] for row in await fetch(_KEEP, list(ids))}


async def insert_members(group_id: UUID, user_ids: Collection[UUID], origin: str) -> list[UUID]:
    """Add users that exist to a group. Returns those that were not in it."""
    return [row["user_id"] for row in await fetch(_ADD_MEMBERS, list(user_ids), group_id, origin)]


async def insert_pairs(pairs: Collection[tuple[UUID, UUID]], origin: str) -> set[tuple[UUID, UUID]]:
    """Add users to groups, if both exist. Returns those that were not in it: ids of user and group."""
    rows = await fetch(_ADD_PAIRS, *_columns(pairs), origin)
    return {(row["user_id"], row["group_id"]) for row in rows}


async def count_pairs(pairs: Collection[tuple[UUID, UUID]]) -> int:
    """Return how many of these users are in these groups: ids of user and group."""
    row = await fetchrow(_COUNT_PAIRS, *_columns(pairs))
    return int(row["number"]) if row is not None else 0


def _columns(pairs: Collection[tuple[UUID, UUID]]) -> tuple[list[UUID], list[UUID]]:
    return [user_id for user_id, _ in pairs], [group_id for _, group_id in pairs]


async def delete_members(group_id: UUID, user_ids: Collection[UUID]) -> list[UUID]:
    """Remove users from a group. Returns those that were in it."""
    return [row["user_id"] for row in await fetch(_REMOVE_MEMBERS, list(user_ids), group_id)]


async def delete_memberships_of_origin(user_id: UUID, group_ids: Collection[UUID], origin: str) -> list[UUID]:
    """Remove a user from groups that an origin added them to. Returns those groups."""
    return [row["group_id"] for row in await fetch(_REMOVE_OF_ORIGIN, user_id, list(group_ids), origin)]


async def insert_group_role(group_id: UUID, role_id: UUID) -> bool:
    """Give a group a role. Returns False if it had the role, one of them is unknown, or it is of an organization."""
    return bool(await execute(_GIVE_ROLE, group_id, role_id))


async def delete_group_role(group_id: UUID, role_id: UUID) -> bool:
    """Take a role from a group. Returns False if it did not have it."""
    return bool(await execute(_TAKE_ROLE, group_id, role_id))


async def roles_of_groups() -> list[tuple[UUID, UUID]]:
    """Return every group that was given roles, with each of them."""
    return [(row["group_id"], row["role_id"]) for row in await fetch(_ALL_ROLES)]


GROUPS = Listing(
    source="groups AS g LEFT JOIN groups AS p ON p.id = g.parent_id",
    columns="g.id, g.name, g.description, g.parent_id, p.name AS parent, g.path, g.created_at, g.updated_at",
    key=Sort("g.id", "uuid"),
    sorts={"name": Sort("g.name_key", "text"), "created_at": Sort("g.created_at")},
    default_sort="name",
    filters={
        "id": Filter("g.id = {}", "uuid", "One group."),
        "q": Filter(NAME.format("g.name_key"), help="Beginning of the name.", prepare=names.key),
        "parent_id": Filter("g.parent_id = {}", "uuid", "The groups that are in this one."),
        "top": Filter("(g.parent_id IS NULL) = {}", "boolean", "Whether the group is in no other one."),
        "user_id": Filter(
            "g.id IN (SELECT group_id FROM group_member WHERE user_id = {})", "uuid", "Those that a user was added to."
        ),
        "role_id": Filter(
            "g.id IN (SELECT group_id FROM group_role WHERE role_id = {})", "uuid", "Those that were given a role."
        ),
    },
)

MEMBERS = Listing(
    source="group_member AS m JOIN users AS u ON u.id = m.user_id JOIN groups AS g ON g.id = m.group_id",
    columns="m.user_id, m.group_id, u.email, u.name, u.disabled_at, m.origin, m.created_at",
    key=Sort("m.user_id", "uuid"),
    sorts={"user_id": Sort("m.user_id", "uuid")},
    default_sort="user_id",
    filters={
        "group_id": Filter("m.group_id = {}", "uuid", "Of one group."),
        "user_id": Filter("m.user_id = {}", "uuid", "One user."),
    },
)
