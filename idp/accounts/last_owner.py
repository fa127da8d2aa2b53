"""The last owner cannot be removed, because nobody else can administer the server by console or API."""

from uuid import UUID

from idp.errors import ConflictError
from idp.infra.db.engine import fetch

# The locks serialise owners who remove each other concurrently. The order avoids a deadlock.
_OWNERS = """
    SELECT r.user_id, u.disabled_at IS NULL AS enabled
    FROM admin_role AS r JOIN users AS u ON u.id = r.user_id
    WHERE r.role = 'owner' ORDER BY r.user_id FOR UPDATE
"""


class LastOwnerError(ConflictError):
    """The user is the only enabled owner."""

    code = "last_owner"
    title = "One owner has to stay"

    def __init__(self) -> None:
        super().__init__("This is the last owner. Make somebody else an owner first.")


async def check_owner_remains(user_id: UUID) -> None:
    """Check that an enabled owner remains without this user. Called before the change, in its transaction.

    The command line does not call it: its user can create owners, and may have to disable a compromised last one.

    Raises:
        LastOwnerError: the user is an owner, and no other owner is enabled.
    """
    owners = await fetch(_OWNERS)
    if any(row["user_id"] == user_id for row in owners) and not any(
        row["enabled"] for row in owners if row["user_id"] != user_id
    ):
        raise LastOwnerError
