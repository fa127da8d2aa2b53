"""Roles: creating and deleting them, which roles they contain, and who has them."""

from collections.abc import Collection
from uuid import UUID

from idp import ids
from idp.accounts.repository import users
from idp.audit.events import About, record, record_many
from idp.directory import names
from idp.directory.effective import TOPIC
from idp.directory.errors import (
    CycleError,
    InUseError,
    NameTakenError,
    NotMemberError,
    OtherOwnerError,
    TooManyRolesError,
    UnknownMemberError,
    UnknownOrganizationError,
    UnknownRoleError,
)
from idp.directory.models import ADMIN, Role
from idp.directory.repository import deletions, organizations
from idp.directory.repository import roles as repository
from idp.errors import VersionConflictError
from idp.infra.db.cache_invalidation import exclusive_change, lock_and_announce
from idp.infra.db.engine import transaction

#: Roles of one organization.
MAX_ROLES = 500


async def create(
    name: str, client_id: str | None = None, description: str = "", *, organization_id: UUID | None = None
) -> Role:
    """Create a role of a client or of an organization; without either, of the whole server.

    Raises:
        InvalidNameError: the name or the description cannot be used.
        NameTakenError: the client, the organization or the server has a role with this name.
        UnknownClientError: there is no such client.
        UnknownOrganizationError: there is no such organization.
        OtherOwnerError: both are given.
        TooManyRolesError: the organization has too many.
    """
    if client_id is not None and organization_id is not None:
        raise OtherOwnerError("A role belongs to a client or to an organisation.")
    name, description = names.checked(name), names.checked_description(description)
    async with transaction():
        if organization_id is not None and await organizations.keep_organization(organization_id) is None:
            raise UnknownOrganizationError
        await lock_and_announce(TOPIC)
        if organization_id is not None and await repository.count_roles_of(organization_id) >= MAX_ROLES:
            raise TooManyRolesError(f"An organisation has up to {MAX_ROLES} roles.")
        role = await repository.insert_role(
            ids.uuid7(), name, names.key(name), description, client_id=client_id, organization_id=organization_id
        )
        if role is None:
            raise _taken()
        await _record("role_created", role, name=name)
    return role


async def update(
    id: UUID, name: str | None = None, description: str | None = None, expected: Role | None = None
) -> Role:
    """Change a role. What is not given stays.

    Args:
        expected: the role as the caller has read it. If it has changed since, nothing is changed.

    Raises:
        InvalidNameError: the name or the description cannot be used.
        NameTakenError: another role has this name.
        UnknownRoleError: there is no such role.
        VersionConflictError: the role has changed.
    """
    async with exclusive_change(TOPIC):
        before = await _found(id, expected)
        new = names.checked(name if name is not None else before.name)
        text = names.checked_description(description if description is not None else before.description)
        after = await repository.describe_role(id, new, names.key(new), text)
        if after is None:
            raise _taken()
        changed = [field for field in ("name", "description") if getattr(before, field) != getattr(after, field)]
        await _record("role_updated", after, name=after.name, changed=changed)
    return after


async def delete(id: UUID, expected: Role | None = None) -> int:
    """Delete a role. Everyone loses it. Returns how many users had been given it.

    Args:
        expected: as for :func:`update`.

    Raises:
        UnknownRoleError: there is no such role.
        VersionConflictError: the role has changed.
        InUseError: the access policy of a client names it.
    """
    # Before the locks, because it takes a while with millions.
    holders = await repository.count_holders(id)
    async with exclusive_change(TOPIC):
        await repository.lock_role(id)
        role = await _found(id, expected)
        if clients := await repository.clients_using_role(id):
            raise InUseError("role", clients)
        await repository.delete_role(id)
        await deletions.note(id, "role")
        await _record("role_deleted", role, name=role.name, holders=holders)
    return holders


async def contain(id: UUID, contained_id: UUID) -> bool:
    """Let a role contain another one. Returns False if it did.

    Raises:
        UnknownRoleError: there is no such role.
        CycleError: the other role contains this one, directly or through others.
        OtherOwnerError: one of them is of an organization, and the other one is not of the same.
    """
    async with exclusive_change(TOPIC):
        role, contained = await _found(id), await _found(contained_id)
        if not await repository.insert_contained(id, contained_id):
            if await repository.contains(id, contained_id):
                return False
            if role.organization_id != contained.organization_id:
                raise OtherOwnerError("Roles of an organisation contain, and are contained in, only others of it.")
            raise CycleError("A role cannot contain itself.")
        await _record_contained("role_contained_added", role, contained)
    return True


async def release(id: UUID, contained_id: UUID) -> bool:
    """Let a role no longer contain another one. Returns False if it did not.

    Raises:
        UnknownRoleError: there is no such role.
    """
    async with exclusive_change(TOPIC):
        role, contained = await _found(id), await _found(contained_id)
        if not await repository.delete_contained(id, contained_id):
            return False
        await _record_contained("role_contained_removed", role, contained)
    return True


async def _record_contained(event: str, role: Role, contained: Role) -> None:
    await _record(event, role, role=role.name, contained_id=str(contained.id), contained=contained.name)


async def give(id: UUID, user_ids: Collection[UUID], origin: str = ADMIN) -> int:
    """Give users a role. Returns the number of those who did not have it.

    Raises:
        UnknownRoleError: there is no such role.
        UnknownMemberError: one of the users does not exist. Then nobody gets it.
        NotMemberError: the role is of an organization, and one of them is not a member of it, or does not exist. Then
            nobody gets it.
    """
    async with transaction():
        known = await users.increase_directory_version(user_ids) == len(set(user_ids))
        role = await _found(id)
        if role.organization_id is not None:
            # In the order of its deletion.
            await organizations.keep_organization(role.organization_id)
            members = await organizations.members_among(role.organization_id, user_ids)
            if members != set(user_ids):
                raise NotMemberError
        elif not known:
            raise UnknownMemberError
        given = await repository.insert_user_roles(id, user_ids, origin)
        await _record_users("user_role_granted", role, given)
    return len(given)


async def take(id: UUID, user_ids: Collection[UUID]) -> int:
    """Take a role from users. Returns the number of those who had it.

    Raises:
        UnknownRoleError: there is no such role.
        UnknownMemberError: one of the users does not exist, and the role is not of an organization. Then nobody loses
            it.
    """
    async with transaction():
        known = await users.lock_users(set(user_ids)) == len(set(user_ids))
        role = await _found(id)
        if role.organization_id is None and not known:
            raise UnknownMemberError
        taken = await repository.delete_user_roles(id, user_ids)
        if taken:
            await users.increase_directory_version(taken)
            await users.mark_changed(taken)
        await _record_users("user_role_revoked", role, taken)
    return len(taken)


async def _record_users(event: str, role: Role, user_ids: Collection[UUID]) -> None:
    about: About = {"client_id": role.client_id, "detail": _detail(role, name=role.name)}
    await record_many(event, [(None, {**about, "user_id": user_id}) for user_id in user_ids])


async def _record(event: str, role: Role, /, **detail: object) -> None:
    await record(event, client_id=role.client_id, detail=_detail(role, **detail))


def _detail(role: Role, /, **more: object) -> dict[str, object]:
    owner = {} if role.organization_id is None else {"organization_id": str(role.organization_id)}
    return {"role_id": str(role.id), **owner, **more}


async def _found(id: UUID, expected: Role | None = None) -> Role:
    role = await repository.role_by_id(id)
    if role is None:
        raise UnknownRoleError
    if expected is not None and role != expected:
        raise VersionConflictError
    return role


def _taken() -> NameTakenError:
    return NameTakenError("Another role has this name, or one that differs only in case or width.")
