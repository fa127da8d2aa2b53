"""Turns events of the audit trail into deliveries to targets (docs/decisions/0063-events-from-the-audit-trail.md).

An event says who may have changed, not what: a delivery computes that itself. So the order of events does not matter,
and several about one user are one delivery.
"""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

import msgspec

from idp import ids
from idp.audit.repository import feed
from idp.audit.repository.feed import FedEvent
from idp.delivery.outbox import Queued
from idp.provisioning import queueing
from idp.provisioning.models import Target, Users
from idp.provisioning.repository import jobs
from idp.provisioning.repository import targets as repository
from idp.provisioning.repository.subjects import groups, users

#: The name in the feed.
SUBSCRIBER: Final = "provisioning"
#: After them a user may have to be removed or deactivated at once.
URGENT: Final = frozenset(
    {
        "user_disabled", "user_deleted", "user_contained", "account_voided", "group_member_removed",
        "organization_member_removed", "organization_member_disabled", "user_role_revoked",
    }
)  # fmt: skip
#: After them a user who was none may be one of a target's, by what says which users it gets.
COMING: Final = {
    Users.ALL: frozenset({"user_created", "user_enabled"}),
    Users.GROUPS: frozenset({"group_member_added", "user_enabled"}),
    Users.ORGANIZATION: frozenset({"organization_member_added", "organization_member_enabled", "user_enabled"}),
    Users.CLIENT: frozenset(
        {
            "user_created", "user_enabled", "group_member_added", "organization_member_added",
            "organization_member_enabled", "user_role_granted", "attributes_changed", "group_member_removed",
            "organization_member_removed", "organization_member_disabled", "user_role_revoked",
        }
    ),
}  # fmt: skip
#: Those about one user.
OF_USERS: Final = URGENT.union(*COMING.values()) | {
    "profile_changed",
    "attributes_changed",
    "email_changed",
    "identity_linked",
}
#: Those that concern many users or none, by the targets that they may concern.
OF_MANY: Final = {
    "users_imported": frozenset(Users),
    "attribute_updated": frozenset(Users),
    "attribute_deleted": frozenset(Users),
    "organization_disabled": frozenset({Users.ORGANIZATION, Users.CLIENT}),
    "organization_enabled": frozenset({Users.ORGANIZATION, Users.CLIENT}),
    "organization_deleted": frozenset({Users.ORGANIZATION, Users.CLIENT}),
    "access_policy_set": frozenset({Users.CLIENT}),
    "access_policy_removed": frozenset({Users.CLIENT}),
    "group_role_granted": frozenset({Users.CLIENT}),
    "group_role_revoked": frozenset({Users.CLIENT}),
    "role_contained_added": frozenset({Users.CLIENT}),
    "role_contained_removed": frozenset({Users.CLIENT}),
    "role_deleted": frozenset({Users.CLIENT}),
    "database_restored": frozenset(Users),
}
OF_GROUPS: Final = frozenset({"group_updated", "group_deleted"})
KINDS: Final = OF_USERS | OF_MANY.keys() | OF_GROUPS


async def feed_kinds() -> None:
    """Feed the events that targets want. To be called under the lock ``event_feed_kind``."""
    await feed.set_kinds(SUBSCRIBER, KINDS if await repository.enabled_targets() else ())


class _Concerned:
    """The users and groups of one target that some events are about.

    Attributes:
        users: by whether they are urgent, and whether they must be known already.
        all: whether every user may be concerned.
    """

    def __init__(self) -> None:
        self.users: dict[tuple[bool, bool], set[UUID]] = {}
        self.groups: set[UUID] = set()
        self.all = False

    def add(self, event: FedEvent, target: Target) -> None:
        if event.event in OF_USERS and event.user_id is not None:
            key = (event.event in URGENT, event.event not in COMING[target.users])
            self.users.setdefault(key, set()).add(event.user_id)
        elif event.event in OF_MANY:
            other = event.client_id is not None and event.event.startswith("access_policy")
            self.all |= target.users in OF_MANY[event.event] and not (other and event.client_id != target.client_id)
        elif event.event in OF_GROUPS:
            detail = msgspec.json.decode(event.detail)
            self.groups.add(UUID(detail["group_id"]))
            self.all |= event.event == "group_deleted" or "parent_id" in detail["changed"]


async def deliveries_of(events: Sequence[FedEvent]) -> list[Queued]:
    """Return the deliveries of events to all targets, in the transaction that takes the events."""
    events = [event for event in events if event.event in KINDS and event.outcome == "success"]
    found: list[Queued] = []
    for target in await repository.enabled_targets() if events else ():
        concerned = _Concerned()
        for event in events:
            concerned.add(event, target)
        for (urgent, known_only), user_ids in sorted(concerned.users.items(), reverse=True):
            found += await queueing.deliveries(users, target.id, user_ids, urgent=urgent, known_only=known_only)
        pushed = concerned.groups & set(target.pushed_groups)
        found += await queueing.deliveries(groups, target.id, pushed)
        found += await queueing.deliveries(groups, target.id, concerned.groups - pushed, known_only=True)
        if concerned.all:
            await jobs.request(target.id, ids.uuid7())
    return found
