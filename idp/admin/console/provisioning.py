"""Screens of the applications to which users and groups are sent over SCIM."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from litestar import Response

from idp.admin.console import actions
from idp.admin.console.actions import ConfirmedAction
from idp.admin.console.components import (
    Action,
    Cell,
    Field,
    Table,
    asked_page,
    facts,
    next_url,
    one,
    seen,
    version,
    when,
)
from idp.admin.console.screen import FORM_ERRORS, HOME, AdminRequest, redirect_with_notice, render, screen
from idp.admin.roles import Permission
from idp.infra.db.listing import all_rows
from idp.provisioning import targets, texts
from idp.provisioning.mapping import DEFAULT
from idp.provisioning.models import Target
from idp.provisioning.repository import jobs
from idp.provisioning.repository.drift import DRIFT
from idp.provisioning.repository.jobs import Job
from idp.provisioning.repository.subjects import PROVISIONED_USERS, users
from idp.provisioning.repository.targets import TARGETS

SECTION = "provisioning"
_READ, _WRITE = Permission.PROVISIONING_READ, Permission.PROVISIONING_WRITE
_USERS = (
    ("all", "all"), ("groups", "those in groups"), ("organization", "the members of an organisation"),
    ("client", "those who may use a client"),
)  # fmt: skip
_MATCHES = (("userName", "userName"), ("externalId", "externalId: adopts no one"), ("email", "email address"))
_REMOVALS = (("deactivate", "they are deactivated"), ("delete", "they are deleted"))


def state_of(row: Any) -> Cell:
    if row["disabled_at"]:
        return Cell("disabled")
    return Cell("failing", mood="bad") if row["failing_since"] else Cell("enabled", mood="good")


@screen("GET", f"/{SECTION}", _READ)
async def list_targets(request: AdminRequest) -> Response[str]:
    found = await asked_page(request, TARGETS)
    rows = [
        [
            Cell(row["name"], f"{HOME}/{SECTION}/{row['id']}"), Cell(row["base_url"]), Cell(dict(_USERS)[row["users"]]),
            state_of(row), Cell(str(row["waiting"])),
        ]
        for row in found.rows
    ]  # fmt: skip
    return render(
        request, "list", section=SECTION, heading="Provisioning", path=f"{HOME}/{SECTION}", filters=[],
        acts=[Action("New target", f"{HOME}/{SECTION}/new")] if _WRITE in request.caller.allowed else [],
        intro="Applications to which users and groups are sent over SCIM 2.0.",
        columns=("Name", "Base URL", "Users", "State", "Waiting"), rows=rows, next=next_url(request, found),
    )  # fmt: skip


def _fields(values: dict[str, str], *, new: bool) -> list[Field]:
    def value(name: str) -> str:
        return values.get(name, "")

    token = Field(
        "token", "Token", "", "password",
        "The bearer token that the application gave you."
        if new else "Needed for another base URL. Leave it empty to keep the stored one.",
        required=new,
    )  # fmt: skip
    return [
        Field("name", "Name, for administrators", value("name"), required=True),
        Field(
            "base_url", "Base URL", value("base_url"),
            help="The SCIM server of the application, such as https://app.example.com/scim/v2.",
            required=True,
        ),
        token,
        Field("users", "Users it gets", value("users") or "all", "choice", choices=_USERS),
        Field("groups", "Of these groups, one per line", value("groups"), "lines", (
            "If the target gets users in groups."
        )),
        Field("organization", "Of this organisation", value("organization"), help="The slug of the organisation."),
        Field("client_id", "Of this client", value("client_id"), help=(
            "The client_id of the client. The access policy decides."
        )),
        Field("pushed_groups", "Groups it gets, one per line", value("pushed_groups"), "lines"),
        Field(
            "mapping", "Attributes, one ATTRIBUTE=SOURCE per line", value("mapping"), "lines",
            "A source is an attribute of users, or attribute:NAME for one that you declared.", required=True,
        ),
        Field(
            "match", "Adopt accounts that exist there by", value("match") or "userName", "choice", choices=_MATCHES
        ),
        Field(
            "removal", "When users are deleted here or leave", value("removal") or "deactivate", "choice",
            choices=_REMOVALS,
        ),
        Field("mends", "Periodic checks repair differences", value("mends"), "check", (
            "Otherwise they only report differences."
        )),
    ]  # fmt: skip


async def _values(request: AdminRequest) -> dict[str, Any]:
    form = request.form
    lists = {name: [line.strip() for line in form.get(name, "").splitlines() if line.strip()]
             for name in ("groups", "pushed_groups", "mapping")}  # fmt: skip
    plain = {name: form.get(name, "").strip() for name in ("name", "base_url", "users", "match", "removal")}
    rest = {name: form.get(name, "").strip() or None for name in ("organization", "client_id")}
    return await texts.read(plain | lists | rest | {"mends": "mends" in form})


def _form(
    request: AdminRequest, values: dict[str, str], error: str | None = None, target: Target | None = None
) -> Response[str]:
    path = f"{HOME}/{SECTION}" + (f"/{target.id}" if target is not None else "")
    return render(
        request, "form", section=SECTION, heading=f"Change {target.name}" if target is not None else "New target",
        fields=_fields(values, new=target is None), action=f"{path}/{'change' if target is not None else 'new'}",
        label="Save" if target is not None else "Create", back=path, error=error, status=400 if error else 200,
        version=version(request, target.updated_at if target is not None else None),
    )  # fmt: skip


@screen("GET", f"/{SECTION}/new", _WRITE)
async def new_target(request: AdminRequest) -> Response[str]:
    return _form(request, {"mapping": "\n".join(texts.write_mapping(DEFAULT))} | dict(request.kept))


@screen("POST", f"/{SECTION}/new", _WRITE, fresh=True)
async def create_target(request: AdminRequest) -> Response[Any]:
    try:
        target_id = await targets.create(token=request.form.get("token", "").strip(), **await _values(request))
    except FORM_ERRORS as error:
        return _form(request, dict(request.form), error.description)
    return redirect_with_notice(f"/{SECTION}/{target_id}", "saved")


async def _target(target_id: str) -> Target:
    row = await one(TARGETS, id=target_id)
    return await texts.named_target(str(row["id"]))


@screen("GET", f"/{SECTION}/{{target_id}}/change", _WRITE)
async def edit_target(request: AdminRequest) -> Response[str]:
    target = await _target(request.params["target_id"])
    written = await texts.written(target)
    values = {name: "\n".join(value) if isinstance(value, list) else value for name, value in written.items()}
    values["mends"] = "on" if target.mends else ""
    return _form(request, values | dict(request.kept), target=target)


@screen("POST", f"/{SECTION}/{{target_id}}/change", _WRITE, fresh=True)
async def update_target(request: AdminRequest) -> Response[Any]:
    target = await _target(request.params["target_id"])
    try:
        seen(request, {"updated_at": target.updated_at})
        token = request.form.get("token", "").strip() or None
        await targets.update(target.id, await _values(request), token, expected_at=target.updated_at)
    except FORM_ERRORS as error:
        return _form(request, dict(request.form), error.description, target)
    return redirect_with_notice(f"/{SECTION}/{target.id}", "saved")


@screen("GET", f"/{SECTION}/{{target_id}}", _READ)
async def show_target(request: AdminRequest) -> Response[str]:
    row = await one(TARGETS, id=request.params["target_id"])
    target = await texts.named_target(str(row["id"]))
    written, counts = await texts.written(target), await users.counts(target.id)
    push, check = await jobs.job(target.id, "push"), await jobs.job(target.id, "check")
    drift = await all_rows(DRIFT, {"target_id": str(target.id)}) if check is not None else []
    refused = await asked_page(request, PROVISIONED_USERS, target_id=str(target.id), refused="true")
    shown = {
        "State": state_of(row),
        "Why it fails": row["failing_reason"],
        "Base URL": target.base_url,
        "Users": dict(_USERS)[target.users.value],
        "Of": ", ".join(filter(None, [*written["groups"], written["organization"], written["client_id"]])),
        "Groups": ", ".join(written["pushed_groups"]),
        "Attributes": ", ".join(written["mapping"]),
        "Adopts by": target.match.value,
        "Users who leave": dict(_REMOVALS)[target.removal.value],
        "Active there": counts["active"],
        "Inactive there": counts["inactive"],
        "Deliveries that wait": Cell(str(row["waiting"]), f"{HOME}/deliveries?stream={target.stream}"),
        "Last acknowledged": when(row["delivered_at"]),
        "Push": progress(push),
        "Check": progress(check),
        "Checked": when(check.started_at if check is not None else None),
        "Periodic checks": "mend" if target.mends else "report",
        "Created": target.created_at,
    }
    table = Table(
        "Users that it refuses",
        ("User", "Why"),
        [[Cell(str(each["user_id"]), f"{HOME}/users/{each['user_id']}"), Cell(each["error"])] for each in refused.rows],
        next=next_url(request, refused),
    )
    return render(
        request, "record", section=SECTION, heading=target.name, facts=facts(shown), tables=[table, *_drift(drift)],
        acts=_acts(target, push, check) if _WRITE in request.caller.allowed else [],
    )  # fmt: skip


def _drift(rows: Sequence[Any]) -> list[Table]:
    """Return the table of what the last check has found; of more than 200 differences, the first."""
    if not rows:
        return []
    cells = [
        [
            Cell(row["kind"].replace("_", " "), mood="plain"),
            Cell(str(row["user_id"]), f"{HOME}/users/{row['user_id']}") if row["user_id"] else Cell(""),
            Cell(str(row["group_id"]), f"{HOME}/groups/{row['group_id']}") if row["group_id"] else Cell(""),
            Cell(row["remote_id"] or ""), Cell(", ".join(row["details"])),
        ]
        for row in rows[:200]
    ]  # fmt: skip
    return [Table("What the last check found", ("Difference", "User", "Group", "There", "Details"), cells)]


def _acts(target: Target, push: Job | None, check: Job | None) -> list[Action]:
    path = f"{HOME}/{SECTION}/{target.id}"
    if target.disabled_at is not None:
        state = [Action("Enable", f"{path}/enable")]
    else:
        states = {job.state for job in (push, check) if job is not None}
        state = [
            Action("Push all users", f"{path}/push"), Action("Check", f"{path}/check"),
            Action("Check and repair", f"{path}/mend"),
        ]  # fmt: skip
        if "running" in states:
            state.append(Action("Stop the jobs", f"{path}/stop"))
        if states & {"stopped", "failed"}:
            state.append(Action("Continue the jobs", f"{path}/resume"))
        state.append(Action("Disable", f"{path}/disable"))
    return [
        Action("Change", f"{path}/change"), Action("Test", f"{path}/test"), Action("New token", f"{path}/token"),
        *state, Action("Delete", f"{path}/delete", danger=True),
    ]  # fmt: skip


def progress(job: Job | None) -> str:
    """Return how far a job is, in one line."""
    if job is None:
        return "never"
    of = f" of about {job.total}" if job.total is not None else ""
    found = "".join(f", {number} {name}" for name, number in job.counts.items())
    return f"{job.state}: {job.done}{of} users{found}" + (f". {job.error}" if job.error else "")


async def _named(target_id: str) -> dict[str, Any]:
    row = await one(TARGETS, id=target_id)
    return {"Name": row["name"], "Base URL": row["base_url"]}


async def _id(target_id: str) -> UUID:
    row = await one(TARGETS, id=target_id)
    return UUID(str(row["id"]))


async def _test(visit: AdminRequest, target_id: str) -> Response[str]:
    target = await _target(target_id)
    try:
        features = await targets.test(target.id)
    except targets.TestFailedError as error:
        shown: dict[str, Any] = {"Works": Cell("no", mood="bad"), "Why": error.description}
    else:
        shown = {
            "Works": Cell("yes", mood="good"), "PATCH": features.patch, "ETag": features.etag,
            "Pages by cursor": features.cursor,
        }  # fmt: skip
    return render(
        visit, "record", section=SECTION, heading=f"Test of {target.name}", facts=facts(shown),
        acts=[Action("Back", f"{HOME}/{SECTION}/{target.id}")],
    )  # fmt: skip


async def _set_token(visit: AdminRequest, target_id: str) -> tuple[str, str]:
    await targets.set_token(await _id(target_id), visit.form.get("token", "").strip())
    return f"/{SECTION}/{target_id}", "saved"


async def _enable(_visit: AdminRequest, target_id: str) -> tuple[str, str]:
    await targets.set_enabled(await _id(target_id), True)
    return f"/{SECTION}/{target_id}", "saved"


async def _disable(_visit: AdminRequest, target_id: str) -> tuple[str, str]:
    await targets.set_enabled(await _id(target_id), False)
    return f"/{SECTION}/{target_id}", "saved"


async def _push(_visit: AdminRequest, target_id: str) -> tuple[str, str]:
    await targets.start(await _id(target_id), "push")
    return f"/{SECTION}/{target_id}", "saved"


async def _stop(_visit: AdminRequest, target_id: str) -> tuple[str, str]:
    await targets.stop(await _id(target_id), "push", "check")
    return f"/{SECTION}/{target_id}", "saved"


async def _resume(_visit: AdminRequest, target_id: str) -> tuple[str, str]:
    await targets.resume(await _id(target_id), "push", "check")
    return f"/{SECTION}/{target_id}", "saved"


async def _check(_visit: AdminRequest, target_id: str) -> tuple[str, str]:
    await targets.start(await _id(target_id), "check")
    return f"/{SECTION}/{target_id}", "saved"


async def _mend(_visit: AdminRequest, target_id: str) -> tuple[str, str]:
    await targets.start(await _id(target_id), "check", mend=True)
    return f"/{SECTION}/{target_id}", "saved"


async def _delete(_visit: AdminRequest, target_id: str) -> tuple[str, str]:
    await targets.delete(await _id(target_id))
    return f"/{SECTION}", "deleted"


actions.declare_actions(
    SECTION,
    "target_id",
    _named,
    [
        ConfirmedAction(
            "test", "Test", "The target is asked what it supports, and for one user. Nothing is changed there.", _WRITE,
            _test, danger=False,
        ),
        ConfirmedAction(
            "token", "New token", "Waiting deliveries are sent with the new token.", _WRITE, _set_token, danger=False,
            fields=(Field("token", "Token", "", "password", required=True),),
        ),
        ConfirmedAction("enable", "Enable", "All users of the target are sent to it.", _WRITE, _enable, danger=False),
        ConfirmedAction("disable", "Disable", (
            "The target gets nothing more, and waiting deliveries are dropped."
        ), _WRITE, _disable),
        ConfirmedAction(
            "push", "Push all users", "Every user is checked, and sent if anything changed since the last time.",
            _WRITE, _push, danger=False,
        ),
        ConfirmedAction(
            "check", "Check", "All users and groups there are compared with this server. Nothing is changed.", _WRITE,
            _check, danger=False,
        ),
        ConfirmedAction(
            "mend", "Check and repair",
            "All users and groups there are compared with this server, and what differs is sent. Accounts that"
            " this server neither created nor adopted stay as they are.",
            _WRITE, _mend, danger=False,
        ),
        ConfirmedAction("stop", "Stop the jobs", "Deliveries already queued are sent.", _WRITE, _stop, danger=False),
        ConfirmedAction(
            "resume", "Continue the jobs", "The jobs continue where they stopped.", _WRITE, _resume, danger=False
        ),
        ConfirmedAction(
            "delete", "Delete", "Waiting deliveries are dropped. The accounts there stay as they are.", _WRITE, _delete
        ),
    ],
)  # fmt: skip
