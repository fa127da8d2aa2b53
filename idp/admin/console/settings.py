"""`/admin/settings`: every setting of the server, by group."""

from itertools import groupby
from typing import Any

from litestar import Response

from idp.admin.configuration import settings_in_effect, with_unit
from idp.admin.console.components import Cell, Field, Table, text
from idp.admin.console.screen import HOME, AdminRequest, render, screen
from idp.admin.roles import Permission

_COLUMNS = ("Name", "Value", "Default", "Meaning")


@screen("GET", "/settings", Permission.SETTINGS_READ)
async def show_settings(request: AdminRequest) -> Response[str]:
    asked, changed = request.query.get("q", ""), request.query.get("changed", "")
    shown = [row for row in settings_in_effect() if matches(row, asked) and (not changed or _differs(row))]
    tables = [
        Table(group, _COLUMNS, [_cells(row) for row in rows])
        for group, rows in groupby(shown, lambda row: row["group"])
    ]
    return render(
        request, "list", section="settings", heading="Settings", path=f"{HOME}/settings", tables=tables, columns=(),
        rows=[], intro="The settings this worker read from its environment. Secrets are masked.",
        filters=[
            Field("q", "Part of the name or meaning", asked, "search"),
            Field("changed", "Show", changed, "choice", choices=(("", "All"), ("yes", "Changed from the default"))),
        ],
    )  # fmt: skip


def matches(row: dict[str, Any], asked: str) -> bool:
    """Return whether name and meaning of a setting have all words."""
    words = f"{row['name']} {row['help']}".lower()
    return all(word in words for word in asked.lower().split())


def _differs(row: dict[str, Any]) -> bool:
    return bool(row["value"] != row["default"])


def _cells(row: dict[str, Any]) -> list[Cell]:
    value = with_unit(row["value"], row["unit"])
    return [
        Cell(row["name"], code=True),
        Cell(value, mood="changed") if _differs(row) else text(value),
        text(with_unit(row["default"], row["unit"])),
        Cell(row["help"], prose=True),
    ]
