"""Screens of the types of authorization details (RFC 9396)."""

import json
from typing import Any

from litestar import Response

from idp.admin.console import actions
from idp.admin.console.actions import ConfirmedAction
from idp.admin.console.components import Action, Cell, Field, asked_page, facts, next_url, one, seen, version
from idp.admin.console.screen import FORM_ERRORS, HOME, AdminRequest, redirect_with_notice, render, screen
from idp.admin.roles import Permission
from idp.oauth.clients.repository import stored_resource_servers
from idp.oauth.details import registration
from idp.oauth.details.repository import DETAILS_TYPES

SECTION = "authorization_details"
_READ, _WRITE = Permission.RESOURCE_SERVERS_READ, Permission.RESOURCE_SERVERS_WRITE
#: What a form for a new type begins with.
_SCHEMA = {
    "type": "object",
    "properties": {"type": {"type": "string"}, "actions": {"type": "array", "items": {"enum": ["read"]}}},
    "required": ["type"],
    "additionalProperties": False,
}


@screen("GET", f"/{SECTION}", _READ)
async def list_types(request: AdminRequest) -> Response[str]:
    found = await asked_page(request, DETAILS_TYPES)
    rows = [
        [
            Cell(row["type"], f"{HOME}/{SECTION}/{row['id']}"), Cell(row["title"]), Cell(row["resource_name"]),
            Cell("each time" if row["ask_always"] else "once"),
        ]
        for row in found.rows
    ]  # fmt: skip
    create = [Action("New type", f"{HOME}/{SECTION}/new")] if _WRITE in request.caller.allowed else []
    return render(
        request, "list", section=SECTION, heading="Authorization details", path=f"{HOME}/{SECTION}", acts=create,
        intro="What clients may request in detail, such as one payment. A client names the types that it may use.",
        filters=[], columns=("Type", "Title", "Resource server", "The user is asked"),
        rows=rows, next=next_url(request, found),
    )  # fmt: skip


async def _form(
    request: AdminRequest, path: str, values: dict[str, Any], error: str | None = None, *, new: bool
) -> Response[str]:
    servers = [(server.identifier, server.name) for server in await stored_resource_servers()]
    fields = [
        Field("resource", "Resource server", values.get("resource") or "", "choice", choices=servers, required=True),
        Field(
            "title", "What an application may do", values.get("title") or "", required=True,
            help="The text of the consent page, for example: Make a payment.",
        ),
        Field(
            "summary", "A sentence about one object", values.get("summary") or "",
            help="{amount.value} is replaced by that value of the object. The consent page shows all values below it.",
        ),
        Field(
            "schema", "JSON Schema of the objects", values.get("schema") or "", "lines",
            "Draft 2020-12. It must name type among its properties, and refuse unknown members.",
        ),
        Field("ask_always", "Ask the user each time", "on" if values.get("ask_always") else "", "check"),
    ]  # fmt: skip
    if new:
        hint = "The name that clients send as type: a word, or one of your URIs."
        fields.insert(0, Field("type", "Type", values.get("type") or "", help=hint, required=True))
    heading = "New type of authorization details" if new else f"Change {values.get('type')}"
    return render(
        request, "form", section=SECTION, heading=heading, fields=fields, action=path, label="Save",
        back=path.rpartition("/")[0], error=error, status=400 if error else 200,
        version=version(request, values.get("updated_at")),
    )  # fmt: skip


def _entered(request: AdminRequest) -> dict[str, Any]:
    names = ("resource", "title", "summary", "schema")
    entered: dict[str, Any] = {name: request.form.get(name, "").strip() for name in names}
    return entered | {"ask_always": "ask_always" in request.form}


def _shown(row: Any) -> dict[str, Any]:
    return dict(row) | {"schema": json.dumps(json.loads(row["schema"]), indent=2)}


@screen("GET", f"/{SECTION}/new", _WRITE)
async def new_type(request: AdminRequest) -> Response[str]:
    return await _form(request, f"{HOME}/{SECTION}/new", {"schema": json.dumps(_SCHEMA, indent=2)}, new=True)


@screen("POST", f"/{SECTION}/new", _WRITE, fresh=True)
async def create_type(request: AdminRequest) -> Response[Any]:
    entered = _entered(request) | {"type": request.form.get("type", "").strip()}
    try:
        kind = await registration.register_type(**entered)
    except FORM_ERRORS as error:
        return await _form(request, f"{HOME}/{SECTION}/new", entered, error.description, new=True)
    return redirect_with_notice(f"/{SECTION}/{kind.id}")


@screen("GET", f"/{SECTION}/{{type_id}}", _READ)
async def show_type(request: AdminRequest) -> Response[str]:
    row = _shown(await one(DETAILS_TYPES, id=request.params["type_id"]))
    shown = {
        "Type": row["type"],
        "Resource server": row["resource_name"],
        "What an application may do": row["title"],
        "Sentence": row["summary"],
        "The user is asked": "each time" if row["ask_always"] else "once",
    }
    path = f"{HOME}/{SECTION}/{row['id']}"
    buttons = [Action("Change", f"{path}/change"), Action("Delete", f"{path}/delete", danger=True)]
    return render(
        request, "record", section=SECTION, heading=row["title"], facts=facts(shown),
        acts=buttons if _WRITE in request.caller.allowed else [], snippets=[("JSON Schema", row["schema"])],
        snippets_heading="Objects of this type",
    )  # fmt: skip


@screen("GET", f"/{SECTION}/{{type_id}}/change", _WRITE)
async def change_type(request: AdminRequest) -> Response[str]:
    row = _shown(await one(DETAILS_TYPES, id=request.params["type_id"]))
    return await _form(request, f"{HOME}/{SECTION}/{row['id']}/change", row, new=False)


@screen("POST", f"/{SECTION}/{{type_id}}/change", _WRITE, fresh=True)
async def save_type(request: AdminRequest) -> Response[Any]:
    row = await one(DETAILS_TYPES, id=request.params["type_id"])
    entered = _entered(request)
    try:
        await registration.update_type(row["id"], seen(request, row), **entered)
    except FORM_ERRORS as error:
        values = entered | {"type": row["type"]}
        return await _form(request, f"{HOME}/{SECTION}/{row['id']}/change", values, error.description, new=False)
    return redirect_with_notice(f"/{SECTION}/{row['id']}")


async def _delete(_visit: AdminRequest, type_id: str) -> tuple[str, str]:
    row = await one(DETAILS_TYPES, id=type_id)
    await registration.delete_type(row["id"])
    return f"/{SECTION}", "deleted"


async def _named(type_id: str) -> dict[str, Any]:
    row = await one(DETAILS_TYPES, id=type_id)
    return {"Type": row["type"], "What an application may do": row["title"]}


actions.declare_actions(
    SECTION,
    "type_id",
    _named,
    [ConfirmedAction("delete", "Delete", "Tokens are no longer issued with these details.", _WRITE, _delete)],
)
