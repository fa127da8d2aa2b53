"""Screens of the token hooks: URLs that are asked before tokens of users are issued."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from litestar import Response

from idp.admin.console import actions
from idp.admin.console.actions import ConfirmedAction
from idp.admin.console.components import Action, Cell, Field, asked_page, facts, next_url, one, when
from idp.admin.console.once import secret_of, show_once
from idp.admin.console.screen import FORM_ERRORS, HOME, AdminRequest, redirect_with_notice, render, screen
from idp.admin.roles import Permission
from idp.oauth.claims.models import Place
from idp.oauth.clients.path_ids import path_id
from idp.oauth.clients.registration import UnknownClientError
from idp.oauth.token_hook import registration
from idp.oauth.token_hook.repository import TOKEN_HOOKS

SECTION = "token_hooks"
_READ, _WRITE = Permission.EVENTS_READ, Permission.EVENTS_WRITE
_INTRO = (
    "URLs that are asked before tokens of users are issued, by signed requests. They add claims, or deny the tokens."
    " A client with its own hook does not call the hook of all other clients, even if its own is disabled."
)
_OTHERS = "every client without a hook of its own"


@screen("GET", f"/{SECTION}", _READ)
async def list_hooks(request: AdminRequest) -> Response[str]:
    found = await asked_page(request, TOKEN_HOOKS)
    rows = [
        [
            Cell(row["url"], f"{HOME}/{SECTION}/{row['id']}"),
            _client(row["client_id"]),
            Cell(" ".join(row["places"])),
            Cell("issued" if row["fail_open"] else "not issued"),
            Cell("disabled" if row["disabled_at"] else "enabled", mood="bad" if row["disabled_at"] else "good"),
        ]
        for row in found.rows
    ]
    create = [Action("New token hook", f"{HOME}/{SECTION}/new")] if _WRITE in request.caller.allowed else []
    return render(
        request, "list", section=SECTION, heading="Token hooks", path=f"{HOME}/{SECTION}", acts=create, filters=[],
        intro=_INTRO, columns=("URL", "Client", "Asked about", "If it fails, tokens are", "State"), rows=rows,
        next=next_url(request, found),
    )  # fmt: skip


def _client(client_id: str | None) -> Cell:
    return Cell(_OTHERS) if client_id is None else Cell(client_id, f"{HOME}/clients/{path_id(client_id)}")


def _form(
    request: AdminRequest, values: Mapping[str, str], error: str | None = None, *, hook: Mapping[str, Any] | None = None
) -> Response[str]:
    fields = [
        Field("url", "URL", values.get("url", ""), help="An https URL.", required=True),
        *(
            []
            if hook is not None
            else [Field("client_id", "Client", values.get("client_id", ""), help=(
                f"The client_id of the client. Leave empty for"
                f" {_OTHERS}."
            ))]
        ),
        *(
            Field(f"in_{place}", f"Ask about {name}", values.get(f"in_{place}", ""), "check")
            for place, name in _NAMES.items()
        ),
        Field(
            "fail_open", "If the hook fails, issue tokens without its claims", values.get("fail_open", ""), "check",
            "Otherwise no one gets tokens while the hook fails.",
        ),
    ]  # fmt: skip
    path = f"{HOME}/{SECTION}" if hook is None else f"{HOME}/{SECTION}/{hook['id']}"
    return render(
        request, "form", section=SECTION, heading="New token hook" if hook is None else hook["url"], fields=fields,
        action=f"{path}/new" if hook is None else f"{path}/change", label="Add" if hook is None else "Save", back=path,
        error=error, status=400 if error else 200,
    )  # fmt: skip


_NAMES = {
    Place.ACCESS_TOKEN: "access tokens",
    Place.ID_TOKEN: "ID tokens",
    Place.USERINFO: "userinfo, at each request",
    Place.INTROSPECTION: "introspection, at each request",
}


def _entered(form: Mapping[str, str]) -> dict[str, Any]:
    return {
        "url": form.get("url", "").strip(),
        "places": tuple(place for place in Place if f"in_{place}" in form),
        "fail_open": "fail_open" in form,
    }


@screen("GET", f"/{SECTION}/new", _WRITE)
async def new_hook(request: AdminRequest) -> Response[str]:
    return _form(request, {f"in_{place}": "on" for place in registration.DEFAULT_PLACES})


@screen("POST", f"/{SECTION}/new", _WRITE, fresh=True)
async def add_hook(request: AdminRequest) -> Response[Any]:
    entered, client_id = _entered(request.form), request.form.get("client_id", "").strip()
    try:
        hook_id, secret = await registration.add(client_id or None, entered.pop("url"), **entered)
    except (*FORM_ERRORS, UnknownClientError) as error:
        return _form(request, request.form, error.description)
    return show_once(request, f"/{SECTION}/{hook_id}", secret)


@screen("GET", f"/{SECTION}/{{hook_id}}", _READ)
async def show_hook(request: AdminRequest) -> Response[str]:
    return await _record(request, request.params["hook_id"])


async def _record(request: AdminRequest, hook_id: str) -> Response[str]:
    row = await one(TOKEN_HOOKS, id=hook_id)
    shown = {
        "Client": row["client_id"] or _OTHERS,
        "Asked about": list(row["places"]),
        "If it fails, tokens are": "issued without its claims" if row["fail_open"] else "not issued",
        "Previous secret also signs until": when(row["old_secret_until"], "no longer"),
        "Disabled": when(row["disabled_at"], "no"),
        "Created": row["created_at"],
    }
    path = f"{HOME}/{SECTION}/{row['id']}"
    state = Action("Enable", f"{path}/enable") if row["disabled_at"] else Action("Disable", f"{path}/disable")
    buttons = [
        Action("Change", f"{path}/change"), Action("New secret", f"{path}/rotate"), state,
        Action("Delete", f"{path}/delete", danger=True),
    ]  # fmt: skip
    return render(
        request, "record", section=SECTION, heading=row["url"], facts=facts(shown), secret=secret_of(request),
        acts=buttons if _WRITE in request.caller.allowed else [], shown_once="The secret",
    )  # fmt: skip


@screen("GET", f"/{SECTION}/{{hook_id}}/change", _WRITE)
async def change_hook(request: AdminRequest) -> Response[str]:
    row = await one(TOKEN_HOOKS, id=request.params["hook_id"])
    values = {"url": row["url"], "fail_open": "on" if row["fail_open"] else ""}
    return _form(request, values | {f"in_{place}": "on" for place in row["places"]}, hook=row)


@screen("POST", f"/{SECTION}/{{hook_id}}/change", _WRITE, fresh=True)
async def save_hook(request: AdminRequest) -> Response[Any]:
    row = await one(TOKEN_HOOKS, id=request.params["hook_id"])
    try:
        await registration.update(row["id"], **_entered(request.form))
    except FORM_ERRORS as error:
        return _form(request, request.form, error.description, hook=row)
    return redirect_with_notice(f"/{SECTION}/{row['id']}")


async def _id(hook_id: str) -> UUID:
    row = await one(TOKEN_HOOKS, id=hook_id)
    return UUID(str(row["id"]))


async def _named(hook_id: str) -> dict[str, Any]:
    row = await one(TOKEN_HOOKS, id=hook_id)
    return {"URL": row["url"], "Client": row["client_id"] or _OTHERS}


async def _rotate(visit: AdminRequest, hook_id: str) -> Response[bytes]:
    return show_once(visit, f"/{SECTION}/{hook_id}", await registration.rotate_secret(await _id(hook_id)))


async def _disable(_visit: AdminRequest, hook_id: str) -> tuple[str, str]:
    await registration.set_enabled(await _id(hook_id), False)
    return f"/{SECTION}/{hook_id}", "saved"


async def _enable(_visit: AdminRequest, hook_id: str) -> tuple[str, str]:
    await registration.set_enabled(await _id(hook_id), True)
    return f"/{SECTION}/{hook_id}", "saved"


async def _delete(_visit: AdminRequest, hook_id: str) -> tuple[str, str]:
    await registration.remove(await _id(hook_id))
    return f"/{SECTION}", "deleted"


actions.declare_actions(
    SECTION,
    "hook_id",
    _named,
    [
        ConfirmedAction("rotate", "New secret", "The previous secret also signs for a time.", _WRITE, _rotate),
        ConfirmedAction(
            "disable",
            "Disable",
            "Tokens are issued without the claims of the hook, and none are denied.",
            _WRITE,
            _disable,
        ),
        ConfirmedAction("enable", "Enable", "The hook is asked again from now on.", _WRITE, _enable, danger=False),
        ConfirmedAction(
            "delete",
            "Delete",
            "Tokens are issued without the claims of the hook, and none are denied.",
            _WRITE,
            _delete,
        ),
    ],
)
