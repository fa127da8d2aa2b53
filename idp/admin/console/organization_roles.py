"""Screens of the roles of an organization."""

from typing import Any

import asyncpg
from litestar import Response

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
    text,
    version,
    when,
)
from idp.admin.console.organizations import ONE, SECTION, organization, role_cells
from idp.admin.console.screen import FORM_ERRORS, HOME, AdminRequest, redirect_with_notice, render, screen
from idp.admin.roles import Permission
from idp.directory import roles
from idp.directory.repository.roles import HOLDERS, ROLES, role_by_id
from idp.errors import VersionConflictError

_READ, _WRITE = Permission.ORGANIZATIONS_READ, Permission.ORGANIZATIONS_WRITE
_ROLE = f"{ONE}/roles/{{role_id}}"


@screen("GET", f"{ONE}/roles", _READ)
async def list_roles(request: AdminRequest) -> Response[str]:
    row = await organization(request)
    found = await asked_page(request, ROLES, organization_id=str(row["id"]))
    path = f"{HOME}/{SECTION}/{row['id']}"
    add = {"heading": "New role", "action": f"{path}/roles", "fields": _role_fields({}), "label": "Create"}
    return render(
        request, "list", section=SECTION, heading=f"Roles of {row['name']}", path=f"{path}/roles",
        acts=[Action("Organisation", path)], columns=("Name", "Description"),
        rows=[role_cells(path, each) for each in found.rows], next=next_url(request, found),
        forms=[add] if _WRITE in request.caller.allowed else [],
    )  # fmt: skip


def _role_fields(values: dict[str, str]) -> list[Field]:
    return [
        Field("name", "Name", values.get("name", ""), required=True),
        Field("description", "Description", values.get("description", "")),
    ]


def _entered(request: AdminRequest) -> dict[str, str]:
    return {name: request.form.get(name, "").strip() for name in ("name", "description")}


@screen("POST", f"{ONE}/roles", _WRITE, page=f"/{SECTION}")
async def create_role(request: AdminRequest) -> Response[Any]:
    row = await organization(request)
    path = f"/{SECTION}/{row['id']}/roles"
    try:
        await roles.create(**_entered(request), organization_id=row["id"])
    except FORM_ERRORS as error:
        return render(
            request, "form", section=SECTION, heading=f"New role of {row['name']}",
            fields=_role_fields(_entered(request)), action=f"{HOME}{path}", label="Create", back=f"{HOME}{path}",
            error=error.description, status=400,
        )  # fmt: skip
    return redirect_with_notice(path)


async def _found_role(request: AdminRequest) -> asyncpg.Record:
    key = {"id": request.params["role_id"], "organization_id": request.params["organization_id"]}
    row: asyncpg.Record = await one(ROLES, **key)
    return row


@screen("GET", _ROLE, _READ)
async def show_role(request: AdminRequest) -> Response[str]:
    row, role = await organization(request), await _found_role(request)
    path = f"{HOME}/{SECTION}/{row['id']}"
    found = await asked_page(request, HOLDERS, role_id=str(role["id"]))
    shown = {
        "Organisation": Cell(row["name"], path),
        "Id": str(role["id"]),
        "Description": role["description"],
        "Created": role["created_at"],
    }
    holders = [
        [Cell(each["email"], f"{path}/members/{each['user_id']}"), text(each["name"]), when(each["created_at"])]
        for each in found.rows
    ]
    here = f"{path}/roles/{role['id']}"
    buttons = [Action("Change", f"{here}/change"), Action("Delete", f"{here}/delete", danger=True)]
    return render(
        request, "record", section=SECTION, heading=role["name"], facts=facts(shown),
        tables=[Table("Members who have it", ("Email address", "Name", "Since"), holders)],
        acts=buttons if _WRITE in request.caller.allowed else [],
    )  # fmt: skip


@screen("GET", f"{_ROLE}/change", _WRITE)
async def change_role_form(request: AdminRequest) -> Response[str]:
    return await _change_role_form(request)


async def _change_role_form(request: AdminRequest, error: str | None = None) -> Response[str]:
    role = await _found_role(request)
    path = f"{HOME}/{SECTION}/{role['organization_id']}/roles/{role['id']}"
    values = _entered(request) if request.form else dict(role)
    return render(
        request, "form", section=SECTION, heading=f"Change {role['name']}", fields=_role_fields(values),
        action=f"{path}/change", label="Save", back=path, error=error, status=400 if error else 200,
        version=version(request, role["updated_at"]),
    )  # fmt: skip


@screen("POST", f"{_ROLE}/change", _WRITE)
async def change_role(request: AdminRequest) -> Response[Any]:
    row = await _found_role(request)
    try:
        role = await role_by_id(row["id"])
        if role is None or role.updated_at != seen(request, row):
            raise VersionConflictError
        await roles.update(role.id, **_entered(request), expected=role)
    except FORM_ERRORS as error:
        return await _change_role_form(request, error.description)
    return redirect_with_notice(f"/{SECTION}/{row['organization_id']}/roles/{row['id']}")


@screen("GET", f"{_ROLE}/delete", _WRITE)
async def ask_delete_role(request: AdminRequest) -> Response[str]:
    row, role = await organization(request), await _found_role(request)
    path = f"{HOME}/{SECTION}/{row['id']}/roles/{role['id']}"
    return render(
        request, "form", section=SECTION, heading="Delete?", fields=[], action=f"{path}/delete", label="Delete",
        subject=facts({"Organisation": row["name"], "Role": role["name"]}), intro=(
            "Everyone loses the role."
        ), danger=True,
        back=path,
    )  # fmt: skip


@screen("POST", f"{_ROLE}/delete", _WRITE)
async def delete_role(request: AdminRequest) -> Response[Any]:
    role = await _found_role(request)
    await roles.delete(role["id"])
    return redirect_with_notice(f"/{SECTION}/{role['organization_id']}/roles", "deleted")
