"""Roles of an organization: creating, changing and deleting them."""

from contextlib import suppress
from typing import Any
from uuid import UUID

import asyncpg
from litestar import Response

from idp.directory import roles as service
from idp.directory.names import MAX_DESCRIPTION
from idp.directory.repository.roles import HOLDERS, ROLES, role_by_id
from idp.errors import ConflictError, NotFoundError, ValidationError, VersionConflictError
from idp.infra.db.listing import all_rows
from idp.infra.i18n import gettext as _
from idp.selfservice.organization.components import Field, ask, form
from idp.selfservice.organization.page import Visit, done, next_url, one, page, render, rows

SECTION = "roles"
ROLE = "/roles/{role_id:uuid}"
_ERRORS = (ValidationError, ConflictError)


@page("GET", "/roles")
async def list_roles(visit: Visit) -> Response[Any]:
    found = await rows(visit, ROLES)
    return render(visit, "roles", SECTION, roles=found.rows, next=next_url(visit, found))


async def role(visit: Visit, name: str = "role_id") -> asyncpg.Record:
    """Return the role that the path names.

    Raises:
        NotFoundError: the organization has no such role.
    """
    row: asyncpg.Record = await one(visit, ROLES, id=visit.ids[name])
    return row


async def chosen_role(visit: Visit) -> asyncpg.Record:
    """Return the role that the form names.

    Raises:
        NotFoundError: the organization has no such role.
    """
    with suppress(ValueError):
        row: asyncpg.Record = await one(visit, ROLES, id=UUID(visit.form.get("role", "")))
        return row
    raise NotFoundError("The form names no role.")


@page("GET", ROLE)
async def show_role(visit: Visit) -> Response[Any]:
    row = await role(visit)
    inside = {"organization_id": str(visit.organization.id)}
    contained = await all_rows(ROLES, inside | {"contained_in": str(row["id"])})
    holders = await rows(visit, HOLDERS, role_id=str(row["id"]))
    return render(
        visit, "role", SECTION, role=row, contained=contained, holders=holders.rows, next=next_url(visit, holders)
    )


def _form(visit: Visit, row: asyncpg.Record | None = None, error: Any = None) -> Response[Any]:
    values = visit.form or (dict(row) if row is not None else {})
    fields = [
        Field("name", _("Name"), values.get("name", ""), hint=_("Applications read it, such as editor.")),
        Field(
            "description", _("Description"), values.get("description", ""), required=False, max_length=MAX_DESCRIPTION
        ),
    ]  # fmt: skip
    return form(
        visit, SECTION, heading=_("New role") if row is None else _("Change %(role)s", role=row["name"]), fields=fields,
        label=_("Create") if row is None else _("Save"), back="/roles" if row is None else f"/roles/{row['id']}",
        version=visit.form.get("version") or (row["updated_at"].isoformat() if row is not None else ""), error=error,
    )  # fmt: skip


def _entered(visit: Visit) -> dict[str, str]:
    return {name: visit.form.get(name, "").strip() for name in ("name", "description")}


@page("GET", "/roles/add")
async def new_role(visit: Visit) -> Response[Any]:
    return _form(visit)


@page("POST", "/roles/add")
async def create_role(visit: Visit) -> Response[Any]:
    try:
        made = await service.create(**_entered(visit), organization_id=visit.organization.id)
    except _ERRORS as error:
        return _form(visit, error=error)
    return done(visit, f"/roles/{made.id}", "role")


@page("GET", f"{ROLE}/change")
async def change_role_form(visit: Visit) -> Response[Any]:
    return _form(visit, await role(visit))


@page("POST", f"{ROLE}/change")
async def change_role(visit: Visit) -> Response[Any]:
    row = await role(visit)
    try:
        before = await role_by_id(row["id"])
        if before is None or before.updated_at.isoformat() != visit.form.get("version"):
            raise VersionConflictError
        await service.update(before.id, **_entered(visit), expected=before)
    except _ERRORS as error:
        return _form(visit, row, error)
    return done(visit, f"/roles/{row['id']}", "saved")


@page("GET", f"{ROLE}/delete", fresh=True)
async def ask_delete_role(visit: Visit) -> Response[Any]:
    row = await role(visit)
    return ask(
        visit, SECTION, heading=_("Delete this role?"), facts={_("Role"): row["name"]},
        text=_("Every member loses this role, and applications no longer see it. This cannot be undone."),
        label=_("Delete"), back=f"/roles/{row['id']}", danger=True,
    )  # fmt: skip


@page("POST", f"{ROLE}/delete", fresh=True)
async def delete_role(visit: Visit) -> Response[Any]:
    await service.delete((await role(visit))["id"])
    return done(visit, "/roles", "deleted")
