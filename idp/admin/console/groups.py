"""Screens of groups: the list, one group, creating, changing and deleting."""

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
from litestar import Response

from idp.admin.console import actions, named
from idp.admin.console.actions import ConfirmedAction
from idp.admin.console.components import (
    Action,
    Cell,
    Field,
    Table,
    asked_page,
    facts,
    next_url,
    one,
    seen,
    sortable,
    text,
    version,
    when,
)
from idp.admin.console.screen import FORM_ERRORS, HOME, AdminRequest, redirect_with_notice, render, screen
from idp.admin.roles import Permission
from idp.directory import groups
from idp.directory.models import Group
from idp.directory.repository.groups import GROUPS, MEMBERS, count_members, names_of_groups
from idp.directory.repository.roles import ROLES
from idp.infra.db.listing import list_page

SECTION = "groups"
ONE = f"/{SECTION}/{{group_id}}"
_READ, _WRITE = Permission.GROUPS_READ, Permission.GROUPS_WRITE
#: Groups in a group, and its roles, that its page shows. The rest is a link away.
SHOWN = 50


async def found_group(request: AdminRequest) -> asyncpg.Record:
    """Return the row of the group in the path, of :data:`GROUPS`.

    Raises:
        NotFoundError: there is none.
    """
    row: asyncpg.Record = await one(GROUPS, id=request.params["group_id"])
    return row


async def above(rows: Iterable[Any]) -> dict[UUID, str]:
    """Return for each group the names of the groups above it, the topmost first."""
    rows = list(rows)
    names = await names_of_groups({each for row in rows for each in row["path"]})
    return {row["id"]: " > ".join(names.get(each, "?") for each in row["path"][:-1]) for row in rows}


@screen("GET", f"/{SECTION}", _READ)
async def list_groups(request: AdminRequest) -> Response[str]:
    found = await asked_page(request, GROUPS)
    create = [Action("New group", f"{HOME}/{SECTION}/new")] if _WRITE in request.caller.allowed else []
    tops = (("", "All"), ("true", "In no other group"), ("false", "In another group"))
    return render(
        request, "list", section=SECTION, heading="Groups", path=f"{HOME}/{SECTION}", acts=create,
        intro="Sets of users, such as departments. Members of a group also belong to the groups above it.",
        filters=[
            Field("q", "Name begins with", request.query.get("q", ""), "search"),
            Field("top", "Position", request.query.get("top", ""), "choice", choices=tops),
        ],
        columns=sortable(
            request, GROUPS, ("Name", "Above", "Description", "Created"),
            {"Name": "name", "Created": "created_at"},
        ),
        rows=await _rows(found.rows), next=next_url(request, found),
    )  # fmt: skip


async def _rows(rows: Iterable[Any]) -> list[list[Cell]]:
    rows = list(rows)
    where = await above(rows)
    return [
        [
            Cell(row["name"], f"{HOME}/{SECTION}/{row['id']}"),
            text(where[row["id"]]),
            text(row["description"]),
            when(row["created_at"]),
        ]
        for row in rows
    ]


@screen("GET", ONE, _READ)
async def show_group(request: AdminRequest) -> Response[str]:
    row = await found_group(request)
    path = f"{HOME}/{SECTION}/{row['id']}"
    may_change = _WRITE in request.caller.allowed
    where = (await above([row]))[row["id"]]
    shown = {
        "Above": Cell(where, f"{HOME}/{SECTION}/{row['parent_id']}") if row["parent_id"] else "",
        "Description": row["description"],
        "Id": str(row["id"]),
        "Created": row["created_at"],
        "Changed": row["updated_at"],
    }
    buttons = [
        Action("Change", f"{path}/change"), Action("Add members", f"{path}/add_members"),
        Action("Give it a role", f"{path}/give_role"),
        Action("New group in it", f"{HOME}/{SECTION}/new?in={row['id']}"),
        Action("Delete", f"{path}/delete", danger=True),
    ]  # fmt: skip
    return render(
        request, "record", section=SECTION, heading=row["name"], facts=facts(shown),
        acts=buttons if may_change else [],
        tables=[
            await _inside(row),
            await _roles(row, path, may_change=may_change),
            await _members(request, row, path, may_change=may_change),
        ],
    )  # fmt: skip


async def _members(request: AdminRequest, row: asyncpg.Record, path: str, *, may_change: bool) -> Table:
    found = await asked_page(request, MEMBERS, group_id=str(row["id"]))
    members = [
        [
            Cell(each["email"], f"{HOME}/users/{each['user_id']}"),
            text(each["name"]),
            Cell("disabled", mood="bad") if each["disabled_at"] else Cell("active", mood="good"),
            text(each["origin"]),
            when(each["created_at"]),
            *([Cell("Remove", f"{path}/members/{each['user_id']}/remove")] if may_change else []),
        ]
        for each in found.rows
    ]
    columns = ("Email", "Name", "State", "Added by", "Since", *([""] if may_change else []))
    heading = f"Members ({await count_members(row['id']):,})"
    return Table(heading, columns, members, "No members were added.", next_url(request, found))


async def _inside(row: asyncpg.Record) -> Table:
    found = await list_page(GROUPS, {"parent_id": str(row["id"])}, limit=SHOWN)
    rows = [[Cell(each["name"], f"{HOME}/{SECTION}/{each['id']}"), text(each["description"])] for each in found.rows]
    more = f"{HOME}/{SECTION}?parent_id={row['id']}" if found.next_cursor else None
    return Table("Groups in it", ("Name", "Description"), rows, next=more)


async def _roles(row: asyncpg.Record, path: str, *, may_change: bool) -> Table:
    found = await list_page(ROLES, {"group_id": str(row["id"])}, limit=SHOWN)
    rows = [
        [
            Cell(each["name"], f"{HOME}/roles/{each['id']}"),
            named.owner(each["client_id"]),
            *([Cell("Remove", f"{path}/roles/{each['id']}/take")] if may_change else []),
        ]
        for each in found.rows
    ]
    return Table("Roles of all members", ("Name", "Of", *([""] if may_change else [])), rows)


def _form(
    request: AdminRequest, path: str, heading: str, values: Mapping[str, str], error: str | None = None, **more: Any
) -> Response[str]:
    fields = [
        Field("name", "Name", values.get("name", ""), required=True),
        Field("description", "Description", values.get("description", "")),
        named.group_field("Above", values.get("group", ""), "The name of the parent group. Leave empty for none."),
    ]
    return render(
        request, "form", section=SECTION, heading=heading, fields=fields, action=f"{HOME}{path}", label="Save",
        back=f"{HOME}{path.rpartition('/')[0]}", error=error, status=400 if error else 200, **more,
    )  # fmt: skip


async def _entered(request: AdminRequest) -> dict[str, Any]:
    """
    Raises:
        ValidationError: there is no such group above.
    """
    parent = request.form.get("group", "").strip()
    return {
        "name": request.form.get("name", "").strip(),
        "description": request.form.get("description", ""),
        "parent_id": (await named.group(parent)).id if parent else None,
    }


@screen("GET", f"/{SECTION}/new", _WRITE)
async def new_group(request: AdminRequest) -> Response[str]:
    parent = await one(GROUPS, id=request.query["in"]) if "in" in request.query else None
    return _form(request, f"/{SECTION}/new", "New group", {"group": parent["name"]} if parent else {})


@screen("POST", f"/{SECTION}/new", _WRITE)
async def create_group(request: AdminRequest) -> Response[Any]:
    try:
        group = await groups.create(**await _entered(request))
    except FORM_ERRORS as error:
        return _form(request, f"/{SECTION}/new", "New group", request.form, error.description)
    return redirect_with_notice(f"/{SECTION}/{group.id}")


@screen("GET", f"{ONE}/change", _WRITE)
async def change_group(request: AdminRequest) -> Response[str]:
    row = await found_group(request)
    return _change(request, row, {"name": row["name"], "description": row["description"], "group": row["parent"] or ""})


def _change(
    request: AdminRequest, row: asyncpg.Record, values: Mapping[str, str], error: str | None = None
) -> Response[str]:
    path, heading = f"/{SECTION}/{row['id']}/change", f"Change {row['name']}"
    return _form(request, path, heading, values, error, version=version(request, row["updated_at"]))


@screen("POST", f"{ONE}/change", _WRITE, fresh=True)
async def save_group(request: AdminRequest) -> Response[Any]:
    row = await found_group(request)
    try:
        seen(request, row)
        await groups.update(row["id"], **await _entered(request), expected=msgspec.convert(dict(row), Group))
    except FORM_ERRORS as error:
        return _change(request, row, request.form, error.description)
    return redirect_with_notice(f"/{SECTION}/{row['id']}")


async def _delete(_visit: AdminRequest, group_id: str) -> tuple[str, str]:
    row = await one(GROUPS, id=group_id)
    await groups.delete(row["id"])
    return f"/{SECTION}", "deleted"


async def named_group(group_id: str) -> dict[str, Any]:
    """Return the facts by which a page of an action names a group."""
    row = await one(GROUPS, id=group_id)
    return {
        "Group": row["name"],
        "Above": (await above([row]))[row["id"]],
        "Members": f"{await count_members(row['id']):,}",
    }


actions.declare_actions(
    SECTION,
    "group_id",
    named_group,
    [
        ConfirmedAction(
            "delete", "Delete",
            "All members leave the group and lose the roles they have through it. This cannot be undone. A group"
            " with other groups in it cannot be deleted.",
            _WRITE, _delete, question="Delete {Group}?", typed="Group",
        )
    ],
)  # fmt: skip
