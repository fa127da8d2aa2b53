"""Screens of admins, the mail outbox and the settings."""

from typing import Any
from uuid import UUID

from litestar import Response

from idp.accounts.repository.admin_roles import ADMINS
from idp.admin import roles
from idp.admin.access import check_user
from idp.admin.console import actions
from idp.admin.console.actions import ConfirmedAction
from idp.admin.console.components import Action, Cell, Field, asked_page, facts, next_url, one, text, when
from idp.admin.console.screen import HOME, AdminRequest, render, screen
from idp.admin.roles import Permission
from idp.mail import repository as mails
from idp.mail.repository import MAILS


@screen("GET", "/admins", Permission.ADMINS_READ)
async def list_admins(request: AdminRequest) -> Response[str]:
    found = await asked_page(request, ADMINS)
    may = Permission.ADMINS_WRITE in request.caller.allowed
    rows = [
        [
            Cell(row["email"], f"{HOME}/users/{row['user_id']}"),
            Cell(row["role"].replace("_", " ")),
            text(row["granted_by"]),
            when(row["granted_at"]),
            Cell("Revoke the role", f"{HOME}/admins/{row['id']}/revoke") if may else Cell(),
        ]
        for row in found.rows
    ]
    return render(
        request, "list", section="admins", heading="Admins", path=f"{HOME}/admins",
        intro="Users with a role. To give a user a role, find the user under Users.",
        columns=("Email address", "Role", "Given by", "Since", ""), rows=rows, next=next_url(request, found),
    )  # fmt: skip


@screen("GET", "/admins/{admin_id}", Permission.ADMINS_READ)
async def show_admin(request: AdminRequest) -> Response[str]:
    row = await one(ADMINS, id=request.params["admin_id"])
    shown = {"Role": row["role"].replace("_", " "), "Given by": row["granted_by"], "Since": row["granted_at"]}
    return render(request, "record", section="admins", heading=row["email"], facts=facts(shown))


async def _revoke(request: AdminRequest, admin_id: str) -> tuple[str, str]:
    row = await one(ADMINS, id=admin_id)
    user_id = UUID(str(row["user_id"]))
    await check_user(request.caller, user_id)
    await roles.revoke(user_id, row["role"])
    return "/admins", "revoked"


async def _named_admin(admin_id: str) -> dict[str, Any]:
    row = await one(ADMINS, id=admin_id)
    return {"Email address": row["email"], "Role": row["role"].replace("_", " ")}


actions.declare_actions(
    "admins",
    "admin_id",
    _named_admin,
    [
        ConfirmedAction(
            "revoke", "Revoke the role", "The user loses its permissions immediately.", Permission.ADMINS_WRITE, _revoke
        )
    ],
)


@screen("GET", "/outbox", Permission.OUTBOX_READ)
async def list_mails(request: AdminRequest) -> Response[str]:
    found = await asked_page(request, MAILS)
    rows = [
        [
            Cell(row["recipient"], f"{HOME}/outbox/{row['id']}"),
            Cell(row["template"].replace("_", " ")),
            Cell(row["state"], mood={"sent": "good", "dead": "bad"}.get(row["state"], "plain")),
            text(row["response"]),
            when(row["created_at"]),
        ]
        for row in found.rows
    ]
    may_test = Permission.OUTBOX_WRITE in request.caller.allowed
    tests = [Action("Send a test email", f"{HOME}/outbox/test")] if may_test else []
    states = MAILS.filters["state"].choices
    filters = [
        Field("recipient", "Recipient", request.query.get("recipient", "")),
        Field(
            "state", "State", request.query.get("state", ""), "choice",
            choices=(("", "All"), *((state, state) for state in states)),
        ),
    ]  # fmt: skip
    return render(
        request, "list", section="outbox", heading="Mail", path=f"{HOME}/outbox", filters=filters,
        acts=tests,
        intro="Mail to users, and its delivery. The content of a mail is not shown.",
        columns=("Recipient", "Mail", "State", "SMTP response", "Written"), rows=rows, next=next_url(request, found),
    )  # fmt: skip


@screen("GET", "/outbox/{mail_id}", Permission.OUTBOX_READ)
async def show_mail(request: AdminRequest) -> Response[str]:
    row = await one(MAILS, id=request.params["mail_id"])
    shown = {
        "Mail": row["template"].replace("_", " "),
        "State": row["state"],
        "Attempts": str(row["attempts"]),
        "SMTP response": row["response"],
        "Written": row["created_at"],
        "Next attempt": when(row["next_attempt_at"], "none"),
        "Finished": when(row["finished_at"], "not yet"),
    }
    retry = row["state"] == "deferred" and Permission.OUTBOX_WRITE in request.caller.allowed
    buttons = [Action("Try again now", f"{HOME}/outbox/{row['id']}/retry")] if retry else []
    return render(request, "record", section="outbox", heading=row["recipient"], facts=facts(shown), acts=buttons)


async def _retry(_visit: AdminRequest, mail_id: str) -> tuple[str, str]:
    row = await one(MAILS, id=mail_id)
    await mails.retry(row["id"])
    return f"/outbox/{row['id']}", "retried"


async def _named_mail(mail_id: str) -> dict[str, Any]:
    row = await one(MAILS, id=mail_id)
    return {"Recipient": row["recipient"], "Mail": row["template"].replace("_", " "), "Written": row["created_at"]}


actions.declare_actions(
    "outbox",
    "mail_id",
    _named_mail,
    [
        ConfirmedAction(
            "retry", "Try again now", "A deferred mail is tried again.", Permission.OUTBOX_WRITE, _retry,
            danger=False, fresh=False,
        )
    ],
)  # fmt: skip
