"""The audit events of invitations into organizations, and the invitations that end with the authority of a user."""

from collections.abc import Collection
from uuid import UUID

from idp.audit.events import record
from idp.directory.models import Invitation, Organization
from idp.directory.repository import invitations as repository
from idp.directory.repository.organizations import slugs_of_organizations


async def record_event(event: str, invitation: Invitation, slug: str) -> None:
    """Record an event about an invitation. The trail does not keep the address, which may be a stranger's."""
    detail = {"organization_id": str(invitation.organization_id), "slug": slug, "invitation_id": str(invitation.id)}
    await record(event, user_id=invitation.user_id, detail=detail, private={"email": invitation.email})


async def revoke_with_memberships(organization: Organization, user_ids: Collection[UUID]) -> None:
    """Revoke the invitations by which users whose membership ends, is disabled or no longer manages could come back:
    those to their addresses, and those that they sent and that make an administrator. In the transaction that changes
    the memberships, after them.
    """
    for invitation in await repository.revoke_invitations_of_members(organization.id, user_ids):
        await record_event("organization_invitation_revoked", invitation, organization.slug)


async def revoke_of_inviter(user_id: UUID) -> None:
    """Revoke the invitations that a user sent and that make an administrator, of all organizations. In the transaction
    that ends the authority of the user, after that, and before the user is deleted.
    """
    revoked = await repository.revoke_invitations_of_inviter(user_id)
    slugs = await slugs_of_organizations({each.organization_id for each in revoked}) if revoked else {}
    for invitation in revoked:
        await record_event("organization_invitation_revoked", invitation, slugs[invitation.organization_id])
