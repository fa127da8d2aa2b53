"""The door to the first admin. It opens once, with the token of a link in the log, and then never again.

Every start of a server writes a new token as long as the door was not used; the link printed last is the one that
works. The row that says that it was used outlives whoever used it.
"""

from idp import ids
from idp.accounts.tables import User
from idp.admin.roles import Role, grant
from idp.infra.db.engine import execute, fetchrow, transaction
from idp.settings import settings

PATH = "/admin/setup"

# An admin made by the command line shuts it as well.
_OPEN = """
INSERT INTO setup (id, token_hash, created_at)
SELECT 1, $1, now() WHERE NOT EXISTS (SELECT FROM admin_role)
ON CONFLICT (id) DO UPDATE SET token_hash = excluded.token_hash, created_at = now()
WHERE setup.completed_at IS NULL
RETURNING id
"""
_IS_OPEN = """
SELECT id FROM setup WHERE token_hash = $1 AND completed_at IS NULL AND NOT EXISTS (SELECT FROM admin_role)
"""
_COMPLETE = """
UPDATE setup SET completed_at = now() WHERE token_hash = $1 AND completed_at IS NULL
AND NOT EXISTS (SELECT FROM admin_role) RETURNING id
"""
_SHUT = """
INSERT INTO setup (id, created_at, completed_at) VALUES (1, now(), now())
ON CONFLICT (id) DO UPDATE SET completed_at = coalesce(setup.completed_at, now())
"""


async def open_door() -> str | None:
    """The link by which the first admin is made; None once there was one."""
    token = ids.random_token()
    row = await fetchrow(_OPEN, ids.digest(token))
    return f"{settings().issuer}{PATH}?token={token}" if row is not None else None


async def is_open(token: str) -> bool:
    """Whether this token would open the door."""
    return await fetchrow(_IS_OPEN, ids.digest(token)) is not None


async def complete(token: str, user: User) -> bool:
    """Make a user the first owner, in the caller's transaction. Of many that try at once, one does it."""
    if await fetchrow(_COMPLETE, ids.digest(token)) is None:
        return False
    await grant(user.id, Role.OWNER, granted_by="setup")
    return True


async def shut() -> None:
    """Shut the door for ever: an admin was made in another way. In the caller's transaction."""
    await execute(_SHUT)


async def add_admin(user: User, role: Role, granted_by: str) -> bool:
    """Give a user a role, by the command line. Returns whether this call did it."""
    async with transaction():
        await shut()
        return await grant(user.id, role, granted_by=granted_by)
