"""Giving members roles of the organization, and taking them, one at a time."""

from typing import Any

from litestar import Response

from idp.accounts.addresses import InvalidEmailError, normalise_email
from idp.accounts.repository.users import id_of_email
from idp.directory import roles as service
from idp.directory.errors import NotMemberError
from idp.directory.repository.roles import ROLES
from idp.errors import NotFoundError
from idp.infra.db.listing import all_rows
from idp.infra.i18n import gettext as _
from idp.selfservice.organization import members
from idp.selfservice.organization.components import Field, ask, form
from idp.selfservice.organization.members import MEMBER, member, who
from idp.selfservice.organization.page import Visit, done, lock_users_first, page
from idp.selfservice.organization.roles import ROLE, chosen_role, role
from idp.selfservice.organization.roles import SECTION as ROLES_SECTION

_TAKE = f"{MEMBER}/take/{{role_id:uuid}}"


async def _give_form(visit: Visit, error: str | None = None) -> Response[Any]:
    row, inside = await member(visit), {"organization_id": str(visit.organization.id)}
    held = {each["id"] for each in await all_rows(ROLES, inside | {"user_id": str(row["user_id"])})}
    others = [each for each in await all_rows(ROLES, inside) if each["id"] not in held]
    field = Field("role", _("Role"), kind="choice", choices=[(str(each["id"]), each["name"]) for each in others])
    return form(
        visit, members.SECTION, heading=_("Give %(member)s a role", member=row["name"] or row["email"]),
        intro=row["email"] if others else _("There is no other role yet. Create one first."),
        fields=[field] if others else [], label=_("Give"), back=f"/members/{row['user_id']}", error=error,
    )  # fmt: skip


@page("GET", f"{MEMBER}/give", fresh=True)
async def ask_give_to_member(visit: Visit) -> Response[Any]:
    return await _give_form(visit)


@page("POST", f"{MEMBER}/give", fresh=True)
async def give_to_member(visit: Visit) -> Response[Any]:
    row = await member(visit)
    try:
        chosen = await chosen_role(visit)
    except NotFoundError:
        return await _give_form(visit, _("This role no longer exists. Choose another one."))
    lock_users_first(visit, [row["user_id"]])
    await service.give(chosen["id"], [row["user_id"]])
    return done(visit, f"/members/{row['user_id']}", "given")


@page("GET", _TAKE, fresh=True)
async def ask_take_from_member(visit: Visit) -> Response[Any]:
    row, taken = await member(visit), await role(visit)
    return ask(
        visit, members.SECTION, heading=_("Remove this role?"), facts={**who(row), _("Role"): taken["name"]},
        text=_("The member stays in the organisation."), label=_("Remove"), back=f"/members/{row['user_id']}",
    )  # fmt: skip


@page("POST", _TAKE, fresh=True)
async def take_from_member(visit: Visit) -> Response[Any]:
    row, taken = await member(visit), await role(visit)
    lock_users_first(visit, [row["user_id"]])
    await service.take(taken["id"], [row["user_id"]])
    return done(visit, f"/members/{row['user_id']}", "taken")


async def _give_to_address(visit: Visit, error: str | None = None) -> Response[Any]:
    row = await role(visit)
    field = Field("email", _("Email address"), visit.form.get("email", ""), "email", ltr=True, max_length=320)
    return form(
        visit, ROLES_SECTION, heading=_("Give %(role)s to a member", role=row["name"]), fields=[field],
        label=_("Give"), back=f"/roles/{row['id']}", error=error,
    )  # fmt: skip


@page("GET", f"{ROLE}/give", fresh=True)
async def ask_give_role(visit: Visit) -> Response[Any]:
    return await _give_to_address(visit)


@page("POST", f"{ROLE}/give", fresh=True)
async def give_role(visit: Visit) -> Response[Any]:
    row = await role(visit)
    try:
        user_id = await id_of_email(normalise_email(visit.form.get("email", "")))
        lock_users_first(visit, [user_id])
        # Of an unknown user it says what it says of one who is not a member.
        await service.give(row["id"], [user_id])
    except (InvalidEmailError, NotMemberError):
        return await _give_to_address(visit, _("The organisation has no member with this address."))
    return done(visit, f"/roles/{row['id']}", "given")
