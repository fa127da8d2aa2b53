"""The statements that read groups and their members, for SCIM. The changes are those of :mod:`idp.directory`."""

from collections.abc import Collection
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from idp.infra.db.engine import fetch, fetch_once, fetchrow
from idp.infra.db.rows import many, one
from idp.scim.attributes import GROUP
from idp.scim.filters import Filter
from idp.scim.repository.predicates import Column, Elements, Kind, Predicate
from idp.scim.repository.search import Searched

#: Number of members of all groups of a response, above which they are left out; and of a group that has a version.
MAX_MEMBERS: Final = 10_000

_SELECT: Final = "g.id, g.name, g.parent_id, g.created_at, g.updated_at, x.external_id"
# The users in a group, and the groups directly below it.
_MEMBERS: Final = """(
    SELECT group_id, user_id AS id, 'User' AS type FROM group_member
    UNION ALL SELECT parent_id, id, 'Group' FROM groups WHERE parent_id IS NOT NULL
)"""
_OF_GROUPS: Final = f"""
SELECT m.group_id, m.id, m.type FROM {_MEMBERS} AS m WHERE m.group_id = ANY ($1::uuid[])
LIMIT {MAX_MEMBERS + 1}
"""  # noqa: S608
# What changes with each change of the members of a group: their number, and when the last one was added.
_STATES: Final = f"""
SELECT a.id AS group_id, m.number, m.last, c.children
FROM unnest($1::uuid[]) AS a (id)
CROSS JOIN LATERAL (
    SELECT count(*) AS number, max(created_at) AS last FROM (
        SELECT created_at FROM group_member WHERE group_id = a.id LIMIT {MAX_MEMBERS + 1}) AS m
) AS m
CROSS JOIN LATERAL (
    SELECT coalesce(array_agg(id ORDER BY id), '{{}}') AS children FROM groups WHERE parent_id = a.id
) AS c
"""  # noqa: S608
_USER_IDS: Final = "SELECT user_id FROM group_member WHERE group_id = $1 ORDER BY user_id"
_CHILD_IDS: Final = "SELECT id FROM groups WHERE parent_id = $1 ORDER BY id"
_ADMINISTRATORS: Final = """
SELECT DISTINCT m.user_id FROM group_member AS m JOIN admin_role AS r ON r.user_id = m.user_id WHERE m.group_id = $1
"""
_ADMINISTRATORS_BELOW: Final = """
SELECT FROM groups AS g JOIN group_member AS m ON m.group_id = g.id JOIN admin_role AS r ON r.user_id = m.user_id
WHERE g.path @> ARRAY[$1::uuid] LIMIT 1
"""
_WITH_ROLE: Final = "SELECT user_id FROM admin_role WHERE user_id = ANY ($1::uuid[])"
_KINDS: Final = """
SELECT id, 'User' AS type FROM users WHERE id = ANY ($1::uuid[])
UNION ALL SELECT id, 'Group' FROM groups WHERE id = ANY ($1::uuid[])
"""

_MEMBER_COLUMNS: Final = {
    "value": Column("m.id", Kind.ID, nullable=False),
    "type": Column("m.type", nullable=False),
}

GROUPS: Final = Searched(
    resource=GROUP,
    select=_SELECT,
    source="groups AS g LEFT JOIN scim_group AS x ON x.group_id = g.id AND x.origin = $1",
    id="g.id",
    table="groups",
    columns={
        "id": Column("g.id", Kind.ID, nullable=False),
        "externalid": Column("x.external_id", Kind.EXACT),
        "meta.resourcetype": Column("'Group'", Kind.EXACT, nullable=False, constant=True),
        "meta.created": Column("g.created_at", Kind.TIME, nullable=False),
        "meta.lastmodified": Column("g.updated_at", Kind.TIME, nullable=False),
        "displayname": Column("g.name_key", Kind.NAME, nullable=False),
        "members": Elements(_MEMBER_COLUMNS, f"g.id IN (SELECT m.group_id FROM {_MEMBERS} AS m WHERE {{}})"),  # noqa: S608
    },
)


_BY_ID: Final = f"SELECT {_SELECT} FROM {GROUPS.source} WHERE g.id = $2"  # noqa: S608


class StoredGroup(msgspec.Struct, frozen=True, kw_only=True):
    """A group as SCIM shows it, without members."""

    id: UUID
    name: str
    parent_id: UUID | None
    external_id: str | None
    created_at: datetime
    updated_at: datetime


class Member(msgspec.Struct, frozen=True):
    """A member of a group. ``type`` is ``User`` or ``Group``."""

    group_id: UUID
    id: UUID
    type: str


class MembersState(msgspec.Struct, frozen=True):
    """What changes with each change of the members of a group.

    Attributes:
        number: of the users, up to one more than :data:`MAX_MEMBERS`.
        last: when the last one was added.
        children: the groups directly below it.
    """

    group_id: UUID
    number: int
    last: datetime | None
    children: list[UUID]


async def group(origin: str, group_id: UUID) -> StoredGroup | None:
    """Return a group, with the ``externalId`` of a client."""
    return one(StoredGroup, await fetchrow(_BY_ID, origin, group_id))


def read_groups(rows: Collection[Any]) -> list[StoredGroup]:
    """Return the groups of the rows of a search."""
    return many(StoredGroup, rows)


async def members_of(group_ids: Collection[UUID]) -> dict[UUID, list[Member]] | None:
    """Return the members of groups, by group, users first; None if they are too many for a response."""
    rows = await fetch(_OF_GROUPS, list(group_ids))
    if len(rows) > MAX_MEMBERS:
        return None
    found: dict[UUID, list[Member]] = {}
    for member in sorted(many(Member, rows), key=lambda member: (member.type == GROUP.name, member.id)):
        found.setdefault(member.group_id, []).append(member)
    return found


async def states_of(group_ids: Collection[UUID]) -> dict[UUID, MembersState]:
    """Return the states of the members of groups."""
    return {state.group_id: state for state in many(MembersState, await fetch(_STATES, list(group_ids)))}


async def user_ids(group_id: UUID) -> list[UUID]:
    """Return the users that were added to a group."""
    return [row["user_id"] for row in await fetch(_USER_IDS, group_id)]


async def child_ids(group_id: UUID) -> list[UUID]:
    """Return the groups directly below a group."""
    return [row["id"] for row in await fetch(_CHILD_IDS, group_id)]


async def selected(group_id: UUID, filter: Filter) -> list[UUID]:
    """Return the members of a group that a filter selects, inside a transaction.

    Raises:
        InvalidFilterError: it names an unknown attribute.
    """
    parameters: list[Any] = [group_id]
    condition = Predicate(GROUP, _MEMBER_COLUMNS, parameters).condition(filter)
    text = f"SELECT m.id FROM {_MEMBERS} AS m WHERE m.group_id = $1 AND {condition}"  # noqa: S608
    return [row["id"] for row in await fetch_once(text, *parameters)]


async def administrators(group_id: UUID) -> set[UUID]:
    """Return the users in a group who have a role of an administrator."""
    return {row["user_id"] for row in await fetch(_ADMINISTRATORS, group_id)}


async def has_administrators(group_id: UUID) -> bool:
    """Return whether a user in a group, or in one below it, has a role of an administrator."""
    return bool(await fetch(_ADMINISTRATORS_BELOW, group_id))


async def have_role(user_ids: Collection[UUID]) -> bool:
    """Return whether one of the users has a role of an administrator."""
    return bool(await fetch(_WITH_ROLE, list(user_ids)))


async def kinds(ids: Collection[UUID]) -> dict[UUID, str]:
    """Return what is a user and what is a group."""
    return {row["id"]: row["type"] for row in await fetch(_KINDS, list(ids))}
