"""Operations on organizations, their members and roles."""

from http import HTTPStatus

import msgspec

from idp.admin.access import lock_users_first
from idp.admin.api.ids import uuid_of
from idp.admin.api.models import directory as directory_models
from idp.admin.api.models import organizations as models
from idp.admin.api.models.base import reader
from idp.admin.api.operation import Call, Result, listed, not_found, one, operation
from idp.admin.roles import Permission
from idp.directory import organizations, roles
from idp.directory.models import Role
from idp.directory.repository.organizations import MEMBERS, ORGANIZATIONS
from idp.directory.repository.roles import HOLDERS, ROLES

_READ, _WRITE = Permission.ORGANIZATIONS_READ, Permission.ORGANIZATIONS_WRITE
_PATH = "/organizations"
_ONE = f"{_PATH}/{{organization_id}}"
_MEMBER = f"{_ONE}/members/{{user_id}}"
_ROLE = f"{_ONE}/roles/{{role_id}}"
_read = reader(models.Organization)
_read_member = reader(models.OrganizationMember)
_read_role = reader(directory_models.DirectoryRole)
_read_holder = reader(directory_models.RoleHolder)

listed(_PATH, _READ, "List organizations", listing=ORGANIZATIONS, read=_read, item=models.Organization)


@operation("GET", _ONE, _READ, "Show an organization", content=models.Organization)
async def show_organization(call: Call) -> models.Organization:
    found: models.Organization = await one(ORGANIZATIONS, _read, id=call.params["organization_id"])
    return found


@operation(
    "POST", _PATH, _WRITE, "Create an organization",
    body=models.NewOrganization, content=models.Organization, status=HTTPStatus.CREATED,
)  # fmt: skip
async def create_organization(call: Call) -> Result:
    made = await organizations.create(call.body.slug, call.body.name)
    content = await one(ORGANIZATIONS, _read, id=str(made.id))
    return Result(content, HTTPStatus.CREATED, f"{_PATH}/{made.id}")


@operation(
    "PATCH", _ONE, _WRITE, "Rename an organization",
    body=models.OrganizationChange, content=models.Organization, current=show_organization,
)  # fmt: skip
async def update_organization(call: Call) -> models.Organization:
    if "name" in call.sent:
        await organizations.rename(call.current.id, call.body.name, call.current.updated_at)
    return await show_organization(call)


@operation("DELETE", _ONE, _WRITE, "Delete an organization; its users stay", current=show_organization)
async def delete_organization(call: Call) -> None:
    await organizations.delete(call.current.id, call.current.updated_at)


@operation("POST", f"{_ONE}/disable", _WRITE, "Disable an organization", content=models.Organization)
async def disable_organization(call: Call) -> models.Organization:
    await organizations.disable(uuid_of(call.params["organization_id"]))
    return await show_organization(call)


@operation("POST", f"{_ONE}/enable", _WRITE, "Enable an organization", content=models.Organization)
async def enable_organization(call: Call) -> models.Organization:
    await organizations.enable(uuid_of(call.params["organization_id"]))
    return await show_organization(call)


listed(
    f"{_ONE}/members", _READ, "List members of an organization",
    listing=MEMBERS, read=_read_member, item=models.OrganizationMember, within="organization_id", of=show_organization,
)  # fmt: skip


@operation("GET", _MEMBER, _READ, "Show a member of an organization", content=models.OrganizationMember)
async def show_organization_member(call: Call) -> models.OrganizationMember:
    key = {name: call.params[name] for name in ("organization_id", "user_id")}
    found: models.OrganizationMember = await one(MEMBERS, _read_member, **key)
    return found


@operation(
    "POST", f"{_ONE}/members", _WRITE, "Add members to an organization",
    body=directory_models.Users, content=directory_models.Added,
)  # fmt: skip
async def add_organization_members(call: Call) -> directory_models.Added:
    lock_users_first(call.caller, call.body.user_ids)
    organization_id = uuid_of(call.params["organization_id"])
    return directory_models.Added(added=await organizations.add_members(organization_id, call.body.user_ids))


@operation(
    "PATCH", _MEMBER, _WRITE, "Let a member manage the organization, or no longer",
    body=models.OrganizationMemberChange, content=models.OrganizationMember, current=show_organization_member,
)  # fmt: skip
async def update_organization_member(call: Call) -> models.OrganizationMember:
    if "admin" in call.sent:
        lock_users_first(call.caller, [call.current.user_id])
        organization_id = uuid_of(call.params["organization_id"])
        await organizations.set_admin(
            organization_id, call.current.user_id, admin=call.body.admin, expected_at=call.current.created_at
        )
    return await show_organization_member(call)


@operation("DELETE", _MEMBER, _WRITE, "Remove a member from an organization, with the roles there")
async def remove_organization_member(call: Call) -> None:
    organization_id, user_id = uuid_of(call.params["organization_id"]), uuid_of(call.params["user_id"])
    lock_users_first(call.caller, [user_id])
    if not await organizations.remove_members(organization_id, [user_id]):
        raise not_found()


listed(
    f"{_ONE}/roles", _READ, "List roles of an organization",
    listing=ROLES, read=_read_role, item=directory_models.DirectoryRole, within="organization_id", of=show_organization,
)  # fmt: skip


@operation("GET", _ROLE, _READ, "Show a role of an organization", content=directory_models.DirectoryRole)
async def show_organization_role(call: Call) -> directory_models.DirectoryRole:
    key = {"id": call.params["role_id"], "organization_id": call.params["organization_id"]}
    found: directory_models.DirectoryRole = await one(ROLES, _read_role, **key)
    return found


@operation(
    "POST", f"{_ONE}/roles", _WRITE, "Create a role of an organization",
    body=models.NewOrganizationRole, content=directory_models.DirectoryRole, status=HTTPStatus.CREATED,
)  # fmt: skip
async def create_organization_role(call: Call) -> Result:
    organization_id = uuid_of(call.params["organization_id"])
    made = await roles.create(call.body.name, description=call.body.description, organization_id=organization_id)
    content = await one(ROLES, _read_role, id=str(made.id))
    return Result(content, HTTPStatus.CREATED, f"{_PATH}/{organization_id}/roles/{made.id}")


@operation(
    "PATCH", _ROLE, _WRITE, "Change a role of an organization",
    body=models.OrganizationRoleChange, content=directory_models.DirectoryRole, current=show_organization_role,
)  # fmt: skip
async def update_organization_role(call: Call) -> directory_models.DirectoryRole:
    role = msgspec.convert(call.current, Role, from_attributes=True)
    await roles.update(role.id, **{name: getattr(call.body, name) for name in call.sent}, expected=role)
    return await show_organization_role(call)


@operation("DELETE", _ROLE, _WRITE, "Delete a role of an organization", current=show_organization_role)
async def delete_organization_role(call: Call) -> None:
    await roles.delete(call.current.id, expected=msgspec.convert(call.current, Role, from_attributes=True))


listed(
    f"{_ROLE}/holders", _READ, "List members who have a role of an organization",
    listing=HOLDERS, read=_read_holder, item=directory_models.RoleHolder, within="role_id", of=show_organization_role,
)  # fmt: skip


@operation(
    "POST", f"{_ROLE}/holders", _WRITE, "Give members a role of the organization",
    body=directory_models.Users, content=directory_models.Added,
)  # fmt: skip
async def give_organization_role(call: Call) -> directory_models.Added:
    role = await show_organization_role(call)
    lock_users_first(call.caller, call.body.user_ids)
    return directory_models.Added(added=await roles.give(role.id, call.body.user_ids))


@operation("DELETE", f"{_ROLE}/holders/{{user_id}}", _WRITE, "Take a role of the organization from a member")
async def take_organization_role(call: Call) -> None:
    role, user_id = await show_organization_role(call), uuid_of(call.params["user_id"])
    lock_users_first(call.caller, [user_id])
    if not await roles.take(role.id, [user_id]):
        raise not_found()
