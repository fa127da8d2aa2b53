"""Groups: creating, moving and deleting them, and who is in them.

A change of the groups themselves excludes other changes of the directory, and empties the caches of all processes. A
change of members locks the users and increases their version (:mod:`idp.directory.effective`).
"""

from collections.abc import Collection
from uuid import UUID

from msgspec import UNSET, UnsetType

from idp import ids
from idp.accounts.repository import users
from idp.audit.events import record, record_many
from idp.directory import names
from idp.directory.effective import TOPIC
from idp.directory.errors import (
    CycleError,
    InUseError,
    NameTakenError,
    NotEmptyError,
    OtherOwnerError,
    TooDeepError,
    UnknownGroupError,
    UnknownMemberError,
    UnknownRoleError,
)
from idp.directory.models import ADMIN, Group
from idp.directory.repository import deletions, roles
from idp.directory.repository import groups as repository
from idp.errors import VersionConflictError
from idp.infra.db.cache_invalidation import exclusive_change
from idp.infra.db.engine import transaction

#: Number of groups from the topmost one to the lowest.
MAX_DEPTH = 10


async def create(name: str, description: str = "", parent_id: UUID | None = None) -> Group:
    """Create a group.

    Raises:
        InvalidNameError: the name or the description cannot be used.
        NameTakenError: another group has this name.
        UnknownGroupError: there is no such parent.
        TooDeepError: the parent is at the maximum depth.
    """
    name, description = names.checked(name), names.checked_description(description)
    async with exclusive_change(TOPIC):
        group = await repository.insert_group(
            ids.uuid7(), name, names.key(name), description, parent_id=parent_id, max_depth=MAX_DEPTH
        )
        if group is None:
            await _check_name(name)
            if parent_id is not None and await repository.group_by_id(parent_id) is None:
                raise UnknownGroupError
            raise _too_deep()
        await record("group_created", detail={"group_id": str(group.id), "name": name})
    return group


async def update(
    id: UUID,
    name: str | None = None,
    description: str | None = None,
    parent_id: UUID | UnsetType | None = UNSET,
    expected: Group | None = None,
) -> Group:
    """Change a group. What is not given stays.

    Args:
        parent_id: the group to put it into; None: into none.
        expected: the group as the caller has read it. If it has changed since, nothing is changed.

    Raises:
        InvalidNameError: the name or the description cannot be used.
        NameTakenError: another group has this name.
        UnknownGroupError: there is no such group, or no such parent.
        VersionConflictError: the group has changed.
        CycleError: the parent is the group itself, or below it.
        TooDeepError: a group would be too deep.
    """
    async with exclusive_change(TOPIC):
        before = await _found(id, expected)
        after = before
        if name is not None or description is not None:
            new = names.checked(name if name is not None else before.name)
            text = names.checked_description(description if description is not None else before.description)
            described = await repository.describe_group(id, new, names.key(new), text)
            if described is None:
                raise _taken()
            after = described
        if parent_id is not UNSET and parent_id != before.parent_id:
            after = await _moved(before, parent_id)
        await record("group_updated", detail={"group_id": str(id), "changed": _changed(before, after)})
    return after


async def _moved(group: Group, parent_id: UUID | None) -> Group:
    if not await repository.move_group(group.id, parent_id, MAX_DEPTH):
        parent = await repository.group_by_id(parent_id) if parent_id is not None else None
        if parent is None:
            raise UnknownGroupError
        if group.id in parent.path:
            raise CycleError("A group cannot be below itself.")
        raise _too_deep()
    moved = await repository.group_by_id(group.id)
    assert moved is not None  # noqa: S101 -- this transaction excludes other changes
    return moved


def _changed(before: Group, after: Group) -> list[str]:
    fields = ("name", "description", "parent_id")
    return [name for name in fields if getattr(before, name) != getattr(after, name)]


async def delete(id: UUID, expected: Group | None = None) -> int:
    """Delete a group. Its members lose the roles that it has. Returns how many members it had.

    Args:
        expected: as for :func:`update`.

    Raises:
        UnknownGroupError: there is no such group.
        VersionConflictError: the group has changed.
        NotEmptyError: other groups are in it.
        InUseError: the access policy of a client names it.
    """
    # Before the locks, because it takes a while with millions.
    members = await repository.count_members(id)
    async with exclusive_change(TOPIC):
        await repository.lock_group(id)
        group = await _found(id, expected)
        if clients := await repository.clients_using_group(id):
            raise InUseError("group", clients)
        if not await repository.delete_group(id):
            raise NotEmptyError("Other groups are in this group. Delete or move them first.")
        await deletions.note(id, "groups")
        await record("group_deleted", detail={"group_id": str(id), "name": group.name, "members": members})
    return members


async def _found(id: UUID, expected: Group | None = None) -> Group:
    group = await repository.group_by_id(id)
    if group is None:
        raise UnknownGroupError
    if expected is not None and group != expected:
        raise VersionConflictError
    return group


async def add_members(id: UUID, user_ids: Collection[UUID], origin: str = ADMIN) -> int:
    """Add users to a group. Returns the number of those that were not in it.

    Raises:
        UnknownGroupError: there is no such group.
        UnknownMemberError: one of the users does not exist. Then nobody is added.
    """
    async with transaction():
        group = await _locked(id, user_ids)
        added = await repository.insert_members(id, user_ids, origin)
        await _record_members("group_member_added", group, added)
    return len(added)


async def remove_members(id: UUID, user_ids: Collection[UUID]) -> int:
    """Remove users from a group. Returns the number of those that were in it.

    Raises:
        UnknownGroupError: there is no such group.
        UnknownMemberError: one of the users does not exist. Then nobody is removed.
    """
    async with transaction():
        group = await _locked(id, user_ids)
        removed = await repository.delete_members(id, user_ids)
        await users.mark_changed(removed)
        await _record_members("group_member_removed", group, removed)
    return len(removed)


async def _locked(id: UUID, user_ids: Collection[UUID]) -> Group:
    """Lock the users, increase their version, and return the group, which is kept."""
    if await users.increase_directory_version(user_ids) < len(set(user_ids)):
        raise UnknownMemberError
    group = await repository.keep_group(id)
    if group is None:
        raise UnknownGroupError
    return group


async def _record_members(event: str, group: Group, user_ids: Collection[UUID]) -> None:
    detail = {"group_id": str(group.id), "name": group.name}
    await record_many(event, [(None, {"user_id": user_id, "detail": detail}) for user_id in user_ids])


async def give_role(id: UUID, role_id: UUID) -> bool:
    """Give a role to all who are in a group. Returns False if the group had it.

    Raises:
        UnknownGroupError: there is no such group.
        UnknownRoleError: there is no such role.
        OtherOwnerError: it is a role of an organization.
    """
    return await _change_role(id, role_id, given=True)


async def take_role(id: UUID, role_id: UUID) -> bool:
    """Take a role from a group. Returns False if the group did not have it.

    Raises:
        UnknownGroupError: there is no such group.
        UnknownRoleError: there is no such role.
    """
    return await _change_role(id, role_id, given=False)


async def _change_role(id: UUID, role_id: UUID, *, given: bool) -> bool:
    async with exclusive_change(TOPIC):
        group, role = await _found(id), await roles.role_by_id(role_id)
        if role is None:
            raise UnknownRoleError
        if given and role.organization_id is not None:
            raise OtherOwnerError("Only members of its organisation have this role.")
        change = repository.insert_group_role if given else repository.delete_group_role
        if not await change(id, role_id):
            return False
        await record(
            "group_role_granted" if given else "group_role_revoked",
            client_id=role.client_id,
            detail={"group_id": str(id), "group": group.name, "role_id": str(role_id), "role": role.name},
        )
    return True


async def _check_name(name: str) -> None:
    if await repository.group_by_name(names.key(name)) is not None:
        raise _taken()


def _taken() -> NameTakenError:
    return NameTakenError("Another group has this name, or one that differs only in case or width.")


def _too_deep() -> TooDeepError:
    return TooDeepError(f"Groups can be {MAX_DEPTH} deep.")
