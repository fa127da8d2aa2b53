"""Screens of organizations."""

from typing import Any

import asyncpg
from litestar import Response

from idp.admin.console import actions
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
from idp.directory import organizations
from idp.directory.repository.organizations import MEMBERS, ORGANIZATIONS
from idp.directory.repository.roles import ROLES
from idp.infra.db.listing import list_page

SECTION = "organizations"
_READ, _WRITE = Permission.ORGANIZATIONS_READ, Permission.ORGANIZATIONS_WRITE
ONE = f"/{SECTION}/{{organization_id}}"
#: Members that the page of an organization shows.
_FEW = 10


@screen("GET", f"/{SECTION}", _READ)
async def list_organizations(request: AdminRequest) -> Response[str]:
    found = await asked_page(request, ORGANIZATIONS)
    rows = [
        [Cell(row["slug"], f"{HOME}/{SECTION}/{row['id']}"), Cell(row["name"]), _state(row), when(row["created_at"])]
        for row in found.rows
    ]
    create = [Action("New organisation", f"{HOME}/{SECTION}/new")] if _WRITE in request.caller.allowed else []
    filters = [
        Field("q", "Slug begins with", request.query.get("q", ""), "search"),
        Field(
            "disabled", "State", request.query.get("disabled", ""), "choice",
            choices=(("", "All"), ("false", "Enabled"), ("true", "Disabled")),
        ),
    ]  # fmt: skip
    return render(
        request, "list", section=SECTION, heading="Organisations", path=f"{HOME}/{SECTION}", acts=create,
        filters=filters, intro="Customers, departments or tenants. Each has members, and roles that only they have.",
        columns=sortable(
            request, ORGANIZATIONS, ("Slug", "Name", "State", "Created"),
            {"Slug": "slug", "Created": "created_at"},
        ),
        rows=rows, next=next_url(request, found),
    )  # fmt: skip


def _state(row: asyncpg.Record) -> Cell:
    return Cell("disabled", mood="bad") if row["disabled_at"] else Cell("enabled", mood="good")


def _new_form(request: AdminRequest, error: str | None = None) -> Response[str]:
    fields = [
        Field(
            "slug", "Slug", request.form.get("slug", ""), required=True,
            help=(
                "Names the organisation in requests, and never changes. 1 to 63 lower-case letters a to z,"
                " digits and hyphens."
            ),
        ),
        Field("name", "Name", request.form.get("name", ""), required=True),
    ]  # fmt: skip
    return render(
        request, "form", section=SECTION, heading="New organisation", fields=fields, action=f"{HOME}/{SECTION}/new",
        label="Create", back=f"{HOME}/{SECTION}", error=error, status=400 if error else 200,
    )  # fmt: skip


@screen("GET", f"/{SECTION}/new", _WRITE)
async def new_organization(request: AdminRequest) -> Response[str]:
    return _new_form(request)


@screen("POST", f"/{SECTION}/new", _WRITE)
async def create_organization(request: AdminRequest) -> Response[Any]:
    try:
        made = await organizations.create(request.form.get("slug", "").strip(), request.form.get("name", "").strip())
    except FORM_ERRORS as error:
        return _new_form(request, error.description)
    return redirect_with_notice(f"/{SECTION}/{made.id}")


async def organization(request: AdminRequest) -> asyncpg.Record:
    row: asyncpg.Record = await one(ORGANIZATIONS, id=request.params["organization_id"])
    return row


@screen("GET", ONE, _READ)
async def show_organization(request: AdminRequest) -> Response[str]:
    row = await organization(request)
    path, inside = f"{HOME}/{SECTION}/{row['id']}", {"organization_id": str(row["id"])}
    shown = {"Slug": row["slug"], "Id": str(row["id"]), "State": _state(row), "Created": row["created_at"]}
    members = (await list_page(MEMBERS, inside, limit=_FEW)).rows
    held = await list_page(ROLES, inside)
    tables = [
        Table("Members", COLUMNS, [member_cells(path, each) for each in members]),
        Table("Roles", ("Name", "Description"), [role_cells(path, each) for each in held.rows]),
    ]
    switch = Action("Enable", f"{path}/enable") if row["disabled_at"] else Action("Disable", f"{path}/disable")
    buttons = [
        Action("Rename", f"{path}/rename"), switch, Action("Delete", f"{path}/delete", danger=True),
    ]  # fmt: skip
    always = [
        Action(label, f"{path}/{label.lower()}")
        for label in ("Members", "Invitations", "Roles", "Domains", "Policy", "Branding")
    ]
    if Permission.SCIM_TOKENS_READ in request.caller.allowed:
        always.append(Action("SCIM tokens", f"{HOME}/scim_tokens?organization_id={row['id']}"))
    return render(
        request, "record", section=SECTION, heading=row["name"], facts=facts(shown), tables=tables,
        acts=[*always, *(buttons if _WRITE in request.caller.allowed else [])],
    )  # fmt: skip


COLUMNS = ("Email address", "Name", "Manages it", "Added by", "Since")


def member_cells(path: str, row: asyncpg.Record) -> list[Cell]:
    return [
        Cell(row["email"], f"{path}/members/{row['user_id']}"),
        text(row["name"]),
        Cell("yes", mood="good") if row["admin"] else Cell("no"),
        Cell(row["origin"]),
        when(row["created_at"]),
    ]


def role_cells(path: str, row: asyncpg.Record) -> list[Cell]:
    return [Cell(row["name"], f"{path}/roles/{row['id']}"), text(row["description"])]


@screen("GET", f"{ONE}/rename", _WRITE)
async def rename_form(request: AdminRequest) -> Response[str]:
    return await _rename_form(request)


async def _rename_form(request: AdminRequest, error: str | None = None) -> Response[str]:
    row = await organization(request)
    path = f"{HOME}/{SECTION}/{row['id']}"
    return render(
        request, "form", section=SECTION, heading=f"Rename {row['name']}", action=f"{path}/rename", label="Rename",
        fields=[Field("name", "Name", request.form.get("name", row["name"]), required=True)], back=path, error=error,
        version=version(request, row["updated_at"]), status=400 if error else 200,
    )  # fmt: skip


@screen("POST", f"{ONE}/rename", _WRITE)
async def rename_organization(request: AdminRequest) -> Response[Any]:
    row = await organization(request)
    try:
        await organizations.rename(row["id"], request.form.get("name", "").strip(), seen(request, row))
    except FORM_ERRORS as error:
        return await _rename_form(request, error.description)
    return redirect_with_notice(f"/{SECTION}/{row['id']}")


async def _named(organization_id: str) -> dict[str, Any]:
    row = await one(ORGANIZATIONS, id=organization_id)
    return {"Name": row["name"], "Slug": row["slug"]}


async def _disable(_visit: AdminRequest, organization_id: str) -> tuple[str, str]:
    await organizations.disable((await one(ORGANIZATIONS, id=organization_id))["id"])
    return f"/{SECTION}/{organization_id}", "saved"


async def _enable(_visit: AdminRequest, organization_id: str) -> tuple[str, str]:
    await organizations.enable((await one(ORGANIZATIONS, id=organization_id))["id"])
    return f"/{SECTION}/{organization_id}", "saved"


async def _delete(_visit: AdminRequest, organization_id: str) -> tuple[str, str]:
    await organizations.delete((await one(ORGANIZATIONS, id=organization_id))["id"])
    return f"/{SECTION}", "deleted"


actions.declare_actions(
    SECTION,
    "organization_id",
    _named,
    [
        ConfirmedAction(
            "disable", "Disable", "Memberships and roles have no effect until the organisation is enabled again.",
            _WRITE, _disable,
        ),
        ConfirmedAction(
            "enable", "Enable", "Memberships and roles are active again.", _WRITE, _enable, danger=False
        ),
        ConfirmedAction(
            "delete", "Delete", "Memberships and roles are deleted. The users stay. This cannot be undone.",
            _WRITE, _delete, question="Delete {Name}?", typed="Name",
        ),
    ],
)  # fmt: skip
