"""Screens of the tokens with which other systems manage users and groups over SCIM."""

from typing import Any
from uuid import UUID

import asyncpg
from litestar import Response

from idp.admin.console import actions
from idp.admin.console.actions import ConfirmedAction
from idp.admin.console.components import Action, Cell, Field, asked_page, facts, next_url, one, when
from idp.admin.console.once import secret_of, show_once
from idp.admin.console.screen import FORM_ERRORS, HOME, AdminRequest, render, screen
from idp.admin.roles import Permission
from idp.directory import organizations
from idp.errors import NotFoundError, ValidationError
from idp.scim import tokens
from idp.scim.access import PATH
from idp.scim.repository.tokens import SCIM_TOKENS
from idp.settings import DAY, settings

SECTION = "scim_tokens"
_READ, _WRITE = Permission.SCIM_TOKENS_READ, Permission.SCIM_TOKENS_WRITE


@screen("GET", f"/{SECTION}", _READ)
async def list_scim_tokens(request: AdminRequest) -> Response[str]:
    found = await asked_page(request, SCIM_TOKENS)
    rows = [
        [
            Cell(row["name"], f"{HOME}/{SECTION}/{row['id']}"), _manages(row),
            Cell("reads and writes" if row["writes"] else "reads"),
            when(row["expires_at"]), when(row["last_used_at"], "never"),
        ]
        for row in found.rows
    ]  # fmt: skip
    intro = "Anyone who has one of these tokens can manage users and groups, at " + f"{settings().issuer}{PATH}."
    return render(
        request, "list", section=SECTION, heading="SCIM tokens", path=f"{HOME}/{SECTION}", filters=[],
        acts=[Action("New SCIM token", f"{HOME}/{SECTION}/new")] if _WRITE in request.caller.allowed else [],
        intro=intro if settings().scim else "No token can be used: IDP_SCIM is off.",
        columns=("Name", "Manages", "May", "Expires", "Last used"), rows=rows, next=next_url(request, found),
    )  # fmt: skip


def _manages(row: asyncpg.Record) -> Cell:
    if row["organization_id"] is None:
        return Cell("users and groups of the whole server")
    return Cell(f"organisation {row['organization']}", f"{HOME}/organizations/{row['organization_id']}")


def _form(request: AdminRequest, values: dict[str, str], error: str | None = None) -> Response[str]:
    fields = [
        Field("name", "Name, for administrators", values.get("name", ""), help=(
            "The system that uses the token."
        ), required=True),
        Field(
            "organization", "Organisation", values.get("organization", ""),
            help=(
                "The slug of an organisation, whose members and roles the token manages. Leave empty for all"
                " users and groups of the server."
            ),
        ),
        Field("days", "Days until it expires", values.get("days", "366"), "number", required=True),
        Field("writes", "May change users and groups", values.get("writes", ""), "check", (
            "Otherwise the system can only read them."
        )),
    ]  # fmt: skip
    return render(
        request, "form", section=SECTION, heading="New SCIM token", fields=fields, action=f"{HOME}/{SECTION}/new",
        label="Create", back=f"{HOME}/{SECTION}", error=error, status=400 if error else 200,
    )  # fmt: skip


@screen("GET", f"/{SECTION}/new", _WRITE)
async def new_scim_token(request: AdminRequest) -> Response[str]:
    return _form(request, {"writes": "on"})


@screen("POST", f"/{SECTION}/new", _WRITE, fresh=True)
async def create_scim_token(request: AdminRequest) -> Response[Any]:
    form = request.form
    try:
        lifetime = _days(form.get("days", "")) * DAY
        slug = form.get("organization", "").strip()
        of = (await organizations.named(slug)).id if slug else None
        token_id, token = await tokens.create(
            form.get("name", "").strip(), writes="writes" in form, lifetime=lifetime, organization_id=of
        )
    except (*FORM_ERRORS, NotFoundError) as error:
        return _form(request, dict(form), error.description)
    return show_once(request, f"/{SECTION}/{token_id}", token)


def _days(text: str) -> int:
    """Return a number of up to four digits.

    Raises:
        ValidationError: it is none.
    """
    if not text.strip().isascii() or not text.strip().isdigit() or len(text.strip()) > 4:
        raise ValidationError("The number of days must be a number.")
    return int(text)


@screen("GET", f"/{SECTION}/{{scim_token_id}}", _READ)
async def show_scim_token(request: AdminRequest) -> Response[str]:
    return await _record(request, request.params["scim_token_id"])


async def _record(request: AdminRequest, token_id: str) -> Response[str]:
    row = await one(SCIM_TOKENS, id=token_id)
    shown = {
        "Manages": _manages(row),
        "May": "read and change users and groups" if row["writes"] else "read users and groups",
        "URL": f"{settings().issuer}{PATH}",
        "Expires": row["expires_at"],
        "Previous value is valid until": when(row["old_expires_at"], "no longer"),
        "Last used": when(row["last_used_at"], "never"),
        "Origin of what the token adds": tokens.origin_of(row["id"]),
        "Created": row["created_at"],
    }
    path = f"{HOME}/{SECTION}/{row['id']}"
    buttons = [Action("New value", f"{path}/rotate"), Action("Delete", f"{path}/delete", danger=True)]
    return render(
        request, "record", section=SECTION, heading=row["name"], facts=facts(shown), secret=secret_of(request),
        acts=buttons if _WRITE in request.caller.allowed else [], shown_once="Token",
    )  # fmt: skip


async def _id(token_id: str) -> UUID:
    row = await one(SCIM_TOKENS, id=token_id)
    return UUID(str(row["id"]))


async def _named(token_id: str) -> dict[str, Any]:
    row = await one(SCIM_TOKENS, id=token_id)
    return {"Name": row["name"], "Last used": when(row["last_used_at"], "never")}


async def _rotate(visit: AdminRequest, token_id: str) -> Response[bytes]:
    return show_once(visit, f"/{SECTION}/{token_id}", await tokens.rotate(await _id(token_id)))


async def _delete(_visit: AdminRequest, token_id: str) -> tuple[str, str]:
    await tokens.delete(await _id(token_id))
    return f"/{SECTION}", "deleted"


actions.declare_actions(
    SECTION,
    "scim_token_id",
    _named,
    [
        ConfirmedAction(
            "rotate", "New value", (
                "The new value is valid for a year. The previous value stays valid for seven days."
            ), _WRITE,
            _rotate,
        ),
        ConfirmedAction(
            "delete", "Delete", (
                "The system with this token can change nothing more. The users and groups it added stay."
            ), _WRITE,
            _delete,
        ),
    ],
)  # fmt: skip
