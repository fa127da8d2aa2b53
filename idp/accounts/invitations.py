"""Invitations: mailed permission to create an account. Using one verifies the address."""

from uuid import UUID

from idp import ids
from idp.accounts.addresses import normalise_email
from idp.accounts.repository import invitations
from idp.accounts.repository.invitations import PendingInvitation
from idp.accounts.repository.users import owner_of_email
from idp.accounts.users import EmailTakenError
from idp.audit.events import record
from idp.errors import NotFoundError
from idp.infra.db.engine import transaction
from idp.mail import outbox
from idp.settings import DAY, settings


class UnknownInvitationError(NotFoundError):
    """There is no such invitation, or it cannot be used any more."""

    def __init__(self) -> None:
        super().__init__("It was used, or revoked, or has expired.")


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
        invitation_id = await invitations.insert_invitation(email, name, ids.digest(token), lifetime)
        await _mail(email, name, token, lifetime)
        await record("user_invited", detail={"invitation": str(invitation_id)})
    return invitation_url(token)


async def _mail(email: str, name: str | None, token: str, lifetime: int) -> None:
    await outbox.queue(
        email, "invitation", lifetime=lifetime, name=name, link=invitation_url(token), days=max(1, lifetime // DAY)
    )


async def resend(invitation_id: UUID) -> None:
    """Mail an invitation again, with a new link and its full lifetime. The link before ends.

    Raises:
        UnknownInvitationError: it was used or revoked, or there is none.
        EmailTakenError: a user owns the address by now.
    """
    token, lifetime = ids.random_token(), settings().invitation_lifetime
    async with transaction():
        renewed = await invitations.renew_invitation(invitation_id, ids.digest(token), lifetime)
        if renewed is None:
            raise UnknownInvitationError
        if await owner_of_email(renewed.email) is not None:
            raise EmailTakenError
        await _mail(renewed.email, renewed.name, token, lifetime)
        await record("user_invited", detail={"invitation": str(invitation_id), "resent": True})


async def revoke(invitation_id: UUID) -> None:
    """Revoke an invitation: its link ends.

    Raises:
        UnknownInvitationError: it was used, has expired or was revoked, or there is none.
    """
    async with transaction():
        if await invitations.revoke_invitation(invitation_id) is None:
            raise UnknownInvitationError
        await record("user_invitation_revoked", detail={"invitation": str(invitation_id)})


async def find_pending(token: str) -> PendingInvitation | None:
    """Return the invitation of a token, if it can be used."""
    return await invitations.find_invitation(ids.digest(token))


async def consume(invitation_id: UUID) -> str | None:
    """Consume an invitation, in the transaction that creates the account.

    Returns:
        the verified address; None if the invitation cannot be used.
    """
    return await invitations.consume_invitation(invitation_id)
