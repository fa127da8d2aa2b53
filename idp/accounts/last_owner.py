"""The rule that one owner is left: without one, nobody can administer the server by its console or API."""

from uuid import UUID

from idp.errors import ConflictError
from idp.infra.db.engine import fetch

# The locks serialise two owners who remove each other at the same moment. They are taken in one order.
_OWNERS = """
    SELECT r.user_id, u.disabled_at IS NULL AS enabled
    FROM admin_role AS r JOIN users AS u ON u.id = r.user_id
    WHERE r.role = 'owner' ORDER BY r.user_id FOR UPDATE
"""


class LastOwnerError(ConflictError):
    """The only owner who can sign in would be lost."""

    code = "last_owner"
    title = "One owner has to stay"

    def __init__(self) -> None:
        super().__init__("This is the last owner. Make somebody else an owner first.")


async def check_owner_remains(user_id: UUID) -> None:
    """Refuse to delete, disable or demote the last owner. Runs in the caller's transaction, before its change.

    The command line does not ask: whoever has it can make an owner at any time, and may have to contain the last one.

    Raises:
        LastOwnerError: the user is an owner, and no other owner is enabled.
    """
    owners = await fetch(_OWNERS)
    if any(row["user_id"] == user_id for row in owners) and not any(
        row["enabled"] for row in owners if row["user_id"] != user_id
    ):
        raise LastOwnerError
