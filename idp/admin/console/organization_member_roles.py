"""Screens that give a member a role of the organization or the right to manage it, and take them.

Each changes one thing: a form with all of them would take what was given since it was shown.
"""

from typing import Any

import asyncpg
from litestar import Response

from idp.admin.access import lock_users_first
from idp.admin.console.components import Field, facts, one
from idp.admin.console.organization_members import MEMBER, found_member
from idp.admin.console.organizations import SECTION, organization
from idp.admin.console.screen import FORM_ERRORS, HOME, AdminRequest, redirect_with_notice, render, screen
from idp.admin.roles import Permission
from idp.directory import names, organizations, roles
from idp.directory.repository.roles import ROLES, role_by_name
from idp.errors import NotFoundError, ValidationError

_WRITE = Permission.ORGANIZATIONS_WRITE


def _page(member: asyncpg.Record) -> str:
    return f"/{SECTION}/{member['organization_id']}/members/{member['user_id']}"


async def _form(request: AdminRequest, member: asyncpg.Record, action: str, **more: Any) -> Response[str]:
    row, path = await organization(request), f"{HOME}{_page(member)}"
    subject = {"Organisation": row["name"], "Email address": member["email"], "Name": member["name"]}
    return render(
        request, "form", section=SECTION, subject=facts(subject | more.pop("subject", {})), action=f"{path}/{action}",
        back=path, status=400 if more.get("error") else 200, **{"fields": []} | more,
    )  # fmt: skip


async def _give_form(request: AdminRequest, error: str | None = None) -> Response[str]:
    member = await found_member(request)
    fields = [Field("role", "Role", request.form.get("role", ""), help="The name of a role of the organisation.")]
    return await _form(
        request, member, "give_role", heading=f"Give {member['email']} a role", fields=fields, label="Give the role",
        error=error,
    )  # fmt: skip


@screen("GET", f"{MEMBER}/give_role", _WRITE, fresh=True)
async def ask_for_role_of_member(request: AdminRequest) -> Response[str]:
    return await _give_form(request)


@screen("POST", f"{MEMBER}/give_role", _WRITE, fresh=True)
async def give_role_to_member(request: AdminRequest) -> Response[Any]:
    member = await found_member(request)
    lock_users_first(request.caller, [member["user_id"]])
    try:
        role = await role_by_name(None, names.key(request.form.get("role", "").strip()), member["organization_id"])
        if role is None:
            raise ValidationError("The organisation has no role with this name.")
        await roles.give(role.id, [member["user_id"]])
    except (*FORM_ERRORS, NotFoundError) as error:
        return await _give_form(request, error.description)
    return redirect_with_notice(_page(member), "given")


async def _held_role(request: AdminRequest, member: asyncpg.Record) -> asyncpg.Record:
    key = {"id": request.params["role_id"], "organization_id": request.params["organization_id"]}
    row: asyncpg.Record = await one(ROLES, user_id=str(member["user_id"]), **key)
    return row


@screen("GET", f"{MEMBER}/roles/{{role_id}}/take", _WRITE)
async def ask_to_take_role_of_member(request: AdminRequest) -> Response[str]:
    member = await found_member(request)
    role = await _held_role(request, member)
    return await _form(
        request, member, f"roles/{role['id']}/take", heading="Remove the role?", label="Remove", danger=True,
        subject={"Role": role["name"]},
    )  # fmt: skip


@screen("POST", f"{MEMBER}/roles/{{role_id}}/take", _WRITE)
async def take_role_of_member(request: AdminRequest) -> Response[Any]:
    member = await found_member(request)
    role = await _held_role(request, member)
    lock_users_first(request.caller, [member["user_id"]])
    await roles.take(role["id"], [member["user_id"]])
    return redirect_with_notice(_page(member), "removed")


@screen("GET", f"{MEMBER}/make_admin", _WRITE, fresh=True)
async def ask_to_let_manage(request: AdminRequest) -> Response[str]:
    return await _form(
        request, await found_member(request), "make_admin", heading="Let this member manage the organisation?",
        label="Let manage",
    )  # fmt: skip


@screen("POST", f"{MEMBER}/make_admin", _WRITE, fresh=True)
async def let_manage(request: AdminRequest) -> Response[Any]:
    return await _set_admin(request, admin=True)


@screen("GET", f"{MEMBER}/end_admin", _WRITE)
async def ask_to_end_managing(request: AdminRequest) -> Response[str]:
    return await _form(
        request, await found_member(request), "end_admin", heading="No longer let this member manage the organisation?",
        label="End managing", danger=True,
    )  # fmt: skip


@screen("POST", f"{MEMBER}/end_admin", _WRITE)
async def end_managing(request: AdminRequest) -> Response[Any]:
    return await _set_admin(request, admin=False)


async def _set_admin(request: AdminRequest, *, admin: bool) -> Response[Any]:
    member = await found_member(request)
    lock_users_first(request.caller, [member["user_id"]])
    await organizations.set_admin(member["organization_id"], member["user_id"], admin=admin)
    return redirect_with_notice(_page(member))
