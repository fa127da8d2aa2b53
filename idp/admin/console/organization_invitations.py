"""Screens of invitations into an organization."""

from typing import Any
from uuid import UUID

import asyncpg
from litestar import Response

from idp.admin.console.components import Action, Cell, Field, asked_page, facts, next_url, text, when
from idp.admin.console.organization_parts import REFUSALS, Act, Part, declare_acts, sentence
from idp.admin.console.organizations import ONE, SECTION, organization
from idp.admin.console.screen import HOME, AdminRequest, redirect_with_notice, render, screen
from idp.admin.roles import Permission
from idp.directory import invitations
from idp.directory.models import InvitationState
from idp.directory.repository.invitations import INVITATIONS
from idp.directory.repository.roles import ROLES
from idp.infra.db.listing import all_rows
from idp.settings import settings

_READ, _WRITE = Permission.ORGANIZATIONS_READ, Permission.ORGANIZATIONS_WRITE
_INVITATIONS = Part("invitations", "invitation_id", INVITATIONS, "Email address", "email")
_MOODS = {InvitationState.OPEN: "plain", InvitationState.ACCEPTED: "good"}


@screen("GET", f"{ONE}/invitations", _READ)
async def list_invitations(request: AdminRequest) -> Response[str]:
    row = await organization(request)
    found = await asked_page(request, INVITATIONS, organization_id=str(row["id"]))
    path = f"{HOME}/{SECTION}/{row['id']}"
    rows = [
        [
            Cell(each["email"], f"{path}/invitations/{each['id']}"),
            _state(each),
            text(each["inviter_email"]),
            when(each["sent_at"]),
            when(each["expires_at"]),
        ]
        for each in found.rows
    ]
    filters = [
        Field(
            "open", "State", request.query.get("open", ""), "choice",
            choices=(("", "All"), ("true", "Open"), ("false", "Ended")),
        )
    ]  # fmt: skip
    sends = settings().sends_mail
    invite = {
        "heading": "Invite", "action": f"{path}/invitations", "fields": await _fields(row["id"], request.kept),
        "label": "Send the invitation",
    }  # fmt: skip
    return render(
        request, "list", section=SECTION, heading=f"Invitations into {row['name']}", path=f"{path}/invitations",
        acts=[Action("Organisation", path)], filters=filters,
        columns=("Email address", "State", "Invited by", "Sent", "Expires"), rows=rows, next=next_url(request, found),
        forms=[invite] if row["disabled_at"] is None and sends and _WRITE in request.caller.allowed else [],
    )  # fmt: skip


def _state(row: asyncpg.Record) -> Cell:
    return Cell(row["state"], mood=_MOODS.get(row["state"], "bad"))


async def _fields(organization_id: UUID, entered: Any) -> list[Field]:
    roles = await all_rows(ROLES, {"organization_id": str(organization_id)})
    return [
        Field("email", "Email address", entered.get("email", ""), "email", required=True),
        *(
            Field(f"role_{each['id']}", f"Role {each['name']}", entered.get(f"role_{each['id']}", ""), "check")
            for each in roles
        ),
        Field("admin", "Manages the organisation", entered.get("admin", ""), "check"),
    ]


@screen("POST", f"{ONE}/invitations", _WRITE, fresh=True)
async def invite(request: AdminRequest) -> Response[Any]:
    row, form = await organization(request), request.form
    path = f"/{SECTION}/{row['id']}/invitations"
    roles = await all_rows(ROLES, {"organization_id": str(row["id"])})
    try:
        sent = await invitations.invite(
            row["id"],
            form.get("email", ""),
            role_ids=[each["id"] for each in roles if f"role_{each['id']}" in form],
            admin="admin" in form,
            invited_by=request.user.id,
        )
    except REFUSALS as error:
        return render(
            request, "form", section=SECTION, heading=f"Invite into {row['name']}", action=f"{HOME}{path}",
            fields=await _fields(row["id"], form), label="Send the invitation", back=f"{HOME}{path}",
            error=sentence(error), status=400,
        )  # fmt: skip
    return redirect_with_notice(f"{path}/{sent.invitation.id}", "invited")


@screen("GET", _INVITATIONS.pattern, _READ)
async def show_invitation(request: AdminRequest) -> Response[str]:
    row, found = await organization(request), await _INVITATIONS.found(request)
    roles = await all_rows(ROLES, {"organization_id": str(row["id"])})
    here, who = f"{HOME}{_INVITATIONS.path(found)}", found["user_id"]
    shown = {
        "Organisation": Cell(row["name"], f"{HOME}/{SECTION}/{row['id']}"),
        "State": _state(found),
        "Roles": ", ".join(each["name"] for each in roles if each["id"] in found["role_ids"]),
        "Manages it": found["admin"],
        "Invited by": found["inviter_email"],
        "Created": found["created_at"],
        "Sent": found["sent_at"],
        "Expires": when(found["expires_at"]),
        "Answered by": Cell(str(who), f"{HOME}/users/{who}") if who is not None else None,
        "Ended": found["ended_at"],
    }
    buttons = [Action("Send again", f"{here}/resend"), Action("Revoke", f"{here}/revoke", danger=True)]
    return render(
        request, "record", section=SECTION, heading=found["email"], facts=facts(shown),
        acts=buttons if _WRITE in request.caller.allowed and found["ended_at"] is None else [],
    )  # fmt: skip


declare_acts(
    _INVITATIONS,
    [
        Act(
            "resend", "Send again", "The email has a new link. The earlier link stops working.",
            lambda row: invitations.resend(row["organization_id"], row["id"]), notice="invited",
        ),
        Act(
            "revoke", "Revoke", "The link in the email stops working. The address can be invited again.",
            lambda row: invitations.revoke(row["organization_id"], row["id"]), danger=True,
        ),
    ],
)  # fmt: skip
