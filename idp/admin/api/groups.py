"""Operations on groups, their members and their roles."""

from http import HTTPStatus

import msgspec
from msgspec import UNSET

from idp.admin.access import lock_users_first
from idp.admin.api.ids import uuid_of
from idp.admin.api.models import directory as models
from idp.admin.api.models.base import reader
from idp.admin.api.operation import Call, Result, listed, not_found, one, operation
from idp.admin.roles import Permission
from idp.directory import groups
from idp.directory.models import Group
from idp.directory.repository.groups import GROUPS, MEMBERS
from idp.directory.repository.roles import ROLES

_READ, _WRITE = Permission.GROUPS_READ, Permission.GROUPS_WRITE
_PATH = "/groups"
_ONE = f"{_PATH}/{{group_id}}"
_read = reader(models.Group)
_read_member = reader(models.GroupMember)
_read_role = reader(models.DirectoryRole)

listed(_PATH, _READ, "List and search groups", listing=GROUPS, read=_read, item=models.Group)


@operation("GET", _ONE, _READ, "Show a group", content=models.Group)
async def show_group(call: Call) -> models.Group:
    found: models.Group = await one(GROUPS, _read, id=call.params["group_id"])
    return found


@operation(
    "POST", _PATH, _WRITE, "Create a group", body=models.NewGroup, content=models.Group, status=HTTPStatus.CREATED
)
async def create_group(call: Call) -> Result:
    asked: models.NewGroup = call.body
    group = await groups.create(asked.name, asked.description, asked.parent_id)
    return Result(await one(GROUPS, _read, id=str(group.id)), HTTPStatus.CREATED, f"{_PATH}/{group.id}")


def _current(call: Call) -> Group:
    return msgspec.convert(call.current, Group, from_attributes=True)


@operation(
    "PATCH", _ONE, _WRITE, "Change a group, or put it into another one",
    body=models.GroupChange, content=models.Group, current=show_group,
)  # fmt: skip
async def update_group(call: Call) -> models.Group:
    asked: models.GroupChange = call.body
    name, description = (None if value is UNSET else value for value in (asked.name, asked.description))
    group = _current(call)
    await groups.update(group.id, name, description, asked.parent_id, expected=group)
    return await show_group(call)


@operation(
    "DELETE", _ONE, _WRITE, "Delete a group that has no others in it", content=models.DeletedGroup, current=show_group
)
async def delete_group(call: Call) -> models.DeletedGroup:
    group = _current(call)
    return models.DeletedGroup(members=await groups.delete(group.id, expected=group))


listed(
    f"{_ONE}/members", _READ, "List the users who were added to a group",
    listing=MEMBERS, read=_read_member, item=models.GroupMember, within="group_id", of=show_group,
)  # fmt: skip


@operation("POST", f"{_ONE}/members", _WRITE, "Add users to a group", body=models.Users, content=models.Added)
async def add_members(call: Call) -> models.Added:
    user_ids = call.body.user_ids
    lock_users_first(call.caller, user_ids)
    return models.Added(added=await groups.add_members(uuid_of(call.params["group_id"]), user_ids))


@operation("DELETE", f"{_ONE}/members/{{user_id}}", _WRITE, "Remove a user from a group")
async def remove_member(call: Call) -> None:
    user_id = uuid_of(call.params["user_id"])
    lock_users_first(call.caller, [user_id])
    if not await groups.remove_members(uuid_of(call.params["group_id"]), [user_id]):
        raise not_found()


listed(
    f"{_ONE}/roles", _READ, "List the roles that a group was given",
    listing=ROLES, read=_read_role, item=models.DirectoryRole, within="group_id", of=show_group,
)  # fmt: skip


@operation("POST", f"{_ONE}/roles", _WRITE, "Give a role to all who are in a group", body=models.GivenRole)
async def give_role_to_group(call: Call) -> None:
    await groups.give_role(uuid_of(call.params["group_id"]), call.body.role_id)


@operation("DELETE", f"{_ONE}/roles/{{role_id}}", _WRITE, "Remove a role from a group")
async def take_role_from_group(call: Call) -> None:
    if not await groups.take_role(uuid_of(call.params["group_id"]), uuid_of(call.params["role_id"])):
        raise not_found()
