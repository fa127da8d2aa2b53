"""The last owner cannot be removed, because then the server could not be administered by console or API."""

from uuid import UUID

from idp.accounts.repository import admin_roles
from idp.errors import ConflictError
from idp.infra.db.locks import lock


class LastOwnerError(ConflictError):
    """The user is the only enabled owner."""

    code = "last_owner"
    title = "One owner has to stay"

    def __init__(self) -> None:
        super().__init__("This is the last owner. Make another user an owner first.")


async def check_owner_remains(user_id: UUID) -> None:
    """Check that an enabled owner remains without this user. Called before the change, in its transaction, which has
    locked the user.

    The command line does not call it: its user can create owners, and may have to disable a compromised last one.

    Raises:
        LastOwnerError: the user is an owner, and no other owner is enabled.
    """
    if "owner" not in await admin_roles.roles_of_user(user_id):
        return
    # Owners who remove each other concurrently take turns. Their rows are not locked, because the user is locked
    # already.
    await lock("owners")
    if not await admin_roles.has_other_owner(user_id):
        raise LastOwnerError
