"""The figure of claims: refreshes of users with many groups and roles, against those of users without any."""

from collections.abc import Sequence
from functools import partial
from uuid import UUID

from bench import sample
from bench.figures import Bench, Figure, paired
from idp.infra.db.engine import execute

#: Groups and roles of each user. Half of the roles are of the client.
GROUPS, ROLES = 50, 20
#: Users who refresh in turn, so that a worker remembers them.
USERS = 100
SCOPE = "openid groups roles"

# $1 users  $2 groups of each  $3 roles of each  $4 client_id
_GIVE = """
WITH made AS (
    INSERT INTO groups (id, name, name_key, description, path)
    SELECT id, name, lower(name), '', ARRAY[id]
    FROM (SELECT uuidv7() AS id, 'Department of examples ' || n AS name FROM generate_series(1, $2) AS n) AS g
    RETURNING id
), roles AS (
    INSERT INTO role (id, client_id, name, name_key, description)
    SELECT uuidv7(), CASE WHEN n % 2 = 1 THEN $4::text END, 'Editor of ' || n, 'editor of ' || n, ''
    FROM generate_series(1, $3) AS n
    RETURNING id
), members AS (
    INSERT INTO group_member (user_id, group_id, origin)
    SELECT u, made.id, 'admin' FROM unnest($1::uuid[]) AS u, made
)
INSERT INTO user_role (user_id, role_id, origin) SELECT u, roles.id, 'admin' FROM unnest($1::uuid[]) AS u, roles
"""


async def claims(bench: Bench) -> Figure:
    """Measure refreshes whose ID tokens have 50 groups and 20 roles."""
    without, with_many = [[user for user, _ in await sample.people(USERS)] for _ in range(2)]
    await execute(_GIVE, with_many, GROUPS, ROLES, bench.sample.client_id)
    for table in ("group_member", "user_role", "groups", "role"):
        await execute(f"ANALYZE {table}")

    async def refreshes(users: Sequence[UUID]) -> float:
        """Return the rate of refreshes of these users in turn."""
        in_turn = [users[number % len(users)] for number in range(bench.enough)]
        return bench.load(*await sample.refresh_tokens(bench.sample, in_turn, SCOPE), once=True).rate

    part = await paired(bench, "refresh", partial(refreshes, with_many), partial(refreshes, without))
    name = f"refresh with {GROUPS} groups and {ROLES} roles in the ID token, against none"
    return Figure.of(name, "rotations/s", ">= 0.90", [part])
