"""The invitation into an organization that a sign-in flow began with: the account that it creates accepts it.

The flow has the hash of the token of the mail, so a mail that was sent again ends the flows of the earlier one.
"""

from uuid import UUID

from idp.accounts.repository.users import id_of_email, lock_user
from idp.directory import invited
from idp.directory.errors import InvitationEndedError
from idp.directory.models import Offer
from idp.signin.flow import Registration


async def hold(kept: Registration | None, email: str) -> Offer | None:
    """Lock the invitation of a flow, in the transaction that creates the account.

    A user with the address, whose account may be released for it, is locked before the organization.

    Args:
        email: the address of the account.

    Returns:
        None if there is none, if it has ended, or if it is for another address.
    """
    if kept is None or kept.organization_invitation_id is None or kept.invited_email != email:
        return None
    await lock_user(await id_of_email(email))
    try:
        held = await invited.hold(kept.organization_invitation_id, kept.token_hash)
    except InvitationEndedError:
        return None
    return held if held.email == email else None


async def accept(kept: Registration | None, held: Offer | None, user_id: UUID) -> None:
    """Give a new user what the held invitation offers, in the same transaction."""
    if kept is not None and held is not None:
        await invited.give(held, user_id, kept.token_hash)
