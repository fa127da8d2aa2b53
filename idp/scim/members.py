"""Changes of the members of a group, as a request of SCIM describes them.

A change is planned without locks. Then its users are locked, then what it changes of the groups themselves: in the
order of all other transactions (docs/decisions/0050-lookups-and-lock-order.md).
"""

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any
from uuid import UUID

import msgspec

from idp.accounts.repository.users import lock_users
from idp.directory import groups as directory
from idp.directory.errors import UnknownMemberError
from idp.scim.access import Caller
from idp.scim.attributes import GROUP, USER
from idp.scim.errors import InvalidValueError, NotAllowedError
from idp.scim.filters import Comparison, Filter
from idp.scim.patch import Operation
from idp.scim.repository import groups as repository


class Change(msgspec.Struct):
    """The changes of a request. The members are those that stay, if ``cleared`` is False, without and with these."""

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


class Plan(msgspec.Struct, frozen=True):
    """The effect of a change on the members of a group.

    Attributes:
        joining, leaving: users.
        moved: groups: whether each is put below the group, or below none.
    """

    joining: Sequence[UUID] = ()
    leaving: Sequence[UUID] = ()
    moved: Mapping[UUID, bool] = {}


#: Returns the members of a group that a filter selects.
Select = Callable[[Filter], Awaitable[Collection[UUID]]]


async def collect(change: Change, operation: Operation, select: Select) -> None:
    """Add an operation to what changes.

    Raises:
        InvalidValueError: it does not do what members allow.
    """
    name, value = operation.attribute.name, operation.value
    if name == "displayName":
        change.name = value if operation.op != "remove" else None
    elif name == "externalId":
        change.external_id = value if operation.op != "remove" else None
    elif operation.selection is not None:
        if operation.op != "remove" or operation.sub is not None:
            raise InvalidValueError("Members can only be added and removed.")
        change.remove(await _selected(change, operation.selection, select))
    elif operation.op == "add":
        change.add(ids_of(value))
    elif operation.op == "remove" and value:
        change.remove(ids_of(value))
    else:
        change.clear()
        change.add(ids_of(value))


async def _selected(change: Change, selection: Filter, select: Select) -> Collection[UUID]:
    """Return the members that a filter selects. One by its value is not looked for."""
    match selection:
        case Comparison(path, "eq", str(value)) if path.attribute.lower() == "value":
            with suppress(InvalidValueError):
                return ids_of([{"value": value}])
            return ()
        case _:
            if change.added or change.removed or change.cleared:
                raise InvalidValueError("A filter of members comes before other changes of them.")
            return await select(selection)


async def planned(group_id: UUID | None, change: Change) -> Plan:
    """Return what a change does to the members of a group; None: a new one.

    Raises:
        InvalidValueError: a member does not exist.
    """
    added, removed = set(change.added), set(change.removed)
    below = set(await repository.child_ids(group_id)) if group_id is not None else set[UUID]()
    if change.cleared and group_id is not None:
        administrators = await repository.administrators(group_id)
        present = {*await repository.user_ids(group_id), *below}
        # Administrators stay, whether they are listed or not.
        removed, added = present - added - administrators, added - present
    if not added and not removed:
        return Plan()
    kinds = await repository.kinds(added | removed)
    if added - kinds.keys():
        raise InvalidValueError("A member does not exist.")
    return Plan(
        [each for each in added if kinds[each] == USER.name],
        [each for each in removed if kinds.get(each) == USER.name],
        {
            each: each in added
            for each in sorted(added | removed)
            if kinds.get(each) == GROUP.name and (each in added) != (each in below)
        },
    )


async def lock(plan: Plan) -> None:
    """Lock the users of a plan until the end of the transaction.

    Raises:
        NotAllowedError: one is an administrator.
    """
    user_ids = {*plan.joining, *plan.leaving}
    # Before the locks too: requests of administrators hold their own row.
    await _check_administrators(user_ids)
    if user_ids:
        await lock_users(user_ids)
        await _check_administrators(user_ids)


async def _check_administrators(user_ids: Collection[UUID]) -> None:
    if user_ids and await repository.have_role(user_ids):
        raise administrator()


async def apply(caller: Caller, group_id: UUID, plan: Plan) -> None:
    """Change the members of a group. The users are locked.

    Raises:
        InvalidValueError: a member does not exist, or is in another group already.
        NotAllowedError: an administrator is in a group that is moved.
    """
    for child_id, below in plan.moved.items():
        await _move(group_id, child_id, below=below)
    try:
        if plan.leaving:
            await directory.remove_members(group_id, plan.leaving)
        if plan.joining:
            await directory.add_members(group_id, plan.joining, caller.origin)
    except UnknownMemberError as error:
        raise InvalidValueError("A member does not exist.") from error


async def _move(group_id: UUID, child_id: UUID, *, below: bool) -> None:
    """Put a group below a group, or below none."""
    if await repository.has_administrators(child_id):
        raise administrator()
    if below:
        child = await repository.group("", child_id)
        if child is not None and child.parent_id is not None:
            raise InvalidValueError("A group can be a member of one group only.")
    await directory.update(child_id, parent_id=group_id if below else None)


def ids_of(members: Any) -> list[UUID]:
    """Return the ids of members that a request names.

    Raises:
        InvalidValueError: one has none, or not one of this server.
    """
    try:
        return [UUID(member["value"]) for member in members or []]
    except (KeyError, TypeError, ValueError, AttributeError):
        raise InvalidValueError("The value of a member must be the id of a user or a group.") from None


def administrator() -> NotAllowedError:
    return NotAllowedError("A member is an administrator. Only administrators may change such users.")
