"""Screens of the audit trail: the filtered list, one event, export."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import msgspec
from litestar import Response
from litestar.response import Stream

from idp.admin import incidents
from idp.admin.console import named, reports
from idp.admin.console.components import MORE, Action, Cell, Field, asked_page, exactly, facts, next_url, one, text
from idp.admin.console.screen import HOME, AdminRequest, render, screen
from idp.admin.roles import Permission
from idp.audit import trail
from idp.audit.events import record
from idp.audit.repository import audit_events
from idp.audit.repository.audit_events import EVENTS, Event
from idp.errors import PageError
from idp.events.kinds import KINDS, OTHERS
from idp.infra.db.listing import InvalidQueryError, list_page, pages
from idp.infra.db.rows import many

FORMATS = {"jsonl": "application/jsonl", "csv": "text/csv"}
LABELS = {"jsonl": "JSON lines", "csv": "CSV"}


_EVENTS = [("", "All"), *((each, each.replace("_", " ")) for each in sorted((*KINDS, *OTHERS)))]


def what(row: Any) -> tuple[Cell, Cell]:
    """Return what happened, as a link to the event, and its outcome, with the reason of a refusal."""
    reason = msgspec.json.decode(row["detail"]).get("reason")
    success = row["outcome"] == "success"
    told = row["outcome"] if success or not isinstance(reason, str) else f"{row['outcome']}: {reason}"
    return (
        Cell(row["event"].replace("_", " "), f"{HOME}/audit/{row['id']}"),
        Cell(told.replace("_", " "), mood="good" if success else "bad"),
    )


def _actor(row: Any) -> UUID | None:
    """Return the user who did it; None for a client or the server."""
    kind, _, name = (row["actor"] or "").partition(":")
    return UUID(name) if kind == "user" else None


@screen("GET", "/audit", Permission.AUDIT_READ)
async def list_events(admin_request: AdminRequest) -> Response[str]:
    asked = admin_request.query
    found = await asked_page(admin_request, EVENTS, **await named.user_filter(asked.get("user", "").strip()))
    about = [each for row in found.rows for each in (row["user_id"], _actor(row))]
    users = await named.user_cells(admin_request, about)
    rows = [
        [
            exactly(row["at"]),
            *what(row),
            users[by] if (by := _actor(row)) else text(row["actor"]),
            users[row["user_id"]],
            named.client_cell(row["client_id"]),
            text(row["ip_address"]),
        ]
        for row in found.rows
    ]
    query = admin_request.http.scope["query_string"].decode("ascii", "replace")
    exports = [Action(f"Export as {LABELS[name]}", f"{HOME}/audit/export/{name}?{query}") for name in FORMATS]
    outcomes = [("", "All"), *((each, each) for each in EVENTS.filters["outcome"].choices)]
    filters = [
        Field("event", "Event", asked.get("event", ""), "choice", choices=_EVENTS),
        Field("outcome", "Outcome", asked.get("outcome", ""), "choice", choices=outcomes),
        Field("user", "User", asked.get("user", ""), help="Email address or id."),
        Field("client_id", "Client id", asked.get("client_id", ""), section=MORE),
        Field("actor", "By", asked.get("actor", ""), help="For example user:… or client:…", section=MORE),
        Field("request_id", "Request id", asked.get("request_id", ""), section=MORE),
        Field("since", "Since (UTC)", asked.get("since", ""), "datetime-local", section=MORE),
        Field("until", "Until (UTC)", asked.get("until", ""), "datetime-local", section=MORE),
    ]
    return render(
        admin_request, "list", section="audit", heading="Audit", path=f"{HOME}/audit", filters=filters, acts=exports,
        columns=("When", "Event", "Outcome", "By", "User", "Client", "From"), rows=rows,
        next=next_url(admin_request, found),
    )  # fmt: skip


@screen("GET", "/audit/{event_id}", Permission.AUDIT_READ)
async def show_event(admin_request: AdminRequest) -> Response[str]:
    row = await one(EVENTS, id=admin_request.params["event_id"])
    shown: dict[str, Any] = {
        name.replace("_", " "): row[name] for name in trail.COLUMNS if name not in ("detail", "seq")
    }
    shown["at"] = exactly(row["at"])
    proof = await audit_events.proof(row["id"])
    shown["sequence number"] = str(row["seq"]) if row["seq"] is not None else "after the next checkpoint"
    shown["hash"] = proof.hash.hex() if proof and proof.hash else "none"
    if proof and proof.number is not None and proof.at is not None:
        shown["checkpoint"], shown["checkpoint at"] = str(proof.number), exactly(proof.at)
    for name, value in msgspec.json.decode(row["detail"]).items():
        shown[name] = msgspec.json.encode(value).decode() if isinstance(value, dict | list) else value
    reported = row["event"] in incidents.REPORTED
    report = reports.path_of(await incidents.report_of(str(row["id"]))) if reported else ""
    return render(
        admin_request, "record", section="audit", heading=row["event"].replace("_", " "), facts=facts(shown),
        acts=[Action("Report", f"{HOME}{report}")] if report else [],
    )  # fmt: skip


@screen("GET", "/audit/export/{form}", Permission.AUDIT_READ)
async def export(admin_request: AdminRequest) -> Response[Any]:
    """Stream the filtered events as a file, page by page."""
    form = admin_request.params["form"] if admin_request.params["form"] in FORMATS else "jsonl"
    known = {name: value for name, value in admin_request.query.items() if name in EVENTS.filters and value}
    try:
        await list_page(EVENTS, known, limit=1)
    except InvalidQueryError as error:
        # An empty file would suggest that there are no events.
        raise PageError("Nothing was exported", "A filter has an invalid value.") from error
    await record("audit_exported", detail={"format": form, **known})
    return Stream(
        _lines(known, form),
        media_type=FORMATS[form],
        headers={"Content-Disposition": f'attachment; filename="audit.{form}"', "Cache-Control": "no-store"},
    )


async def _lines(filters: dict[str, str], form: str) -> AsyncIterator[str]:
    line = trail.csv_line if form == "csv" else trail.jsonl
    if form == "csv":
        yield trail.csv_header()
    async for rows in pages(EVENTS, filters):
        yield "".join(map(line, many(Event, rows)))
