"""The last owner cannot be removed, because nobody else can administer the server by console or API."""

from uuid import UUID

from idp.accounts import repository
from idp.errors import ConflictError


class LastOwnerError(ConflictError):
    """The user is the only enabled owner."""

    code = "last_owner"
    title = "One owner has to stay"

    def __init__(self) -> None:
        super().__init__("This is the last owner. Make another user an owner first.")


async def check_owner_remains(user_id: UUID) -> None:
    """Check that an enabled owner remains without this user. Called before the change, in its transaction.

    The command line does not call it: its user can create owners, and may have to disable a compromised last one.

    Raises:
        LastOwnerError: the user is an owner, and no other owner is enabled.
    """
    owners = await repository.lock_owners()
    others = [owner for owner in owners if owner.user_id != user_id]
    if len(others) < len(owners) and not any(owner.enabled for owner in others):
        raise LastOwnerError
