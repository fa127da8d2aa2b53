"""The statements on members of groups at targets, and on those whom a target is to get."""

from collections.abc import Collection
from uuid import UUID

import msgspec

from idp.infra.db.engine import execute, fetch, fetchrow
from idp.infra.db.rows import many
from idp.provisioning.models import Target, Users

# The members of a group and of the groups below it who are active at the target.
_WANTED = """
    SELECT DISTINCT p.user_id, p.remote_id FROM groups AS g JOIN group_member AS m ON m.group_id = g.id
    JOIN provisioned_user AS p ON p.user_id = m.user_id AND p.target_id = $1
    WHERE g.path @> ARRAY[$2::uuid] AND p.state = 'active' AND p.remote_id IS NOT NULL
"""
_MISSING = f"""
    SELECT w.user_id, w.remote_id FROM ({_WANTED}) AS w
    WHERE NOT EXISTS (SELECT FROM provisioned_member AS s
                      WHERE s.user_id = w.user_id AND s.target_id = $1 AND s.group_id = $2)
      AND w.user_id <> ALL ($4::uuid[])
    ORDER BY w.user_id LIMIT $3
"""  # noqa: S608
_SURPLUS = f"""
    SELECT s.user_id, p.remote_id FROM provisioned_member AS s
    LEFT JOIN provisioned_user AS p ON p.user_id = s.user_id AND p.target_id = s.target_id
    WHERE s.target_id = $1 AND s.group_id = $2 AND s.user_id NOT IN (SELECT w.user_id FROM ({_WANTED}) AS w)
    ORDER BY s.user_id LIMIT $3
"""  # noqa: S608
_ALL = f"SELECT w.user_id, w.remote_id FROM ({_WANTED}) AS w ORDER BY w.user_id LIMIT $3"  # noqa: S608
_INSERT = """
    INSERT INTO provisioned_member (user_id, target_id, group_id) SELECT unnest($3::uuid[]), $1, $2
    ON CONFLICT DO NOTHING
"""
_DELETE = "DELETE FROM provisioned_member WHERE target_id = $1 AND group_id = $2 AND user_id = ANY ($3::uuid[])"
_DELETE_OF_GROUP = "DELETE FROM provisioned_member WHERE target_id = $1 AND group_id = $2"
_DELETE_OF_USER = "DELETE FROM provisioned_member WHERE target_id = $1 AND user_id = $2 RETURNING group_id"
_GROUPS_OF = "SELECT group_id FROM provisioned_member WHERE user_id = $1 AND target_id = $2"

#: By what says which users a target gets, the ids of those who may be among them, after an id.
_CANDIDATES = {
    Users.ALL: "SELECT id AS user_id FROM users WHERE id > $1 ORDER BY id LIMIT $2",
    Users.GROUPS: """
        SELECT DISTINCT m.user_id FROM groups AS g JOIN group_member AS m ON m.group_id = g.id
        WHERE g.path && $3::uuid[] AND m.user_id > $1 ORDER BY m.user_id LIMIT $2
    """,
    Users.ORGANIZATION: """
        SELECT user_id FROM organization_member
        WHERE user_id > $1 AND organization_id = ANY ($3::uuid[]) AND disabled_at IS NULL ORDER BY user_id LIMIT $2
    """,
}
_COUNTS = {
    Users.ALL: "SELECT count(*) AS number FROM users",
    Users.GROUPS: """
        SELECT count(DISTINCT m.user_id) AS number FROM groups AS g JOIN group_member AS m ON m.group_id = g.id
        WHERE g.path && $1::uuid[]
    """,
    Users.ORGANIZATION: """
        SELECT count(*) AS number FROM organization_member
        WHERE organization_id = ANY ($1::uuid[]) AND disabled_at IS NULL
    """,
}


class Member(msgspec.Struct, frozen=True):
    """A user, and the id at the target; None: no longer known."""

    user_id: UUID
    remote_id: str | None


async def missing(target_id: UUID, group_id: UUID, limit: int, without: Collection[UUID] = ()) -> list[Member]:
    """Return users who are to be in a group at a target, and were not added there yet."""
    return many(Member, await fetch(_MISSING, target_id, group_id, limit, list(without)))


async def surplus(target_id: UUID, group_id: UUID, limit: int) -> list[Member]:
    """Return users who were added to a group at a target, and are not to be in it."""
    return many(Member, await fetch(_SURPLUS, target_id, group_id, limit))


async def wanted(target_id: UUID, group_id: UUID, limit: int) -> list[Member]:
    """Return the users who are to be in a group at a target."""
    return many(Member, await fetch(_ALL, target_id, group_id, limit))


async def add(target_id: UUID, group_id: UUID, user_ids: Collection[UUID]) -> None:
    """Record that users were added."""
    await execute(_INSERT, target_id, group_id, list(user_ids))


async def remove(target_id: UUID, group_id: UUID, user_ids: Collection[UUID]) -> None:
    """Record that users were removed."""
    await execute(_DELETE, target_id, group_id, list(user_ids))


async def remove_all(target_id: UUID, group_id: UUID) -> None:
    """Record that a group has no members, because it is new or gone."""
    await execute(_DELETE_OF_GROUP, target_id, group_id)


async def remove_user(target_id: UUID, user_id: UUID) -> set[UUID]:
    """Record that a user is in no group, because the account is new or gone. Returns the groups."""
    return {row["group_id"] for row in await fetch(_DELETE_OF_USER, target_id, user_id)}


async def groups_of(target_id: UUID, user_id: UUID) -> set[UUID]:
    """Return the groups to which a user was added at a target."""
    return {row["group_id"] for row in await fetch(_GROUPS_OF, user_id, target_id)}


def _named(target: Target) -> tuple[list[UUID], ...]:
    if target.users is Users.GROUPS:
        return (target.groups,)
    if target.users is Users.ORGANIZATION:
        return ([target.organization_id] if target.organization_id else [],)
    return ()


async def candidates(target: Target, after: UUID, limit: int) -> list[UUID]:
    """Return the ids of users among whom are all that a target gets, in their order."""
    kind = Users.ALL if target.users is Users.CLIENT else target.users
    return [row["user_id"] for row in await fetch(_CANDIDATES[kind], after, limit, *_named(target))]


async def count_candidates(target: Target) -> int:
    """Return how many :func:`candidates` there are."""
    kind = Users.ALL if target.users is Users.CLIENT else target.users
    row = await fetchrow(_COUNTS[kind], *_named(target))
    return int(row["number"]) if row is not None else 0
