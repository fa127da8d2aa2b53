"""The name of an organization."""

from typing import Any

from litestar import Response

from idp.directory import organizations
from idp.errors import ConflictError, ValidationError
from idp.infra.i18n import gettext as _
from idp.selfservice.organization.components import Field, form
from idp.selfservice.organization.page import Visit, done, page

SECTION = "name"


def _form(visit: Visit, error: Any = None) -> Response[Any]:
    organization = visit.organization
    field = Field("name", _("Name"), visit.form.get("name", organization.name))
    return form(
        visit, SECTION, heading=_("Name"), fields=[field], label=_("Save"), back="",
        intro=_("Applications know the organisation as %(slug)s, which never changes.", slug=organization.slug),
        version=visit.form.get("version") or organization.updated_at.isoformat(), error=error,
    )  # fmt: skip


@page("GET", "/name")
async def name_form(visit: Visit) -> Response[Any]:
    return _form(visit)


@page("POST", "/name")
async def rename(visit: Visit) -> Response[Any]:
    organization, name = visit.organization, visit.form.get("name", "").strip()
    try:
        if visit.form.get("version") != organization.updated_at.isoformat():
            return _form(visit, _("It has been changed in the meantime. Check it again."))
        await organizations.rename(organization.id, name, organization.updated_at)
    except (ValidationError, ConflictError) as error:
        return _form(visit, error)
    return done(visit, "/name", "saved")
