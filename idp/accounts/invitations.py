"""Invitations: mailed permission to create an account. Using one verifies the address."""

from uuid import UUID

from idp import ids
from idp.accounts.addresses import normalise_email
from idp.accounts.repository import invitations
from idp.accounts.repository.invitations import PendingInvitation
from idp.accounts.repository.users import owner_of_email
from idp.accounts.users import EmailTakenError
from idp.audit.events import record
from idp.infra.db.engine import transaction
from idp.mail import outbox
from idp.settings import DAY, settings


def invitation_url(token: str) -> str:
    return f"{settings().issuer}/invitation?token={token}"


async def invite(email: str, name: str | None = None) -> str:
    """Mail an invitation. An earlier invitation to the same address is revoked.

    Returns:
        the link that the mail contains.

    Raises:
        InvalidEmailError: the address is not valid.
        EmailTakenError: a user owns the address.
    """
    email = normalise_email(email)
    if await owner_of_email(email) is not None:
        raise EmailTakenError
    token, lifetime = ids.random_token(), settings().invitation_lifetime
    async with transaction():
        await invitations.revoke_invitations(email)
        await invitations.insert_invitation(email, name, ids.digest(token), lifetime)
        await outbox.queue(
            email, "invitation", lifetime=lifetime, name=name, link=invitation_url(token), days=max(1, lifetime // DAY)
        )
        await record("user_invited")
    return invitation_url(token)


async def find_pending(token: str) -> PendingInvitation | None:
    """Return the invitation of a token, if it can be used."""
    return await invitations.find_invitation(ids.digest(token))


async def consume(invitation_id: UUID) -> str | None:
    """Consume an invitation, in the transaction that creates the account.

    Returns:
        the verified address; None if the invitation cannot be used.
    """
    return await invitations.consume_invitation(invitation_id)
