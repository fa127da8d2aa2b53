"""Uploading and removing the pictures of a branding."""

from typing import Any

from litestar import Response

from idp.admin.console.branding import PICTURE_LABELS
from idp.admin.console.branding_owners import Subject, branding_screen
from idp.admin.console.components import Action, Field, facts
from idp.admin.console.screen import FORM_ERRORS, HOME, AdminRequest, not_found, redirect_with_notice, render
from idp.branding import service
from idp.branding.validation import MAX_BYTES


def _slot(request: AdminRequest) -> str:
    if request.params["picture"] not in PICTURE_LABELS:
        raise not_found()
    return request.params["picture"]


# Fresh before a file is chosen, because a sign-in does not keep it.
@branding_screen("GET", "/pictures/{picture}", fresh=True)
async def ask_for_picture(request: AdminRequest, subject: Subject) -> Response[str]:
    return await _form(request, subject)


async def _form(request: AdminRequest, subject: Subject, error: str | None = None) -> Response[str]:
    name, back = _slot(request), f"{HOME}{subject.path}"
    size = MAX_BYTES[name] // 1024
    hint = f"PNG, JPEG, GIF or WebP, up to {size} KiB. SVG is not accepted, because it can run scripts."
    has = getattr(await service.branding_of(subject.owner), name) is not None
    acts = [Action("Remove", f"{back}/pictures/{name}/remove", danger=True)] if has else []
    return render(
        request, "form", section=subject.section, heading=f"Upload: {PICTURE_LABELS[name].lower()}", multipart=True,
        error=error, action=f"{back}/pictures/{name}", subject=facts(subject.named), label="Upload",
        back=back, status=400 if error else 200, acts=acts,
        fields=[Field("file", "Picture", kind="file", help=hint, required=True)],
    )  # fmt: skip


@branding_screen("POST", "/pictures/{picture}", fresh=True, upload=True, max_file=lambda: max(MAX_BYTES.values()))
async def upload_picture(request: AdminRequest, subject: Subject) -> Response[Any]:
    try:
        await service.save_picture(subject.owner, _slot(request), request.file)
    except FORM_ERRORS as error:
        return await _form(request, subject, error.description)
    return redirect_with_notice(subject.path)


@branding_screen("GET", "/pictures/{picture}/remove")
async def ask_remove_picture(request: AdminRequest, subject: Subject) -> Response[str]:
    name, back = _slot(request), f"{HOME}{subject.path}"
    return render(
        request, "form", section=subject.section, heading=f"Remove: {PICTURE_LABELS[name].lower()}?", fields=[],
        action=f"{back}/pictures/{name}/remove", label="Remove", danger=True, back=back,
        subject=facts(subject.named), intro="The history keeps it, so that it can be restored.",
    )  # fmt: skip


@branding_screen("POST", "/pictures/{picture}/remove", fresh=True)
async def remove_picture(request: AdminRequest, subject: Subject) -> Response[Any]:
    await service.remove_picture(subject.owner, _slot(request))
    return redirect_with_notice(subject.path)
