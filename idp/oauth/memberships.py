"""Ends memberships in organizations together with what was issued for them: a member who is added again begins without.

The functions are those of :mod:`idp.directory.organizations`, which knows no tokens.
"""

from collections.abc import Collection
from uuid import UUID

from idp.directory import organizations
from idp.infra.db.engine import transaction
from idp.oauth.sign_out import sign_out_of_organization

REASON = "membership_ended"


async def remove_members(organization_id: UUID, user_ids: Collection[UUID], *, delegated: bool = False) -> int:
    """Remove users from an organization as :func:`idp.directory.organizations.remove_members` does."""
    async with transaction():
        removed = await organizations.remove_members(organization_id, user_ids, delegated=delegated)
        for user_id in sorted(set(user_ids)):
            await sign_out_of_organization(user_id, organization_id, REASON)
    return removed


async def leave(organization_id: UUID, user_id: UUID, *, last_admin: bool) -> bool:
    """Remove a user on the user's own wish as :func:`idp.directory.organizations.leave` does."""
    async with transaction():
        left = await organizations.leave(organization_id, user_id, last_admin=last_admin)
        if left:
            await sign_out_of_organization(user_id, organization_id, REASON)
    return left
