"""Screens of bulk jobs: the list, the progress of one, and the users that failed."""

from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from typing import Any
from uuid import UUID

import msgspec
from litestar import Response
from litestar.response import Stream

from idp.accounts.repository.users import emails_by_id
from idp.admin.bulk import service
from idp.admin.bulk.kinds import IMPORT, KINDS, InGroup, UsersFile
from idp.admin.bulk.models import Job, State
from idp.admin.bulk.repository.items import ERRORS
from idp.admin.bulk.repository.jobs import JOBS
from idp.admin.console import actions
from idp.admin.console.actions import ConfirmedAction
from idp.admin.console.components import Action, Cell, Field, Table, asked_page, facts, next_url, text, when
from idp.admin.console.new_job import kinds_of
from idp.admin.console.screen import HOME, AdminRequest, not_found, render, screen
from idp.admin.roles import Permission
from idp.directory.repository.groups import group_by_id
from idp.infra.csv_lines import csv_line
from idp.infra.db.listing import pages

_READ = Permission.USERS_READ
#: Seconds after which the page of an unfinished job is loaded again.
REFRESH_SECONDS = 3
_MOODS = {State.FINISHED: "good", State.FAILED: "bad"}


def label_of(kind: str) -> str:
    """Return the name of a kind for people, also of one of a newer release."""
    return KINDS[kind].label if kind in KINDS else kind


@screen("GET", "/jobs", _READ)
async def list_jobs(request: AdminRequest) -> Response[str]:
    found = await asked_page(request, JOBS)
    askers = await _askers(row["actor"] for row in found.rows)
    rows = [
        [
            Cell(label_of(row["kind"]), f"{HOME}/jobs/{row['id']}"),
            _state(State(row["state"])),
            Cell(f"{row['done']:,} of {row['total']:,}"),
            Cell(f"{row['failed']:,}"),
            askers[row["actor"]],
            when(row["created_at"]),
        ]
        for row in found.rows
    ]
    kinds = [("", "All"), *((name, kind.label) for name, kind in KINDS.items())]
    states = [("", "All"), *((state.value, state.value) for state in State)]
    may_import = KINDS[IMPORT].permission in request.caller.allowed
    return render(
        request, "list", section="jobs", heading="Jobs", path=f"{HOME}/jobs", rows=rows,
        intro="Acts on many users, which a server does in the background.", next=next_url(request, found),
        filters=[
            Field("kind", "Kind", request.query.get("kind", ""), "choice", choices=kinds),
            Field("state", "State", request.query.get("state", ""), "choice", choices=states),
        ],
        columns=("Job", "State", "Done", "Failed", "By", "Created"),
        acts=[
            *([Action("Act on a list of users", f"{HOME}/jobs/new")] if kinds_of(request.caller) else []),
            *([Action("Import users", f"{HOME}/jobs/import")] if may_import else []),
        ],
    )  # fmt: skip


def _state(state: State) -> Cell:
    return Cell(state.value, mood=_MOODS.get(state, "plain"))


async def _askers(actors: Iterable[str]) -> dict[str, Cell]:
    """Return who asked for jobs, by the names of the audit trail: users by their addresses, others as they are."""
    names = set(actors)
    user_ids = {name: UUID(name.removeprefix("user:")) for name in names if name.startswith("user:")}
    emails = await emails_by_id(user_ids.values())
    users = {
        name: Cell(emails[user_id], f"{HOME}/users/{user_id}")
        for name, user_id in user_ids.items()
        if user_id in emails
    }
    return {name: users.get(name, text(name)) for name in names}


async def _job(id: str) -> Job:
    """
    Raises:
        NotFoundError: there is no such job.
    """
    with suppress(ValueError):
        return await service.found(UUID(id))
    raise not_found()


@screen("GET", "/jobs/{job_id}", _READ)
async def show_job(request: AdminRequest) -> Response[str]:
    job = await _job(request.params["job_id"])
    errors = await asked_page(request, ERRORS, job_id=str(job.id))
    waits = not job.is_over and "still" not in request.query
    return render(
        request, "record", section="jobs", heading=label_of(job.kind),
        progress={"label": f"{job.done:,} of {job.total:,} done", "value": job.done, "max": job.total},
        refresh=REFRESH_SECONDS if waits else None,
        facts=facts(await _facts(job)), acts=_acts(request, job, waits=waits),
        tables=[
            Table(
                "Failed", ("Number", "User", "Why"),
                [[Cell(str(row["number"])), Cell(row["name"]), Cell(row["reason"])] for row in errors.rows],
                "Nothing has failed.", next_url(request, errors),
            )
        ],
    )  # fmt: skip


async def _facts(job: Job) -> dict[str, Any]:
    kind = KINDS.get(job.kind)
    where: dict[str, Any] = {}
    if kind is not None and kind.parameters is InGroup:
        group_id = msgspec.json.decode(job.parameters, type=InGroup).group_id
        group = await group_by_id(group_id)
        where["Group"] = Cell(group.name, f"{HOME}/groups/{group_id}") if group is not None else Cell("deleted")
    if kind is not None and kind.parameters is UsersFile:
        where["Only checked"] = msgspec.json.decode(job.parameters, type=UsersFile).dry_run
    return {
        "State": _state(job.state),
        **({"Why it failed": job.error} if job.error else {}),
        **where,
        "Changed": f"{job.changed:,}",
        "Unchanged": f"{job.unchanged:,}",
        "Failed": f"{job.failed:,}",
        "Asked by": (await _askers([job.actor]))[job.actor],
        "Asked": job.created_at,
        "Begun": when(job.started_at, "not yet"),
        "Ended": when(job.finished_at, "not yet"),
    }


def _acts(request: AdminRequest, job: Job, *, waits: bool) -> list[Action]:
    path, kind = f"{HOME}/jobs/{job.id}", KINDS.get(job.kind)
    found = []
    if not job.is_over:
        # Pages that change by themselves can be stopped (WCAG 2.2.2).
        found.append(Action("Stop updating", f"{path}?still=1") if waits else Action("Keep updating", path))
    if kind is not None and kind.permission in request.caller.allowed:
        found += [Action("Cancel", f"{path}/cancel", danger=True)] if not job.is_over else []
        found += [Action("Resume", f"{path}/resume")] if job.can_resume else []
    if job.failed:
        found.append(Action("Failed users as CSV", f"{path}/export/csv"))
    if Permission.AUDIT_READ in request.caller.allowed:
        found.append(Action("Events of this job", f"{HOME}/audit?request_id={job.id}"))
    return found


@screen("GET", "/jobs/{job_id}/export/csv", _READ)
async def export_errors(request: AdminRequest) -> Response[Any]:
    job = await _job(request.params["job_id"])
    return Stream(
        _lines(job.id), media_type="text/csv",
        headers={"Content-Disposition": f'attachment; filename="job-{job.id}.csv"', "Cache-Control": "no-store"},
    )  # fmt: skip


async def _lines(job_id: UUID) -> AsyncIterator[str]:
    yield csv_line(("number", "user", "reason"))
    async for rows in pages(ERRORS, {"job_id": str(job_id)}):
        yield "".join(csv_line((row["number"], row["name"], row["reason"])) for row in rows)


async def _cancel(request: AdminRequest, job_id: str) -> tuple[str, str]:
    job = await service.cancel((await _job(job_id)).id, request.caller)
    return f"/jobs/{job.id}", "job-cancelled"


async def _resume(request: AdminRequest, job_id: str) -> tuple[str, str]:
    job = await service.resume((await _job(job_id)).id, request.caller)
    return f"/jobs/{job.id}", "job-resumed"


async def _named(job_id: str) -> dict[str, Any]:
    job = await _job(job_id)
    return {"Job": label_of(job.kind), "Done": f"{job.done:,} of {job.total:,}", "Id": str(job.id)}


actions.declare_actions(
    "jobs",
    "job_id",
    _named,
    [
        ConfirmedAction(
            "cancel", "Cancel this job", (
                "What the job has done stays. The job can be resumed."
            ), _READ, _cancel, fresh=False
        ),
        ConfirmedAction(
            "resume", "Resume this job", (
                "The job continues where it stopped, as long as you have your role."
            ), _READ, _resume,
            danger=False,
        ),
    ],
)  # fmt: skip
