"""Provisioning targets: creating, changing, enabling and deleting them, and their jobs."""

from collections.abc import Mapping
from datetime import datetime
from hmac import compare_digest
from typing import Any, Final
from uuid import UUID

import msgspec

from idp import clock, ids
from idp.accounts.attributes.repository import attributes
from idp.audit.events import record
from idp.delivery import repository as outbox
from idp.delivery.handlers import DeliveryFailedError
from idp.directory import names
from idp.directory.repository.groups import names_of_groups
from idp.directory.repository.organizations import organization_by_id
from idp.errors import ConflictError, NotFoundError, RemoteError, ValidationError, VersionConflictError
from idp.infra.db.engine import transaction
from idp.infra.db.locks import lock
from idp.keys import vault
from idp.oauth.clients.receiver_urls import check_receiver
from idp.oauth.clients.repository import find_client
from idp.provisioning import connection, mapping, protocol
from idp.provisioning.models import Features, Match, Removal, Target, Users
from idp.provisioning.publish import feed_kinds
from idp.provisioning.repository import jobs
from idp.provisioning.repository import targets as repository
from idp.provisioning.repository.jobs import Job, Kind
from idp.provisioning.repository.subjects import groups, users
from idp.settings import settings

MAX_GROUPS: Final = 200
MAX_TOKEN: Final = 4096
_LISTS: Final = ("groups", "pushed_groups")
_DISABLED: Final = "The target was disabled."


class UnknownTargetError(NotFoundError):
    """There is no such target."""

    def __init__(self) -> None:
        super().__init__("There is no such provisioning target.")


class NameTakenError(ConflictError):
    """Another target has the name."""

    def __init__(self) -> None:
        super().__init__("Another provisioning target has this name.")


class NoJobError(ConflictError):
    """There is no job in the state that the request needs."""


class TestFailedError(ValidationError):
    """The target does not work. The text says why."""


async def create(name: str, base_url: str, token: str, **values: Any) -> UUID:
    """Create a target, which gets nothing until it is enabled, and return its id.

    Args:
        token: the bearer token for its SCIM server.
        values: other fields of :class:`~idp.provisioning.models.Target`, as JSON.

    Raises:
        ValidationError: a value is not allowed, or what it names does not exist.
        NameTakenError: another target has this name.
    """
    target_id, now = ids.uuid7(), clock.now()
    unknown = dict.fromkeys(("organization_id", "client_id", "features", "features_at", "failing_since", "disabled_at"))
    defaults = {
        "id": target_id, "users": Users.ALL, "groups": [], "pushed_groups": [], "mapping": dict(mapping.DEFAULT),
        "match": Match.USER_NAME, "removal": Removal.DEACTIVATE, "mends": False, "failing_reason": "",
        "created_at": now, "updated_at": now,
    }  # fmt: skip
    target = _converted(unknown | defaults | {"name": name, "base_url": base_url} | values)
    check_token(token)
    async with transaction():
        target = await _checked(target)
        if not await repository.insert(target, _sealed(target_id, token)):
            raise NameTakenError
        await record("provisioning_target_created", detail=_detail(target))
    return target_id


async def update(
    id: UUID, changes: Mapping[str, Any], token: str | None = None, *, expected_at: datetime | None = None
) -> None:
    """Change what is given. All users are looked at again.

    Another base URL needs the token again: otherwise an administrator could read the stored one there.

    Args:
        token: replaces the stored one; None keeps it.
        expected_at: the ``updated_at`` that the caller has read.

    Raises:
        UnknownTargetError: there is none with this id.
        VersionConflictError: it has changed since.
        ValidationError: a value is not allowed, or what it names does not exist, or the token is missing.
        NameTakenError: another target has this name.
    """
    if token is not None:
        check_token(token)
    async with transaction():
        found = await repository.lock_target(id)
        if found is None:
            raise UnknownTargetError
        if expected_at not in (None, found.updated_at):
            raise VersionConflictError
        target = await _checked(_converted(msgspec.to_builtins(found) | dict(changes)))
        if token is None and target.base_url != found.base_url:
            raise ValidationError("Enter the token too: it would be sent to another URL.")
        if not await repository.update(target):
            raise NameTakenError
        if token is not None:
            await _replace_token(found, token)
        if found.disabled_at is None:
            await jobs.request(id, ids.uuid7())
        changed = [name for name in changes if getattr(found, name) != getattr(target, name)]
        await record("provisioning_target_updated", detail=_detail(target) | {"changed": sorted(changed)})


async def set_token(id: UUID, token: str) -> None:
    """Replace the token. Deliveries that wait are sent with the new one, and all users are looked at again.

    Raises:
        UnknownTargetError: there is none with this id.
        ValidationError: it is no bearer token.
    """
    check_token(token)
    async with transaction():
        found = await repository.lock_target(id)
        if found is None:
            raise UnknownTargetError
        await _replace_token(found, token)
        if found.disabled_at is None:
            # Deliveries may have been given up while the old one was refused.
            await jobs.request(id, ids.uuid7())


async def _replace_token(target: Target, token: str) -> None:
    await repository.set_token(target.id, _sealed(target.id, token))
    await outbox.end_pause(target.stream)
    await record("provisioning_target_token_set", detail=_detail(target))


async def has_token(id: UUID, token: str) -> bool:
    """Return whether a target has this token."""
    target = await repository.target(id)
    sealed = await repository.encrypted_token(target) if target is not None else None
    return sealed is not None and compare_digest(vault.decrypt(sealed, connection.context_of(id)), token.encode())


async def set_enabled(id: UUID, enabled: bool) -> None:
    """Enable a target, which pushes all its users to it, or disable it, which gives up what waits.

    Raises:
        UnknownTargetError: there is none with this id in the other state.
    """
    async with transaction():
        # Before the row of the target, as the publisher of events does.
        await lock("event_feed_kind")
        found = await repository.lock_target(id)
        if found is None or not await repository.set_enabled(id, enabled):
            raise UnknownTargetError
        if enabled:
            # Also a push that was stopped before.
            await jobs.start(id, "push", ids.uuid7())
        else:
            # Not as stopped: a check that is stopped is not made periodically.
            await jobs.end(id, _DISABLED)
            await _give_up(found, _DISABLED)
        await feed_kinds()
        event = "provisioning_target_enabled" if enabled else "provisioning_target_disabled"
        await record(event, detail=_detail(found))


async def delete(id: UUID) -> None:
    """Delete a target and give up what waits. What it was sent stays there.

    Raises:
        UnknownTargetError: there is none with this id.
    """
    async with transaction():
        await lock("event_feed_kind")
        found = await repository.lock_target(id)
        if found is None:
            raise UnknownTargetError
        await _give_up(found, "The target was deleted.")
        await repository.delete(id)
        await feed_kinds()
        await record("provisioning_target_deleted", detail=_detail(found))


async def _give_up(target: Target, reason: str) -> None:
    await outbox.give_up_stream(target.stream, reason, float(settings().delivery_kept))
    await users.unqueue(target.id)
    await groups.unqueue(target.id)


async def start(id: UUID, kind: Kind, *, mend: bool = False) -> Job:
    """Start a job from its beginning.

    Raises:
        UnknownTargetError: there is no enabled target with this id.
    """
    async with transaction():
        found = await _enabled(id)
        job = await jobs.start(id, kind, ids.uuid7(), mend=mend)
        await record("provisioning_job_started", detail=_detail(found) | {"job": kind, "mend": mend})
    return job


async def resume(id: UUID, *kinds: Kind) -> Job:
    """Go on with the jobs that were stopped or have failed, and return one of them.

    Raises:
        UnknownTargetError: there is no enabled target with this id.
        NoJobError: there is no such job.
    """
    async with transaction():
        found = await _enabled(id)
        resumed = [job for kind in kinds if (job := await jobs.resume(id, kind)) is not None]
        if not resumed:
            raise NoJobError("There is no job that was stopped.")
        for job in resumed:
            await record("provisioning_job_started", detail=_detail(found) | {"job": job.kind, "resumed": True})
    return resumed[0]


async def stop(id: UUID, *kinds: Kind) -> None:
    """Stop jobs. What they have queued is sent.

    Raises:
        UnknownTargetError: there is no enabled target with this id.
        NoJobError: none is under way.
    """
    async with transaction():
        found = await _enabled(id)
        stopped = await jobs.stop(id, list(kinds))
        if not stopped:
            raise NoJobError("No such job is under way.")
        for kind in stopped:
            await record("provisioning_job_stopped", detail=_detail(found) | {"job": kind})


async def _enabled(id: UUID) -> Target:
    found = await repository.lock_target(id)
    if found is None or found.disabled_at is not None:
        raise UnknownTargetError
    return found


async def test(id: UUID) -> Features:
    """Ask a target for what it supports and for one user, and change nothing.

    Raises:
        UnknownTargetError: there is none with this id.
        TestFailedError: it does not work.
    """
    found = await repository.target(id)
    if found is None:
        raise UnknownTargetError
    try:
        async with protocol.client() as http:
            remote = await connection.connect(http, found, fresh=True)
            await remote.find("/Users", "userName", "nobody@example.invalid")
            return remote.features
    except protocol.UnauthorizedError as error:
        raise TestFailedError(f"It does not accept the token: {error}") from error
    except (DeliveryFailedError, RemoteError) as error:
        raise TestFailedError(str(error)) from error


# Checking


def _converted(values: Mapping[str, Any]) -> Target:
    try:
        target = msgspec.convert(values, Target)
    except (msgspec.ValidationError, UnicodeError) as error:
        raise ValidationError("A value is missing, or of a wrong type.") from error
    lists = {name: sorted(set(getattr(target, name))) for name in _LISTS}
    return msgspec.structs.replace(target, base_url=target.base_url.rstrip("/"), **lists)


async def _checked(target: Target) -> Target:
    """Return a target without values that its users do not refer to.

    Raises:
        ValidationError: a value is not allowed, or what it names does not exist.
    """
    target = msgspec.structs.replace(target, name=names.checked(target.name))
    check_receiver(target.base_url)
    if "?" in target.base_url or "#" in target.base_url:
        raise ValidationError("The base URL must have neither query nor fragment.")
    mapping.check(target.mapping, target.match, {one.name: one for one in await attributes()})
    if len(target.groups) > MAX_GROUPS or len(target.pushed_groups) > MAX_GROUPS:
        raise ValidationError(f"A target names at most {MAX_GROUPS} groups.")
    if target.users is not Users.GROUPS:
        target = msgspec.structs.replace(target, groups=[])
    if target.users is not Users.ORGANIZATION:
        target = msgspec.structs.replace(target, organization_id=None)
    if target.users is not Users.CLIENT:
        target = msgspec.structs.replace(target, client_id=None)
    if target.users is Users.GROUPS and not target.groups:
        raise ValidationError("Name the groups whose members it gets.")
    named = {*target.groups, *target.pushed_groups}
    if named - (await names_of_groups(named)).keys():
        raise ValidationError("There is no group with one of these ids.")
    if target.users is Users.ORGANIZATION and (
        target.organization_id is None or await organization_by_id(target.organization_id) is None
    ):
        raise ValidationError("Name the organisation whose members it gets.")
    if target.users is Users.CLIENT and (target.client_id is None or await find_client(target.client_id) is None):
        raise ValidationError("Name the client whose users it gets.")
    return target


def check_token(token: str) -> None:
    """Check the form of a bearer token (RFC 6750 section 2.1).

    Raises:
        ValidationError: it is none.
    """
    if not (0 < len(token) <= MAX_TOKEN and token.isascii() and token.isprintable() and " " not in token):
        raise ValidationError(f"A token is up to {MAX_TOKEN} visible characters of ASCII, without spaces.")


def _sealed(id: UUID, token: str) -> bytes:
    return vault.encrypt(token.encode(), connection.context_of(id))


def _detail(target: Target) -> dict[str, Any]:
    return {"target_id": str(target.id), "name": target.name}
