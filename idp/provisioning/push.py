"""The job that looks at every user of a target, and queues those who are not there as they are to be.

It is the first push to a new target, and the way in which a change that concerns many users reaches it: of the target,
a group, an organization or an access policy. Few deliveries wait at a time.
"""

from typing import Final
from uuid import UUID

import msgspec

from idp.delivery import outbox
from idp.delivery.repository import count_waiting
from idp.errors import OperatorError
from idp.infra.db.engine import transaction
from idp.provisioning import queueing
from idp.provisioning.desired import Desired, Wanted, desired_of
from idp.provisioning.models import State, Target
from idp.provisioning.repository import members
from idp.provisioning.repository.jobs import Job
from idp.provisioning.repository.subjects import Subject, groups, users
from idp.settings import settings

#: Users that are looked at in one step, and deliveries to a target above which the job waits.
BATCH, WAITING = 200, 1000
NOBODY: Final = UUID(int=0)


class TooManyLeaveError(OperatorError):
    """A push would remove too many users from a target at once. It is stopped, until an administrator resumes it.

    That is rather a mistake: another group, or a policy that was changed by accident.

    Attributes:
        job: where it goes on.
    """

    def __init__(self, job: Job, leaving: int, there: int) -> None:
        super().__init__(
            f"{leaving} of {there} active users are no longer among its users, more than IDP_PROVISIONING_REMOVAL_LIMIT"
            " allows. Nothing was removed. Resume the push to remove them."
        )
        self.job = job


async def step(target: Target, job: Job) -> tuple[Job, bool]:
    """Look at the next users. Returns the job, and whether it can go on at once.

    The phases are ``leaving`` (those who are there, and would be removed), ``users`` (those that the target may get),
    ``known`` (those who are or were there) and ``done``.

    Raises:
        TooManyLeaveError: too many would be removed at once.
    """
    if await count_waiting(target.stream, WAITING) >= WAITING:
        return job, False
    if not job.phase:
        return msgspec.structs.replace(job, phase="leaving"), True
    if job.phase == "leaving":
        return await _count_leaving(target, job), True
    after = UUID(job.cursor) if job.cursor else NOBODY
    if job.phase == "users":
        ids = await members.candidates(target, after, BATCH)
        known = await users.of_ids(target.id, ids)
    else:
        known = {each.id: each for each in await users.page(target.id, after, BATCH)}
        ids = list(known)
    if not ids:
        if job.phase == "users":
            return msgspec.structs.replace(job, phase="known", cursor=""), True
        await _queue_groups(target)
        return msgspec.structs.replace(job, phase="done"), True
    desired = await desired_of(target, ids)
    changed = [each for each in ids if not _is_as_wanted(target, desired[each], known.get(each))]
    leaving = [each for each in changed if desired[each].wanted is not Wanted.ACTIVE]
    coming = [each for each in changed if desired[each].wanted is Wanted.ACTIVE]
    async with transaction():
        found = await queueing.deliveries(users, target.id, leaving, urgent=True, known_only=True)
        found += await queueing.deliveries(users, target.id, coming)
        await outbox.queue_many(found)
    counts = dict(job.counts)
    counts["queued"] = counts.get("queued", 0) + len(found)
    done = job.done + (len(ids) if job.phase == "users" else 0)
    return msgspec.structs.replace(job, cursor=str(ids[-1]), done=done, counts=counts), True


async def _count_leaving(target: Target, job: Job) -> Job:
    """Count the active users who are not to be there any more, before the first of them is queued."""
    page = await users.page(target.id, UUID(job.cursor) if job.cursor else NOBODY, BATCH)
    there, leaving = job.counts.get("there", 0), job.counts.get("leaving", 0)
    if not page:
        total = await members.count_candidates(target)
        following = msgspec.structs.replace(job, phase="users", cursor="", total=total, counts={})
        if leaving > max(1, there * settings().provisioning_removal_limit // 100):
            raise TooManyLeaveError(following, leaving, there)
        return following
    # Of those of whom a delivery waits, it was decided before.
    active = [each.id for each in page if each.state is State.ACTIVE and not each.queued]
    desired = await desired_of(target, active)
    leaving += sum(each.has_left for each in desired.values())
    counts = {"there": there + sum(each.state is State.ACTIVE for each in page), "leaving": leaving}
    return msgspec.structs.replace(job, cursor=str(page[-1].id), counts=counts)


def _is_as_wanted(target: Target, desired: Desired, known: Subject | None) -> bool:
    """Return whether a user was last sent as they are to be."""
    if desired.wanted is Wanted.ACTIVE:
        return known is not None and known.state is State.ACTIVE and known.sent_hash == desired.hash
    if known is None:
        return True
    deletes = desired.wanted is Wanted.REMOVED and target.removal == "delete"
    return known.state is State.INACTIVE and not deletes


async def _queue_groups(target: Target) -> None:
    known = [each.id for each in await groups.page(target.id, NOBODY, 10_000)]
    async with transaction():
        await outbox.queue_many(await queueing.deliveries(groups, target.id, {*known, *target.pushed_groups}))
