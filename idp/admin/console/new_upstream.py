"""Screens that add an upstream: which provider, what to do there, and the form."""

from typing import Any

from litestar import Response

from idp.admin.console.components import Cell, Table
from idp.admin.console.screen import FORM_ERRORS, HOME, AdminRequest, not_found, redirect_with_notice, render, screen
from idp.admin.console.upstream_form import SECTION, configuration, show_form
from idp.admin.roles import Permission
from idp.directory import organizations
from idp.federation import guides, registry
from idp.federation.errors import InvalidUpstreamError
from idp.federation.providers import KINDS

_WRITE = Permission.UPSTREAMS_WRITE


@screen("GET", "/upstreams/new", _WRITE)
async def choose_provider(request: AdminRequest) -> Response[str]:
    rows = [
        [Cell(f"Add {guide.label}", f"{HOME}/{SECTION}/new/{name}"), Cell(guide.steps[0].where)]
        for name, guide in guides.GUIDES.items()
    ]
    return render(
        request, "record", section=SECTION, heading="Add an upstream",
        tables=[Table("Which provider?", ("Provider", "You need access to"), rows)],
    )  # fmt: skip


def _guide(request: AdminRequest) -> guides.Guide:
    guide = guides.GUIDES.get(request.params["kind"])
    if guide is None:
        raise not_found()
    return guide


@screen("GET", "/upstreams/new/{kind}", _WRITE)
async def new_upstream(request: AdminRequest) -> Response[str]:
    return await _form(request, _guide(request))


async def _form(request: AdminRequest, guide: guides.Guide, error: str | None = None) -> Response[str]:
    name = request.params["kind"]
    wanted = request.form.get("id", "").strip() or request.query.get("id") or await registry.free_id(name)
    shown = {
        "label": guide.label,
        "steps": guides.steps(guide, wanted if registry.is_id(wanted) else guides.UNNAMED),
        "templates": guides.steps(guide, "{}"),
        "redirects": KINDS[guide.kind].redirects,
    }
    config = guide.defaults() | {"id": wanted}
    return show_form(request, f"{HOME}/{SECTION}/new/{name}", guide.kind, config, error, guide=shown)


@screen("POST", "/upstreams/new/{kind}", _WRITE, fresh=True)
async def add_upstream(request: AdminRequest) -> Response[Any]:
    guide = _guide(request)
    try:
        values, organization = configuration(request.form, guide.kind), request.form.get("organization", "").strip()
        if organization:
            values["organization_id"] = (await organizations.named(organization)).id
        else:
            values["adds_members"] = False
        # Nobody signs in with it before it was tried.
        upstream = registry.configure(kind=guide.kind, disabled=True, **values)
        if not await registry.add(upstream):
            raise InvalidUpstreamError("An upstream with this id already exists.")
    except FORM_ERRORS as error:
        return await _form(request, guide, error.description)
    return redirect_with_notice(f"/{SECTION}/{upstream.id}")
