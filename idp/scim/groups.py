"""Groups over SCIM: created, changed and deleted by the services of :mod:`idp.directory`.

A member is a user, or a group: one that is directly below this one. What SCIM adds has the origin of its client.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any
from uuid import UUID

from idp.directory import groups as directory
from idp.directory.effective import TOPIC
from idp.directory.errors import NameTakenError
from idp.directory.repository.groups import keep_groups, lock_group
from idp.infra.db.cache_invalidation import lock_and_announce
from idp.infra.db.engine import transaction
from idp.scim import members
from idp.scim.access import Caller
from idp.scim.attributes import GROUP
from idp.scim.errors import InvalidValueError, UniquenessError, UnknownResourceError
from idp.scim.group_documents import (
    check_external_id,
    document_of,
    external_id_of,
    required_name,
    version_of_group,
)
from idp.scim.members import Change, collect, ids_of
from idp.scim.patch import Document, read_document, read_operations
from idp.scim.repository import external_ids
from idp.scim.repository import groups as repository
from idp.scim.repository.groups import StoredGroup
from idp.scim.users import check_version


async def show(caller: Caller, group_id: UUID, *, with_members: bool) -> Document:
    """Return a group.

    Raises:
        UnknownResourceError: there is no such group.
    """
    return (await shown([await _stored(caller, group_id)], with_members=with_members))[0]


async def shown(stored: Sequence[StoredGroup], *, with_members: bool) -> list[Document]:
    """Return the representations of groups. Members that are too many for a response are left out."""
    ids = [group.id for group in stored]
    if not ids:
        return []
    states = await repository.states_of(ids)
    listed = await repository.members_of(ids) if with_members else None
    return [
        document_of(group, states[group.id], listed.get(group.id, []) if listed is not None else None)
        for group in stored
    ]


async def _stored(caller: Caller, group_id: UUID) -> StoredGroup:
    found = await repository.group(caller.origin, group_id)
    if found is None:
        raise UnknownResourceError
    return found


async def create(caller: Caller, body: Mapping[str, Any]) -> Document:
    """Create a group (RFC 7644 section 3.3).

    Raises:
        InvalidValueError: a value is missing or not valid.
        UniquenessError: another group has the name.
        NotAllowedError: a member is an administrator.
    """
    document = read_document(GROUP, body)
    change = Change(
        required_name(document), external_id_of(document), added=dict.fromkeys(ids_of(document.get("members")))
    )
    async with transaction():
        plan = await members.planned(None, change)
        await members.lock(plan)
        try:
            group = await directory.create(change.name or "")
        except NameTakenError as error:
            raise UniquenessError(error.description) from error
        if change.external_id is not None:
            await external_ids.set_of_group(group.id, caller.origin, change.external_id)
        await members.apply(caller, group.id, plan)
        return await show(caller, group.id, with_members=True)


async def replace(caller: Caller, group_id: UUID, body: Mapping[str, Any], expected: Sequence[str]) -> Document:
    """Replace a group (section 3.5.1). Without ``externalId`` that stays.

    Raises:
        InvalidValueError: a value is missing or not valid.
        UniquenessError: another group has the name.
        UnknownResourceError: there is no such group.
        OutdatedError: the group has another version.
        NotAllowedError: a member that is added or removed is an administrator.
    """
    document = read_document(GROUP, body)
    added = dict.fromkeys(ids_of(document.get("members")))
    async with transaction():
        stored = await _stored(caller, group_id)
        external_id = external_id_of(document) if "externalId" in document else stored.external_id
        await _update(caller, stored, Change(required_name(document), external_id, cleared=True, added=added), expected)
        return await show(caller, group_id, with_members=True)


async def patch(caller: Caller, group_id: UUID, body: Mapping[str, Any], expected: Sequence[str]) -> None:
    """Change a group by operations (section 3.5.2).

    Raises:
        ScimError: an operation is malformed, or not possible.
        UniquenessError: another group has the name.
        UnknownResourceError: there is no such group.
        OutdatedError: the group has another version.
        NotAllowedError: a member that is added or removed is an administrator.
    """
    operations = read_operations(GROUP, body)
    async with transaction():
        stored = await _stored(caller, group_id)
        change = Change(stored.name, stored.external_id)
        for operation in operations:
            await collect(change, operation, partial(repository.selected, stored.id))
        await _update(caller, stored, change, expected)


async def delete(caller: Caller, group_id: UUID, expected: Sequence[str]) -> None:
    """Delete a group (section 3.6). The groups below it are then below none.

    Raises:
        UnknownResourceError: there is no such group.
        OutdatedError: the group has another version.
        NotAllowedError: an administrator is in it.
    """
    async with transaction():
        await lock_and_announce(TOPIC)
        await lock_group(group_id)
        await _check_version(caller, group_id, expected)
        if await repository.has_administrators(group_id):
            raise members.administrator()
        for child in await repository.child_ids(group_id):
            await directory.update(child, parent_id=None)
        await directory.delete(group_id)


async def _check_version(caller: Caller, group_id: UUID, expected: Sequence[str]) -> None:
    """Check ``If-Match``. The group is locked, so that it gets no other version until the end of the transaction.

    Raises:
        UnknownResourceError: there is no such group.
        OutdatedError: the group has another version.
    """
    stored = await _stored(caller, group_id)
    if expected:
        check_version(expected, version_of_group(stored, (await repository.states_of([group_id]))[group_id]))


async def _update(caller: Caller, stored: StoredGroup, change: Change, expected: Sequence[str]) -> None:
    """Apply a change to a group. It locks users, then the directory, then groups, as all other transactions do."""
    if change.name is None:
        raise InvalidValueError("displayName is missing.")
    plan = await members.planned(stored.id, change)
    await members.lock(plan)
    if change.name != stored.name or plan.moved or expected:
        await lock_and_announce(TOPIC)
    if expected:
        await lock_group(stored.id)
        await _check_version(caller, stored.id, expected)
    if not await keep_groups([stored.id]):
        raise UnknownResourceError
    if change.name != stored.name:
        try:
            await directory.update(stored.id, change.name)
        except NameTakenError as error:
            raise UniquenessError(error.description) from error
    if change.external_id != stored.external_id:
        check_external_id(change.external_id)
        await external_ids.set_of_group(stored.id, caller.origin, change.external_id)
    await members.apply(caller, stored.id, plan)
