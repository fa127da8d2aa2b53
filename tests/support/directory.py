"""Groups, organizations and roles of users, for tests of what follows from them."""

import asyncio
import secrets
from uuid import UUID

from idp.accounts.tables import User
from idp.directory import deletions, groups, organizations, roles
from idp.directory.models import Group, Organization, Role
from idp.infra.db.engine import execute, fetch

_MANY = """
WITH made AS (
    INSERT INTO groups (id, name, name_key, description, path)
    SELECT id, name, name, '', ARRAY[id]
    FROM (SELECT gen_random_uuid() AS id, $2 || ' ' || n AS name FROM generate_series(1, $3) AS n) AS g
    RETURNING id
), joined AS (
    INSERT INTO group_member (user_id, group_id, origin) SELECT $1, id, 'admin' FROM made
)
UPDATE users SET directory_version = directory_version + 1 WHERE id = $1
"""


async def all_deleted(id: UUID) -> None:
    """Wait until the memberships of what was deleted are."""
    async with asyncio.timeout(30):
        while await fetch("SELECT FROM directory_deletion WHERE id = $1", id):
            await deletions.delete_memberships()


async def a_group(*users: User, name: str = "team", parent_id: UUID | None = None) -> Group:
    """Create a group with a name of its own, and add users to it."""
    group = await groups.create(f"{name} {secrets.token_hex(6)}", parent_id=parent_id)
    await groups.add_members(group.id, [user.id for user in users])
    return group


async def a_role(*users: User, name: str = "role", client_id: str | None = None) -> Role:
    """Create a role with a name of its own, and give it to users."""
    role = await roles.create(f"{name} {secrets.token_hex(6)}", client_id)
    await roles.give(role.id, [user.id for user in users])
    return role


async def many_groups(user: User, number: int) -> None:
    """Add a user to new groups with long names."""
    await execute(_MANY, user.id, f"department {secrets.token_hex(20)}", number)


async def an_organization(*users: User, name: str = "Acme") -> Organization:
    """Create an organization with a slug of its own, and add users to it."""
    organization = await organizations.create(f"{name.lower()}-{secrets.token_hex(6)}", name)
    await organizations.add_members(organization.id, [user.id for user in users])
    return organization


async def a_role_in(organization: Organization, *users: User, name: str = "role") -> Role:
    """Create a role of an organization, and give it to members."""
    role = await roles.create(f"{name} {secrets.token_hex(6)}", organization_id=organization.id)
    await roles.give(role.id, [user.id for user in users])
    return role
