"""Screens of roles of clients and of the server: the list, one role, creating, changing, containing and deleting."""

from collections.abc import Mapping
from typing import Any

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
from idp.directory import roles
from idp.directory.models import Role
from idp.directory.repository.groups import GROUPS
from idp.directory.repository.roles import HOLDERS, OWN_ROLES, count_holders
from idp.errors import NotFoundError
from idp.infra.db.listing import list_page

SECTION = "roles"
ONE = f"/{SECTION}/{{role_id}}"
_READ, _WRITE = Permission.GROUPS_READ, Permission.GROUPS_WRITE
#: Contained roles, and groups, that the page of a role shows.
SHOWN = 50


async def found_role(request: AdminRequest) -> asyncpg.Record:
    """Return the row of the role in the path, of :data:`OWN_ROLES`.

    Raises:
        NotFoundError: there is none.
    """
    row: asyncpg.Record = await one(OWN_ROLES, id=request.params["role_id"])
    return row


@screen("GET", f"/{SECTION}", _READ)
async def list_roles(request: AdminRequest) -> Response[str]:
    found = await asked_page(request, OWN_ROLES)
    rows = [
        [
            Cell(row["name"], f"{HOME}/{SECTION}/{row['id']}"), named.owner(row["client_id"]), text(row["description"]),
            when(row["created_at"]),
        ]
        for row in found.rows
    ]  # fmt: skip
    create = [Action("New role", f"{HOME}/{SECTION}/new")] if _WRITE in request.caller.allowed else []
    return render(
        request, "list", section=SECTION, heading="Roles", path=f"{HOME}/{SECTION}", acts=create,
        intro=(
            "What users may do in one application, or in all. Roles of administrators are on the Admins page,"
            " and roles of an organisation on the page of the organisation."
        ),
        filters=[
            Field("q", "Name begins with", request.query.get("q", ""), "search"),
            Field("client_id", "client_id", request.query.get("client_id", ""), "search"),
        ],
        columns=sortable(
            request, OWN_ROLES, ("Name", "Of", "Description", "Created"),
            {"Name": "name", "Created": "created_at"},
        ),
        rows=rows, next=next_url(request, found),
    )  # fmt: skip


@screen("GET", ONE, _READ)
async def show_role(request: AdminRequest) -> Response[str]:
    row = await found_role(request)
    path = f"{HOME}/{SECTION}/{row['id']}"
    may_change = _WRITE in request.caller.allowed
    shown = {
        "Of": named.owner(row["client_id"]),
        "Description": row["description"],
        "Id": str(row["id"]),
        "Created": row["created_at"],
        "Changed": row["updated_at"],
    }
    buttons = [
        Action("Change", f"{path}/change"), Action("Give to users", f"{path}/give"),
        Action("Let it contain a role", f"{path}/contain"), Action("Delete", f"{path}/delete", danger=True),
    ]  # fmt: skip
    return render(
        request, "record", section=SECTION, heading=row["name"], facts=facts(shown),
        acts=buttons if may_change else [],
        tables=[
            await _contained(row, path, may_change=may_change),
            await _groups(row),
            await _holders(request, row, path, may_change=may_change),
        ],
    )  # fmt: skip


async def _holders(request: AdminRequest, row: asyncpg.Record, path: str, *, may_change: bool) -> Table:
    found = await asked_page(request, HOLDERS, role_id=str(row["id"]))
    holders = [
        [
            Cell(each["email"], f"{HOME}/users/{each['user_id']}"),
            text(each["name"]),
            text(each["origin"]),
            when(each["created_at"]),
            *([Cell("Remove", f"{path}/holders/{each['user_id']}/take")] if may_change else []),
        ]
        for each in found.rows
    ]
    columns = ("Email", "Name", "Given by", "Since", *([""] if may_change else []))
    heading = f"Users who were given the role ({await count_holders(row['id']):,})"
    return Table(heading, columns, holders, next=next_url(request, found))


async def _groups(row: asyncpg.Record) -> Table:
    found = await list_page(GROUPS, {"role_id": str(row["id"])}, limit=SHOWN)
    rows = [[Cell(each["name"], f"{HOME}/groups/{each['id']}"), text(each["description"])] for each in found.rows]
    more = f"{HOME}/groups?role_id={row['id']}" if found.next_cursor else None
    return Table("Groups whose members have it", ("Name", "Description"), rows, next=more)


async def _contained(row: asyncpg.Record, path: str, *, may_change: bool) -> Table:
    found = await list_page(OWN_ROLES, {"contained_in": str(row["id"])}, limit=SHOWN)
    rows = [
        [
            Cell(each["name"], f"{HOME}/{SECTION}/{each['id']}"),
            named.owner(each["client_id"]),
            *([Cell("Release", f"{path}/contained/{each['id']}/release")] if may_change else []),
        ]
        for each in found.rows
    ]
    more = f"{HOME}/{SECTION}?contained_in={row['id']}" if found.next_cursor else None
    return Table("Roles that it contains", ("Name", "Of", *([""] if may_change else [])), rows, next=more)


def _form(
    request: AdminRequest, path: str, heading: str, values: Mapping[str, str], error: str | None = None, **more: Any
) -> Response[str]:
    fields = [
        Field("name", "Name", values.get("name", ""), required=True),
        Field("description", "Description", values.get("description", "")),
    ]
    if path.endswith("/new"):
        hint = "The client_id of the application that the role belongs to. Leave empty for a role of the whole server."
        fields.insert(1, Field("client_id", "Client", values.get("client_id", ""), help=hint))
    return render(
        request, "form", section=SECTION, heading=heading, fields=fields, action=f"{HOME}{path}", label="Save",
        back=f"{HOME}{path.rpartition('/')[0]}", error=error, status=400 if error else 200, **more,
    )  # fmt: skip


@screen("GET", f"/{SECTION}/new", _WRITE)
async def new_role(request: AdminRequest) -> Response[str]:
    return _form(request, f"/{SECTION}/new", "New role", {"client_id": request.query.get("client_id", "")})


@screen("POST", f"/{SECTION}/new", _WRITE)
async def create_role(request: AdminRequest) -> Response[Any]:
    entered = {name: request.form.get(name, "").strip() for name in ("name", "client_id", "description")}
    try:
        role = await roles.create(entered["name"], entered["client_id"] or None, entered["description"])
    except (*FORM_ERRORS, NotFoundError) as error:
        return _form(request, f"/{SECTION}/new", "New role", entered, error.description)
    return redirect_with_notice(f"/{SECTION}/{role.id}")


@screen("GET", f"{ONE}/change", _WRITE)
async def change_role(request: AdminRequest) -> Response[str]:
    row = await found_role(request)
    return _change(request, row, {"name": row["name"], "description": row["description"]})


def _change(
    request: AdminRequest, row: asyncpg.Record, values: Mapping[str, str], error: str | None = None
) -> Response[str]:
    path, heading = f"/{SECTION}/{row['id']}/change", f"Change {row['name']}"
    return _form(request, path, heading, values, error, version=version(request, row["updated_at"]))


@screen("POST", f"{ONE}/change", _WRITE)
async def save_role(request: AdminRequest) -> Response[Any]:
    row = await found_role(request)
    name, description = (request.form.get(field, "").strip() for field in ("name", "description"))
    try:
        seen(request, row)
        await roles.update(row["id"], name, description, expected=msgspec.convert(dict(row), Role))
    except FORM_ERRORS as error:
        return _change(request, row, request.form, error.description)
    return redirect_with_notice(f"/{SECTION}/{row['id']}")


@screen("GET", f"{ONE}/contain", _WRITE, fresh=True)
async def ask_for_contained(request: AdminRequest) -> Response[str]:
    return await _contain_form(request)


async def _contain_form(request: AdminRequest, error: str | None = None) -> Response[str]:
    row = await found_role(request)
    path = f"{HOME}/{SECTION}/{row['id']}"
    return render(
        request, "form", section=SECTION, heading=f"Let {row['name']} contain a role", label="Save",
        intro="Everyone with this role also has the other one.", subject=facts(await named_role(str(row["id"]))),
        fields=named.role_fields(request.form or {"client_id": row["client_id"] or ""}),
        action=f"{path}/contain", back=path, error=error, status=400 if error else 200,
    )  # fmt: skip


@screen("POST", f"{ONE}/contain", _WRITE, fresh=True)
async def contain_role(request: AdminRequest) -> Response[Any]:
    row = await found_role(request)
    try:
        contained = await named.role(request.form)
        await roles.contain(row["id"], contained.id)
    except (*FORM_ERRORS, NotFoundError) as error:
        return await _contain_form(request, error.description)
    return redirect_with_notice(f"/{SECTION}/{row['id']}", "added")


@screen("GET", f"{ONE}/contained/{{contained_id}}/release", _WRITE)
async def ask_to_release(request: AdminRequest) -> Response[str]:
    row = await found_role(request)
    contained = await one(OWN_ROLES, contained_in=str(row["id"]), id=request.params["contained_id"])
    path = f"{HOME}/{SECTION}/{row['id']}"
    return render(
        request, "form", section=SECTION, heading="Release the role?", label="Release", fields=[],
        subject=facts({"Role": row["name"], "Contained": contained["name"], "Client": contained["client_id"]}),
        intro="Users who have the contained role only through the other one lose it.",
        action=f"{path}/contained/{contained['id']}/release", back=path, danger=True,
    )  # fmt: skip


@screen("POST", f"{ONE}/contained/{{contained_id}}/release", _WRITE)
async def release_role(request: AdminRequest) -> Response[Any]:
    row = await found_role(request)
    contained = await one(OWN_ROLES, contained_in=str(row["id"]), id=request.params["contained_id"])
    await roles.release(row["id"], contained["id"])
    return redirect_with_notice(f"/{SECTION}/{row['id']}", "removed")


async def _delete(_visit: AdminRequest, role_id: str) -> tuple[str, str]:
    row = await one(OWN_ROLES, id=role_id)
    await roles.delete(row["id"])
    return f"/{SECTION}", "deleted"


async def named_role(role_id: str) -> dict[str, Any]:
    """Return the facts by which a page of an action names a role."""
    row = await one(OWN_ROLES, id=role_id)
    holders = f"{await count_holders(row['id']):,}"
    return {"Role": row["name"], "Of": named.owner(row["client_id"]), "Users who were given the role": holders}


actions.declare_actions(
    SECTION,
    "role_id",
    named_role,
    [
        ConfirmedAction(
            "delete",
            "Delete",
            "Everyone loses the role, however they got it. This cannot be undone.",
            _WRITE,
            _delete,
            question="Delete {Role}?",
            typed="Role",
        )
    ],
)
