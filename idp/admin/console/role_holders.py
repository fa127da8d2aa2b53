"""Screens that give users roles and take them."""

from typing import Any

from litestar import Response

from idp.admin.access import lock_users_first
from idp.admin.console import named
from idp.admin.console.components import facts, one
from idp.admin.console.group_members import named_user
from idp.admin.console.roles import ONE, SECTION, found_role, named_role
from idp.admin.console.screen import FORM_ERRORS, HOME, AdminRequest, redirect_with_notice, render, screen
from idp.admin.roles import Permission
from idp.directory import roles
from idp.directory.repository.roles import HOLDERS
from idp.errors import NotFoundError

_WRITE = Permission.GROUPS_WRITE
_OF_USER = "/users/{user_id}/give_role"


@screen("GET", f"{ONE}/give", _WRITE, fresh=True)
async def ask_for_holders(request: AdminRequest) -> Response[str]:
    return await _give_form(request)


async def _give_form(request: AdminRequest, error: str | None = None) -> Response[str]:
    row = await found_role(request)
    path = f"{HOME}/{SECTION}/{row['id']}"
    return render(
        request, "form", section=SECTION, heading=f"Give {row['name']} to users", label="Give the role",
        subject=facts(await named_role(str(row["id"]))), fields=[named.users_field(request.form.get("users", ""))],
        action=f"{path}/give", back=path, error=error, status=400 if error else 200,
    )  # fmt: skip


@screen("POST", f"{ONE}/give", _WRITE, fresh=True)
async def give_to_users(request: AdminRequest) -> Response[Any]:
    row = await found_role(request)
    try:
        user_ids = await named.users(request.form.get("users", ""))
        lock_users_first(request.caller, user_ids)
        await roles.give(row["id"], user_ids)
    except (*FORM_ERRORS, NotFoundError) as error:
        return await _give_form(request, error.description)
    return redirect_with_notice(f"/{SECTION}/{row['id']}", "given")


@screen("GET", f"{ONE}/holders/{{user_id}}/take", _WRITE)
async def ask_to_take(request: AdminRequest) -> Response[str]:
    row = await found_role(request)
    holder = await one(HOLDERS, role_id=str(row["id"]), user_id=request.params["user_id"])
    path = f"{HOME}/{SECTION}/{row['id']}"
    return render(
        request, "form", section=SECTION, heading="Remove the role from the user?", label="Remove", fields=[],
        subject=facts({"Role": row["name"], "Email address": holder["email"], "Name": holder["name"]}),
        intro="The user keeps it if a group or another role gives it too.",
        action=f"{path}/holders/{holder['user_id']}/take", back=path, danger=True,
    )  # fmt: skip


@screen("POST", f"{ONE}/holders/{{user_id}}/take", _WRITE)
async def take_from_user(request: AdminRequest) -> Response[Any]:
    row = await found_role(request)
    holder = await one(HOLDERS, role_id=str(row["id"]), user_id=request.params["user_id"])
    lock_users_first(request.caller, [holder["user_id"]])
    await roles.take(row["id"], [holder["user_id"]])
    return redirect_with_notice(f"/{SECTION}/{row['id']}", "removed")


@screen("GET", _OF_USER, _WRITE, fresh=True)
async def ask_for_role_of_user(request: AdminRequest) -> Response[str]:
    return await _role_form(request)


async def _role_form(request: AdminRequest, error: str | None = None) -> Response[str]:
    user_id, subject = await named_user(request)
    path = f"{HOME}/users/{user_id}"
    return render(
        request, "form", section="users", heading="Give a role", label="Give the role", subject=facts(subject),
        fields=named.role_fields(request.form), action=f"{path}/give_role", back=path, error=error,
        status=400 if error else 200,
    )  # fmt: skip


@screen("POST", _OF_USER, _WRITE, fresh=True)
async def give_role_to_user(request: AdminRequest) -> Response[Any]:
    user_id, _subject = await named_user(request)
    try:
        role = await named.role(request.form)
        lock_users_first(request.caller, [user_id])
        await roles.give(role.id, [user_id])
    except (*FORM_ERRORS, NotFoundError) as error:
        return await _role_form(request, error.description)
    return redirect_with_notice(f"/users/{user_id}", "given")
