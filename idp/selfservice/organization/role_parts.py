"""Which roles a role of an organization contains. Members who have the role have them too."""

from typing import Any

from litestar import Response

from idp.directory import roles as service
from idp.directory.repository.roles import ROLES
from idp.errors import ConflictError, NotFoundError
from idp.infra.db.listing import all_rows
from idp.infra.i18n import gettext as _
from idp.selfservice.organization.components import Field, ask, form
from idp.selfservice.organization.page import Visit, done, page
from idp.selfservice.organization.roles import ROLE, SECTION, chosen_role, role

_RELEASE = f"{ROLE}/release/{{contained_id:uuid}}"


async def _contain_form(visit: Visit, error: Any = None) -> Response[Any]:
    row, inside = await role(visit), {"organization_id": str(visit.organization.id)}
    contained = {each["id"] for each in await all_rows(ROLES, inside | {"contained_in": str(row["id"])})}
    others = [each for each in await all_rows(ROLES, inside) if each["id"] not in contained | {row["id"]}]
    field = Field("role", _("Role"), kind="choice", choices=[(str(each["id"]), each["name"]) for each in others])
    return form(
        visit, SECTION, heading=_("What %(role)s contains", role=row["name"]),
        intro=_("Members who have this role also have the one that you choose.")
        if others
        else _("There is no other role yet. Create one first."),
        fields=[field] if others else [], label=_("Let it contain this"), back=f"/roles/{row['id']}", error=error,
    )  # fmt: skip


@page("GET", f"{ROLE}/contain", fresh=True)
async def ask_contain(visit: Visit) -> Response[Any]:
    return await _contain_form(visit)


@page("POST", f"{ROLE}/contain", fresh=True)
async def contain(visit: Visit) -> Response[Any]:
    row = await role(visit)
    try:
        await service.contain(row["id"], (await chosen_role(visit))["id"])
    except NotFoundError:
        return await _contain_form(visit, _("This role no longer exists. Choose another one."))
    except ConflictError as error:
        return await _contain_form(visit, error)
    return done(visit, f"/roles/{row['id']}", "contained")


@page("GET", _RELEASE, fresh=True)
async def ask_release(visit: Visit) -> Response[Any]:
    row, contained = await role(visit), await role(visit, "contained_id")
    return ask(
        visit, SECTION, heading=_("Take this role out?"),
        facts={_("Role"): row["name"], _("Contains"): contained["name"]},
        text=_("Members who have this role only through the other one lose it."), label=_("Take out"),
        back=f"/roles/{row['id']}",
    )  # fmt: skip


@page("POST", _RELEASE, fresh=True)
async def release(visit: Visit) -> Response[Any]:
    row, contained = await role(visit), await role(visit, "contained_id")
    await service.release(row["id"], contained["id"])
    return done(visit, f"/roles/{row['id']}", "released")
