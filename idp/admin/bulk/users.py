"""Acts on the users of a job, a few in one transaction."""

from functools import partial
from uuid import UUID

import msgspec
import structlog

from idp.accounts.repository import users
from idp.admin.access import Caller, check_target
from idp.admin.bulk.kinds import Act, Kind
from idp.admin.bulk.models import Failure, Item, Job
from idp.admin.bulk.repository import items
from idp.admin.bulk.step import UNEXPECTED, Step, advanced, caller_of, held, interrupts
from idp.directory.errors import UnknownMemberError
from idp.errors import DomainError, PermissionDeniedError
from idp.infra.db.engine import transaction
from idp.infra.logs import exception_fields

log = structlog.get_logger()

#: Items of one transaction. Their users are locked until it ends.
BATCH = 20


def steps(kind: Kind, act: Act) -> Step:
    """Return the step of a job that acts on users."""
    return partial(_step, kind, act)


async def _step(kind: Kind, act: Act, job: Job, holder: UUID) -> Job:
    """Act on the next items. If that fails unexpectedly, act on each alone, so that one does not stop the others.

    Raises:
        DomainError: the job cannot go on.
    """
    batch = await items.following(job.id, job.done, BATCH)
    try:
        return await _act(kind, act, job, batch, holder)
    except Exception as error:
        if interrupts(error):
            raise
        log.warning("bulk_batch_failed", **exception_fields(error))
    for item in batch:
        try:
            job = await _act(kind, act, job, [item], holder)
        except Exception as error:
            if interrupts(error):
                raise
            log.warning("bulk_item_failed", **exception_fields(error))
            async with transaction():
                job = await advanced(job, holder, 1, 0, [Failure(item.number, item.name, UNEXPECTED)])
    return job


async def _act(kind: Kind, act: Act, job: Job, batch: list[Item], holder: UUID) -> Job:
    parameters = msgspec.json.decode(job.parameters, type=kind.parameters)
    user_ids = {item.user_id for item in batch if item.user_id is not None}
    changed, failures = 0, list[Failure]()
    async with transaction():
        await held(job, user_ids)
        existing = await users.emails_by_id(user_ids)
        for item in batch:
            try:
                if item.user_id is None or item.user_id not in existing:
                    raise UnknownMemberError
                await _check(kind, caller_of(job), item.user_id)
                changed += await act(item.user_id, parameters)
            except kind.stops:
                raise
            except DomainError as error:
                failures.append(Failure(item.number, item.name, error.description))
        return await advanced(job, holder, len(batch), changed, failures)


async def _check(kind: Kind, caller: Caller | None, user_id: UUID) -> None:
    """
    Raises:
        PermissionDeniedError: the caller may not do this to this user.
    """
    if kind.spares_asker and caller is not None:
        if user_id == caller.user_id:
            raise PermissionDeniedError("This is the administrator who asked, who is left out.")
        await check_target(caller, user_id)
