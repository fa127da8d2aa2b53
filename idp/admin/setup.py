"""Set-up of the first admin with a one-time link that the server logs.

Until the first admin exists, every start of a server stores a new token; only the latest link works. The row that
records the completed set-up is never deleted.
"""

from idp import ids
from idp.accounts.tables import User
from idp.admin import repository
from idp.admin.roles import Role, grant
from idp.infra.db.engine import transaction
from idp.settings import settings

PATH = "/admin/setup"


async def create_setup_link() -> str | None:
    """Create the link for the first admin. Returns None once the set-up was completed."""
    token = ids.random_token()
    opened = await repository.open_setup(ids.digest(token))
    return f"{settings().issuer}{PATH}?token={token}" if opened else None


async def is_valid_token(token: str) -> bool:
    """Return whether this token is valid."""
    return await repository.is_setup_open(ids.digest(token))


async def complete(token: str, user: User) -> bool:
    """Make a user the first owner, in the caller's transaction. Of concurrent calls, one succeeds."""
    if not await repository.complete_setup(ids.digest(token)):
        return False
    await grant(user.id, Role.OWNER, granted_by="setup")
    return True


async def close() -> None:
    """Close the set-up permanently, because an admin was created in another way. In the caller's transaction."""
    await repository.close_setup()


async def add_admin(user: User, role: Role, granted_by: str) -> bool:
    """Give a user a role by the command line. Returns False if the user had it already."""
    async with transaction():
        await close()
        return await grant(user.id, role, granted_by=granted_by)
