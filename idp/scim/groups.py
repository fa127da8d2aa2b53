"""Groups over SCIM: created, changed and deleted by the services of :mod:`idp.directory`.

A member is a user, or a group: one that is directly below this one. What SCIM adds has the origin of its client.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any
from uuid import UUID

import msgspec

from idp.accounts.repository.users import lock_users
from idp.directory import groups as directory
from idp.directory.errors import NameTakenError, UnknownMemberError
from idp.directory.repository.groups import keep_groups
from idp.infra.db.engine import transaction
from idp.scim.access import Caller
from idp.scim.attributes import GROUP, GROUP_SCHEMA, USER
from idp.scim.errors import InvalidValueError, NotAllowedError, UniquenessError, UnknownResourceError
from idp.scim.filters import Comparison
from idp.scim.patch import Document, Operation, read_document, read_operations
from idp.scim.repository import external_ids
from idp.scim.repository import groups as repository
from idp.scim.repository.groups import Member, MembersState, StoredGroup
from idp.scim.representation import url_of, version_of
from idp.scim.users import MAX_EXTERNAL_ID, check_version


class _Change(msgspec.Struct):
    """What a request changes. The members are those that stay, if ``cleared`` is False, without and with these."""

    name: str | None = None
    external_id: str | None = None
    cleared: bool = False
    added: dict[UUID, None] = {}
    removed: dict[UUID, None] = {}

    def add(self, ids: Iterable[UUID]) -> None:
        for member in ids:
            self.removed.pop(member, None)
            self.added[member] = None

    def remove(self, ids: Iterable[UUID]) -> None:
        for member in ids:
            self.added.pop(member, None)
            self.removed[member] = None

    def clear(self) -> None:
        self.cleared = True
        self.added.clear()
        self.removed.clear()


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
    members = await repository.members_of(ids) if with_members else None
    return [
        _document(group, states[group.id], members.get(group.id, []) if members is not None else None)
        for group in stored
    ]


def _document(group: StoredGroup, state: MembersState, members: Sequence[Member] | None) -> Document:
    found: Document = {"schemas": [GROUP_SCHEMA], "id": str(group.id)}
    if group.external_id is not None:
        found["externalId"] = group.external_id
    found["displayName"] = group.name
    if members is not None:
        found["members"] = [
            {
                "value": str(member.id),
                "$ref": url_of(USER if member.type == USER.name else GROUP, member.id),
                "type": member.type,
            }
            for member in members
        ]
    found["meta"] = {
        "resourceType": GROUP.name,
        "created": group.created_at,
        "lastModified": max(group.updated_at, state.last or group.updated_at),
        "location": url_of(GROUP, group.id),
    }
    if (version := _version(group, state)) is not None:
        found["meta"]["version"] = version
    return found


def _version(group: StoredGroup, state: MembersState) -> str | None:
    """Return the version of a group; None if it has too many members to notice each change."""
    if state.number > repository.MAX_MEMBERS:
        return None
    return version_of(group.name, group.updated_at, group.external_id, state.number, state.last, state.children)


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
    change = _Change(_required(document), _external_id(document), added=dict.fromkeys(_ids(document.get("members"))))
    async with transaction():
        try:
            group = await directory.create(change.name or "")
        except NameTakenError as error:
            raise UniquenessError(error.description) from error
        if change.external_id is not None:
            await external_ids.set_of_group(group.id, caller.origin, change.external_id)
        await _apply(caller, group.id, change)
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
    members = dict.fromkeys(_ids(document.get("members")))
    async with transaction():
        stored = await _checked(caller, group_id, expected)
        external_id = _external_id(document) if "externalId" in document else stored.external_id
        await _update(caller, stored, _Change(_required(document), external_id, cleared=True, added=members))
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
        stored = await _checked(caller, group_id, expected)
        change = _Change(stored.name, stored.external_id)
        for operation in operations:
            await _collect(stored.id, change, operation)
        await _update(caller, stored, change)


async def delete(caller: Caller, group_id: UUID, expected: Sequence[str]) -> None:
    """Delete a group (section 3.6). The groups below it are then below none.

    Raises:
        UnknownResourceError: there is no such group.
        OutdatedError: the group has another version.
        NotAllowedError: an administrator is in it.
    """
    async with transaction():
        await _checked(caller, group_id, expected)
        if await repository.has_administrators(group_id):
            raise _administrator()
        for child in await repository.child_ids(group_id):
            await directory.update(child, parent_id=None)
        await directory.delete(group_id)


async def _checked(caller: Caller, group_id: UUID, expected: Sequence[str]) -> StoredGroup:
    stored = await _stored(caller, group_id)
    if expected:
        check_version(expected, _version(stored, (await repository.states_of([group_id]))[group_id]))
    return stored


async def _collect(group_id: UUID, change: _Change, operation: Operation) -> None:
    """Add an operation to what changes."""
    name, value = operation.attribute.name, operation.value
    if name == "displayName":
        change.name = value if operation.op != "remove" else None
    elif name == "externalId":
        change.external_id = value if operation.op != "remove" else None
    elif operation.selection is not None:
        if operation.op != "remove" or operation.sub is not None:
            raise InvalidValueError("Members can only be added and removed.")
        change.remove(await _selected(group_id, change, operation))
    elif operation.op == "add":
        change.add(_ids(value))
    elif operation.op == "remove" and value:
        change.remove(_ids(value))
    else:
        change.clear()
        change.add(_ids(value))


async def _selected(group_id: UUID, change: _Change, operation: Operation) -> Collection[UUID]:
    """Return the members that a filter selects. One by its value is not looked for."""
    match operation.selection:
        case Comparison(path, "eq", str(value)) if path.attribute.lower() == "value":
            with suppress(InvalidValueError):
                return _ids([{"value": value}])
            return ()
        case None:
            return ()
        case filter:
            if change.added or change.removed or change.cleared:
                raise InvalidValueError("A filter of members comes before other changes of them.")
            return await repository.selected(group_id, filter)


async def _update(caller: Caller, stored: StoredGroup, change: _Change) -> None:
    """Apply a change to a group. What changes groups comes before what locks users, as in other transactions."""
    if change.name is None:
        raise InvalidValueError("displayName is missing.")
    if not await keep_groups([stored.id]):
        raise UnknownResourceError
    if change.name != stored.name:
        try:
            await directory.update(stored.id, change.name)
        except NameTakenError as error:
            raise UniquenessError(error.description) from error
    if change.external_id != stored.external_id:
        _check_external_id(change.external_id)
        await external_ids.set_of_group(stored.id, caller.origin, change.external_id)
    await _apply(caller, stored.id, change)


async def _apply(caller: Caller, group_id: UUID, change: _Change) -> None:
    """Change the members of a group."""
    added, removed = set(change.added), set(change.removed)
    administrators = set[UUID]()
    if change.cleared:
        administrators = await repository.administrators(group_id)
        present = {*await repository.user_ids(group_id), *await repository.child_ids(group_id)}
        # Administrators stay, whether they are listed or not.
        removed, added = present - added - administrators, added - present
    if not added and not removed:
        return
    kinds = await repository.kinds(added | removed)
    if added - kinds.keys():
        raise InvalidValueError("A member does not exist.")
    await _move(group_id, [each for each in added | removed if kinds.get(each) == GROUP.name], added)
    joining = [each for each in added if kinds[each] == USER.name]
    leaving = [each for each in removed if kinds.get(each) == USER.name]
    await lock_users({*joining, *leaving})
    if await repository.have_role([*joining, *leaving]):
        raise _administrator()
    try:
        if leaving:
            await directory.remove_members(group_id, leaving)
        if joining:
            await directory.add_members(group_id, joining, caller.origin)
    except UnknownMemberError as error:
        raise InvalidValueError("A member does not exist.") from error


async def _move(group_id: UUID, ids: Sequence[UUID], added: Collection[UUID]) -> None:
    """Put groups below a group, or below none."""
    if not ids:
        return
    below = set(await repository.child_ids(group_id))
    for child_id in ids:
        if (child_id in added) != (child_id in below) and await repository.has_administrators(child_id):
            raise _administrator()
        if child_id in added and child_id not in below:
            child = await repository.group("", child_id)
            if child is not None and child.parent_id is not None:
                raise InvalidValueError("A group can be a member of one group only.")
            await directory.update(child_id, parent_id=group_id)
        elif child_id not in added and child_id in below:
            await directory.update(child_id, parent_id=None)


def _ids(members: Any) -> list[UUID]:
    """Return the ids of members that a request names.

    Raises:
        InvalidValueError: one has none, or not one of this server.
    """
    try:
        return [UUID(member["value"]) for member in members or []]
    except (KeyError, TypeError, ValueError, AttributeError):
        raise InvalidValueError("The value of a member must be the id of a user or a group.") from None


def _required(document: Document) -> str:
    name = document.get("displayName")
    if name is None:
        raise InvalidValueError("displayName is missing.")
    return str(name)


def _external_id(document: Document) -> str | None:
    value = document.get("externalId")
    _check_external_id(value)
    return value


def _check_external_id(value: str | None) -> None:
    if value is not None and not (len(value) <= MAX_EXTERNAL_ID and value.isprintable()):
        raise InvalidValueError(f"externalId has up to {MAX_EXTERNAL_ID} characters that can be shown.")


def _administrator() -> NotAllowedError:
    return NotAllowedError("A member is an administrator. Only administrators may change such users.")
