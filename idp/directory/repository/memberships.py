"""The statements that compute the groups, organizations and roles of a user."""

from collections.abc import Collection
from typing import NamedTuple
from uuid import UUID

import msgspec

from idp.infra.db.coalescing import CoalescedQuery
from idp.infra.db.engine import fetch
from idp.infra.db.rows import many

# Whoever is in a group is in those above it. Roles follow from roles, in any depth. A disabled organization or
# membership, and what is given there, does not count. PostgreSQL expects more groups and roles of a user than there
# are, and would read the whole tables: OFFSET 0 lets it look up each.
_MEMBERSHIPS = CoalescedQuery(
    "user_id uuid",
    """
SELECT a.number, u.directory_version, g.ids, g.names, o.organization_ids, o.slugs, o.organization_names, o.policies,
       r.role_ids, r.role_clients, r.role_organizations, r.role_names
FROM asked AS a JOIN users AS u ON u.id = a.user_id
CROSS JOIN LATERAL (
    SELECT coalesce(array_agg(g.id ORDER BY g.name, g.id), '{}') AS ids,
           coalesce(array_agg(g.name ORDER BY g.name, g.id), '{}') AS names
    FROM (
        SELECT DISTINCT unnest(d.path) AS id FROM group_member AS m
        CROSS JOIN LATERAL (SELECT path FROM groups WHERE id = m.group_id OFFSET 0) AS d WHERE m.user_id = a.user_id
    ) AS above CROSS JOIN LATERAL (SELECT id, name FROM groups WHERE id = above.id OFFSET 0) AS g
) AS g
CROSS JOIN LATERAL (
    SELECT coalesce(array_agg(o.id ORDER BY o.slug), '{}') AS organization_ids,
           coalesce(array_agg(o.slug ORDER BY o.slug), '{}') AS slugs,
           coalesce(array_agg(o.name ORDER BY o.slug), '{}') AS organization_names,
           coalesce(array_agg(o.policy ORDER BY o.slug), '{}') AS policies
    FROM organization_member AS m
    CROSS JOIN LATERAL (
        SELECT id, slug, name, disabled_at, jsonb_strip_nulls(jsonb_build_object(
            'second_factor', second_factor, 'session_max_age', session_max_age, 'session_idle', session_idle,
            'ways', ways))::text AS policy
        FROM organization WHERE id = m.organization_id OFFSET 0
    ) AS o
    WHERE m.user_id = a.user_id AND m.disabled_at IS NULL AND o.disabled_at IS NULL
) AS o
CROSS JOIN LATERAL (
    WITH RECURSIVE held (id) AS (
        SELECT role_id FROM user_role WHERE user_id = a.user_id
        UNION SELECT role_id FROM group_role WHERE group_id = ANY (g.ids)
        UNION SELECT c.contained_id FROM held AS h
        CROSS JOIN LATERAL (SELECT contained_id FROM role_contained WHERE role_id = h.id OFFSET 0) AS c
    )
    SELECT coalesce(array_agg(r.id ORDER BY r.name, r.id), '{}') AS role_ids,
           coalesce(array_agg(r.client_id ORDER BY r.name, r.id), '{}') AS role_clients,
           coalesce(array_agg(r.organization_id ORDER BY r.name, r.id), '{}') AS role_organizations,
           coalesce(array_agg(r.name ORDER BY r.name, r.id), '{}') AS role_names
    FROM held
    CROSS JOIN LATERAL (SELECT id, client_id, organization_id, name FROM role WHERE id = held.id OFFSET 0) AS r
    WHERE r.organization_id IS NULL OR r.organization_id = ANY (o.organization_ids)
) AS r
""",
)


_REASONS = """
WITH RECURSIVE direct AS (
    SELECT d.id, d.path FROM group_member AS m
    CROSS JOIN LATERAL (SELECT id, path FROM groups WHERE id = m.group_id OFFSET 0) AS d WHERE m.user_id = $1
), inside AS (SELECT DISTINCT unnest(path) AS id FROM direct),
given AS (
    SELECT r.role_id, i.id AS group_id FROM inside AS i
    CROSS JOIN LATERAL (SELECT role_id FROM group_role WHERE group_id = i.id OFFSET 0) AS r
), held (id) AS (
    SELECT role_id FROM user_role WHERE user_id = $1
    UNION SELECT role_id FROM given
    UNION SELECT c.contained_id FROM held AS h
    CROSS JOIN LATERAL (SELECT contained_id FROM role_contained WHERE role_id = h.id OFFSET 0) AS c
)
SELECT true AS is_group, g.id, NULL AS client_id, NULL::uuid AS organization_id, g.name,
       EXISTS (SELECT FROM direct AS d WHERE d.id = g.id) AS direct,
       ARRAY(SELECT d.id FROM direct AS d WHERE g.id = ANY (d.path) AND d.id <> g.id) AS through_groups,
       '{}'::uuid[] AS through_roles
FROM inside AS i CROSS JOIN LATERAL (SELECT id, name FROM groups WHERE id = i.id OFFSET 0) AS g
UNION ALL
SELECT false, r.id, r.client_id, r.organization_id, r.name,
       EXISTS (SELECT FROM user_role WHERE user_id = $1 AND role_id = r.id),
       ARRAY(SELECT group_id FROM given WHERE role_id = r.id),
       ARRAY(SELECT c.role_id FROM role_contained AS c JOIN held AS h ON h.id = c.role_id WHERE c.contained_id = r.id)
FROM held AS h CROSS JOIN LATERAL (SELECT id, client_id, organization_id, name FROM role WHERE id = h.id OFFSET 0) AS r
WHERE r.organization_id IS NULL OR EXISTS (
    SELECT FROM organization AS o JOIN organization_member AS m ON m.organization_id = o.id
    WHERE o.id = r.organization_id AND o.disabled_at IS NULL AND m.user_id = $1 AND m.disabled_at IS NULL)
ORDER BY name, id
"""

_ORIGINS = """
SELECT true AS is_group, g.id, m.origin FROM group_member AS m JOIN groups AS g ON g.id = m.group_id
WHERE m.user_id = $1
UNION ALL SELECT false, r.id, m.origin FROM user_role AS m JOIN role AS r ON r.id = m.role_id
WHERE m.user_id = $1 AND m.organization_id IS NULL
"""


_ORIGINS_OF_SEVERAL = """
SELECT m.user_id, true AS is_group, m.group_id AS id, m.origin FROM group_member AS m
WHERE m.user_id = ANY ($1::uuid[])
UNION ALL SELECT m.user_id, false, m.role_id, m.origin FROM user_role AS m
WHERE m.user_id = ANY ($1::uuid[]) AND m.organization_id IS NULL
"""

_ORGANIZATION = ("organization_ids", "slugs", "organization_names", "policies")


class Origin(msgspec.Struct, frozen=True):
    """A group or a role that a user was given, and by what."""

    is_group: bool
    id: UUID
    origin: str


class OriginOfUser(Origin, frozen=True):
    """A group or a role that one of several users was given, and by what."""

    user_id: UUID


class Reason(msgspec.Struct, frozen=True):
    """A group or a role of a user, and why: ids of groups and roles of the same user."""

    is_group: bool
    id: UUID
    client_id: str | None
    organization_id: UUID | None
    name: str
    direct: bool
    through_groups: list[UUID]
    through_roles: list[UUID]


class StoredRole(NamedTuple):
    """A role of a user, and the client or the organization that it belongs to."""

    id: UUID
    client_id: str | None
    organization_id: UUID | None
    name: str


class StoredMemberships(NamedTuple):
    """The groups, organizations and roles of a user at one time.

    Attributes:
        version: increases with every change of what the user was given.
        organizations: id, slug, name and, as JSON, the sign-in policy.
    """

    version: int
    groups: list[tuple[UUID, str]]
    organizations: list[tuple[UUID, str, str, str]]
    roles: list[StoredRole]


async def memberships(user_id: UUID) -> StoredMemberships | None:
    """Return what follows for a user; None if there is no such user."""
    row = await _MEMBERSHIPS.fetchrow(user_id=user_id)
    if row is None:
        return None
    return StoredMemberships(
        row["directory_version"],
        list(zip(row["ids"], row["names"], strict=True)),
        list(zip(*(row[name] for name in _ORGANIZATION), strict=True)),
        [
            StoredRole(*role)
            for role in zip(
                row["role_ids"], row["role_clients"], row["role_organizations"], row["role_names"], strict=True
            )
        ],
    )


async def reasons(user_id: UUID) -> list[Reason]:
    """Return the groups and roles of a user with the reasons, ordered by name. Of an unknown user: none."""
    return many(Reason, await fetch(_REASONS, user_id))


async def origins_of_user(user_id: UUID) -> list[Origin]:
    """Return the groups and roles that a user was given. Roles of organizations are left out."""
    return many(Origin, await fetch(_ORIGINS, user_id))


async def origins_of_users(user_ids: Collection[UUID]) -> list[OriginOfUser]:
    """As :func:`origins_of_user`, for several users."""
    return many(OriginOfUser, await fetch(_ORIGINS_OF_SEVERAL, list(user_ids)))
