"""The statements that read the roles of an organization, which are the groups of its SCIM clients."""

from collections.abc import Collection
from typing import Any, Final
from uuid import UUID

from idp.infra.db.engine import fetch, fetch_once, fetchrow
from idp.infra.db.rows import many, one
from idp.scim.attributes import GROUP
from idp.scim.filters import Filter
from idp.scim.repository.groups import MAX_MEMBERS, Member, MembersState, StoredGroup
from idp.scim.repository.predicates import Column, Elements, Kind, Predicate
from idp.scim.repository.search import Searched

_SELECT: Final = "g.id, g.name, NULL::uuid AS parent_id, g.created_at, g.updated_at, x.external_id"
_OF_ROLES: Final = f"""
SELECT role_id AS group_id, user_id AS id, 'User' AS type FROM user_role WHERE role_id = ANY ($1::uuid[])
LIMIT {MAX_MEMBERS + 1}
"""  # noqa: S608
_STATES: Final = f"""
SELECT a.id AS group_id, m.number, m.last, '{{}}'::uuid[] AS children FROM unnest($1::uuid[]) AS a (id)
CROSS JOIN LATERAL (
    SELECT count(*) AS number, max(created_at) AS last FROM (
        SELECT created_at FROM user_role WHERE role_id = a.id LIMIT {MAX_MEMBERS + 1}) AS m
) AS m
"""  # noqa: S608
_HOLDERS: Final = "SELECT user_id FROM user_role WHERE role_id = $1"
_ADMINISTRATORS: Final = """
SELECT DISTINCT h.user_id FROM user_role AS h JOIN admin_role AS r ON r.user_id = h.user_id WHERE h.role_id = $1
"""
_MEMBERS_AMONG: Final = """
SELECT user_id FROM organization_member WHERE organization_id = $1 AND user_id = ANY ($2::uuid[])
"""

_MEMBER_COLUMNS: Final = {
    "value": Column("m.user_id", Kind.ID, nullable=False),
    "type": Column("'User'", nullable=False, constant=True),
}

ROLES: Final = Searched(
    resource=GROUP,
    select=_SELECT,
    source="role AS g LEFT JOIN scim_role AS x ON x.role_id = g.id AND x.origin = $1",
    id="g.id",
    table="",
    shown="g.organization_id = $2::uuid",
    columns={
        "id": Column("g.id", Kind.ID, nullable=False),
        "externalid": Column("x.external_id", Kind.EXACT),
        "meta.resourcetype": Column("'Group'", Kind.EXACT, nullable=False, constant=True),
        "meta.created": Column("g.created_at", Kind.TIME, nullable=False),
        "meta.lastmodified": Column("g.updated_at", Kind.TIME, nullable=False),
        "displayname": Column("g.name_key", Kind.NAME, nullable=False),
        "members": Elements(
            _MEMBER_COLUMNS, "g.id IN (SELECT m.role_id FROM user_role AS m WHERE m.organization_id = $2 AND {})"
        ),
    },
)

_BY_ID: Final = f"SELECT {_SELECT} FROM {ROLES.source} WHERE g.id = $3 AND {ROLES.shown}"  # noqa: S608


async def role(origin: str, organization_id: UUID, role_id: UUID) -> StoredGroup | None:
    """Return a role of an organization, with the ``externalId`` of a client."""
    return one(StoredGroup, await fetchrow(_BY_ID, origin, organization_id, role_id))


async def members_of(role_ids: Collection[UUID]) -> dict[UUID, list[Member]] | None:
    """Return the members who have roles, by role; None if they are too many for a response."""
    rows = await fetch(_OF_ROLES, list(role_ids))
    if len(rows) > MAX_MEMBERS:
        return None
    found: dict[UUID, list[Member]] = {}
    for holder in sorted(many(Member, rows), key=lambda holder: holder.id):
        found.setdefault(holder.group_id, []).append(holder)
    return found


async def states_of(role_ids: Collection[UUID]) -> dict[UUID, MembersState]:
    """Return the states of the members who have roles."""
    return {state.group_id: state for state in many(MembersState, await fetch(_STATES, list(role_ids)))}


async def holders(role_id: UUID) -> set[UUID]:
    """Return the members who were given a role."""
    return {row["user_id"] for row in await fetch(_HOLDERS, role_id)}


async def selected(role_id: UUID, filter: Filter) -> list[UUID]:
    """Return the members with a role that a filter selects, inside a transaction.

    Raises:
        InvalidFilterError: it names an unknown attribute.
    """
    parameters: list[Any] = [role_id]
    condition = Predicate(GROUP, _MEMBER_COLUMNS, parameters).condition(filter)
    text = f"SELECT m.user_id AS id FROM user_role AS m WHERE m.role_id = $1 AND {condition}"  # noqa: S608
    return [row["id"] for row in await fetch_once(text, *parameters)]


async def administrators(role_id: UUID) -> set[UUID]:
    """Return the users with a role of an organization who have a role of an administrator of the server."""
    return {row["user_id"] for row in await fetch(_ADMINISTRATORS, role_id)}


async def members_among(organization_id: UUID, user_ids: Collection[UUID]) -> set[UUID]:
    """Return those of some users who are members of an organization."""
    return {row["user_id"] for row in await fetch(_MEMBERS_AMONG, organization_id, list(user_ids))}
