"""The SCIM tokens of an organization, with which its directory manages its members and roles."""

from typing import Any, Final

import asyncpg
from litestar import Response

from idp.errors import ConflictError, ValidationError
from idp.infra.i18n import duration
from idp.infra.i18n import gettext as _
from idp.scim import tokens
from idp.scim.access import PATH
from idp.scim.repository.tokens import SCIM_TOKENS
from idp.selfservice.organization.components import Field, ask, form
from idp.selfservice.organization.page import Visit, done, next_url, one, page, render, rows, secret_of, show_once
from idp.settings import DAY, settings

SECTION = "scim"
_TOKEN = "/scim/{token_id:uuid}"
#: What is offered, in days. The first one is chosen.
LIFETIMES: Final = (365, 180, 90, 30)
OVERLAPS: Final = (7, 1, 30, 0)


@page("GET", "/scim")
async def list_scim_tokens(visit: Visit) -> Response[Any]:
    found = await rows(visit, SCIM_TOKENS)
    return render(
        visit, "scim_tokens", SECTION, tokens=found.rows, url=f"{settings().issuer}{PATH}", on=settings().scim,
        next=next_url(visit, found),
    )  # fmt: skip


def _lifetime(visit: Visit) -> Field:
    choices = [(str(days), duration(days * DAY)) for days in LIFETIMES]
    return Field("days", _("Valid for"), visit.form.get("days", ""), "choice", choices=choices)


def _form(visit: Visit, error: Any = None) -> Response[Any]:
    fields = [
        Field("name", _("Name"), visit.form.get("name", ""), hint=_(
            "The name of the system that uses the token, such as Entra ID."
        )),
        _lifetime(visit),
        Field(
            "writes", _("It may change members and roles"), visit.form.get("writes", "" if visit.form else "on"),
            "check", _("Otherwise the system can only read them."),
        ),
    ]  # fmt: skip
    return form(
        visit, SECTION, heading=_("New SCIM token"), fields=fields, label=_("Create"), back="/scim", error=error,
        intro=_("Members with this role manage the members and roles of this organisation, and nothing else."),
    )  # fmt: skip


@page("GET", "/scim/add", fresh=True)
async def new_scim_token(visit: Visit) -> Response[Any]:
    return _form(visit)


@page("POST", "/scim/add", fresh=True)
async def create_scim_token(visit: Visit) -> Response[Any]:
    try:
        token_id, token = await tokens.create(
            visit.form.get("name", "").strip(),
            writes="writes" in visit.form,
            lifetime=_days(visit, "days", LIFETIMES) * DAY,
            organization_id=visit.organization.id,
        )
    except (ValidationError, ConflictError) as error:
        return _form(visit, error)
    return show_once(visit, f"/scim/{token_id}", token)


def _days(visit: Visit, name: str, offered: tuple[int, ...]) -> int:
    """Return the number of days that was chosen, or the first of those offered."""
    chosen = visit.form.get(name, "")
    return next((days for days in offered if str(days) == chosen), offered[0])


async def _found(visit: Visit) -> asyncpg.Record:
    row: asyncpg.Record = await one(visit, SCIM_TOKENS, id=visit.ids["token_id"])
    return row


@page("GET", _TOKEN)
async def show_scim_token(visit: Visit) -> Response[Any]:
    row, url = await _found(visit), f"{settings().issuer}{PATH}"
    return render(visit, "scim_token", SECTION, token=row, url=url, on=settings().scim, secret=secret_of(visit))


@page("GET", f"{_TOKEN}/rotate", fresh=True)
async def ask_rotate_scim_token(visit: Visit) -> Response[Any]:
    row = await _found(visit)
    overlaps = [(str(days), duration(days * DAY) if days else _("not at all")) for days in OVERLAPS]
    fields = [
        _lifetime(visit),
        Field(
            "overlap", _("The previous value stays valid for"), kind="choice", choices=overlaps,
            hint=_(
                "Enter the new value in the other system before then. If the old value was stolen, choose “not at all”."
            ),
        ),
    ]  # fmt: skip
    return form(
        visit, SECTION, heading=_("New value for %(name)s", name=row["name"]), fields=fields, label=_("New value"),
        back=f"/scim/{row['id']}",
    )  # fmt: skip


@page("POST", f"{_TOKEN}/rotate", fresh=True)
async def rotate_scim_token(visit: Visit) -> Response[Any]:
    token_id = (await _found(visit))["id"]
    token = await tokens.rotate(
        token_id,
        lifetime=_days(visit, "days", LIFETIMES) * DAY,
        overlap=_days(visit, "overlap", OVERLAPS) * DAY,
        organization_id=visit.organization.id,
    )
    return show_once(visit, f"/scim/{token_id}", token)


@page("GET", f"{_TOKEN}/revoke", fresh=True)
async def ask_revoke_scim_token(visit: Visit) -> Response[Any]:
    row = await _found(visit)
    return ask(
        visit, SECTION, heading=_("Revoke this token?"), facts={_("Name"): row["name"]},
        text=_(
            "The other system can no longer read or change anything. The members it added stay. This cannot be undone:"
            " the system needs a new token."
        ),
        label=_("Revoke"), back=f"/scim/{row['id']}", danger=True,
    )  # fmt: skip


@page("POST", f"{_TOKEN}/revoke", fresh=True)
async def revoke_scim_token(visit: Visit) -> Response[Any]:
    await tokens.delete((await _found(visit))["id"], organization_id=visit.organization.id)
    return done(visit, "/scim", "token-revoked")
