"""Operations on organizations and their members.

Those that are ``delegated`` also admit administrators of the organization.
"""

from http import HTTPStatus
from typing import TypeVar
from uuid import UUID

import asyncpg
import msgspec

from idp.admin.access import lock_users_first
from idp.admin.api.ids import uuid_of
from idp.admin.api.models import directory as directory_models
from idp.admin.api.models import organizations as models
from idp.admin.api.models.base import reader
from idp.admin.api.operation import Call, Result, listed, not_found, one, operation
from idp.admin.roles import Permission
from idp.directory import member_states, organizations
from idp.directory.repository import trail
from idp.directory.repository.organizations import MEMBERS, ORGANIZATIONS

_READ, _WRITE = Permission.ORGANIZATIONS_READ, Permission.ORGANIZATIONS_WRITE
_PATH = "/organizations"
_ONE = f"{_PATH}/{{organization_id}}"
_MEMBER = f"{_ONE}/members/{{user_id}}"
_read = reader(models.Organization)
_read_member = reader(models.OrganizationMember)

listed(_PATH, _READ, "List organizations", listing=ORGANIZATIONS, read=_read, item=models.Organization)


@operation("GET", _ONE, _READ, "Show an organization", delegated=True, content=models.Organization)
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
    "PATCH", _ONE, _WRITE, "Rename an organization", delegated=True,
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


Shown = TypeVar("Shown", models.OrganizationMember, directory_models.RoleHolder)


def without_account(call: Call, shown: Shown) -> Shown:
    """Leave out the state of the account, which is a matter of the server, for administrators of an organization."""
    return msgspec.structs.replace(shown, disabled_at=None) if call.caller.delegated else shown


listed(
    f"{_ONE}/members", _READ, "List members of an organization", delegated=True,
    listing=MEMBERS, read=_read_member, item=models.OrganizationMember, within="organization_id", of=show_organization,
    shown=without_account,
)  # fmt: skip


@operation("GET", _MEMBER, _READ, "Show a member of an organization", delegated=True, content=models.OrganizationMember)
async def show_organization_member(call: Call) -> models.OrganizationMember:
    key = {name: call.params[name] for name in ("organization_id", "user_id")}
    found: models.OrganizationMember = await one(MEMBERS, _read_member, **key)
    return without_account(call, found)


@operation(
    "POST", f"{_ONE}/members", _WRITE, "Add members to an organization", delegated=True,
    body=directory_models.Users, content=directory_models.Added,
)  # fmt: skip
async def add_organization_members(call: Call) -> directory_models.Added:
    lock_users_first(call.caller, call.body.user_ids)
    added = await organizations.add_members(
        uuid_of(call.params["organization_id"]), call.body.user_ids, delegated=call.caller.delegated
    )
    return directory_models.Added(added=added)


@operation(
    "PATCH", _MEMBER, _WRITE, "Let a member manage the organization, or no longer", delegated=True,
    body=models.OrganizationMemberChange, content=models.OrganizationMember, current=show_organization_member,
)  # fmt: skip
async def update_organization_member(call: Call) -> models.OrganizationMember:
    if "admin" in call.sent:
        user_id: UUID = call.current.user_id
        lock_users_first(call.caller, [user_id])
        await organizations.set_admin(
            uuid_of(call.params["organization_id"]),
            user_id,
            admin=call.body.admin,
            expected_at=call.current.created_at,
            delegated=call.caller.delegated,
        )
    return await show_organization_member(call)


@operation(
    "POST", f"{_MEMBER}/reactivate", _WRITE, "Let a membership count again that a SCIM client disabled", delegated=True,
    content=models.OrganizationMember,
)  # fmt: skip
async def reactivate_organization_member(call: Call) -> models.OrganizationMember:
    user_id = (await show_organization_member(call)).user_id
    lock_users_first(call.caller, [user_id])
    await member_states.reactivate(uuid_of(call.params["organization_id"]), user_id)
    return await show_organization_member(call)


@operation("DELETE", _MEMBER, _WRITE, "Remove a member from an organization, with the roles there", delegated=True)
async def remove_organization_member(call: Call) -> None:
    user_id = (await show_organization_member(call)).user_id
    lock_users_first(call.caller, [user_id])
    organization_id, delegated = uuid_of(call.params["organization_id"]), call.caller.delegated
    if delegated and user_id == call.caller.user_id:
        removed: int = await organizations.leave(organization_id, user_id, last_admin=False)
    else:
        removed = await organizations.remove_members(organization_id, [user_id], delegated=delegated)
    if not removed:
        raise not_found()


def _read_event(row: asyncpg.Record) -> models.OrganizationEvent:
    return msgspec.convert(trail.read(row), models.OrganizationEvent, from_attributes=True)


listed(
    f"{_ONE}/events", _READ, "List audit events of an organization", delegated=True,
    listing=trail.EVENTS, read=_read_event, item=models.OrganizationEvent, within="organization_id",
    of=show_organization,
)  # fmt: skip
