"""Members of an organization: who they are, adding and removing them, and who manages it."""

from typing import Any

import asyncpg
from litestar import Response

from idp.accounts.addresses import InvalidEmailError, domain_of, normalise_email
from idp.accounts.repository.users import id_of_email
from idp.directory import member_states, organizations
from idp.directory.errors import LastAdminError, ManagedAccountError, UnknownMemberError
from idp.directory.repository.domains import DOMAINS
from idp.directory.repository.organizations import MEMBERS
from idp.directory.repository.roles import ROLES
from idp.errors import DomainError
from idp.infra.db.listing import all_rows
from idp.infra.i18n import gettext as _
from idp.selfservice.organization.components import Field, ask, form
from idp.selfservice.organization.page import (
    Visit,
    done,
    lock_users_first,
    next_url,
    one,
    page,
    render,
    rows,
    to_account,
)

SECTION = "members"
MEMBER = "/members/{user_id:uuid}"


@page("GET", "")
async def list_members(visit: Visit) -> Response[Any]:
    search = visit.query.get("q", "").strip()
    found = await rows(visit, MEMBERS, **({"q": search} if search else {}))
    return render(
        visit, "members", SECTION, members=found.rows, search=search, next=next_url(visit, found),
    )  # fmt: skip


async def member(visit: Visit) -> asyncpg.Record:
    """Return the member that the path names.

    Raises:
        NotFoundError: the organization has no such member.
    """
    row: asyncpg.Record = await one(visit, MEMBERS, user_id=visit.ids["user_id"])
    return row


def who(row: asyncpg.Record) -> dict[str, str]:
    """Return name and address of a member, for confirmations."""
    named = {_("Name"): row["name"]} if row["name"] else {}
    return {**named, _("Email address"): row["email"]}


@page("GET", MEMBER)
async def show_member(visit: Visit) -> Response[Any]:
    row = await member(visit)
    held = await all_rows(ROLES, {"organization_id": str(visit.organization.id), "user_id": str(row["user_id"])})
    return render(visit, "member", SECTION, member=row, roles=held, own=row["user_id"] == visit.user_id)


async def _verified_domains(visit: Visit) -> list[str]:
    filters = {"organization_id": str(visit.organization.id), "verified": "true"}
    return [row["domain"] for row in await all_rows(DOMAINS, filters)]


async def _add_form(visit: Visit, error: str | None = None) -> Response[Any]:
    known = await _verified_domains(visit)
    intro = (
        _("Add a person who has an account here with an address at %(domains)s.", domains=", ".join(known))
        if known
        else _("First verify a domain of the organisation. Then you can add people with an address at that domain.")
    )
    field = Field("email", _("Email address"), visit.form.get("email", ""), "email", ltr=True, max_length=320)
    return form(
        visit, SECTION, heading=_("Add a member"), intro=intro, fields=[field] if known else [], label=_("Add"),
        back="", error=error,
    )  # fmt: skip


@page("GET", "/members/add", fresh=True)
async def ask_add_member(visit: Visit) -> Response[Any]:
    return await _add_form(visit)


@page("POST", "/members/add", fresh=True)
async def add_member(visit: Visit) -> Response[Any]:
    try:
        email = normalise_email(visit.form.get("email", ""))
    except InvalidEmailError:
        return await _add_form(visit, _("This is not a valid address. Check it."))
    if domain_of(email) not in await _verified_domains(visit):
        # No look-up: who has an account with another address is not for the organization to know.
        return await _add_form(visit, _("The organisation has not verified the domain of this address."))
    user_id = await id_of_email(email)
    lock_users_first(visit, [user_id])
    try:
        await organizations.add_members(visit.organization.id, [user_id], delegated=True)
    except UnknownMemberError:
        return await _add_form(visit, _("No account has this address and has confirmed it."))
    return done(visit, f"/members/{user_id}", "added")


async def _ask_admin(visit: Visit, error: LastAdminError | None = None) -> Response[Any]:
    row = await member(visit)
    admin = not row["admin"]
    if admin:
        heading, label = _("Let this member manage the organisation?"), _("Let them manage it")
        text = _("They can change everything that you can change here, and can remove you as a manager.")
    else:
        heading, label = _("No longer let this member manage the organisation?"), _("No longer")
        text = _("The member stays in the organisation, with all roles.")
    return ask(
        visit, SECTION, heading=heading, facts=who(row), text=text, label=label, back=f"/members/{row['user_id']}",
        fields={"admin": "on" if admin else "off"}, error=error,
    )  # fmt: skip


@page("GET", f"{MEMBER}/admin", fresh=True)
async def ask_admin(visit: Visit) -> Response[Any]:
    return await _ask_admin(visit)


@page("POST", f"{MEMBER}/admin", fresh=True)
async def set_admin(visit: Visit) -> Response[Any]:
    row, admin = await member(visit), visit.form.get("admin") == "on"
    lock_users_first(visit, [row["user_id"]])
    try:
        await organizations.set_admin(visit.organization.id, row["user_id"], admin=admin, delegated=True)
    except LastAdminError as error:
        return await _ask_admin(visit, error)
    if not admin and row["user_id"] == visit.user_id:
        return to_account("no-admin")
    return done(visit, f"/members/{row['user_id']}", "admin" if admin else "no-admin")


@page("GET", f"{MEMBER}/reactivate", fresh=True)
async def ask_reactivate_member(visit: Visit) -> Response[Any]:
    row = await member(visit)
    return ask(
        visit, SECTION, heading=_("Reactivate this member?"), facts=who(row), label=_("Reactivate"),
        text=_("The member gets access and roles back. Your directory can disable the membership again."),
        back=f"/members/{row['user_id']}",
    )  # fmt: skip


@page("POST", f"{MEMBER}/reactivate", fresh=True)
async def reactivate_member(visit: Visit) -> Response[Any]:
    user_id = (await member(visit))["user_id"]
    lock_users_first(visit, [user_id])
    await member_states.reactivate(visit.organization.id, user_id)
    return done(visit, f"/members/{user_id}", "reactivated")


async def _ask_remove(visit: Visit, error: DomainError | None = None) -> Response[Any]:
    row = await member(visit)
    own = row["user_id"] == visit.user_id
    return ask(
        visit, SECTION, heading=_("Leave the organisation?") if own else _("Remove this member?"), facts=who(row),
        text=_("You lose the membership and all roles here. Your account stays. To come back, you need an invitation.")
        if own
        else _("They lose the membership and all roles here, but keep their account. You can invite them again."),
        label=_("Leave") if own else _("Remove"), back=f"/members/{row['user_id']}", error=error,
        danger=True,
    )  # fmt: skip


@page("GET", f"{MEMBER}/remove", fresh=True)
async def ask_remove_member(visit: Visit) -> Response[Any]:
    return await _ask_remove(visit)


@page("POST", f"{MEMBER}/remove", fresh=True)
async def remove_member(visit: Visit) -> Response[Any]:
    user_id = (await member(visit))["user_id"]
    lock_users_first(visit, [user_id])
    try:
        if user_id == visit.user_id:
            await organizations.leave(visit.organization.id, user_id, last_admin=False)
            return to_account("left")
        await organizations.remove_members(visit.organization.id, [user_id], delegated=True)
    except (LastAdminError, ManagedAccountError) as error:
        return await _ask_remove(visit, error)
    return done(visit, "", "removed")
