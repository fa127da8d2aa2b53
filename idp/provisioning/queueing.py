"""Queues deliveries about users and groups, unless one is queued already."""

from collections.abc import Collection
from typing import Final
from uuid import UUID

from idp.delivery.outbox import Queued
from idp.provisioning.models import stream_of
from idp.provisioning.repository.subjects import Subjects, groups, users
from idp.settings import settings

USER_KIND: Final = "scim_user"
GROUP_KIND: Final = "scim_group"
_KINDS: Final = {id(users): USER_KIND, id(groups): GROUP_KIND}


async def deliveries(
    subjects: Subjects, target_id: UUID, ids: Collection[UUID], *, urgent: bool = False, known_only: bool = False
) -> list[Queued]:
    """Return the deliveries to queue, in the caller's transaction.

    Args:
        subjects: users or groups.
        urgent: before all that are not.
        known_only: leave out those that were never considered for the target.
    """
    lifetime = settings().delivery_retry_lifetime
    marked = await subjects.mark(target_id, ids, urgent=urgent, seconds=float(lifetime), known_only=known_only)
    return [
        Queued(
            kind=_KINDS[id(subjects)],
            stream=stream_of(target_id),
            content={"id": str(each)},
            user_id=each if subjects is users else None,
            lifetime=lifetime,
            urgent=urgent,
        )
        for each in marked
    ]
