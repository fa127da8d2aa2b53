"""The screen that imports users from a file, by a bulk job."""

from typing import Any

from litestar import Response

from idp.admin.bulk import service
from idp.admin.bulk.kinds import IMPORT, KINDS
from idp.admin.console.components import Field, facts
from idp.admin.console.screen import FORM_ERRORS, HOME, AdminRequest, redirect_with_notice, render, screen
from idp.admin.roles import Permission
from idp.errors import ValidationError
from idp.settings import settings

_WRITE = Permission.USERS_WRITE


@screen("GET", "/jobs/import", _WRITE, fresh=True)
async def ask_for_file(request: AdminRequest) -> Response[str]:
    return _form(request)


@screen("POST", "/jobs/import", _WRITE, fresh=True, upload=True, max_file=lambda: settings().bulk_max_file)
async def import_file(request: AdminRequest) -> Response[Any]:
    try:
        if not request.file:
            raise ValidationError("Choose a file.")
        job = await service.create_import(request.caller, request.file, dry_run="dry_run" in request.form)
    except FORM_ERRORS as error:
        return _form(request, error.description)
    return redirect_with_notice(f"/jobs/{job.id}", "job-created")


def _form(request: AdminRequest, error: str | None = None) -> Response[str]:
    kind = KINDS[IMPORT]
    return render(
        request, "form", section="jobs", heading="Import users", status=400 if error else 200, error=error,
        subject=facts({"What happens": kind.effect, "To undo it": kind.undo}),
        intro="No mail is sent. A refused line does not stop the others.",
        action=f"{HOME}/jobs/import", label="Import", back=f"{HOME}/jobs", multipart=True,
        fields=[
            Field(
                "file", "File", kind="file", required=True,
                help=f"CSV with the names of the columns in the first line, or JSON lines: up to"
                f" {settings().bulk_max_file // 2**20 or 1} MiB, as idp users import takes them.",
            ),
            Field(
                "dry_run", "Only check the file", request.form.get("dry_run", ""), "check",
                "No one is imported. The job lists the lines that would be refused.",
            ),
        ],
    )  # fmt: skip
