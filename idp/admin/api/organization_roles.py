"""Operations on the roles of an organization, and who has them. They also admit administrators of the organization."""

from http import HTTPStatus

import msgspec

from idp.admin.access import lock_users_first
from idp.admin.api.ids import uuid_of
from idp.admin.api.models import directory as directory_models
from idp.admin.api.models import organizations as models
from idp.admin.api.models.base import reader
from idp.admin.api.operation import Call, Result, listed, not_found, one, operation
from idp.admin.api.organizations import show_organization, show_organization_member, without_account
from idp.admin.roles import Permission
from idp.directory import roles
from idp.directory.models import Role
from idp.directory.repository.roles import HOLDERS, ROLES

_READ, _WRITE = Permission.ORGANIZATIONS_READ, Permission.ORGANIZATIONS_WRITE
_PATH = "/organizations/{organization_id}/roles"
_ONE = f"{_PATH}/{{role_id}}"
_read = reader(directory_models.DirectoryRole)
_read_holder = reader(directory_models.RoleHolder)

listed(
    _PATH, _READ, "List roles of an organization", delegated=True,
    listing=ROLES, read=_read, item=directory_models.DirectoryRole, within="organization_id", of=show_organization,
)  # fmt: skip


@operation(
    "GET", _ONE, _READ, "Show a role of an organization", delegated=True, content=directory_models.DirectoryRole
)  # fmt: skip
async def show_organization_role(call: Call) -> directory_models.DirectoryRole:
    return await _role(call, call.params["role_id"])


async def _role(call: Call, id: str) -> directory_models.DirectoryRole:
    found: directory_models.DirectoryRole = await one(
        ROLES, _read, id=id, organization_id=call.params["organization_id"]
    )
    return found


@operation(
    "POST", _PATH, _WRITE, "Create a role of an organization", delegated=True,
    body=models.NewOrganizationRole, content=directory_models.DirectoryRole, status=HTTPStatus.CREATED,
)  # fmt: skip
async def create_organization_role(call: Call) -> Result:
    organization_id = uuid_of(call.params["organization_id"])
    made = await roles.create(call.body.name, description=call.body.description, organization_id=organization_id)
    content = await one(ROLES, _read, id=str(made.id))
    return Result(content, HTTPStatus.CREATED, f"/organizations/{organization_id}/roles/{made.id}")


@operation(
    "PATCH", _ONE, _WRITE, "Change a role of an organization", delegated=True,
    body=models.OrganizationRoleChange, content=directory_models.DirectoryRole, current=show_organization_role,
)  # fmt: skip
async def update_organization_role(call: Call) -> directory_models.DirectoryRole:
    role = msgspec.convert(call.current, Role, from_attributes=True)
    await roles.update(role.id, **{name: getattr(call.body, name) for name in call.sent}, expected=role)
    return await show_organization_role(call)


@operation(
    "DELETE", _ONE, _WRITE, "Delete a role of an organization", delegated=True, current=show_organization_role
)  # fmt: skip
async def delete_organization_role(call: Call) -> None:
    await roles.delete(call.current.id, expected=msgspec.convert(call.current, Role, from_attributes=True))


listed(
    f"{_ONE}/contained", _READ, "List the roles that a role of an organization contains", delegated=True,
    listing=ROLES, read=_read, item=directory_models.DirectoryRole, within="contained_in", of=show_organization_role,
)  # fmt: skip


@operation(
    "POST", f"{_ONE}/contained", _WRITE, "Let a role of an organization contain another one of it", delegated=True,
    body=directory_models.GivenRole,
)  # fmt: skip
async def contain_organization_role(call: Call) -> None:
    role = await show_organization_role(call)
    await roles.contain(role.id, (await _role(call, str(call.body.role_id))).id)


@operation(
    "DELETE", f"{_ONE}/contained/{{contained_id}}", _WRITE, "Let a role of an organization no longer contain another",
    delegated=True,
)  # fmt: skip
async def release_organization_role(call: Call) -> None:
    role, contained = await show_organization_role(call), await _role(call, call.params["contained_id"])
    if not await roles.release(role.id, contained.id):
        raise not_found()


listed(
    f"{_ONE}/holders", _READ, "List members who have a role of an organization", delegated=True,
    listing=HOLDERS, read=_read_holder, item=directory_models.RoleHolder, within="role_id", of=show_organization_role,
    shown=without_account,
)  # fmt: skip


@operation(
    "POST", f"{_ONE}/holders", _WRITE, "Give members a role of the organization", delegated=True,
    body=directory_models.Users, content=directory_models.Added,
)  # fmt: skip
async def give_organization_role(call: Call) -> directory_models.Added:
    role = await show_organization_role(call)
    lock_users_first(call.caller, call.body.user_ids)
    return directory_models.Added(added=await roles.give(role.id, call.body.user_ids))


@operation(
    "DELETE", f"{_ONE}/holders/{{user_id}}", _WRITE, "Remove a role of the organization from a member", delegated=True
)  # fmt: skip
async def take_organization_role(call: Call) -> None:
    role, member = await show_organization_role(call), await show_organization_member(call)
    lock_users_first(call.caller, [member.user_id])
    if not await roles.take(role.id, [member.user_id]):
        raise not_found()
