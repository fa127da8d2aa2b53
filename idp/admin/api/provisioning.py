"""Operations on provisioning targets: applications to which users and groups are sent over SCIM."""

from http import HTTPStatus
from typing import Any
from uuid import UUID

import msgspec

from idp.admin.api.models import provisioning as models
from idp.admin.api.models.base import reader
from idp.admin.api.operation import Call, Result, listed, not_found, one, operation
from idp.admin.roles import Permission
from idp.infra.db.listing import find
from idp.provisioning import targets
from idp.provisioning.repository import jobs
from idp.provisioning.repository.drift import DRIFT
from idp.provisioning.repository.jobs import Job
from idp.provisioning.repository.subjects import PROVISIONED_USERS, users
from idp.provisioning.repository.targets import TARGETS

_PATH = "/provisioning_targets"
_ONE = f"{_PATH}/{{target_id}}"
_PUSH, _CHECK = f"{_ONE}/push", f"{_ONE}/check"
_READ, _WRITE = Permission.PROVISIONING_READ, Permission.PROVISIONING_WRITE
_read = reader(models.ProvisioningTarget, "mapping")

listed(_PATH, _READ, "List provisioning targets", listing=TARGETS, read=_read, item=models.ProvisioningTarget)


@operation("GET", _ONE, _READ, "Show a provisioning target", content=models.ProvisioningTarget)
async def show_provisioning_target(call: Call) -> models.ProvisioningTarget:
    found: models.ProvisioningTarget = await one(TARGETS, _read, id=call.params["target_id"])
    return found


async def _id(call: Call) -> UUID:
    return (await show_provisioning_target(call)).id


@operation(
    "POST", _PATH, _WRITE, "Create a provisioning target, which is disabled at first",
    body=models.NewProvisioningTarget, content=models.ProvisioningTarget, status=HTTPStatus.CREATED,
)  # fmt: skip
async def create_provisioning_target(call: Call) -> Result:
    values: dict[str, Any] = {
        name: value for name, value in msgspec.to_builtins(call.body).items() if value is not msgspec.UNSET
    }
    target_id = await targets.create(**values)
    return Result(await one(TARGETS, _read, id=str(target_id)), HTTPStatus.CREATED, f"{_PATH}/{target_id}")


@operation(
    "PATCH", _ONE, _WRITE, "Change a provisioning target; all its users are looked at again",
    body=models.ProvisioningTargetChange, content=models.ProvisioningTarget, current=show_provisioning_target,
)  # fmt: skip
async def update_provisioning_target(call: Call) -> models.ProvisioningTarget:
    sent = msgspec.to_builtins(call.body)
    changes = {name: sent[name] for name in call.sent if name != "token"}
    await targets.update(call.current.id, changes, sent.get("token"), expected_at=call.current.updated_at)
    return await show_provisioning_target(call)


@operation("PUT", f"{_ONE}/token", _WRITE, "Replace the token of a provisioning target", body=models.ProvisioningToken)
async def set_provisioning_token(call: Call) -> None:
    await targets.set_token(await _id(call), call.body.token)


@operation(
    "POST", f"{_ONE}/test", _WRITE, "Ask a provisioning target for what it supports, and change nothing",
    content=models.ProvisioningFeatures,
)  # fmt: skip
async def test_provisioning_target(call: Call) -> models.ProvisioningFeatures:
    found = await targets.test(await _id(call))
    return models.ProvisioningFeatures(patch=found.patch, etag=found.etag, cursor=found.cursor)


@operation(
    "POST", f"{_ONE}/enable", _WRITE, "Enable a provisioning target, which sends all its users to it",
    content=models.ProvisioningTarget,
)  # fmt: skip
async def enable_provisioning_target(call: Call) -> models.ProvisioningTarget:
    found = await show_provisioning_target(call)
    if found.disabled_at is not None:
        await targets.set_enabled(found.id, True)
    return await show_provisioning_target(call)


@operation(
    "POST", f"{_ONE}/disable", _WRITE, "Disable a provisioning target, which gives up what waits",
    content=models.ProvisioningTarget,
)  # fmt: skip
async def disable_provisioning_target(call: Call) -> models.ProvisioningTarget:
    found = await show_provisioning_target(call)
    if found.disabled_at is None:
        await targets.set_enabled(found.id, False)
    return await show_provisioning_target(call)


@operation("DELETE", _ONE, _WRITE, "Delete a provisioning target; what it was sent stays there")
async def delete_provisioning_target(call: Call) -> None:
    await targets.delete(await _id(call))


listed(
    f"{_ONE}/users", _READ, "List the users at a provisioning target",
    listing=PROVISIONED_USERS, read=reader(models.ProvisionedUser), item=models.ProvisionedUser,
    within="target_id", of=show_provisioning_target,
)  # fmt: skip


@operation("GET", f"{_ONE}/status", _READ, "Show how far a provisioning target is", content=models.ProvisioningStatus)
async def show_provisioning_status(call: Call) -> models.ProvisioningStatus:
    row = await find(TARGETS, id=call.params["target_id"])
    if row is None:
        raise not_found()
    push = await jobs.job(row["id"], "push")
    check = await jobs.job(row["id"], "check")
    shown = {"push": push and shown_job(push), "check": check and shown_job(check)}
    values = {**row, **await users.counts(row["id"]), **shown}
    return msgspec.convert(values, models.ProvisioningStatus, from_attributes=True)


def shown_job(job: Job | None) -> models.ProvisioningJob:
    """Return a job as the API shows it.

    Raises:
        ProblemError: there is none.
    """
    if job is None:
        raise not_found()
    return models.ProvisioningJob(
        job.kind, job.id, job.state, job.done, job.total, job.counts, job.error, job.started_at, job.finished_at
    )


@operation("GET", _PUSH, _READ, "Show how far the last push is", content=models.ProvisioningJob)
async def show_provisioning_push(call: Call) -> models.ProvisioningJob:
    return shown_job(await jobs.job(await _id(call), "push"))


@operation(
    "POST", _PUSH, _WRITE, "Look at every user of a provisioning target, and send those who differ",
    content=models.ProvisioningJob,
)  # fmt: skip
async def start_provisioning_push(call: Call) -> models.ProvisioningJob:
    return shown_job(await targets.start(await _id(call), "push"))


@operation("POST", f"{_PUSH}/stop", _WRITE, "Stop a push", content=models.ProvisioningJob)
async def stop_provisioning_push(call: Call) -> models.ProvisioningJob:
    await targets.stop(await _id(call), "push")
    return await show_provisioning_push(call)


@operation("POST", f"{_PUSH}/resume", _WRITE, "Continue a push that was stopped", content=models.ProvisioningJob)
async def resume_provisioning_push(call: Call) -> models.ProvisioningJob:
    return shown_job(await targets.resume(await _id(call), "push"))


@operation("GET", _CHECK, _READ, "Show how far the last check is", content=models.ProvisioningJob)
async def show_provisioning_check(call: Call) -> models.ProvisioningJob:
    return shown_job(await jobs.job(await _id(call), "check"))


@operation(
    "POST", _CHECK, _WRITE, "Compare a provisioning target with this server, and repair differences if asked to",
    body=models.NewProvisioningCheck, content=models.ProvisioningJob,
)  # fmt: skip
async def start_provisioning_check(call: Call) -> models.ProvisioningJob:
    return shown_job(await targets.start(await _id(call), "check", mend=call.body.mend))


@operation("POST", f"{_CHECK}/stop", _WRITE, "Stop a check", content=models.ProvisioningJob)
async def stop_provisioning_check(call: Call) -> models.ProvisioningJob:
    await targets.stop(await _id(call), "check")
    return await show_provisioning_check(call)


@operation("POST", f"{_CHECK}/resume", _WRITE, "Continue a check that was stopped", content=models.ProvisioningJob)
async def resume_provisioning_check(call: Call) -> models.ProvisioningJob:
    return shown_job(await targets.resume(await _id(call), "check"))


listed(
    f"{_ONE}/drift", _READ, "List what the last check has found",
    listing=DRIFT, read=reader(models.ProvisioningDrift), item=models.ProvisioningDrift,
    within="target_id", of=show_provisioning_target,
)  # fmt: skip
