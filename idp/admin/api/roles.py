"""Operations on roles of clients and of the server, what they contain, and who has them.

Those of organizations have operations of their own, with another permission.
"""

from http import HTTPStatus

import msgspec
from msgspec import UNSET

from idp.admin.access import lock_users_first
from idp.admin.api.ids import uuid_of
from idp.admin.api.models import directory as models
from idp.admin.api.models.base import reader
from idp.admin.api.operation import Call, Result, listed, not_found, one, operation
from idp.admin.roles import Permission
from idp.directory import roles
from idp.directory.models import Role
from idp.directory.repository.groups import GROUPS
from idp.directory.repository.roles import HOLDERS, OWN_ROLES

_READ, _WRITE = Permission.GROUPS_READ, Permission.GROUPS_WRITE
_PATH = "/roles"
_ONE = f"{_PATH}/{{role_id}}"
_read = reader(models.DirectoryRole)

listed(_PATH, _READ, "List and search roles", listing=OWN_ROLES, read=_read, item=models.DirectoryRole)


@operation("GET", _ONE, _READ, "Show a role", content=models.DirectoryRole)
async def show_role(call: Call) -> models.DirectoryRole:
    found: models.DirectoryRole = await one(OWN_ROLES, _read, id=call.params["role_id"])
    return found


@operation(
    "POST", _PATH, _WRITE, "Create a role",
    body=models.NewDirectoryRole, content=models.DirectoryRole, status=HTTPStatus.CREATED,
)  # fmt: skip
async def create_role(call: Call) -> Result:
    asked: models.NewDirectoryRole = call.body
    role = await roles.create(asked.name, asked.client_id, asked.description)
    return Result(await one(OWN_ROLES, _read, id=str(role.id)), HTTPStatus.CREATED, f"{_PATH}/{role.id}")


def _current(call: Call) -> Role:
    return msgspec.convert(call.current, Role, from_attributes=True)


@operation(
    "PATCH", _ONE, _WRITE, "Change a role",
    body=models.DirectoryRoleChange, content=models.DirectoryRole, current=show_role,
)  # fmt: skip
async def update_role(call: Call) -> models.DirectoryRole:
    asked: models.DirectoryRoleChange = call.body
    name, description = (None if value is UNSET else value for value in (asked.name, asked.description))
    role = _current(call)
    await roles.update(role.id, name, description, expected=role)
    return await show_role(call)


@operation("DELETE", _ONE, _WRITE, "Delete a role", content=models.DeletedDirectoryRole, current=show_role)
async def delete_role(call: Call) -> models.DeletedDirectoryRole:
    role = _current(call)
    return models.DeletedDirectoryRole(holders=await roles.delete(role.id, expected=role))


listed(
    f"{_ONE}/contained", _READ, "List the roles that a role contains",
    listing=OWN_ROLES, read=_read, item=models.DirectoryRole, within="contained_in", of=show_role,
)  # fmt: skip


@operation("POST", f"{_ONE}/contained", _WRITE, "Let a role contain another one", body=models.GivenRole)
async def contain_role(call: Call) -> None:
    role = await show_role(call)
    await roles.contain(role.id, call.body.role_id)


@operation("DELETE", f"{_ONE}/contained/{{contained_id}}", _WRITE, "Let a role no longer contain another one")
async def release_role(call: Call) -> None:
    role = await show_role(call)
    if not await roles.release(role.id, uuid_of(call.params["contained_id"])):
        raise not_found()


listed(
    f"{_ONE}/groups", _READ, "List the groups that were given a role",
    listing=GROUPS, read=reader(models.Group), item=models.Group, within="role_id", of=show_role,
)  # fmt: skip
listed(
    f"{_ONE}/holders", _READ, "List the users who were given a role",
    listing=HOLDERS, read=reader(models.RoleHolder), item=models.RoleHolder, within="role_id", of=show_role,
)  # fmt: skip


@operation("POST", f"{_ONE}/holders", _WRITE, "Give users a role", body=models.Users, content=models.Added)
async def give_role_to_users(call: Call) -> models.Added:
    role = await show_role(call)
    user_ids = call.body.user_ids
    lock_users_first(call.caller, user_ids)
    return models.Added(added=await roles.give(role.id, user_ids))


@operation("DELETE", f"{_ONE}/holders/{{user_id}}", _WRITE, "Remove a role from a user")
async def take_role_from_user(call: Call) -> None:
    role = await show_role(call)
    user_id = uuid_of(call.params["user_id"])
    lock_users_first(call.caller, [user_id])
    if not await roles.take(role.id, [user_id]):
        raise not_found()
