"""Organizations: creating, disabling and deleting them, and who is a member.

A change of the organizations themselves excludes other changes of the directory, and empties the caches of all
processes. A change of members locks the users and increases their version (:mod:`idp.directory.effective`). The order
of locks is: users, organization, topic (docs/decisions/0081-administrators-of-an-organization.md).
"""

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from uuid import UUID

from idp import ids
from idp.accounts.repository import users
from idp.audit.events import record
from idp.directory import invitation_events, issued, names
from idp.directory.effective import DOMAINS_TOPIC, TOPIC
from idp.directory.errors import (
    InUseError,
    LastAdminError,
    ManagedAccountError,
    NotMemberError,
    SlugTakenError,
    UnknownMemberError,
    UnknownOrganizationError,
)
from idp.directory.models import ADMIN, Organization
from idp.directory.repository import deletions
from idp.directory.repository import organizations as repository
from idp.errors import VersionConflictError
from idp.infra.db.cache_invalidation import exclusive_change, lock_and_announce
from idp.infra.db.engine import transaction


async def create(slug: str, name: str) -> Organization:
    """Create an organization.

    Raises:
        InvalidNameError: the slug or the name cannot be used.
        SlugTakenError: another organization has this slug.
    """
    slug, name = names.checked_slug(slug), names.checked(name)
    async with exclusive_change(TOPIC):
        organization = await repository.insert_organization(ids.uuid7(), slug, name)
        if organization is None:
            raise SlugTakenError("Another organisation has this slug.")
        await _record("organization_created", organization)
    return organization


async def rename(id: UUID, name: str, expected_at: datetime | None = None) -> Organization:
    """Change the name of an organization.

    Args:
        expected_at: its ``updated_at`` as the caller has read it.

    Raises:
        InvalidNameError: the name cannot be used.
        UnknownOrganizationError: there is no such organization.
        VersionConflictError: it has changed since.
    """
    name = names.checked(name)
    async with changing(id) as before:
        after = await repository.rename_organization(id, name, expected_at)
        if after is None:
            raise VersionConflictError
        if name != before.name:
            await _record("organization_updated", after)
    return after


async def disable(id: UUID) -> bool:
    """Disable an organization: its memberships do not count. Returns False if it was disabled.

    Raises:
        UnknownOrganizationError: there is no such organization.
    """
    async with changing(id) as organization:
        # Where its domains lead changes with it.
        await lock_and_announce(DOMAINS_TOPIC)
        if not await repository.disable_organization(id):
            return False
        await _record("organization_disabled", organization)
    return True


async def enable(id: UUID) -> bool:
    """Enable an organization. Returns False if it was enabled.

    Raises:
        UnknownOrganizationError: there is no such organization.
    """
    async with changing(id) as organization:
        await lock_and_announce(DOMAINS_TOPIC)
        if not await repository.enable_organization(id):
            return False
        await _record("organization_enabled", organization)
    return True


async def delete(id: UUID, expected_at: datetime | None = None) -> None:
    """Delete an organization with its memberships, roles, domains and upstreams. The users stay.

    Args:
        expected_at: as for :func:`rename`.

    Raises:
        UnknownOrganizationError: there is no such organization.
        VersionConflictError: it has changed since.
        InUseError: the access policy of a client names it.
    """
    async with transaction():
        await repository.lock_organization(id)
        await lock_and_announce(TOPIC)
        await lock_and_announce(DOMAINS_TOPIC)
        organization = await found(id)
        if clients := await repository.clients_using_organization(id):
            raise InUseError("organization", clients)
        if not await repository.delete_organization(id, expected_at):
            raise VersionConflictError
        await deletions.note(id, "organization")
        await _record("organization_deleted", organization)


async def add_members(id: UUID, user_ids: Collection[UUID], origin: str = ADMIN, *, delegated: bool = False) -> int:
    """Add users to an organization. Returns the number of those that were not in it.

    Args:
        delegated: whether an administrator of the organization adds them. They then need a verified address at a
            verified domain of the organization. Others are unknown.

    Raises:
        UnknownOrganizationError: there is no such organization.
        UnknownMemberError: one of the users does not exist. Then nobody is added.
    """
    async with transaction():
        organization = await _locked(id, user_ids)
        if delegated and await repository.users_at_domains(id, user_ids) != set(user_ids):
            raise UnknownMemberError
        added = await repository.insert_members(id, user_ids, origin)
        await _record_members("organization_member_added", organization, added)
    return len(added)


async def remove_members(id: UUID, user_ids: Collection[UUID], *, delegated: bool = False) -> int:
    """Remove users from an organization; they lose its roles and what they were issued for it.

    Returns the number of those that were in it.

    Args:
        delegated: whether an administrator or the SCIM client of the organization removes them. An administrator must
            remain.

    Raises:
        UnknownOrganizationError: there is no such organization.
        UnknownMemberError: one of the users does not exist. Then nobody is removed.
        LastAdminError: no administrator would remain.
    """
    async with transaction():
        organization = await _locked(id, user_ids)
        if delegated:
            await check_admin_remains(id, user_ids)
        removed = await repository.delete_members(id, user_ids)
        await users.mark_changed(removed)
        await _record_members("organization_member_removed", organization, removed)
        await _end(organization, user_ids, removed)
    return len(removed)


async def leave(id: UUID, user_id: UUID, *, last_admin: bool) -> bool:
    """Remove a user from an organization on the user's own wish. Returns False if the user is no member there.

    A membership that is disabled stays: otherwise its user could leave, and come back by an invitation.

    Args:
        last_admin: whether no administrator need remain.

    Raises:
        LastAdminError: no administrator would remain.
        ManagedAccountError: the SCIM client of the organization made the account, and would lose it.
    """
    async with transaction():
        organization = await _locked(id, [user_id])
        if not last_admin:
            await check_admin_remains(id, [user_id])
        if organization.disabled_at is not None:
            return False
        if await repository.has_managed_account(id, user_id):
            raise ManagedAccountError
        if not await repository.delete_own_membership(id, user_id):
            return False
        await users.mark_changed([user_id])
        await _record_members("organization_member_removed", organization, [user_id])
        await _end(organization, [user_id], [user_id])
    return True


async def _end(organization: Organization, user_ids: Collection[UUID], removed: Collection[UUID]) -> None:
    """End what came with memberships: what was issued for the organization, and invitations."""
    await issued.end(organization.id, user_ids, "membership_ended")
    await invitation_events.revoke_with_memberships(organization, removed)


async def is_last_admin(id: UUID, user_id: UUID) -> bool:
    """Return whether a user manages an organization, and nobody else does."""
    return await repository.has_admin_among(id, [user_id]) and not await repository.has_other_admin(id, [user_id])


async def leave_of_origin(user_id: UUID, origin: str) -> None:
    """Remove a user from the organizations that an origin added the user to. In the caller's transaction.

    A membership that is disabled stays, as in :func:`leave`, and that of the last administrator.
    """
    for organization_id in await repository.organizations_of_origin(user_id, origin):
        with suppress(LastAdminError):
            await remove_members(organization_id, [user_id], delegated=True)


async def set_admin(
    id: UUID, user_id: UUID, *, admin: bool, expected_at: datetime | None = None, delegated: bool = False
) -> bool:
    """Let a member manage the organization, or no longer: then invitations end, as with the membership.

    Returns False if nothing changes.

    Args:
        expected_at: the ``created_at`` of the membership as the caller has read it.
        delegated: as for :func:`remove_members`.

    Raises:
        VersionConflictError: the membership has ended since, and begun again.
        UnknownOrganizationError: there is no such organization.
        UnknownMemberError: the user does not exist.
        NotMemberError: the user is not a member.
        LastAdminError: no administrator would remain.
    """
    async with transaction():
        organization = await _locked(id, [user_id])
        if not await repository.members_among(id, [user_id]):
            raise NotMemberError
        if delegated and not admin:
            await check_admin_remains(id, [user_id])
        changed = await repository.set_admin(id, user_id, admin, expected_at)
        if changed is None:
            raise VersionConflictError
        if not changed:
            return False
        event = "organization_admin_granted" if admin else "organization_admin_revoked"
        await _record_members(event, organization, [user_id])
        if not admin:
            await invitation_events.revoke_with_memberships(organization, [user_id])
    return True


async def check_admin_remains(id: UUID, user_ids: Collection[UUID]) -> None:
    """Check that an organization has administrators without these users. Two such checks run one after the other.

    Raises:
        LastAdminError: it has none.
    """
    await repository.lock_organization_without_key(id)
    if await repository.has_admin_among(id, user_ids) and not await repository.has_other_admin(id, user_ids):
        raise LastAdminError


@asynccontextmanager
async def changing(id: UUID) -> AsyncIterator[Organization]:
    """A transaction for a change of an organization, which excludes other changes of the directory.

    Raises:
        UnknownOrganizationError: there is no such organization.
    """
    async with transaction():
        organization = await repository.lock_organization_without_key(id)
        if organization is None:
            raise UnknownOrganizationError
        await lock_and_announce(TOPIC)
        yield organization


async def found(id: UUID) -> Organization:
    """Return an organization.

    Raises:
        UnknownOrganizationError: there is no such organization.
    """
    organization = await repository.organization_by_id(id)
    if organization is None:
        raise UnknownOrganizationError
    return organization


async def keep(id: UUID) -> Organization:
    """Return an organization, which is not deleted until the end of the transaction.

    Raises:
        UnknownOrganizationError: there is no such organization.
    """
    organization = await repository.keep_organization(id)
    if organization is None:
        raise UnknownOrganizationError
    return organization


async def named(slug_or_id: str) -> Organization:
    """Return the organization with this slug or id.

    Raises:
        UnknownOrganizationError: there is no such organization.
    """
    organization = await repository.organization_by_slug(slug_or_id)
    if organization is None:
        with suppress(ValueError):
            organization = await repository.organization_by_id(UUID(slug_or_id))
    if organization is None:
        raise UnknownOrganizationError
    return organization


async def _locked(id: UUID, user_ids: Collection[UUID]) -> Organization:
    """Lock the users and the organization, so that it is not deleted meanwhile, and increase the users' version."""
    if await users.increase_directory_version(user_ids) < len(set(user_ids)):
        raise UnknownMemberError
    return await keep(id)


async def _record(event: str, organization: Organization) -> None:
    await record(event, detail=_named(organization))


async def _record_members(event: str, organization: Organization, user_ids: Collection[UUID]) -> None:
    for user_id in user_ids:
        await record(event, user_id=user_id, detail=_named(organization))


def _named(organization: Organization) -> dict[str, str]:
    return {"organization_id": str(organization.id), "slug": organization.slug}
