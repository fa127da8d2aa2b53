"""The roles of an organization as the groups of its SCIM clients.

So a client gives nothing beyond its organization: no group of the server, and no role that says something elsewhere.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any
from uuid import UUID

from idp.directory import roles
from idp.directory.effective import TOPIC
from idp.directory.errors import NameTakenError, NotMemberError, UnknownMemberError
from idp.directory.repository.roles import lock_role
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
from idp.scim.members import Change, Plan, collect, ids_of
from idp.scim.patch import Document, read_document, read_operations
from idp.scim.repository import external_ids
from idp.scim.repository import roles as repository
from idp.scim.repository.groups import StoredGroup
from idp.scim.users import check_version


async def show(caller: Caller, role_id: UUID, *, with_members: bool) -> Document:
    """Return a role.

    Raises:
        UnknownResourceError: the organization has no such role.
    """
    return (await shown([await _stored(caller, role_id)], with_members=with_members))[0]


async def shown(stored: Sequence[StoredGroup], *, with_members: bool) -> list[Document]:
    """Return the representations of roles. Members that are too many for a response are left out."""
    ids = [role.id for role in stored]
    if not ids:
        return []
    states = await repository.states_of(ids)
    listed = await repository.members_of(ids) if with_members else None
    return [
        document_of(role, states[role.id], listed.get(role.id, []) if listed is not None else None) for role in stored
    ]


def _organization(caller: Caller) -> UUID:
    assert caller.organization_id is not None  # noqa: S101 -- the routes choose this module by it
    return caller.organization_id


async def _stored(caller: Caller, role_id: UUID) -> StoredGroup:
    found = await repository.role(caller.origin, _organization(caller), role_id)
    if found is None:
        raise UnknownResourceError
    return found


async def create(caller: Caller, body: Mapping[str, Any]) -> Document:
    """Create a role.

    Raises:
        InvalidValueError: a value is missing or not valid.
        UniquenessError: another role of the organization has the name.
        NotAllowedError: a member is an administrator of the server.
    """
    document, organization_id = read_document(GROUP, body), _organization(caller)
    name, external_id = required_name(document), external_id_of(document)
    change = Change(name, external_id, added=dict.fromkeys(ids_of(document.get("members"))))
    async with transaction():
        plan = await _planned(caller, None, change)
        await members.lock(plan)
        try:
            role = await roles.create(name, organization_id=organization_id)
        except NameTakenError as error:
            raise UniquenessError(error.description) from error
        if external_id is not None:
            await external_ids.set_of_role(role.id, caller.origin, external_id)
        await _apply(caller, role.id, plan)
        return await show(caller, role.id, with_members=True)


async def replace(caller: Caller, role_id: UUID, body: Mapping[str, Any], expected: Sequence[str]) -> Document:
    """Replace a role. Without ``externalId`` that stays.

    Raises:
        InvalidValueError: a value is missing or not valid.
        UniquenessError: another role of the organization has the name.
        UnknownResourceError: the organization has no such role.
        OutdatedError: the role has another version.
        NotAllowedError: a member that is added or removed is an administrator of the server.
    """
    document = read_document(GROUP, body)
    added = dict.fromkeys(ids_of(document.get("members")))
    async with transaction():
        stored = await _stored(caller, role_id)
        external_id = external_id_of(document) if "externalId" in document else stored.external_id
        change = Change(required_name(document), external_id, cleared=True, added=added)
        await _update(caller, stored, change, expected)
        return await show(caller, role_id, with_members=True)


async def patch(caller: Caller, role_id: UUID, body: Mapping[str, Any], expected: Sequence[str]) -> None:
    """Change a role by operations.

    Raises:
        ScimError: as of :func:`replace`, or an operation is malformed, or not possible.
        UnknownResourceError: the organization has no such role.
    """
    operations = read_operations(GROUP, body)
    async with transaction():
        stored = await _stored(caller, role_id)
        change = Change(stored.name, stored.external_id)
        for operation in operations:
            await collect(change, operation, partial(repository.selected, stored.id))
        await _update(caller, stored, change, expected)


async def delete(caller: Caller, role_id: UUID, expected: Sequence[str]) -> None:
    """Delete a role.

    Raises:
        UnknownResourceError: the organization has no such role.
        OutdatedError: the role has another version.
        NotAllowedError: an administrator of the server has it.
    """
    async with transaction():
        await _stored(caller, role_id)
        await lock_and_announce(TOPIC)
        await lock_role(role_id)
        await _check_version(caller, role_id, expected)
        if await repository.administrators(role_id):
            raise members.administrator()
        await roles.delete(role_id)


async def _check_version(caller: Caller, role_id: UUID, expected: Sequence[str]) -> None:
    """Check ``If-Match``. The role is locked, so that it gets no other version until the end of the transaction.

    Raises:
        UnknownResourceError: the organization has no such role.
        OutdatedError: the role has another version.
    """
    stored = await _stored(caller, role_id)
    if expected:
        check_version(expected, version_of_group(stored, (await repository.states_of([role_id]))[role_id]))


async def _update(caller: Caller, stored: StoredGroup, change: Change, expected: Sequence[str]) -> None:
    """Apply a change to a role. It locks users, then the directory, then the role."""
    if change.name is None:
        raise InvalidValueError("displayName is missing.")
    plan = await _planned(caller, stored.id, change)
    await members.lock(plan)
    if change.name != stored.name or expected:
        await lock_and_announce(TOPIC)
    if expected:
        await lock_role(stored.id)
        await _check_version(caller, stored.id, expected)
    if change.name != stored.name:
        try:
            await roles.update(stored.id, change.name)
        except NameTakenError as error:
            raise UniquenessError(error.description) from error
    if change.external_id != stored.external_id:
        check_external_id(change.external_id)
        await external_ids.set_of_role(stored.id, caller.origin, change.external_id)
    await _apply(caller, stored.id, plan)


async def _planned(caller: Caller, role_id: UUID | None, change: Change) -> Plan:
    """Return what a change does to the members with a role; None: a new one.

    Raises:
        InvalidValueError: a user is no member of the organization.
    """
    added = set(change.added)
    present = await repository.holders(role_id) if role_id is not None else set[UUID]()
    removed = set(change.removed) & present
    if change.cleared and role_id is not None:
        # Administrators stay, whether they are listed or not.
        removed = present - added - await repository.administrators(role_id)
    added -= present
    if added and added != await repository.members_among(_organization(caller), added):
        raise _unknown()
    return Plan(sorted(added), sorted(removed))


async def _apply(caller: Caller, role_id: UUID, plan: Plan) -> None:
    try:
        if plan.leaving:
            await roles.take(role_id, plan.leaving)
        if plan.joining:
            await roles.give(role_id, plan.joining, caller.origin)
    except (UnknownMemberError, NotMemberError) as error:
        raise _unknown() from error


def _unknown() -> InvalidValueError:
    return InvalidValueError("A member does not exist.")
