"""Invitations into organizations: sending, sending again, and revoking them.

An invitation is for one address, and says which roles of the organization its person gets. Its mail has a link whose
token proves control of the address; so only mails carry it, never a page or a response for those who manage the
organization. :mod:`idp.directory.invited` is the side of the invited person.
"""

from collections.abc import Collection
from typing import NamedTuple
from uuid import UUID

import structlog

from idp import ids
from idp.accounts.addresses import InvalidEmailError, normalise_email
from idp.accounts.repository import users
from idp.directory import branding, organizations
from idp.directory.errors import (
    AlreadyInvitedError,
    AlreadyMemberError,
    OrganizationDisabledError,
    UnknownInvitationError,
    UnknownOrganizationError,
    UnknownRoleError,
)
from idp.directory.invitation_events import record_event
from idp.directory.models import Invitation, InvitationState, Organization
from idp.directory.repository import invitations as repository
from idp.directory.repository import organizations as organization_repository
from idp.directory.repository.roles import roles_by_ids
from idp.errors import TooManyRequestsError
from idp.infra import rate_limits
from idp.infra.db.engine import transaction
from idp.infra.rate_limits import Rate
from idp.mail import outbox
from idp.mail.names import suitable_name
from idp.settings import DAY, HOUR, MINUTE, settings

log = structlog.get_logger()

#: The page behind the link of the mail.
PATH = "/invitation/organization"
#: Open invitations of one organization, and roles of one invitation.
MAX_OPEN, MAX_ROLES = 1000, 50
#: Mails of one organization, to one address from all organizations, and from one organization to one address.
OF_ORGANIZATION = Rate("invitations of an organization", burst=100, interval=MINUTE)
TO_ADDRESS = Rate("invitations to an address", burst=10, interval=DAY / 10)
TO_ADDRESS_OF_ORGANIZATION = Rate("invitations of an organization to an address", burst=3, interval=HOUR)


class Sent(NamedTuple):
    """An invitation whose mail is queued.

    Attributes:
        link: that of the mail. It proves control of the address: for the command line of the operator only. Empty if
            only an earlier mail has it.
    """

    invitation: Invitation
    link: str


async def invite(
    organization_id: UUID,
    email: str,
    *,
    role_ids: Collection[UUID] = (),
    admin: bool = False,
    invited_by: UUID | None = None,
) -> Sent:
    """Mail an invitation to an address.

    Args:
        role_ids: roles of the organization that its person gets.
        admin: whether the person manages the organization.
        invited_by: the user who invites, whose name the mail tells.

    Raises:
        InvalidEmailError: the address is not valid.
        UnknownOrganizationError: there is no such organization.
        OrganizationDisabledError: it is disabled.
        UnknownRoleError: one of the roles is not of the organization, or there are too many.
        AlreadyMemberError: the user with this address is a member.
        AlreadyInvitedError: the address has an open invitation, or the organization too many.
        TooManyRequestsError: the organization sent too many.
    """
    email, wanted = normalise_email(email), sorted(set(role_ids))
    await organizations.found(organization_id)
    before = await repository.invitation_of_email(organization_id, email)
    if before is not None and before.state is InvitationState.OPEN:
        raise _invited_already()
    mailed = await _count(organization_id, email)
    token, lifetime = ids.random_token(), float(settings().invitation_lifetime)
    async with transaction():
        # Invitations that are sent at the same moment would not count each other.
        await organization_repository.lock_organization_without_key(organization_id)
        organization = await _enabled(organization_id)
        if len(wanted) > MAX_ROLES or not await _are_of(wanted, organization_id):
            raise UnknownRoleError
        await _check_not_member(organization_id, email)
        await repository.replace_expired(organization_id, email)
        invitation = await repository.insert_invitation(
            organization_id,
            email,
            role_ids=wanted,
            admin=admin,
            token_hash=ids.digest(token),
            invited_by=invited_by,
            lifetime=lifetime,
            maximum=MAX_OPEN,
        )
        if invitation is None:
            raise _invited_already()
        await _mail(organization, invitation, token, void=not mailed)
        await record_event("organization_invitation_created", invitation, organization.slug)
    return Sent(invitation, link(token))


async def resend(organization_id: UUID, id: UUID) -> Sent:
    """Mail an invitation again, with another link, which is valid from now on. The earlier one stops working.

    Raises:
        UnknownInvitationError: the organization has no such invitation, or it has ended.
        OrganizationDisabledError: the organization is disabled.
        TooManyRequestsError: the organization sent too many.
    """
    before = await found(organization_id, id)
    if before.ended_at is not None:
        raise UnknownInvitationError
    mailed = await _count(organization_id, before.email)
    token, lifetime = ids.random_token(), float(settings().invitation_lifetime)
    async with transaction():
        organization = await _enabled(organization_id)
        # Without a mail with another link, the earlier one has to go on working.
        renewed = ids.digest(token) if mailed else None
        invitation = await repository.renew_invitation(id, organization_id, renewed, lifetime)
        if invitation is None:
            raise UnknownInvitationError
        await _mail(organization, invitation, token, void=not mailed)
        await record_event("organization_invitation_resent", invitation, organization.slug)
    return Sent(invitation, link(token) if mailed else "")


async def revoke(organization_id: UUID, id: UUID) -> Invitation:
    """Revoke an invitation.

    Raises:
        UnknownInvitationError: the organization has no such invitation, or it has ended.
    """
    async with transaction():
        organization = await organizations.found(organization_id)
        invitation = await repository.revoke_invitation(id, organization_id)
        if invitation is None:
            raise UnknownInvitationError
        await record_event("organization_invitation_revoked", invitation, organization.slug)
    return invitation


async def found(organization_id: UUID, id: UUID) -> Invitation:
    """Return an invitation of an organization, in any state.

    Raises:
        UnknownInvitationError: there is no such invitation.
    """
    invitation = await repository.invitation_by_id(id, organization_id)
    if invitation is None:
        raise UnknownInvitationError
    return invitation


async def of_address(organization_id: UUID, email: str) -> Invitation:
    """Return the invitation of an address that has not ended, expired or not.

    Raises:
        UnknownInvitationError: there is no such invitation.
    """
    try:
        invitation = await repository.invitation_of_email(organization_id, normalise_email(email))
    except InvalidEmailError as error:
        raise UnknownInvitationError from error
    if invitation is None:
        raise UnknownInvitationError
    return invitation


def link(token: str) -> str:
    """Return the link of a mail."""
    return f"{settings().issuer}{PATH}?token={token}"


async def _count(organization_id: UUID, email: str) -> bool:
    """Count a mail. Returns False if others have sent this address so many that it gets none.

    The answer is the same then: a refusal would tell an organization that others invite the address.

    Raises:
        TooManyRequestsError: the organization sent too many, to this address or to all.
    """
    await rate_limits.spend(
        (OF_ORGANIZATION, str(organization_id)), (TO_ADDRESS_OF_ORGANIZATION, f"{organization_id} {email}")
    )
    try:
        await rate_limits.spend((TO_ADDRESS, email))
    except TooManyRequestsError:
        log.warning("invitation_not_mailed", reason="The address gets too many invitations.")
        return False
    return True


def _invited_already() -> AlreadyInvitedError:
    return AlreadyInvitedError(f"The address is invited already, or {MAX_OPEN} others are.")


async def _enabled(organization_id: UUID) -> Organization:
    organization = await organization_repository.share_organization(organization_id)
    if organization is None:
        raise UnknownOrganizationError
    if organization.disabled_at is not None:
        raise OrganizationDisabledError
    return organization


async def _are_of(role_ids: Collection[UUID], organization_id: UUID) -> bool:
    roles = await roles_by_ids(role_ids)
    return len(roles) == len(role_ids) and all(each.organization_id == organization_id for each in roles.values())


async def _check_not_member(organization_id: UUID, email: str) -> None:
    user_id = await users.id_of_email(email)
    if await organization_repository.members_among(organization_id, [user_id]):
        raise AlreadyMemberError


async def _mail(organization: Organization, invitation: Invitation, token: str, *, void: bool) -> None:
    """Queue the mail, in the language of the user with this address, or of the server. A void one is not sent."""
    user = await users.user_by_email(invitation.email)
    inviter = await users.user_by_id(invitation.invited_by) if invitation.invited_by is not None else None
    lifetime = settings().invitation_lifetime
    await outbox.queue(
        invitation.email,
        "organization_invitation",
        language=(user.locale if user is not None else None) or settings().default_locale,
        lifetime=lifetime,
        void=void,
        name=user.name if user is not None else None,
        organization=suitable_name(organization.name) or organization.slug,
        inviter=suitable_name(inviter.name) if inviter is not None else None,
        link=link(token),
        days=max(1, lifetime // DAY),
        **await branding.mail_of(organization.id),
    )
