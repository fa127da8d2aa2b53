"""Screens of the members of an organization."""

from typing import Any

import asyncpg
from litestar import Response

from idp.admin.access import lock_users_first
from idp.admin.console import named
from idp.admin.console.components import Action, Cell, Field, Table, asked_page, facts, next_url, one
from idp.admin.console.organizations import COLUMNS, ONE, SECTION, member_cells, organization, role_cells
from idp.admin.console.screen import FORM_ERRORS, HOME, AdminRequest, redirect_with_notice, render, screen
from idp.admin.roles import Permission
from idp.directory import organizations, roles
from idp.directory.repository.organizations import MEMBERS
from idp.directory.repository.roles import ROLES
from idp.errors import NotFoundError
from idp.infra.db.engine import transaction
from idp.infra.db.listing import all_rows, list_page

_READ, _WRITE = Permission.ORGANIZATIONS_READ, Permission.ORGANIZATIONS_WRITE
_MEMBER = f"{ONE}/members/{{user_id}}"


@screen("GET", f"{ONE}/members", _READ)
async def list_members(request: AdminRequest) -> Response[str]:
    row = await organization(request)
    found = await asked_page(request, MEMBERS, organization_id=str(row["id"]))
    path = f"{HOME}/{SECTION}/{row['id']}"
    add = {
        "heading": "Add members", "action": f"{path}/members", "fields": [named.users_field("")], "label": "Add",
    }  # fmt: skip
    return render(
        request, "list", section=SECTION, heading=f"Members of {row['name']}", path=f"{path}/members",
        acts=[Action("Organisation", path)], columns=COLUMNS, rows=[member_cells(path, each) for each in found.rows],
        next=next_url(request, found), forms=[add] if _WRITE in request.caller.allowed else [],
    )  # fmt: skip


@screen("POST", f"{ONE}/members", _WRITE, page=f"/{SECTION}")
async def add_members(request: AdminRequest) -> Response[Any]:
    row, entered = await organization(request), request.form.get("users", "")
    path = f"/{SECTION}/{row['id']}/members"
    try:
        user_ids = await named.users(entered)
        lock_users_first(request.caller, user_ids)
        await organizations.add_members(row["id"], user_ids)
    except (*FORM_ERRORS, NotFoundError) as error:
        return render(
            request, "form", section=SECTION, heading=f"Add members to {row['name']}", label="Add",
            fields=[named.users_field(entered)], action=f"{HOME}{path}", back=f"{HOME}{path}",
            error=error.description, status=400,
        )  # fmt: skip
    return redirect_with_notice(path)


@screen("GET", _MEMBER, _READ)
async def show_member(request: AdminRequest) -> Response[str]:
    row, member = await organization(request), await _found_member(request)
    path = f"{HOME}/{SECTION}/{row['id']}"
    key = {"organization_id": str(row["id"]), "user_id": str(member["user_id"])}
    held = await list_page(ROLES, key)
    shown = {
        "Organisation": Cell(row["name"], path),
        "Email address": Cell(member["email"], f"{HOME}/users/{member['user_id']}"),
        "Name": member["name"],
        "Manages it": member["admin"],
        "Added by": member["origin"],
        "Since": member["created_at"],
    }
    here = f"{path}/members/{member['user_id']}"
    buttons = [Action("Change", f"{here}/change"), Action("Remove", f"{here}/remove", danger=True)]
    return render(
        request, "record", section=SECTION, heading=member["email"], facts=facts(shown),
        tables=[Table("Roles", ("Name", "Description"), [role_cells(path, each) for each in held.rows])],
        acts=buttons if _WRITE in request.caller.allowed else [],
    )  # fmt: skip


async def _found_member(request: AdminRequest) -> asyncpg.Record:
    key = {name: request.params[name] for name in ("organization_id", "user_id")}
    row: asyncpg.Record = await one(MEMBERS, **key)
    return row


@screen("GET", f"{_MEMBER}/change", _WRITE)
async def change_member_form(request: AdminRequest) -> Response[str]:
    return await _change_member_form(request)


async def _change_member_form(request: AdminRequest, error: str | None = None) -> Response[str]:
    row, member = await organization(request), await _found_member(request)
    path = f"{HOME}/{SECTION}/{row['id']}/members/{member['user_id']}"
    inside = {"organization_id": str(row["id"])}
    held = {each["id"] for each in await all_rows(ROLES, inside | {"user_id": str(member["user_id"])})}
    fields = [
        Field("admin", "Manages the organisation", "on" if member["admin"] else "", "check"),
        *(
            Field(f"role_{each['id']}", f"Role {each['name']}", "on" if each["id"] in held else "", "check")
            for each in await all_rows(ROLES, inside)
        ),
    ]
    return render(
        request, "form", section=SECTION, heading=f"{member['email']} in {row['name']}", fields=fields,
        action=f"{path}/change", label="Save", back=path, error=error, status=400 if error else 200,
    )  # fmt: skip


@screen("POST", f"{_MEMBER}/change", _WRITE, fresh=True)
async def change_member(request: AdminRequest) -> Response[Any]:
    member = await _found_member(request)
    organization_id, user_id = member["organization_id"], member["user_id"]
    lock_users_first(request.caller, [user_id])
    try:
        async with transaction():
            await organizations.set_admin(organization_id, user_id, admin="admin" in request.form)
            for role in await all_rows(ROLES, {"organization_id": str(organization_id)}):
                change = roles.give if f"role_{role['id']}" in request.form else roles.take
                await change(role["id"], [user_id])
    except (*FORM_ERRORS, NotFoundError) as error:
        return await _change_member_form(request, error.description)
    return redirect_with_notice(f"/{SECTION}/{organization_id}/members/{user_id}")


@screen("GET", f"{_MEMBER}/remove", _WRITE)
async def ask_remove_member(request: AdminRequest) -> Response[str]:
    row, member = await organization(request), await _found_member(request)
    path = f"{HOME}/{SECTION}/{row['id']}/members/{member['user_id']}"
    return render(
        request, "form", section=SECTION, heading="Remove?", fields=[], action=f"{path}/remove", label="Remove",
        subject=facts({"Organisation": row["name"], "Email address": member["email"], "Name": member["name"]}),
        intro="The user loses the membership and the roles there. The account stays.", danger=True, back=path,
    )  # fmt: skip


@screen("POST", f"{_MEMBER}/remove", _WRITE)
async def remove_member(request: AdminRequest) -> Response[Any]:
    member = await _found_member(request)
    lock_users_first(request.caller, [member["user_id"]])
    await organizations.remove_members(member["organization_id"], [member["user_id"]])
    return redirect_with_notice(f"/{SECTION}/{member['organization_id']}/members")
