"""Exports all users as a file, without secrets."""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
from litestar import Response
from litestar.response import Stream

from idp.accounts import exports
from idp.admin.console.components import Action
from idp.admin.console.screen import HOME, AdminRequest, not_found, render, screen
from idp.admin.roles import Permission
from idp.audit.events import record
from idp.infra.csv_lines import csv_line
from idp.infra.db.engine import authority

#: Only owners: a file with everybody in it is what an intruder wants most.
PERMISSION = Permission.ADMINS_WRITE
FORMATS = {"csv": ("CSV", "text/csv"), "jsonl": ("JSON lines", "application/jsonl")}


@screen("GET", "/users/export", PERMISSION)
async def choose_format(request: AdminRequest) -> Response[str]:
    return render(
        request, "record", section="users", heading="Export users",
        intro="The file has all users with their claims and attributes, without passwords, second factors and sessions."
        " JSON lines can be imported at another server; CSV is for spreadsheets. The export is in the audit trail.",
        acts=[Action(f"Export as {label}", f"{HOME}/users/export/{name}") for name, (label, _) in FORMATS.items()],
    )  # fmt: skip


@screen("GET", "/users/export/{format}", PERMISSION, fresh=True)
async def export_users(request: AdminRequest) -> Response[Any]:
    """Stream the file, page by page."""
    name = request.params["format"]
    if name not in FORMATS:
        raise not_found()
    # Before the first byte: a browser that goes away has what it got.
    await record("users_exported", detail={"format": name, "state": "started"})
    # The file may take longer than a sign-in is recent. Session and role are checked for each page.
    authority.set(request.hold)
    return Stream(
        _csv() if name == "csv" else _jsonl(),
        media_type=FORMATS[name][1],
        headers={"Content-Disposition": f'attachment; filename="users.{name}"', "Cache-Control": "no-store"},
    )


async def _jsonl() -> AsyncIterator[str]:
    async for page in exports.export_users():
        yield "".join(f"{msgspec.json.encode(user).decode()}\n" for user in page)


async def _csv() -> AsyncIterator[str]:
    columns = exports.columns()
    yield csv_line(columns)
    async for page in exports.export_users():
        for user in page:
            values = exports.as_columns(user)
            yield csv_line([values.get(name, "") for name in columns])
