"""Administrators of an organization: members who manage it, and nothing else of the server.

What they may do is decided by their pages (:mod:`idp.selfservice.organization`) and by the operations of the admin API
that admit them (docs/decisions/0081-administrators-of-an-organization.md).
"""

from uuid import UUID

from idp.directory.errors import UnknownOrganizationError
from idp.directory.models import Organization
from idp.directory.repository import organizations as repository
from idp.errors import PermissionDeniedError


async def managed_by(user_id: UUID) -> list[Organization]:
    """Return the enabled organizations that a user manages, ordered by slug. Most users manage none."""
    return await repository.organizations_managed_by(user_id)


async def managed(user_id: UUID, slug: str) -> Organization:
    """Return an enabled organization that a user manages.

    Raises:
        UnknownOrganizationError: there is none with this slug. Of one that the user does not manage it says the same.
    """
    found = next((each for each in await managed_by(user_id) if each.slug == slug), None)
    if found is None:
        raise UnknownOrganizationError
    return found


async def manages(user_id: UUID, organization_id: UUID) -> bool:
    """Return whether a user manages an organization that is enabled."""
    return await repository.manages(user_id, organization_id)


async def manages_any(user_id: UUID) -> bool:
    """Return whether a user manages an organization, also if it or the membership is disabled: both can be enabled."""
    return await repository.is_admin_anywhere(user_id)


async def hold(user_id: UUID, organization_id: UUID) -> None:
    """Check that a user still manages an organization, and keep it so until the end of the transaction.

    It locks the organization, so that the changes by its administrators run one after the other. The caller has locked
    the user, who is enabled.

    Raises:
        PermissionDeniedError: the user no longer manages it, or it was disabled.
    """
    organization = await repository.lock_organization_without_key(organization_id)
    # In this order, because a deletion of the organization locks it before its members.
    held = organization is not None and organization.disabled_at is None
    if not held or not await repository.hold_admin(user_id, organization_id):
        raise PermissionDeniedError("You no longer manage this organisation.")
