"""Memberships that the SCIM client of an organization disables, and accounts that it made.

A disabled membership does not count, as that of a disabled organization: nothing follows from it, and the statements
that issue tokens for the organization do not find it (docs/decisions/0086-scim-of-an-organization.md).
"""

from uuid import UUID

from idp.accounts.repository import users
from idp.accounts.users import enable_user
from idp.audit.events import record
from idp.directory import invitation_events, issued, organizations
from idp.directory.errors import NotMemberError, UnknownMemberError, UnknownOrganizationError
from idp.directory.repository import member_states as repository
from idp.directory.repository.organizations import keep_organization, members_among
from idp.infra.db.engine import transaction


def origin_of(organization_id: UUID) -> str:
    """Return who has disabled an account, if that was a SCIM client of an organization."""
    return f"{repository.ORIGIN}{organization_id}"


async def add(organization_id: UUID, user_id: UUID, origin: str, *, managed: bool) -> bool:
    """Add a user to an organization. Returns False if the user is in it.

    Args:
        managed: the SCIM client of the organization made the account.

    Raises:
        UnknownOrganizationError: there is no such organization.
        UnknownMemberError: the user does not exist.
    """
    async with transaction():
        added = await organizations.add_members(organization_id, [user_id], origin)
        if added and managed:
            await repository.manage(organization_id, user_id)
    return bool(added)


async def set_enabled(organization_id: UUID, user_id: UUID, *, enabled: bool) -> bool:
    """Let a membership count, or no longer: then what was issued for it ends, and invitations do. Its roles stay.

    Returns False if nothing changes.

    Raises:
        UnknownOrganizationError: there is no such organization.
        UnknownMemberError: the user does not exist.
    """
    async with transaction():
        if not await users.increase_directory_version([user_id]):
            raise UnknownMemberError
        organization = await keep_organization(organization_id)
        if organization is None:
            raise UnknownOrganizationError
        if not await repository.set_enabled(organization_id, user_id, enabled):
            return False
        await record(
            "organization_member_enabled" if enabled else "organization_member_disabled",
            user_id=user_id,
            detail={"organization_id": str(organization_id), "slug": organization.slug},
        )
        if not enabled:
            await issued.end(organization_id, [user_id], "membership_disabled")
            await invitation_events.revoke_with_memberships(organization, [user_id])
    return True


async def reactivate(organization_id: UUID, user_id: UUID) -> bool:
    """Let a membership count again, and enable the account if the SCIM client of the organization disabled it.

    What others disabled stays so. Returns False if nothing changes.

    Raises:
        UnknownOrganizationError: there is no such organization.
        NotMemberError: the user is not a member.
    """
    async with transaction():
        await users.lock_user(user_id)
        if not await members_among(organization_id, [user_id]):
            raise NotMemberError
        counts = await set_enabled(organization_id, user_id, enabled=True)
        return await enable_user(user_id, origin_of(organization_id)) or counts


async def has_domain(organization_id: UUID, email: str, *, hold: bool = False) -> bool:
    """Return whether an address is at a verified domain of an organization.

    Args:
        hold: the domain stays verified until the end of the transaction. The organization is kept before.
    """
    check = repository.hold_domain if hold else repository.has_domain
    return await check(organization_id, email.rpartition("@")[2])
