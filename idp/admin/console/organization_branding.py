"""Screens of the branding of an organization."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from litestar import Response

from idp.admin.console.components import Action, Cell, Field, facts, version
from idp.admin.console.organizations import ONE, SECTION, organization
from idp.admin.console.screen import FORM_ERRORS, HOME, AdminRequest, redirect_with_notice, render, screen
from idp.admin.roles import Permission
from idp.directory import branding as service
from idp.directory.branding_models import Branding
from idp.errors import ValidationError
from idp.infra.pictures import MAX_BYTES

_READ, _WRITE = Permission.ORGANIZATIONS_READ, Permission.ORGANIZATIONS_WRITE
_PATH = f"{ONE}/branding"
_FIELDS = {
    "display_name": ("Name on pages", "Leave empty for the name of the organisation."),
    "color": ("Colour of buttons and links", "For example, #0f5568. Links in this colour must be readable."),
    "logo_uri": ("URL of the logo", "An https URL. An uploaded logo is shown instead."),
    "help_uri": ("URL of help", "An https URL."),
    "terms_uri": ("URL of terms", "An https URL."),
    "privacy_uri": ("URL of the privacy policy", "An https URL."),
}


@screen("GET", _PATH, _READ)
async def show_branding(request: AdminRequest) -> Response[str]:
    row = await organization(request)
    path, found = f"{HOME}/{SECTION}/{row['id']}", await service.branding_of(row["id"])
    shown = {label: getattr(found, name) or "" for name, (label, _) in _FIELDS.items()} if found is not None else {}
    if found is not None:
        shown["Uploaded logo"] = Cell("yes", service.logo_uri(found)) if found.logo_version is not None else "no"
    acts = [Action("Organisation", path)]
    if _WRITE in request.caller.allowed:
        acts += [Action("Change", f"{path}/branding/change"), Action("Upload a logo", f"{path}/branding/logo")]
        if found is not None and found.logo_version is not None:
            acts.append(Action("Remove the logo", f"{path}/branding/remove_logo"))
        if found is not None:
            acts.append(Action("Remove", f"{path}/branding/remove", danger=True))
    return render(
        request, "record", section=SECTION, heading=f"Branding of {row['name']}", facts=facts(shown), acts=acts,
        intro="Pages and mails of a sign-in for the organisation show it." if found is not None else _NONE,
    )  # fmt: skip


_NONE = "No branding: a sign-in for the organisation looks like any other."
_VISIBLE = "With branding, everyone who names the organisation in a request sees that there is one."


@screen("GET", f"{_PATH}/change", _WRITE)
async def change_branding(request: AdminRequest) -> Response[str]:
    found = await service.branding_of((await organization(request))["id"])
    entered = {name: getattr(found, name) or "" for name in _FIELDS} if found is not None else {}
    return await _form(request, entered, found)


async def _form(
    request: AdminRequest, entered: Mapping[str, str], found: Branding | None = None, error: str | None = None
) -> Response[str]:
    row = await organization(request)
    path = f"{HOME}/{SECTION}/{row['id']}/branding"
    return render(
        request, "form", section=SECTION, heading=f"Branding of {row['name']}", label="Save", intro=_VISIBLE,
        fields=[Field(name, label, entered.get(name, ""), help=about) for name, (label, about) in _FIELDS.items()],
        action=f"{path}/change", back=path, error=error, status=400 if error else 200,
        version=version(request, found.updated_at if found is not None else None),
    )  # fmt: skip


@screen("POST", f"{_PATH}/change", _WRITE)
async def save_branding(request: AdminRequest) -> Response[Any]:
    row, form = await organization(request), request.form
    try:
        await service.set_branding(row["id"], _seen(form), **{name: form.get(name, "").strip() for name in _FIELDS})
    except FORM_ERRORS as error:
        return await _form(request, form, error=error.description)
    return redirect_with_notice(f"/{SECTION}/{row['id']}/branding")


def _seen(form: Mapping[str, str]) -> datetime | None:
    """Return the version of the branding that the form shows; None: there was none."""
    try:
        return datetime.fromisoformat(form["version"]) if form.get("version") else None
    except ValueError as error:
        raise ValidationError("Reload the form and try again.") from error


@screen("GET", f"{_PATH}/logo", _WRITE)
async def ask_for_logo(request: AdminRequest) -> Response[str]:
    return await _logo(request)


async def _logo(request: AdminRequest, error: str | None = None) -> Response[str]:
    row = await organization(request)
    path = f"{HOME}/{SECTION}/{row['id']}/branding"
    hint = f"PNG, JPEG, GIF or WebP, up to {MAX_BYTES // 1024} KiB. SVG is not accepted, because it can run scripts."
    return render(
        request, "form", section=SECTION, heading="Upload a logo", multipart=True, error=error, action=f"{path}/logo",
        subject=facts({"Organisation": row["name"]}), label="Upload", back=path, status=400 if error else 200,
        fields=[Field("file", "Picture", kind="file", help=hint, required=True)],
    )  # fmt: skip


@screen("POST", f"{_PATH}/logo", _WRITE, upload=True)
async def upload_logo(request: AdminRequest) -> Response[Any]:
    row = await organization(request)
    try:
        await service.save_logo(row["id"], request.file)
    except FORM_ERRORS as error:
        return await _logo(request, error.description)
    return redirect_with_notice(f"/{SECTION}/{row['id']}/branding")


async def _ask(request: AdminRequest, act: str, title: str, explanation: str) -> Response[str]:
    row = await organization(request)
    path = f"{HOME}/{SECTION}/{row['id']}/branding"
    return render(
        request, "form", section=SECTION, heading=f"{title}?", fields=[], action=f"{path}/{act}", label=title,
        subject=facts({"Organisation": row["name"]}), intro=explanation, danger=True, back=path,
    )  # fmt: skip


@screen("GET", f"{_PATH}/remove", _WRITE)
async def ask_remove_branding(request: AdminRequest) -> Response[str]:
    return await _ask(request, "remove", "Remove the branding", "Pages of the organisation then look like all others.")


@screen("POST", f"{_PATH}/remove", _WRITE)
async def remove_branding(request: AdminRequest) -> Response[Any]:
    return await _removed(request, service.remove_branding)


@screen("GET", f"{_PATH}/remove_logo", _WRITE)
async def ask_remove_logo(request: AdminRequest) -> Response[str]:
    return await _ask(request, "remove_logo", "Remove the logo", "Pages then show the logo of the URL, or none.")


@screen("POST", f"{_PATH}/remove_logo", _WRITE)
async def remove_logo(request: AdminRequest) -> Response[Any]:
    return await _removed(request, service.remove_logo)


async def _removed(request: AdminRequest, remove: Any) -> Response[Any]:
    organization_id: UUID = (await organization(request))["id"]
    await remove(organization_id)
    return redirect_with_notice(f"/{SECTION}/{organization_id}/branding", "deleted")
