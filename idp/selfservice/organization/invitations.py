"""Invitations into an organization: which there are, sending one again, and revoking it."""

from functools import partial
from typing import Any
from uuid import UUID

import asyncpg
from litestar import Response

from idp.directory import invitations as service
from idp.directory.errors import UnknownInvitationError
from idp.directory.models import InvitationState
from idp.directory.repository.invitations import INVITATIONS
from idp.directory.repository.organizations import MEMBERS
from idp.directory.repository.roles import ROLES
from idp.errors import DomainError, TooManyRequestsError
from idp.infra.db.listing import all_rows, find
from idp.infra.i18n import gettext as _
from idp.selfservice.organization.components import ask
from idp.selfservice.organization.page import Visit, ask_to_wait, done, next_url, one, page, render, rows
from idp.settings import settings

SECTION = "invitations"
_INVITATION = "/invitations/{invitation_id:uuid}"


def _state(row: asyncpg.Record) -> dict[str, Any]:
    """Return the word for the state of an invitation, the mood of its badge, and whether it is open."""
    words = {
        InvitationState.OPEN: (_("open"), ""),
        InvitationState.ACCEPTED: (_("accepted"), "good"),
        InvitationState.DECLINED: (_("declined"), ""),
        InvitationState.REVOKED: (_("revoked"), ""),
        InvitationState.EXPIRED: (_("expired"), "bad"),
    }
    label, mood = words[InvitationState(row["state"])]
    return {"label": label, "mood": mood, "open": row["state"] == InvitationState.OPEN}


async def _roles_of(visit: Visit, row: asyncpg.Record, names: dict[UUID, str] | None = None) -> list[str]:
    """Return the names of the roles that an invitation gives. Those deleted since are left out."""
    names = await role_names(visit) if names is None else names
    return sorted(names[each] for each in row["role_ids"] if each in names)


async def role_names(visit: Visit) -> dict[UUID, str]:
    """Return the names of the roles of the organization."""
    found = await all_rows(ROLES, {"organization_id": str(visit.organization.id)})
    return {row["id"]: row["name"] for row in found}


@page("GET", "/invitations")
async def list_invitations(visit: Visit) -> Response[Any]:
    only_open = visit.query.get("open") == "true"
    found = await rows(visit, INVITATIONS, **({"open": "true"} if only_open else {}))
    names = await role_names(visit)
    shown = [
        {"invitation": row, "state": _state(row), "roles": await _roles_of(visit, row, names)} for row in found.rows
    ]
    return render(
        visit, "invitations", SECTION, invitations=shown, only_open=only_open, sends=settings().sends_mail,
        next=next_url(visit, found),
    )  # fmt: skip


async def _found(visit: Visit) -> asyncpg.Record:
    row: asyncpg.Record = await one(visit, INVITATIONS, id=visit.ids["invitation_id"])
    return row


async def _member(visit: Visit, user_id: UUID | None) -> asyncpg.Record | None:
    """Return a user who is a member now. Of others the organization learns nothing."""
    if user_id is None:
        return None
    found: asyncpg.Record | None = await find(MEMBERS, organization_id=str(visit.organization.id), user_id=str(user_id))
    return found


async def _show(visit: Visit, error: DomainError | str | None = None) -> Response[Any]:
    row = await _found(visit)
    return render(
        visit, "invitation", SECTION, invitation=row, state=_state(row), roles=await _roles_of(visit, row),
        inviter=await _member(visit, row["invited_by"]), member=await _member(visit, row["user_id"]), error=error,
        sends=settings().sends_mail,
    )  # fmt: skip


@page("GET", _INVITATION)
async def show_invitation(visit: Visit) -> Response[Any]:
    return await _show(visit)


@page("POST", f"{_INVITATION}/resend", fresh=True, back="/invitations/{invitation_id}")
async def resend_invitation(visit: Visit) -> Response[Any]:
    row = await _found(visit)
    try:
        await service.resend(visit.organization.id, row["id"])
    except UnknownInvitationError as error:
        return await _show(visit, error)
    except TooManyRequestsError as error:
        return await ask_to_wait(partial(_show, visit), error)
    return done(visit, f"/invitations/{row['id']}", "invited-again")


@page("GET", f"{_INVITATION}/revoke", fresh=True)
async def ask_revoke_invitation(visit: Visit) -> Response[Any]:
    row = await _found(visit)
    return ask(
        visit, SECTION, heading=_("Revoke this invitation?"), facts={_("Email address"): row["email"]},
        text=_("The link in the email stops working. You can invite the address again later."), label=_("Revoke"),
        back=f"/invitations/{row['id']}", danger=True,
    )  # fmt: skip


@page("POST", f"{_INVITATION}/revoke", fresh=True)
async def revoke_invitation(visit: Visit) -> Response[Any]:
    row = await _found(visit)
    try:
        await service.revoke(visit.organization.id, row["id"])
    except UnknownInvitationError as error:
        return await _show(visit, error)
    return done(visit, f"/invitations/{row['id']}", "revoked")
