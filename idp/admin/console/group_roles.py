"""Screens that give roles to groups and take them."""

from typing import Any

from litestar import Response

from idp.admin.console import named
from idp.admin.console.components import facts, one
from idp.admin.console.groups import ONE, SECTION, found_group, named_group
from idp.admin.console.screen import FORM_ERRORS, HOME, AdminRequest, redirect_with_notice, render, screen
from idp.admin.roles import Permission
from idp.directory import groups
from idp.directory.repository.roles import ROLES
from idp.errors import NotFoundError

_WRITE = Permission.GROUPS_WRITE


@screen("GET", f"{ONE}/give_role", _WRITE, fresh=True)
async def ask_for_role_of_group(request: AdminRequest) -> Response[str]:
    return await _give_form(request)


async def _give_form(request: AdminRequest, error: str | None = None) -> Response[str]:
    row = await found_group(request)
    path = f"{HOME}/{SECTION}/{row['id']}"
    return render(
        request, "form", section=SECTION, heading=f"Give {row['name']} a role", label="Give the role",
        intro="All members of the group, and of the groups below it, have the role.",
        subject=facts(await named_group(str(row["id"]))), fields=named.role_fields(request.form),
        action=f"{path}/give_role", back=path, error=error, status=400 if error else 200,
    )  # fmt: skip


@screen("POST", f"{ONE}/give_role", _WRITE, fresh=True)
async def give_role_to_group(request: AdminRequest) -> Response[Any]:
    row = await found_group(request)
    try:
        role = await named.role(request.form)
        await groups.give_role(row["id"], role.id)
    except (*FORM_ERRORS, NotFoundError) as error:
        return await _give_form(request, error.description)
    return redirect_with_notice(f"/{SECTION}/{row['id']}", "given")


@screen("GET", f"{ONE}/roles/{{role_id}}/take", _WRITE)
async def ask_to_take_role_of_group(request: AdminRequest) -> Response[str]:
    row = await found_group(request)
    role = await one(ROLES, group_id=str(row["id"]), id=request.params["role_id"])
    path = f"{HOME}/{SECTION}/{row['id']}"
    return render(
        request, "form", section=SECTION, heading="Remove the role from the group?", label="Remove", fields=[],
        subject=facts({"Group": row["name"], "Role": role["name"], "Client": role["client_id"]}),
        intro="All users who have the role only through this group lose it.",
        action=f"{path}/roles/{role['id']}/take", back=path, danger=True,
    )  # fmt: skip


@screen("POST", f"{ONE}/roles/{{role_id}}/take", _WRITE)
async def take_role_of_group(request: AdminRequest) -> Response[Any]:
    row = await found_group(request)
    role = await one(ROLES, group_id=str(row["id"]), id=request.params["role_id"])
    await groups.take_role(row["id"], role["id"])
    return redirect_with_notice(f"/{SECTION}/{row['id']}", "removed")
