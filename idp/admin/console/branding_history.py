"""The versions of a branding: who changed what, and restoring one."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from litestar import Response

from idp.accounts.repository.users import user_by_id
from idp.admin.console.branding_owners import Subject, branding_screen
from idp.admin.console.components import Action, Cell, Table, exactly, facts
from idp.admin.console.screen import HOME, AdminRequest, not_found, redirect_with_notice, render
from idp.branding import service
from idp.branding.models import FIELDS, Branding, Version


@branding_screen("GET", "/history", write=False)
async def show_history(request: AdminRequest, subject: Subject) -> Response[str]:
    path = f"{HOME}{subject.path}"
    found = await service.history(subject.owner)
    names = {each.actor: await _who(each.actor) for each in found}
    befores: Sequence[Version | None] = [*found[1:], None]
    rows = [
        [
            exactly(each.created_at),
            Cell(names[each.actor]),
            Cell(_changes(each, before)),
            _act(each, path, may_write=subject.may_write),
        ]
        for each, before in zip(found, befores, strict=False)
    ]
    return render(
        request, "record", section=subject.section, heading=f"History of the branding of {subject.name}",
        acts=[Action("Branding", path)], intro=f"The newest {service.KEPT} versions are kept.",
        tables=[Table("Versions", ("When", "Who", "Changed", "Restore"), rows, "There has been no branding yet.")],
    )  # fmt: skip


def _act(version: Version, path: str, *, may_write: bool) -> Cell:
    if version.replaced_at is None:
        return Cell("current", mood="good")
    return Cell("Restore", f"{path}/history/{version.id}/restore") if may_write else Cell("-")


async def _who(actor: str) -> str:
    """Return the address of an administrator; the actor itself of others."""
    kind, _, key = actor.partition(":")
    user = await user_by_id(UUID(key)) if kind == "user" else None
    return user.email if user is not None else actor or "-"


def _changes(version: Version, before: Version | None) -> str:
    """Return the names of the values that differ from the version before."""
    if version.branding is None:
        return "removed"
    old = before.branding if before is not None and before.branding is not None else Branding()
    changed = [name for name in FIELDS if getattr(version.branding, name) != getattr(old, name)]
    return ", ".join(name.removesuffix("_uri").replace("_", " ") for name in changed) or "restored"


@branding_screen("GET", "/history/{version_id}/restore")
async def ask_restore(request: AdminRequest, subject: Subject) -> Response[str]:
    found, path = await _version(request, subject), f"{HOME}{subject.path}"
    values = {name.replace("_", " "): text for name, text in service.shown(found.branding).items()}
    return render(
        request, "form", section=subject.section, heading="Restore this version?", fields=[], label="Restore",
        action=f"{path}/history/{found.id}/restore", back=f"{path}/history",
        subject=facts(subject.named | {"From": exactly(found.created_at)} | values),
        intro="Pages show it within seconds. The current version stays in the history.",
    )  # fmt: skip


@branding_screen("POST", "/history/{version_id}/restore", fresh=True)
async def restore(request: AdminRequest, subject: Subject) -> Response[Any]:
    await service.restore(subject.owner, (await _version(request, subject)).id)
    return redirect_with_notice(subject.path)


async def _version(request: AdminRequest, subject: Subject) -> Version:
    found = {str(each.id): each for each in await service.history(subject.owner)}
    version_id = request.params[f"{subject.owner.kind}_version_id"]
    if version_id not in found:
        raise not_found()
    return found[version_id]


@branding_screen("GET", "/remove")
async def ask_remove_branding(request: AdminRequest, subject: Subject) -> Response[str]:
    path = f"{HOME}{subject.path}"
    return render(
        request, "form", section=subject.section, heading="Remove the branding?", fields=[], label="Remove",
        action=f"{path}/remove", back=path, danger=True, subject=facts(subject.named),
        intro="Pages look as without it within seconds. The history keeps it, so that it can be restored.",
    )  # fmt: skip


@branding_screen("POST", "/remove", fresh=True)
async def remove_branding(request: AdminRequest, subject: Subject) -> Response[Any]:
    await service.remove(subject.owner)
    return redirect_with_notice(subject.path, "deleted")
