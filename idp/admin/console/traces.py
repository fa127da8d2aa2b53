"""Screens of the flow recorder: the filtered list of requests, and a flow as a timeline."""

from typing import Any
from urllib.parse import quote
from uuid import UUID

from litestar import Response

from idp.accounts.addresses import InvalidEmailError, normalise_email
from idp.accounts.repository.users import owner_of_email
from idp.admin.console.components import Cell, Field, Table, asked_page, exactly, facts, next_url, text
from idp.admin.console.screen import HOME, AdminRequest, not_found, render, screen
from idp.admin.roles import Permission
from idp.trace import reading
from idp.trace.reading import ShownRequest, ShownStep
from idp.trace.repository import REQUESTS

SECTION = "traces"
_MOODS = {"success": "good", "refused": "bad", "failed": "bad"}
_NOBODY = UUID(int=0)


@screen("GET", f"/{SECTION}", Permission.AUDIT_READ)
async def list_traces(request: AdminRequest) -> Response[Any]:
    if named := request.query.get("id", "").strip():
        return await _flow(request, named)
    fixed = await _user(request.query.get("user", ""))
    await reading.record_reading(dict(request.query) | fixed)
    found = await asked_page(request, REQUESTS, **fixed)
    rows = [
        [
            exactly(row["at"]),
            Cell(f"{row['method']} {row['route']}", f"{HOME}/{SECTION}/{row['request_id']}"),
            Cell(row["outcome"], mood=_MOODS[row["outcome"]]),
            text(row["reason"] or row["error"]),
            _link_to_user(row["user_id"]),
            text(row["client_id"]),
        ]
        for row in found.rows
    ]
    outcomes = [("", "All"), *((each, each) for each in REQUESTS.filters["outcome"].choices)]
    filters = [
        Field("id", "Id", help="As on the error page: of a request or of a flow."),
        Field("user", "User", request.query.get("user", ""), help="Email address or id."),
        Field("client_id", "client_id", request.query.get("client_id", "")),
        Field("outcome", "Outcome", request.query.get("outcome", ""), "choice", choices=outcomes),
        Field("reason", "Reason", request.query.get("reason", ""), help="Such as wrong_redirect_uri."),
        Field("since", "Since", request.query.get("since", ""), help="As 2026-11-23 or 2026-11-23T17:00:00Z."),
    ]
    return render(
        request, "list", section=SECTION, heading="Traces", path=f"{HOME}/{SECTION}", filters=filters,
        intro="What happened in sign-ins, and why requests were refused. No secrets are kept.",
        columns=("When", "Request", "Outcome", "Reason", "User", "Client"), rows=rows, next=next_url(request, found),
        empty="Nothing is recorded.",
    )  # fmt: skip


async def _user(named: str) -> dict[str, str]:
    """Return the filter for a user, who is named by address or id."""
    if "@" not in named:
        return {"user_id": named} if named else {}
    try:
        user_id = await owner_of_email(normalise_email(named))
    except InvalidEmailError:
        user_id = None
    return {"user_id": str(user_id or _NOBODY)}


def _link_to_user(user_id: UUID | None) -> Cell:
    return Cell(f"{str(user_id)[:8]}…", f"{HOME}/users/{user_id}") if user_id else Cell("-")


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
        "User": _link_to_user(user_id),
        "Client": Cell(client_id, f"{HOME}/clients/{quote(client_id, safe='')}") if client_id else Cell("-"),
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
    ended += [("Why", request.hint), ("How to mend it", request.mend)]
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
    return "; ".join(f"{name.replace('_', ' ')}: {reading.in_words(name, value)}" for name, value in fields) or "-"
