"""Screens of the members of an organization."""

from typing import Any

import asyncpg
from litestar import Response

from idp.admin.access import lock_users_first
from idp.admin.console import named
from idp.admin.console.components import Action, Cell, Table, asked_page, facts, next_url, one
from idp.admin.console.organizations import COLUMNS, ONE, SECTION, member_cells, organization, role_cells
from idp.admin.console.screen import FORM_ERRORS, HOME, AdminRequest, redirect_with_notice, render, screen
from idp.admin.roles import Permission
from idp.directory import member_states, organizations
from idp.directory.repository.organizations import MEMBERS
from idp.directory.repository.roles import ROLES
from idp.errors import NotFoundError
from idp.infra.db.listing import list_page

_READ, _WRITE = Permission.ORGANIZATIONS_READ, Permission.ORGANIZATIONS_WRITE
MEMBER = f"{ONE}/members/{{user_id}}"


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


@screen("GET", MEMBER, _READ)
async def show_member(request: AdminRequest) -> Response[str]:
    row, member = await organization(request), await found_member(request)
    path = f"{HOME}/{SECTION}/{row['id']}"
    key = {"organization_id": str(row["id"]), "user_id": str(member["user_id"])}
    held = await list_page(ROLES, key)
    shown = {
        "Organisation": Cell(row["name"], path),
        "Email address": Cell(member["email"], f"{HOME}/users/{member['user_id']}"),
        "Name": member["name"],
        "Manages it": member["admin"],
        "Added by": member["origin"],
        **({"Disabled by its SCIM client": since} if (since := member["membership_disabled_at"]) else {}),
        "Since": member["created_at"],
    }
    here = f"{path}/members/{member['user_id']}"
    manages = Action("End managing", f"{here}/end_admin") if member["admin"] else Action(
        "Let manage", f"{here}/make_admin"
    )  # fmt: skip
    buttons = [
        *([Action("Reactivate", f"{here}/reactivate")] if member["membership_disabled_at"] else []),
        Action("Give a role", f"{here}/give_role"), manages, Action("Remove", f"{here}/remove", danger=True),
    ]  # fmt: skip
    may_change = _WRITE in request.caller.allowed
    rows = [
        [*role_cells(path, each), *([Cell("Remove", f"{here}/roles/{each['id']}/take")] if may_change else [])]
        for each in held.rows
    ]
    return render(
        request, "record", section=SECTION, heading=member["email"], facts=facts(shown),
        tables=[Table("Roles", ("Name", "Description", *([""] if may_change else [])), rows)],
        acts=buttons if may_change else [],
    )  # fmt: skip


async def found_member(request: AdminRequest) -> asyncpg.Record:
    key = {name: request.params[name] for name in ("organization_id", "user_id")}
    row: asyncpg.Record = await one(MEMBERS, **key)
    return row


@screen("GET", f"{MEMBER}/remove", _WRITE)
async def ask_remove_member(request: AdminRequest) -> Response[str]:
    row, member = await organization(request), await found_member(request)
    path = f"{HOME}/{SECTION}/{row['id']}/members/{member['user_id']}"
    return render(
        request, "form", section=SECTION, heading="Remove?", fields=[], action=f"{path}/remove", label="Remove",
        subject=facts({"Organisation": row["name"], "Email address": member["email"], "Name": member["name"]}),
        intro="The user loses the membership and the roles there. The account stays.", danger=True, back=path,
    )  # fmt: skip


@screen("POST", f"{MEMBER}/remove", _WRITE)
async def remove_member(request: AdminRequest) -> Response[Any]:
    member = await found_member(request)
    lock_users_first(request.caller, [member["user_id"]])
    await organizations.remove_members(member["organization_id"], [member["user_id"]])
    return redirect_with_notice(f"/{SECTION}/{member['organization_id']}/members")


@screen("GET", f"{MEMBER}/reactivate", _WRITE)
async def ask_reactivate_member(request: AdminRequest) -> Response[str]:
    row, member = await organization(request), await found_member(request)
    path = f"{HOME}/{SECTION}/{row['id']}/members/{member['user_id']}"
    return render(
        request, "form", section=SECTION, heading="Reactivate?", fields=[], action=f"{path}/reactivate",
        label="Reactivate", back=path,
        subject=facts({"Organisation": row["name"], "Email address": member["email"], "Name": member["name"]}),
        intro=(
            "The membership and its roles are active again, and the account is enabled if the SCIM client of the"
            " organisation disabled it. Ended sessions stay ended. The client may disable the membership again."
        ),
    )  # fmt: skip


@screen("POST", f"{MEMBER}/reactivate", _WRITE)
async def reactivate_member(request: AdminRequest) -> Response[Any]:
    member = await found_member(request)
    lock_users_first(request.caller, [member["user_id"]])
    await member_states.reactivate(member["organization_id"], member["user_id"])
    return redirect_with_notice(f"/{SECTION}/{member['organization_id']}/members/{member['user_id']}", "enabled")
