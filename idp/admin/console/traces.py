"""Screens of the flow recorder: the filtered list of requests, and a flow as a timeline."""

from typing import Any

from litestar import Response

from idp.admin.console import named
from idp.admin.console.components import MORE, Cell, Field, Table, asked_page, exactly, facts, next_url, text
from idp.admin.console.screen import HOME, AdminRequest, not_found, render, screen
from idp.admin.roles import Permission
from idp.reasons import Reason
from idp.trace import reading
from idp.trace.reading import ShownRequest, ShownStep
from idp.trace.repository import REQUESTS

SECTION = "traces"
_MOODS = {"success": "good", "refused": "bad", "failed": "bad"}
REASONS = (("", "All"), *((each.value, each.replace("_", " ")) for each in sorted(Reason)))


@screen("GET", f"/{SECTION}", Permission.AUDIT_READ)
async def list_traces(request: AdminRequest) -> Response[Any]:
    if wanted := request.query.get("id", "").strip():
        return await _flow(request, wanted)
    fixed = await named.user_filter(request.query.get("user", "").strip())
    await reading.record_reading(dict(request.query) | fixed)
    found = await asked_page(request, REQUESTS, **fixed)
    users = await named.user_cells(request, [row["user_id"] for row in found.rows])
    rows = [
        [
            exactly(row["at"]),
            Cell(f"{row['method']} {row['route']}", f"{HOME}/{SECTION}/{row['request_id']}"),
            Cell(row["outcome"], mood=_MOODS[row["outcome"]]),
            text(row["reason"] or row["error"]),
            users[row["user_id"]],
            named.client_cell(row["client_id"]),
        ]
        for row in found.rows
    ]
    outcomes = [("", "All"), *((each, each) for each in REQUESTS.filters["outcome"].choices)]
    filters = [
        Field("id", "Id", help="The id of a request or a flow, as on the error page."),
        Field("user", "User", request.query.get("user", ""), help="Email address or id."),
        Field("client_id", "client_id", request.query.get("client_id", "")),
        Field("outcome", "Outcome", request.query.get("outcome", ""), "choice", choices=outcomes),
        Field("reason", "Reason", request.query.get("reason", ""), "choice", choices=REASONS, section=MORE),
        Field("since", "Since (UTC)", request.query.get("since", ""), "datetime-local", section=MORE),
    ]
    return render(
        request, "list", section=SECTION, heading="Traces", path=f"{HOME}/{SECTION}", filters=filters,
        intro="What happened in sign-ins, and why requests were refused. No secrets are kept.",
        columns=("When", "Request", "Outcome", "Reason", "User", "Client"), rows=rows, next=next_url(request, found),
    )  # fmt: skip


@screen("GET", f"/{SECTION}/{{trace_id}}", Permission.AUDIT_READ)
async def show_trace(request: AdminRequest) -> Response[str]:
    return await _flow(request, request.params["trace_id"])


async def _flow(request: AdminRequest, id: str) -> Response[str]:
    requests = await reading.read_flow(id)
    if not requests:
        raise not_found()
    user_id = next((each.user_id for each in requests if each.user_id), None)
    client_id = next((each.client_id for each in requests if each.client_id), None)
    known = {
        "Flow": requests[0].trace_id,
        "Began": exactly(requests[0].at),
        "User": (await named.user_cells(request, [user_id]))[user_id],
        "Client": named.client_cell(client_id),
    }
    tables = [_timeline(each) for each in requests]
    return render(
        request, "record", section=SECTION, heading="What happened in a sign-in", facts=facts(known), tables=tables
    )


def _timeline(request: ShownRequest) -> Table:
    """A request with its steps; how it ended comes first."""
    why = request.reason or request.error
    heading = f"+{request.offset_ms} ms: {request.method} {request.route}"
    ended = [("Request", request.request_id), ("Status", request.status), ("From", request.ip_address)]
    ended += [("Why", request.hint), ("How to fix it", request.mend)]
    rows = [
        [
            _after(request.duration_ms),
            Cell(f"{request.outcome}: {why}" if why else request.outcome, mood=_MOODS[request.outcome]),
            Cell("; ".join(f"{name}: {str(value).rstrip('.')}" for name, value in ended if value)),
        ],
        *([_after(step.ms), Cell(step.sentence), Cell(_fields(step))] for step in request.steps),
    ]
    return Table(heading, ("After", "Step", "Details"), rows)


def _after(milliseconds: int) -> Cell:
    """The number and its unit stay on one line."""
    return Cell(f"{milliseconds}\u00a0ms")


def _fields(step: ShownStep) -> str:
    fields = step.fields.items()
    return "; ".join(f"{name.replace('_', ' ')}: {reading.in_words(name, value)}" for name, value in fields) or ""
