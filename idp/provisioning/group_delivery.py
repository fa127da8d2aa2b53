"""The delivery of a group: its name, and those of its members who are active at the target.

What was sent is recorded for each member, so that a change of one of many sends one. Members of groups below it are
members, too. Members that others added at the target stay until a check finds them.
"""

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final
from uuid import UUID

import msgspec

from idp.delivery import outbox
from idp.delivery.handlers import DeliveryFailedError, DeliveryRejectedError, DueDelivery, Handler
from idp.directory.repository.groups import group_by_id
from idp.infra.db.engine import transaction
from idp.infra.outbound import Client
from idp.provisioning import connection, documents, queueing
from idp.provisioning.models import Claim, Document, State, Target
from idp.provisioning.protocol import GoneError, RefusedError, Remote, TakenError, UnauthorizedError, id_of
from idp.provisioning.repository import members
from idp.provisioning.repository.members import Member
from idp.provisioning.repository.subjects import RemoteTakenError, Sent, groups, users

GROUPS: Final = "/Groups"
#: Members of one request, and of a group at a target that cannot PATCH.
BATCH, MAX_REPLACED = 100, 10_000
#: Seconds after which the rest of the members gets a delivery of its own.
TURN_SECONDS: Final = 10.0


async def perform(delivery: DueDelivery, http: Client) -> str:
    """Make a group at the target what it is to be.

    Raises:
        DeliveryRejectedError: the target refuses it, or gets no groups any more.
        DeliveryFailedError: it may work later.
    """
    target = await connection.enabled(UUID(delivery.stream.removeprefix("scim:")))
    group_id = UUID(delivery.content["id"])
    claim = await groups.claim(group_id, target.id)
    if claim is None:
        raise DeliveryFailedError("Another delivery of this group is under way.", receiver=False)
    try:
        return await _bring(target, http, group_id, claim)
    except BaseException as error:
        refusal = isinstance(error, RefusedError | TakenError | DeliveryRejectedError)
        await groups.release(group_id, target.id, claim, str(error) if refusal else "")
        if isinstance(error, UnauthorizedError):
            raise await connection.refused(target, error) from error
        if isinstance(error, RemoteTakenError):
            raise DeliveryRejectedError("The group that was found is another group here.") from error
        if isinstance(error, RefusedError | TakenError):
            raise DeliveryRejectedError(str(error)) from error
        raise


async def _bring(target: Target, http: Client, group_id: UUID, claim: Claim) -> str:
    group = await group_by_id(group_id) if group_id in target.pushed_groups else None
    if group is None:
        return await _remove(target, http, group_id, claim)
    remote = await connection.connect(http, target)
    values = {"externalId": str(group_id), "displayName": group.name}
    sent, remote_id = documents.hash_of(values), claim.remote_id
    if remote_id is not None and sent != claim.sent_hash:
        remote_id = await _rename(remote, remote_id, values)
    if remote_id is None:
        remote_id = await _find_or_create(remote, group_id, values)
    if remote_id != claim.remote_id:
        await members.remove_all(target.id, group_id)
    try:
        finished = await _Members(target, remote, group_id, remote_id, values).bring()
    except GoneError as error:
        # The next attempt creates it.
        await groups.record(group_id, target.id, claim, Sent(None, State.ABSENT))
        raise DeliveryFailedError("The group no longer exists.", receiver=False) from error
    async with transaction():
        held = await groups.record(group_id, target.id, claim, Sent(remote_id, State.ACTIVE, sent))
        if not finished:
            await outbox.queue_many(await queueing.deliveries(groups, target.id, [group_id]))
    await connection.works(target)
    if not held:
        raise DeliveryFailedError("Another delivery of this group was under way.", receiver=False)
    return "Up to date." if finished else "More members follow."


async def _remove(target: Target, http: Client, group_id: UUID, claim: Claim) -> str:
    """Delete a group that is deleted here, or no longer pushed."""
    remote_id = claim.remote_id
    if remote_id is not None or not claim.is_first:
        remote = await connection.connect(http, target)
        if remote_id is None:
            found = await remote.find(GROUPS, "externalId", str(group_id))
            remote_id = id_of(found[0]) if found else None
        if remote_id is not None:
            await remote.delete(GROUPS, remote_id)
    async with transaction():
        await members.remove_all(target.id, group_id)
        held = await groups.forget(group_id, target.id, claim)
    if not held:
        raise DeliveryFailedError("Another delivery of this group was under way.", receiver=False)
    return "Deleted." if remote_id is not None else "It is none of its groups."


async def _rename(remote: Remote, remote_id: str, values: dict[str, Any]) -> str | None:
    """Returns the id; None: there is no such group any more."""
    try:
        # PUT replaces the members too.
        current = await remote.read(GROUPS, remote_id, without="members" if remote.features.patch else "")
        paths = documents.differences(current, values)
        if paths and remote.features.patch:
            await remote.patch(GROUPS, remote_id, documents.operations(current, values, paths))
        elif paths:
            await remote.replace(GROUPS, remote_id, documents.replacement(current, values, paths))
    except GoneError:
        return None
    return remote_id


async def _find_or_create(remote: Remote, group_id: UUID, values: dict[str, Any], *, again: bool = True) -> str:
    found = await _find(remote, group_id, values)
    if found is None:
        try:
            created = await remote.create(GROUPS, {"schemas": [documents.GROUP], **values})
        except TakenError:
            found = await _find(remote, group_id, values)
            if found is None:
                raise
        else:
            remote_id = id_of(created)
            if remote_id is None:
                raise DeliveryFailedError("It did not say which id the new group has.")
            return remote_id
    remote_id = id_of(found)
    assert remote_id is not None  # noqa: S101 -- searches return resources with an id only
    renamed = await _rename(remote, remote_id, values)
    if renamed is not None:
        return renamed
    if not again:
        raise DeliveryFailedError("It lists a group that it does not have.")
    return await _find_or_create(remote, group_id, values, again=False)


async def _find(remote: Remote, group_id: UUID, values: dict[str, Any]) -> Document | None:
    for attribute, value in (("externalId", str(group_id)), ("displayName", values["displayName"])):
        found = await remote.find(GROUPS, attribute, value)
        if len(found) > 1:
            raise RefusedError(f"Several groups there have the same {attribute}.")
        if found:
            return found[0]
    return None


class _Members:
    """Brings the members of a group to a target."""

    def __init__(self, target: Target, remote: Remote, group_id: UUID, remote_id: str, values: dict[str, Any]) -> None:
        self._target_id, self._remote = target.id, remote
        self._group_id, self._remote_id, self._values = group_id, remote_id, values
        # Users whom the target does not take as members: their accounts are looked at again.
        self._refused: list[UUID] = []

    async def bring(self) -> bool:
        """Returns whether all were brought."""
        if not self._remote.features.patch:
            await self._replace()
            return True
        ends = time.monotonic() + TURN_SECONDS
        while time.monotonic() < ends:
            extra = await members.surplus(self._target_id, self._group_id, BATCH)
            if extra:
                await self._take(extra)
                continue
            missing = await members.missing(self._target_id, self._group_id, BATCH, self._refused)
            if not missing:
                await self._look_again()
                return True
            await self._in_parts(missing, self._add)
        await self._look_again()
        return False

    async def _patch(self, operations: list[dict[str, Any]]) -> None:
        await self._remote.patch(GROUPS, self._remote_id, documents.patch(operations))

    async def _take(self, extra: Sequence[Member]) -> None:
        gone = [each for each in extra if each.remote_id is not None]
        if gone:
            await self._in_parts(gone, self._remove)
        await members.remove(self._target_id, self._group_id, [each.user_id for each in extra])

    async def _add(self, some: Sequence[Member]) -> None:
        await self._patch([{"op": "add", "path": "members", "value": [{"value": each.remote_id} for each in some]}])
        await members.add(self._target_id, self._group_id, [each.user_id for each in some])

    async def _remove(self, some: Sequence[Member]) -> None:
        paths = [f"members[value eq {msgspec.json.encode(each.remote_id).decode()}]" for each in some]
        await self._patch([{"op": "remove", "path": path} for path in paths])

    async def _in_parts(self, some: Sequence[Member], send: Callable[[Sequence[Member]], Awaitable[None]]) -> None:
        """Send all, or in halves if the target refuses them, so that one member does not hold up the others."""
        try:
            await send(some)
        except (RefusedError, GoneError) as error:
            if isinstance(error, GoneError):
                # It is the group, or a member.
                await self._remote.read(GROUPS, self._remote_id, without="members")
            if len(some) == 1:
                self._refused.append(some[0].user_id)
                return
            half = len(some) // 2
            await self._in_parts(some[:half], send)
            await self._in_parts(some[half:], send)

    async def _look_again(self) -> None:
        """Let the accounts that were refused as members be compared with the target."""
        async with transaction():
            await users.forget_hashes(self._target_id, self._refused)
            await outbox.queue_many(await queueing.deliveries(users, self._target_id, self._refused, known_only=True))

    async def _replace(self) -> None:
        wanted = await members.wanted(self._target_id, self._group_id, MAX_REPLACED + 1)
        if len(wanted) > MAX_REPLACED:
            raise RefusedError(f"It cannot PATCH, and the group has more than {MAX_REPLACED} members.")
        document = {
            "schemas": [documents.GROUP], "id": self._remote_id, **self._values,
            "members": [{"value": each.remote_id} for each in wanted],
        }  # fmt: skip
        await self._remote.replace(GROUPS, self._remote_id, document)
        async with transaction():
            await members.remove_all(self._target_id, self._group_id)
            await members.add(self._target_id, self._group_id, [each.user_id for each in wanted])


HANDLER: Final = Handler(perform=perform)
