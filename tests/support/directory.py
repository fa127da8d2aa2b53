"""Groups and roles of users, for tests of what follows from them."""

import secrets
from uuid import UUID

from idp.accounts.tables import User
from idp.directory import groups, roles
from idp.directory.models import Group, Role


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
