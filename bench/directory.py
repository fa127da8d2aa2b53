"""The figures of groups, roles and SCIM: one page of each list, and what follows for a user, in a large directory."""

import statistics
import time
from collections.abc import Awaitable, Callable
from functools import partial
from uuid import UUID

import asyncpg
import msgspec

from bench import attributes, large
from bench.figures import Bench, Figure, Part
from idp import clock
from idp.accounts.attributes import search
from idp.accounts.attributes.models import Audience
from idp.accounts.attributes.registry import attributes as declared
from idp.accounts.repository.users import USERS
from idp.directory.repository.groups import GROUPS, MEMBERS
from idp.directory.repository.memberships import memberships
from idp.directory.repository.roles import HOLDERS, OWN_ROLES, ROLES
from idp.infra.db.engine import fetchrow
from idp.infra.db.listing import Listing, list_page
from idp.scim import paging
from idp.scim.access import Caller
from idp.scim.attributes import GROUP, USER, ResourceType

#: Maximum of the median time of a page, in milliseconds.
PAGE_MS = 50
#: Maximum of the median time of the statement that computes what follows for a user, in milliseconds.
EFFECTIVE_MS = 10
#: Statements that are measured of each kind, each round.
STATEMENTS = 100
#: Groups and roles of the user who has many.
GROUPS_OF_ONE, ROLES_OF_ONE = 50, 20
#: The attribute by which users are searched, and its values.
ATTRIBUTE, VALUES = "department", ("one", "few", "percent", "half")
#: The SCIM client.
ORIGIN = "scim:measured"


class Scale(msgspec.Struct, frozen=True):
    """The number of rows of each kind.

    Attributes:
        in_large_group: members of one group, and holders of one role. The others are of all users alike.
    """

    users: int = 1_000_000
    groups: int = 100_000
    groups_of_user: int = 10
    roles: int = 20_000
    in_large_group: int = 100_000
    organizations: int = 10_000

    def of(self, part: float) -> "Scale":
        """Return a smaller scale."""
        names = ("users", "groups", "roles", "in_large_group", "organizations")
        return msgspec.structs.replace(self, **{name: int(getattr(self, name) * part) for name in names})

    @property
    def memberships(self) -> int:
        return self.users * self.groups_of_user + self.in_large_group


# Ten groups at the top, and ten in each other.
_GROUPS = """
WITH RECURSIVE tree (n, parent_id, path) AS (
    SELECT n, NULL::uuid, ARRAY[md5('group ' || n)::uuid] FROM generate_series(0, 9) AS n
    UNION ALL
    SELECT c.n, t.path[cardinality(t.path)], t.path || md5('group ' || c.n)::uuid
    FROM tree AS t, generate_series(10 * t.n + 10, 10 * t.n + 19) AS c (n) WHERE c.n < $1
)
INSERT INTO groups (id, name, name_key, description, parent_id, path)
SELECT path[cardinality(path)], 'Group ' || n, 'group ' || n, 'Measured', parent_id, path FROM tree
"""
# Half of them are of the client.
_ROLES = """
INSERT INTO role (id, client_id, name, name_key, description)
SELECT uuidv7(), CASE WHEN n % 2 = 1 THEN $2::text END, 'Role ' || n, 'role ' || n, 'Measured'
FROM generate_series(0, $1 - 1) AS n
"""
# Users, groups and roles with their numbers, from 0.
_NUMBERED = """
CREATE TEMPORARY TABLE numbered_user AS SELECT row_number() OVER (ORDER BY id) - 1 AS n, id FROM users;
CREATE TEMPORARY TABLE numbered_group AS SELECT row_number() OVER (ORDER BY name) - 1 AS n, id FROM groups;
CREATE TEMPORARY TABLE numbered_role AS SELECT row_number() OVER (ORDER BY name) - 1 AS n, id FROM role;
"""
# In groups that are spread evenly: numbers times primes.
_MEMBERS = """
INSERT INTO group_member (user_id, group_id, origin)
SELECT u.id, g.id, 'admin' FROM numbered_user AS u CROSS JOIN generate_series(0, $1 - 1) AS k
JOIN numbered_group AS g ON g.n = (u.n * 7919 + k * 104729) % $2
"""
# The large group, and the user in many.
_MORE_MEMBERS = """
INSERT INTO group_member (user_id, group_id, origin)
SELECT u.id, g.id, 'admin' FROM numbered_user AS u JOIN numbered_group AS g ON g.n = 0 WHERE u.n < $1
UNION ALL
SELECT u.id, g.id, 'admin' FROM numbered_user AS u JOIN numbered_group AS g ON g.n % $2 = 0 WHERE u.n = 0
ON CONFLICT DO NOTHING
"""
_HOLDERS = """
INSERT INTO user_role (user_id, role_id, origin)
SELECT u.id, r.id, 'admin' FROM numbered_user AS u JOIN numbered_role AS r ON r.n = u.n * 7919 % $1
"""
_MORE_HOLDERS = """
INSERT INTO user_role (user_id, role_id, origin)
SELECT u.id, r.id, 'admin' FROM numbered_user AS u JOIN numbered_role AS r ON r.n = 0 WHERE u.n < $1
UNION ALL
SELECT u.id, r.id, 'admin' FROM numbered_user AS u JOIN numbered_role AS r ON r.n % $2 = 0 WHERE u.n = 0
ON CONFLICT DO NOTHING
"""
_GROUP_ROLES = """
INSERT INTO group_role (group_id, role_id)
SELECT g.id, r.id FROM numbered_group AS g JOIN numbered_role AS r ON r.n = g.n * 7919 % $1
"""
# Each of the first half contains one of the second half.
_CONTAINED = """
INSERT INTO role_contained (role_id, contained_id)
SELECT r.id, c.id FROM numbered_role AS r JOIN numbered_role AS c ON c.n = r.n + $1 / 2
"""
# Each user is in one, with one of the ten roles there.
_ORGANIZATIONS = """
WITH made AS (
    INSERT INTO organization (id, slug, name)
    SELECT md5('organization ' || n)::uuid, 'organization-' || n, 'Organization ' || n
    FROM generate_series(0, $1 - 1) AS n RETURNING id
)
INSERT INTO role (id, organization_id, name, name_key, description)
SELECT md5(m.id::text || k)::uuid, m.id, 'Role ' || k, 'role ' || k, 'Measured'
FROM made AS m, generate_series(0, 9) AS k
"""
_ORGANIZATION_MEMBERS = """
INSERT INTO organization_member (user_id, organization_id, origin)
SELECT id, md5('organization ' || n % $1)::uuid, 'admin' FROM numbered_user
"""
_ORGANIZATION_DOMAINS = """
INSERT INTO organization_domain (id, organization_id, domain, token, verified_at, next_check_at)
SELECT md5(id::text)::uuid, id, slug || '.example', id::text, now(), now() + interval '1 day' FROM organization
"""
_ORGANIZATION_INVITATIONS = """
INSERT INTO organization_invitation
    (id, organization_id, email, role_ids, token_hash, invited_by, expires_at, created_at, sent_at)
SELECT md5('invitation ' || n)::uuid, md5('organization ' || n % $1)::uuid, n || '@invited.example', '{}',
       sha256(n::text::bytea), id, now() + interval '7 days', now() - n * interval '1 second', now()
FROM numbered_user
"""
_ORGANIZATION_ROLES = """
INSERT INTO user_role (user_id, role_id, organization_id, origin)
SELECT user_id, md5(organization_id::text || '0')::uuid, organization_id, origin FROM organization_member
"""

# All users and groups are known to a SCIM client, and a few users are disabled.
_OF_SCIM = """
INSERT INTO scim_user (user_id, origin, external_id) SELECT id, $1, 'user ' || n FROM numbered_user
"""
_GROUPS_OF_SCIM = """
INSERT INTO scim_group (group_id, origin, external_id) SELECT id, $1, 'group ' || n FROM numbered_group
"""
_MEMBERS_OF_SCIM = """
INSERT INTO scim_member (user_id, organization_id, origin, external_id)
SELECT user_id, organization_id, $1, user_id::text FROM organization_member
"""
_ROLES_OF_SCIM = """
INSERT INTO scim_role (role_id, origin, external_id)
SELECT id, $1, id::text FROM role WHERE organization_id IS NOT NULL
"""
_DISABLED = """
UPDATE users AS u SET disabled_at = now(), updated_at = now() + interval '1 day'
FROM numbered_user AS n WHERE n.id = u.id AND n.n % 1000 = 1
"""


async def fill(dsn: str, client_id: str, scale: Scale) -> None:
    """Give groups, organizations and roles to the users of a database that has none."""
    connection = await asyncpg.connect(dsn)
    try:
        # The rows are right as they are made here. To check the foreign keys takes most of the time.
        await connection.execute("SET session_replication_role = replica")
        await connection.execute("SET work_mem = '256MB'")
        await connection.execute(_GROUPS, scale.groups)
        await connection.execute(_ROLES, scale.roles, client_id)
        await connection.execute(_NUMBERED)
        for statement, *arguments in (
            (_MEMBERS, scale.groups_of_user, scale.groups),
            (_HOLDERS, scale.roles),
            (_MORE_MEMBERS, scale.in_large_group, scale.groups // GROUPS_OF_ONE),
            (_MORE_HOLDERS, scale.in_large_group, scale.roles // ROLES_OF_ONE),
            (_GROUP_ROLES, scale.roles),
            (_CONTAINED, scale.roles),
            (_ORGANIZATIONS, scale.organizations),
            (_ORGANIZATION_MEMBERS, scale.organizations),
            (_ORGANIZATION_ROLES,),
            (_ORGANIZATION_INVITATIONS, scale.organizations),
            (_OF_SCIM, ORIGIN),
            (_GROUPS_OF_SCIM, ORIGIN),
            (_MEMBERS_OF_SCIM, ORIGIN),
            (_ROLES_OF_SCIM, ORIGIN),
            (_DISABLED,),
            (_ORGANIZATION_DOMAINS,),
        ):
            await connection.execute(statement, *arguments)
        await connection.execute("VACUUM (ANALYZE)")
        await connection.execute("CHECKPOINT")
    finally:
        await connection.close()


#: The attribute in filters of SCIM (RFC 7643 section 4.3).
_NAMED = f"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:{ATTRIBUTE}"


class _Known(msgspec.Struct, frozen=True):
    """The group with most members, a small group, a role with many holders, and a user with many groups and roles."""

    large_group: UUID
    small_group: UUID
    large_role: UUID
    user: UUID


_KNOWN = """
SELECT (SELECT id FROM groups ORDER BY name LIMIT 1) AS large_group,
       (SELECT id FROM groups ORDER BY name DESC LIMIT 1) AS small_group,
       (SELECT id FROM role ORDER BY name LIMIT 1) AS large_role, (SELECT id FROM users ORDER BY id LIMIT 1) AS user
"""


async def directory(bench: Bench, scale: Scale) -> Figure:
    """Measure statements one after the other, by one connection, with the rows on their way to this process."""
    await large.fill_users(bench.dsn, scale.users)
    await fill(bench.dsn, bench.sample.client_id, scale)
    await attributes.fill(bench.dsn, ATTRIBUTE, searchable=True)
    await declared.load()
    row = await fetchrow(_KNOWN)
    assert row is not None
    known = msgspec.convert(dict(row), _Known)
    parts = [
        Part.of(name, await _p50(bench, partial(_pages, listing, filters, None)), PAGE_MS)
        for name, listing, filters in _lists(known, bench.sample.client_id)
    ]
    parts += [
        Part.of(f"users {name}, by {sort}", await _p50(bench, partial(_pages, listing, filters, sort)), PAGE_MS)
        for name, listing, filters in await _people()
        for sort in ("created_at", "-created_at", "email", "-email")
    ]
    parts += [
        Part.of(f"SCIM: {name}", await _p50(bench, partial(_scim_pages, types, query)), PAGE_MS)
        for name, types, query in await _scim_lists(known)
    ]
    parts.append(Part.of("effective memberships", await _p50(bench, partial(_effective, known.user)), EFFECTIVE_MS))
    name = (
        f"{scale.users:,} users, {scale.groups:,} groups, {scale.memberships:,} memberships:"
        " p50 of a page of each list, and of what follows for a user"
    )
    return Figure.of(name, "ms", "<= 1.00", parts)


def _lists(known: _Known, client_id: str) -> list[tuple[str, Listing, dict[str, str]]]:
    return [
        ("groups", GROUPS, {}),
        ("groups by name", GROUPS, {"q": "Group 7"}),
        ("groups at the top", GROUPS, {"top": "true"}),
        ("groups of a user", GROUPS, {"user_id": str(known.user)}),
        ("members of the large group", MEMBERS, {"group_id": str(known.large_group)}),
        ("members of a small group", MEMBERS, {"group_id": str(known.small_group)}),
        ("roles", OWN_ROLES, {}),
        ("roles by name", OWN_ROLES, {"q": "Role 7"}),
        ("roles of a client", OWN_ROLES, {"client_id": client_id}),
        ("roles of a user", ROLES, {"user_id": str(known.user)}),
        ("holders of a role", HOLDERS, {"role_id": str(known.large_role)}),
    ]


async def _people() -> list[tuple[str, Listing, dict[str, str]]]:
    """Return the searches for users. One user has the first value, 1 in 10,000 the second, 1 in 100 the third."""
    listing = msgspec.structs.replace(USERS, filters={**USERS.filters, **await search.filters(Audience.OWNER)})
    name = f"{search.PREFIX}{ATTRIBUTE}"
    return [
        *((f"with the value of {value}", listing, {name: value}) for value in VALUES),
        ("that are disabled", listing, {"disabled": "true"}),
        ("with the value of half, that are disabled", listing, {name: "half", "disabled": "true"}),
        ("by the beginning of all addresses", listing, {"q": "person"}),
        ("by the beginning of one address", listing, {"q": "person7777"}),
    ]


async def _pages(listing: Listing, filters: dict[str, str], sort: str | None) -> list[float]:
    """Return the time of each page of a list, from its beginning, and again if it is short."""
    taken: list[float] = []
    cursor = None
    while len(taken) < STATEMENTS:
        started = time.perf_counter()
        page = await list_page(listing, filters, sort=sort, cursor=cursor)
        taken.append(time.perf_counter() - started)
        assert page.rows, (listing.source, filters, sort)
        cursor = page.next_cursor
    return taken


async def _scim_lists(known: _Known) -> list[tuple[str, list[ResourceType], dict[str, str]]]:
    row = await fetchrow("SELECT email FROM users WHERE id = $1", known.user)
    assert row is not None
    return [
        ("users", [USER], {}),
        ("users by cursor", [USER], {"cursor": ""}),
        ("users by family name", [USER], {"cursor": "", "sortBy": "name.familyName"}),
        ("a user by userName", [USER], {"filter": f'userName eq "{row["email"]}"'}),
        ("a user by externalId", [USER], {"filter": 'externalId eq "user 7"'}),
        ("users that changed", [USER], {"filter": f'meta.lastModified gt "{clock.now().isoformat()}"'}),
        ("disabled users", [USER], {"filter": "active eq false"}),
        ("users of the large group", [USER], {"cursor": "", "filter": f'groups.value eq "{known.large_group}"'}),
        *(
            (f"users with the value of {value}", [USER], {"attributes": "userName", "filter": f'{_NAMED} eq "{value}"'})
            for value in VALUES
        ),
        *(
            (
                f"users with the value of {value}, by cursor",
                [USER],
                {"attributes": "userName", "filter": f'{_NAMED} eq "{value}"', "cursor": "", "sortBy": "userName"},
            )
            for value in VALUES
        ),
        ("groups", [GROUP], {"excludedAttributes": "members"}),
        ("groups with members", [GROUP], {"cursor": ""}),
        ("a group by displayName", [GROUP], {"filter": 'displayName eq "group 7"'}),
    ]


async def _scim_pages(types: list[ResourceType], query: dict[str, str]) -> list[float]:
    """Return the time of each page, from the first one, and again if there are no more."""
    taken: list[float] = []
    asked = dict(query)
    while len(taken) < STATEMENTS:
        started = time.perf_counter()
        page = await paging.page(Caller(ORIGIN, writes=False), types, paging.read_query(types, asked))
        taken.append(time.perf_counter() - started)
        assert page["Resources"], asked
        asked = query | ({"cursor": page["nextCursor"]} if "nextCursor" in page else {})
    return taken


async def _effective(user_id: UUID) -> list[float]:
    taken: list[float] = []
    while len(taken) < STATEMENTS:
        started = time.perf_counter()
        found = await memberships(user_id)
        taken.append(time.perf_counter() - started)
        assert found is not None
        assert len(found.groups) >= GROUPS_OF_ONE
        assert len(found.roles) >= ROLES_OF_ONE
    return taken


async def _p50(bench: Bench, measure: Callable[[], Awaitable[list[float]]]) -> float:
    """Return the median in milliseconds."""
    return 1000 * statistics.median([one for _ in range(bench.rounds) for one in await measure()])
