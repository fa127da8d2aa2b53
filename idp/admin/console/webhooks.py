"""Screens of the webhooks."""

from typing import Any
from uuid import UUID

from litestar import Response

from idp.admin.console import actions
from idp.admin.console.actions import ConfirmedAction
from idp.admin.console.components import Action, Cell, Field, asked_page, checked, facts, next_url, one, when
from idp.admin.console.once import secret_of, show_once
from idp.admin.console.screen import FORM_ERRORS, HOME, AdminRequest, render, screen
from idp.admin.roles import Permission
from idp.events import webhooks
from idp.events.kinds import ALL, KINDS
from idp.events.repository import WEBHOOKS

SECTION = "webhooks"
_READ, _WRITE = Permission.EVENTS_READ, Permission.EVENTS_WRITE
_ENDS = "The webhook gets no more events, and waiting events are dropped."


@screen("GET", f"/{SECTION}", _READ)
async def list_webhooks(request: AdminRequest) -> Response[str]:
    found = await asked_page(request, WEBHOOKS)
    rows = [
        [
            Cell(row["url"], f"{HOME}/{SECTION}/{row['id']}"),
            Cell(row["description"]),
            Cell(", ".join(row["kinds"])),
            Cell("disabled" if row["disabled_at"] else "enabled", mood="bad" if row["disabled_at"] else "good"),
        ]
        for row in found.rows
    ]
    create = [Action("New webhook", f"{HOME}/{SECTION}/new")] if _WRITE in request.caller.allowed else []
    return render(
        request, "list", section=SECTION, heading="Webhooks", path=f"{HOME}/{SECTION}", acts=create, filters=[],
        intro="URLs that get events, signed by the Standard Webhooks specification.",
        columns=("URL", "Description", "Events", "State"), rows=rows, next=next_url(request, found),
    )  # fmt: skip


def _form(request: AdminRequest, values: dict[str, str], error: str | None = None) -> Response[str]:
    fields = [
        Field("url", "URL", values.get("url", ""), help="An https URL.", required=True),
        Field("description", "Description, for administrators", values.get("description", "")),
        Field(
            "whole", "Send whole rows of the audit trail", values.get("whole", ""), "check",
            "With actor, address, request and details. Otherwise only ids.",
        ),
        Field(
            "kinds", "Events", "\n".join(checked(values, "kinds")), "choices", required=True,
            choices=[(ALL, "All events of the audit trail"), *zip(KINDS, KINDS, strict=True)],
        ),
    ]  # fmt: skip
    return render(
        request, "form", section=SECTION, heading="New webhook", fields=fields, action=f"{HOME}/{SECTION}/new",
        label="Add", back=f"{HOME}/{SECTION}", error=error, status=400 if error else 200,
    )  # fmt: skip


@screen("GET", f"/{SECTION}/new", _WRITE)
async def new_webhook(request: AdminRequest) -> Response[str]:
    return _form(request, {})


@screen("POST", f"/{SECTION}/new", _WRITE, fresh=True)
async def add_webhook(request: AdminRequest) -> Response[Any]:
    form = request.form
    try:
        webhook_id, secret = await webhooks.add(
            form.get("url", "").strip(),
            checked(form, "kinds"),
            description=form.get("description", "").strip(),
            whole="whole" in form,
        )
    except FORM_ERRORS as error:
        return _form(request, dict(form), error.description)
    return show_once(request, f"/{SECTION}/{webhook_id}", secret)


@screen("GET", f"/{SECTION}/{{webhook_id}}", _READ)
async def show_webhook(request: AdminRequest) -> Response[str]:
    return await _record(request, request.params["webhook_id"])


async def _record(request: AdminRequest, webhook_id: str) -> Response[str]:
    row = await one(WEBHOOKS, id=webhook_id)
    shown = {
        "Description": row["description"],
        "Events": list(row["kinds"]),
        "Whole rows": row["whole"],
        "Previous secret also signs until": when(row["old_secret_until"], "no longer"),
        "Disabled": when(row["disabled_at"], "no"),
        "Created": row["created_at"],
    }
    path = f"{HOME}/{SECTION}/{row['id']}"
    state = Action("Enable", f"{path}/enable") if row["disabled_at"] else Action("Disable", f"{path}/disable")
    buttons = [
        *([] if row["disabled_at"] else [Action("Send a test event", f"{path}/test")]),
        Action("New secret", f"{path}/rotate"), state, Action("Delete", f"{path}/delete", danger=True),
    ]  # fmt: skip
    return render(
        request, "record", section=SECTION, heading=row["url"], facts=facts(shown), secret=secret_of(request),
        acts=buttons if _WRITE in request.caller.allowed else [], shown_once="The secret",
    )  # fmt: skip


async def _id(webhook_id: str) -> UUID:
    row = await one(WEBHOOKS, id=webhook_id)
    return UUID(str(row["id"]))


async def _named(webhook_id: str) -> dict[str, Any]:
    row = await one(WEBHOOKS, id=webhook_id)
    return {"URL": row["url"], "Description": row["description"]}


async def _test(_visit: AdminRequest, webhook_id: str) -> tuple[str, str]:
    delivery = await webhooks.send_test(await _id(webhook_id))
    return f"/deliveries/{delivery}", "queued"


async def _rotate(visit: AdminRequest, webhook_id: str) -> Response[bytes]:
    return show_once(visit, f"/{SECTION}/{webhook_id}", await webhooks.rotate_secret(await _id(webhook_id)))


async def _disable(_visit: AdminRequest, webhook_id: str) -> tuple[str, str]:
    await webhooks.set_enabled(await _id(webhook_id), False)
    return f"/{SECTION}/{webhook_id}", "saved"


async def _enable(_visit: AdminRequest, webhook_id: str) -> tuple[str, str]:
    await webhooks.set_enabled(await _id(webhook_id), True)
    return f"/{SECTION}/{webhook_id}", "saved"


async def _delete(_visit: AdminRequest, webhook_id: str) -> tuple[str, str]:
    await webhooks.remove(await _id(webhook_id))
    return f"/{SECTION}", "deleted"


actions.declare_actions(
    SECTION,
    "webhook_id",
    _named,
    [
        ConfirmedAction(
            "test", "Send a test event", "An event of the type webhook_test is sent.", _WRITE, _test,
            danger=False, fresh=False,
        ),
        ConfirmedAction("rotate", "New secret", "The previous secret also signs for a time.", _WRITE, _rotate),
        ConfirmedAction("disable", "Disable", _ENDS, _WRITE, _disable),
        ConfirmedAction("enable", "Enable", (
            "The webhook gets events again from now on."
        ), _WRITE, _enable, danger=False),
        ConfirmedAction("delete", "Delete", _ENDS, _WRITE, _delete),
    ],
)  # fmt: skip
