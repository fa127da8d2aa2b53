"""Set-up of the first admin with a one-time link that the server logs.

Until the first admin exists, every start of a server stores a new token; only the latest link works. The row that
records the completed set-up is never deleted.
"""

from idp import ids
from idp.accounts.tables import User
from idp.admin.roles import Role, grant
from idp.infra.db.engine import execute, fetchrow, transaction
from idp.settings import settings

PATH = "/admin/setup"

# An admin created by the command line closes it as well.
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


async def create_setup_link() -> str | None:
    """Create the link for the first admin. Returns None once the set-up was completed."""
    token = ids.random_token()
    row = await fetchrow(_OPEN, ids.digest(token))
    return f"{settings().issuer}{PATH}?token={token}" if row is not None else None


async def is_valid_token(token: str) -> bool:
    """Return whether this token is valid."""
    return await fetchrow(_IS_OPEN, ids.digest(token)) is not None


async def complete(token: str, user: User) -> bool:
    """Make a user the first owner, in the caller's transaction. Of concurrent calls, one succeeds."""
    if await fetchrow(_COMPLETE, ids.digest(token)) is None:
        return False
    await grant(user.id, Role.OWNER, granted_by="setup")
    return True


async def close() -> None:
    """Close the set-up permanently, because an admin was created in another way. In the caller's transaction."""
    await execute(_SHUT)


async def add_admin(user: User, role: Role, granted_by: str) -> bool:
    """Give a user a role by the command line. Returns False if the user had it already."""
    async with transaction():
        await close()
        return await grant(user.id, role, granted_by=granted_by)
