"""The editor of a branding, with a preview beside it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from litestar import Response

from idp.admin.console import branding_form
from idp.admin.console.branding_owners import Subject, branding_screen
from idp.admin.console.branding_preview import PREVIEWS, preview, refused
from idp.admin.console.components import Action, facts, shown_version, version
from idp.admin.console.screen import FORM_ERRORS, HOME, AdminRequest, redirect_with_notice, render
from idp.branding import service, validation
from idp.branding.models import PICTURES, Branding
from idp.errors import ValidationError

_INTRO = {
    "server": "What pages and mails show, unless a client or an organisation has its own.",
    "client": "What pages of a sign-in for the client show. What is empty is that of the server, whose name stays on"
    " each page.",
    "organization": "What pages of a sign-in for the organisation show. With branding, everyone who names the"
    " organisation in a request sees that there is one.",
}


@branding_screen("GET", write=False)
async def show_branding(request: AdminRequest, subject: Subject) -> Response[str]:
    found = await service.current(subject.owner)
    branding = found.branding if found is not None and found.branding is not None else Branding()
    shown = request.kept or branding_form.values(branding)
    return _editor(request, subject, branding, shown, updated_at=found.created_at if found is not None else None)


def _editor(
    request: AdminRequest,
    subject: Subject,
    branding: Branding,
    shown: Mapping[str, str],
    *,
    updated_at: datetime | None = None,
    error: str | None = None,
) -> Response[str]:
    path, pictures = f"{HOME}{subject.path}", PICTURE_LABELS
    acts = [Action("History", f"{path}/history")]
    if subject.owner.kind != "server":
        acts.insert(0, Action(subject.name, subject.back))
    if subject.may_write:
        acts += [Action(label, f"{path}/pictures/{name}") for name, label in pictures.items()]
        if branding != Branding():
            acts.append(Action("Remove", f"{path}/remove", danger=True))
    return render(
        request, "branding", section=subject.section, heading=f"Branding of {subject.name}", acts=acts,
        intro=_INTRO[subject.owner.kind], fields=branding_form.fields(shown), action=path, label="Save", error=error,
        version=request.kept.get("version") or version(request, updated_at), status=400 if error else 200,
        may_write=subject.may_write, previews=PREVIEWS, framed=("'self'",),
        facts=facts(subject.named | {label: _has(branding, name) for name, label in pictures.items()}),
    )  # fmt: skip


def _has(branding: Branding, picture: str) -> str:
    return "uploaded" if getattr(branding, picture) else "none"


#: The pictures, by their names for people.
PICTURE_LABELS = dict(zip(PICTURES, ("Logo", "Logo in the dark", "Icon", "Background picture"), strict=True))


@branding_screen("POST", fresh=True)
async def save_branding(request: AdminRequest, subject: Subject) -> Response[Any]:
    before = await service.branding_of(subject.owner)
    try:
        await service.save(subject.owner, branding_form.read(request.form, before), shown_version(request.form))
    except FORM_ERRORS as error:
        return _editor(request, subject, before, request.form, error=error.description)
    return redirect_with_notice(subject.path)


@branding_screen("GET", "/preview", write=False)
async def preview_branding(request: AdminRequest, subject: Subject) -> Response[str]:
    """Show a page as it is now."""
    branding = await service.branding_of(subject.owner)
    return preview(subject, branding, request.query)


@branding_screen("POST", "/preview")
async def preview_entered(request: AdminRequest, subject: Subject) -> Response[str]:
    """Show a page with the entered values. Nothing is saved."""
    before = await service.branding_of(subject.owner)
    try:
        branding = validation.checked(branding_form.read(request.form, before))
    except ValidationError as error:
        return refused(error.description)
    return preview(subject, branding, request.form)
