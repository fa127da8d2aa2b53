"""Screens that add users to a group and remove them."""

from typing import Any
from uuid import UUID

from litestar import Response

from idp.accounts.repository.users import user_by_id
from idp.admin.access import lock_users_first
from idp.admin.console import named
from idp.admin.console.components import facts, one
from idp.admin.console.groups import ONE, SECTION, found_group, named_group
from idp.admin.console.screen import FORM_ERRORS, HOME, AdminRequest, not_found, redirect_with_notice, render, screen
from idp.admin.roles import Permission
from idp.directory import groups
from idp.directory.repository.groups import MEMBERS
from idp.errors import NotFoundError

_WRITE = Permission.GROUPS_WRITE
_OF_USER = "/users/{user_id}/add_to_group"


@screen("GET", f"{ONE}/add_members", _WRITE, fresh=True)
async def ask_for_members(request: AdminRequest) -> Response[str]:
    return await _add_form(request)


async def _add_form(request: AdminRequest, error: str | None = None) -> Response[str]:
    row = await found_group(request)
    path = f"{HOME}/{SECTION}/{row['id']}"
    return render(
        request, "form", section=SECTION, heading=f"Add members to {row['name']}", label="Add",
        subject=facts(await named_group(str(row["id"]))), fields=[named.users_field(request.form.get("users", ""))],
        action=f"{path}/add_members", back=path, error=error, status=400 if error else 200,
    )  # fmt: skip


@screen("POST", f"{ONE}/add_members", _WRITE, fresh=True)
async def add_members(request: AdminRequest) -> Response[Any]:
    row = await found_group(request)
    try:
        user_ids = await named.users(request.form.get("users", ""))
        lock_users_first(request.caller, user_ids)
        await groups.add_members(row["id"], user_ids)
    except (*FORM_ERRORS, NotFoundError) as error:
        return await _add_form(request, error.description)
    return redirect_with_notice(f"/{SECTION}/{row['id']}", "added")


@screen("GET", f"{ONE}/members/{{user_id}}/remove", _WRITE)
async def ask_to_remove_member(request: AdminRequest) -> Response[str]:
    row = await found_group(request)
    member = await one(MEMBERS, group_id=str(row["id"]), user_id=request.params["user_id"])
    path = f"{HOME}/{SECTION}/{row['id']}"
    return render(
        request, "form", section=SECTION, heading="Remove from the group?", label="Remove", fields=[],
        subject=facts({"Group": row["name"], "Email address": member["email"], "Name": member["name"]}),
        intro="The user loses the roles of this group and of those above it, unless another group has them.",
        action=f"{path}/members/{member['user_id']}/remove", back=path, danger=True,
    )  # fmt: skip


@screen("POST", f"{ONE}/members/{{user_id}}/remove", _WRITE)
async def remove_member(request: AdminRequest) -> Response[Any]:
    row = await found_group(request)
    member = await one(MEMBERS, group_id=str(row["id"]), user_id=request.params["user_id"])
    lock_users_first(request.caller, [member["user_id"]])
    await groups.remove_members(row["id"], [member["user_id"]])
    return redirect_with_notice(f"/{SECTION}/{row['id']}", "removed")


@screen("GET", _OF_USER, _WRITE, fresh=True)
async def ask_for_group(request: AdminRequest) -> Response[str]:
    return await _group_form(request)


async def _group_form(request: AdminRequest, error: str | None = None) -> Response[str]:
    user_id, subject = await named_user(request)
    path = f"{HOME}/users/{user_id}"
    field = named.group_field("Group", request.form.get("group", ""), required=True)
    return render(
        request, "form", section="users", heading="Add to a group", label="Add", subject=facts(subject), fields=[field],
        action=f"{path}/add_to_group", back=path, error=error, status=400 if error else 200,
    )  # fmt: skip


async def named_user(request: AdminRequest) -> tuple[UUID, dict[str, Any]]:
    """Return the user in the path, and the facts by which a page of an action names them.

    Raises:
        NotFoundError: there is none.
    """
    try:
        user = await user_by_id(UUID(request.params["user_id"]))
    except ValueError:
        user = None
    if user is None:
        raise not_found()
    return user.id, {"Email address": user.email, "Name": user.name, "Id (sub)": str(user.id)}


@screen("POST", _OF_USER, _WRITE, fresh=True)
async def add_to_group(request: AdminRequest) -> Response[Any]:
    user_id, _subject = await named_user(request)
    try:
        group = await named.group(request.form.get("group", ""))
        lock_users_first(request.caller, [user_id])
        await groups.add_members(group.id, [user_id])
    except (*FORM_ERRORS, NotFoundError) as error:
        return await _group_form(request, error.description)
    return redirect_with_notice(f"/users/{user_id}", "added")
