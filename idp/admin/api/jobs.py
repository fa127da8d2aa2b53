"""Operations on bulk jobs."""

from http import HTTPStatus

import msgspec

from idp.accounts.attributes import search
from idp.accounts.repository.users import EVERY_USER
from idp.admin.api.ids import uuid_of
from idp.admin.api.models import jobs as models
from idp.admin.api.models.base import reader
from idp.admin.api.operation import Call, Result, listed, one, operation
from idp.admin.api.problems import ProblemError
from idp.admin.bulk import service
from idp.admin.bulk.kinds import act_of, acts
from idp.admin.bulk.models import Selection
from idp.admin.bulk.repository.items import ERRORS
from idp.admin.bulk.repository.jobs import JOBS
from idp.admin.roles import Permission

_PATH = "/jobs"
_ONE = f"{_PATH}/{{job_id}}"
#: Also of those who create jobs, which say who exists. The permission of the kind is needed too.
_READ = Permission.USERS_READ
#: Maximum size of a request that creates a job, in bytes: about 25,000 users by id.
MAX_BODY = 1024 * 1024
_read = reader(models.Job, "parameters")

listed(_PATH, _READ, "List bulk jobs", listing=JOBS, read=_read, item=models.Job)


@operation("GET", _ONE, _READ, "Show a bulk job", content=models.Job)
async def show_job(call: Call) -> models.Job:
    found: models.Job = await one(JOBS, _read, id=str(uuid_of(call.params["job_id"])))
    return found


@operation("GET", "/job_kinds", _READ, "List the kinds of bulk jobs", content=list[models.JobKind])
async def list_job_kinds(call: Call) -> list[models.JobKind]:
    return [msgspec.convert(kind, models.JobKind, from_attributes=True) for kind in acts()]


@operation(
    "POST", _PATH, _READ, "Act on many users in the background", body=models.NewJob, content=models.Job,
    status=HTTPStatus.CREATED, max_body=MAX_BODY,
)  # fmt: skip
async def create_job(call: Call) -> Result:
    asked: models.NewJob = call.body
    kind = act_of(asked.kind)
    call.caller.require(kind.permission)
    if (asked.users is None) == (asked.filter is None):
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-body", "Send either users or filter.")
    try:
        parameters = msgspec.convert(asked.parameters, kind.parameters)
    except msgspec.ValidationError as error:
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-body", str(error)) from error
    more = await search.filters(call.caller.audience)
    users = msgspec.structs.replace(EVERY_USER, filters={**EVERY_USER.filters, **more})
    selection = Selection(asked.filter or {}, tuple(asked.users) if asked.users is not None else None)
    job = await service.create(call.caller, kind, parameters, selection, users=users, expected=asked.expected)
    return Result(await one(JOBS, _read, id=str(job.id)), HTTPStatus.CREATED, f"{_PATH}/{job.id}")


@operation("POST", f"{_ONE}/cancel", _READ, "Cancel a bulk job; what it has done stays", content=models.Job)
async def cancel_job(call: Call) -> models.Job:
    await service.cancel(uuid_of(call.params["job_id"]), call.caller)
    return await show_job(call)


@operation(
    "POST", f"{_ONE}/resume", _READ, "Continue a bulk job that was cancelled or has failed, for this caller",
    content=models.Job,
)  # fmt: skip
async def resume_job(call: Call) -> models.Job:
    await service.resume(uuid_of(call.params["job_id"]), call.caller)
    return await show_job(call)


listed(
    f"{_ONE}/errors", _READ, "List the items on which a bulk job could not act",
    listing=ERRORS, read=reader(models.JobError), item=models.JobError, within="job_id", of=show_job,
)  # fmt: skip
