"""Invitations into organizations as the invited person answers them.

A user who accepts has proved that the address is theirs: by the link of the mail, or as the verified address of their
account. Users are locked first, then the organization, then the invitation, which one conditional statement uses up at
the end (docs/decisions/0082-invitations-into-organizations.md).
"""

from collections.abc import Sequence
from contextlib import suppress
from uuid import UUID

import msgspec

from idp import ids
from idp.accounts.repository import users
from idp.accounts.tables import User
from idp.audit.events import record
from idp.directory import organizations, roles
from idp.directory.errors import InvitationEndedError, NotInvitedError, UnknownRoleError
from idp.directory.invitation_events import record_event
from idp.directory.models import INVITATION, InvitationState, Offer
from idp.directory.repository import invitations as repository
from idp.directory.repository import organizations as organization_repository
from idp.infra.db.engine import transaction
from idp.mail.names import suitable_name


async def by_token(token: str) -> Offer | None:
    """Return the invitation of a mail, in any state."""
    offer = await repository.offer_by_token(ids.digest(token))
    return _shown(offer) if offer is not None else None


async def of_user(user: User) -> Sequence[Offer]:
    """Return the open invitations of a user, whose address must be verified."""
    return [_shown(each) for each in await repository.open_offers(user.email)] if user.email_verified else []


def _shown(offer: Offer) -> Offer:
    """Leave out the name of an inviter that could be a message to a stranger."""
    return msgspec.structs.replace(offer, inviter=suitable_name(offer.inviter))


async def can_accept_by_link(offer: Offer, user: User) -> bool:
    """Return whether a user can accept an invitation whose link was opened."""
    return user.email == offer.email and (user.email_verified or await users.owner_of_email(user.email) == user.id)


async def invitations_of(user: User) -> Sequence[Offer]:
    """Return all invitations that a user answered, and those of the verified address, in any state."""
    return await repository.offers_of_person(user.email if user.email_verified else "", user.id)


async def in_organizations(user: User) -> bool:
    """Return whether a user is a member of an organization, or has an open invitation."""
    return await organization_repository.has_organizations(user.id, user.email if user.email_verified else "")


async def hold(id: UUID, token_hash: bytes | None) -> Offer:
    """Lock an invitation that can be accepted, after its organization, in the caller's transaction.

    Args:
        token_hash: that of its mail; None: the address was proved in another way.

    Raises:
        InvitationEndedError: it is not open, or its organization is disabled.
    """
    offer = await repository.offer_by_id(id)
    organization = await organization_repository.share_organization(offer.organization_id) if offer else None
    if offer is None or organization is None or organization.disabled_at is not None:
        raise InvitationEndedError
    if not await repository.lock_invitation(id, token_hash):
        raise InvitationEndedError
    return offer


async def give(held: Offer, user_id: UUID, token_hash: bytes | None) -> None:
    """Give a user what an invitation offers, and use it up, in the transaction that holds it.

    Args:
        token_hash: as for :func:`hold`.
    """
    await organizations.add_members(held.organization_id, [user_id], INVITATION)
    if held.admin:
        await organizations.set_admin(held.organization_id, user_id, admin=True)
    for role_id in held.role_ids:
        # One that was deleted since is left out.
        with suppress(UnknownRoleError):
            await roles.give(role_id, [user_id], INVITATION)
    ended = await repository.end_invitation(held.id, token_hash, InvitationState.ACCEPTED, user_id)
    assert ended is not None  # noqa: S101 -- this transaction has locked it
    await record_event("organization_invitation_accepted", ended, held.slug)


async def accept(id: UUID, user_id: UUID, token: str | None = None) -> Offer:
    """Accept an invitation as a user.

    Args:
        token: of the link, which proves the address of an account that the operator created and that has not verified
            it. None: only a verified address counts.

    Raises:
        NotInvitedError: it is for another address, or the address is not proved.
        InvitationEndedError: it is not open, or its organization or a membership of the user there is disabled.
    """
    token_hash = ids.digest(token) if token is not None else None
    async with transaction():
        await users.lock_user(user_id)
        verified = await _check_address(id, user_id, by_link=token is not None)
        held = await hold(id, token_hash)
        if await organization_repository.has_disabled_membership(held.organization_id, user_id):
            raise InvitationEndedError
        if not verified and await users.confirm_email(user_id, held.email):
            await record("email_verified", user_id=user_id)
        await give(held, user_id, token_hash)
    return held


async def _check_address(id: UUID, user_id: UUID, *, by_link: bool) -> bool:
    """Check that an invitation is for the address of a user. Returns whether the address is verified.

    Anybody could have created an account with an address that is not verified, unless the operator did: such an account
    accepts nothing, also with the link.
    """
    offer, user = await repository.offer_by_id(id), await users.user_by_id(user_id)
    if offer is None:
        raise InvitationEndedError
    if user is None or user.disabled_at is not None or user.email != offer.email:
        raise NotInvitedError
    if not user.email_verified and not (by_link and await users.owner_of_email(user.email) == user_id):
        raise NotInvitedError
    return user.email_verified


async def decline_by_link(token: str) -> Offer:
    """Decline an invitation with the link of its mail, without signing in.

    Raises:
        InvitationEndedError: it is not open.
    """
    token_hash = ids.digest(token)
    offer = await repository.offer_by_token(token_hash)
    if offer is None:
        raise InvitationEndedError
    await _decline(offer, token_hash, None)
    return offer


async def decline(id: UUID, user_id: UUID) -> None:
    """Decline an invitation to the verified address of a user.

    Raises:
        NotInvitedError: it is for another address, or the address is not verified.
        InvitationEndedError: it is not open.
    """
    async with transaction():
        await users.lock_user(user_id)
        await _check_address(id, user_id, by_link=False)
        offer = await repository.offer_by_id(id)
        assert offer is not None  # noqa: S101 -- checked above; deleted only with its organization
        await _decline(offer, None, user_id)


async def _decline(offer: Offer, token_hash: bytes | None, user_id: UUID | None) -> None:
    async with transaction():
        ended = await repository.end_invitation(offer.id, token_hash, InvitationState.DECLINED, user_id)
        if ended is None:
            raise InvitationEndedError
        await record_event("organization_invitation_declined", ended, offer.slug)
