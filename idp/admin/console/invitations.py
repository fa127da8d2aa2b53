"""Invitations that were neither used nor revoked: the list, one of them, resend and revoke."""

from typing import Any
from uuid import UUID

from litestar import Response

from idp.accounts import invitations
from idp.accounts.repository.invitations import INVITATIONS
from idp.admin.console import actions
from idp.admin.console.actions import ConfirmedAction
from idp.admin.console.components import Action, Cell, Field, asked_page, facts, next_url, one, when
from idp.admin.console.screen import HOME, AdminRequest, render, screen
from idp.admin.roles import Permission
from idp.settings import settings

SECTION = "invitations"
_WRITE = Permission.USERS_WRITE


@screen("GET", "/invitations", Permission.USERS_READ)
async def list_invitations(request: AdminRequest) -> Response[str]:
    found = await asked_page(request, INVITATIONS)
    rows = [
        [Cell(row["email"], f"{HOME}/{SECTION}/{row['id']}"), Cell(row["name"]), when(row["created_at"]), _until(row)]
        for row in found.rows
    ]
    may = _WRITE in request.caller.allowed and settings().sends_mail
    return render(
        request, "list", section=SECTION, heading="Invitations", path=f"{HOME}/{SECTION}", rows=rows,
        intro="Users who were invited and have not created their account yet.",
        filters=[Field("email", "Email address", request.query.get("email", ""))],
        columns=("Email address", "Name", "Created", "Works until"), next=next_url(request, found),
        acts=[Action("Invite a user", f"{HOME}/users/invite")] if may else [],
        empty="No invitation is pending.",
    )  # fmt: skip


def _until(row: Any) -> Cell:
    return Cell("expired", mood="bad") if row["expired"] else when(row["expires_at"])


@screen("GET", "/invitations/{user_invitation_id}", Permission.USERS_READ)
async def show_invitation(request: AdminRequest) -> Response[str]:
    row = await one(INVITATIONS, id=request.params["user_invitation_id"])
    path = f"{HOME}/{SECTION}/{row['id']}"
    shown = {"Name": row["name"], "Created": row["created_at"], "Works until": _until(row)}
    buttons = [
        *([Action("Send again", f"{path}/resend")] if settings().sends_mail else []),
        *([] if row["expired"] else [Action("Revoke", f"{path}/revoke", danger=True)]),
    ]
    return render(
        request, "record", section=SECTION, heading=row["email"], facts=facts(shown),
        acts=buttons if _WRITE in request.caller.allowed else [],
    )  # fmt: skip


async def _resend(_visit: AdminRequest, invitation_id: str) -> tuple[str, str]:
    row = await one(INVITATIONS, id=invitation_id)
    await invitations.resend(UUID(str(row["id"])))
    return f"/{SECTION}", "invited"


async def _revoke(_visit: AdminRequest, invitation_id: str) -> tuple[str, str]:
    row = await one(INVITATIONS, id=invitation_id)
    await invitations.revoke(UUID(str(row["id"])))
    return f"/{SECTION}", "invitation-revoked"


async def _named(invitation_id: str) -> dict[str, Any]:
    row = await one(INVITATIONS, id=invitation_id)
    return {"Email address": row["email"], "Name": row["name"]}


actions.declare_actions(
    SECTION,
    "user_invitation_id",
    _named,
    [
        ConfirmedAction(
            "resend", "Send again", "The mail has a new link. The link of the mail before stops working.", _WRITE,
            _resend, danger=False, fresh=False,
        ),
        ConfirmedAction(
            "revoke", "Revoke", "The link in the mail stops working. You can invite the user again.", _WRITE, _revoke,
            fresh=False,
        ),
    ],
)  # fmt: skip
