"""The delivery of a user: makes the account at the target what it is to be now.

An account is found by the id that was recorded, else by ``externalId`` and the attribute of the target's choice, so
that one that exists is adopted. It is read before it is changed, so that what we do not map stays.
"""

from typing import Any, Final
from uuid import UUID

import msgspec

from idp.delivery import outbox
from idp.delivery.handlers import DeliveryFailedError, DeliveryRejectedError, DueDelivery, Handler
from idp.infra.db.engine import transaction
from idp.infra.outbound import Client
from idp.provisioning import connection, documents, queueing
from idp.provisioning.desired import Desired, ScopeGoneError, Wanted, desired_of
from idp.provisioning.models import Claim, Document, Match, Removal, State, Target
from idp.provisioning.protocol import (
    GoneError,
    OutdatedError,
    RefusedError,
    Remote,
    TakenError,
    UnauthorizedError,
    id_of,
)
from idp.provisioning.repository import members
from idp.provisioning.repository.subjects import RemoteTakenError, Sent, groups, users

USERS: Final = "/Users"
#: How often a change begins again because the account has changed meanwhile.
_TRIES: Final = 3
_DEACTIVATION: Final = documents.patch([{"op": "replace", "path": "active", "value": False}])
#: As Okta sends it: some servers understand no other.
_WITHOUT_PATH: Final = documents.patch([{"op": "replace", "value": {"active": False}}])


class _Outcome(msgspec.Struct, frozen=True):
    """The result of an attempt.

    Attributes:
        remote_id: None: there is no account.
        renewed: the account is another one than before.
        text: for administrators.
        asked: the target has accepted a request.
    """

    remote_id: str | None
    state: State
    sent_hash: bytes | None
    text: str
    renewed: bool = False
    asked: bool = True


async def perform(delivery: DueDelivery, http: Client) -> str:
    """Make the account of a user what it is to be.

    Raises:
        DeliveryRejectedError: the target refuses it, or gets no users any more.
        DeliveryFailedError: it may work later.
    """
    target = await connection.enabled(UUID(delivery.stream.removeprefix("scim:")))
    user_id = UUID(delivery.content["id"])
    claim = await users.claim(user_id, target.id)
    if claim is None:
        raise DeliveryFailedError("Another delivery of this user is under way.", receiver=False)
    try:
        desired = (await desired_of(target, [user_id]))[user_id]
        outcome = await _bring(target, http, user_id, claim, desired)
        return await _record(target, user_id, claim, desired, outcome)
    except BaseException as error:
        await users.release(user_id, target.id, claim, _reason(error))
        if isinstance(error, UnauthorizedError):
            raise await connection.refused(target, error) from error
        if isinstance(error, RefusedError | TakenError | RemoteTakenError):
            raise DeliveryRejectedError(_reason(error)) from error
        if isinstance(error, ScopeGoneError):
            await connection.failing(target, error.description)
            raise DeliveryFailedError(error.description) from error
        raise


def _reason(error: BaseException) -> str:
    """Return what the list of users shows: only refusals of this user."""
    if isinstance(error, RemoteTakenError):
        return "The account that was found is the one of another user here."
    return str(error) if isinstance(error, RefusedError | TakenError | DeliveryRejectedError) else ""


async def _bring(target: Target, http: Client, user_id: UUID, claim: Claim, desired: Desired) -> _Outcome:
    if desired.wanted is Wanted.ACTIVE:
        if claim.state is State.ACTIVE and claim.sent_hash == desired.hash and claim.remote_id is not None:
            return _Outcome(claim.remote_id, State.ACTIVE, claim.sent_hash, "Nothing has changed.", asked=False)
        return await _provide(target, await connection.connect(http, target), user_id, claim, desired.values)
    deletes = desired.wanted is Wanted.REMOVED and target.removal is Removal.DELETE
    if claim.remote_id is None and claim.is_first:
        return _Outcome(None, State.ABSENT, None, "It is none of its users.", asked=False)
    if claim.state is State.INACTIVE and claim.remote_id is not None and not deletes:
        return _Outcome(claim.remote_id, State.INACTIVE, None, "Nothing has changed.", asked=False)
    remote = await connection.connect(http, target)
    remote_id = claim.remote_id or await _made_before(target, remote, user_id, desired)
    if remote_id is None:
        return _Outcome(None, State.ABSENT, None, "It is none of its users.")
    if deletes:
        await remote.delete(USERS, remote_id)
        return _Outcome(None, State.ABSENT, None, "Deleted.")
    return await _deactivate(remote, remote_id)


async def _made_before(target: Target, remote: Remote, user_id: UUID, desired: Desired) -> str | None:
    """Return the account that an attempt has made or adopted before it was killed.

    Raises:
        RemoteTakenError: the account that was found is the one of another user here.
    """
    found = await _find(target, remote, user_id, desired.known_by)
    return await _free(target, user_id, found) if found is not None else None


async def _free(target: Target, user_id: UUID, found: Document) -> str:
    """Return the id of an account, which is of no other user here.

    Raises:
        RemoteTakenError: it is.
    """
    remote_id = id_of(found)
    assert remote_id is not None  # noqa: S101 -- searches return resources with an id only
    other = (await users.of_remotes(target.id, [remote_id])).get(remote_id)
    if other is not None and other.id != user_id:
        raise RemoteTakenError
    return remote_id


async def _deactivate(remote: Remote, remote_id: str) -> _Outcome:
    try:
        if remote.features.patch:
            try:
                answer = await remote.patch(USERS, remote_id, _DEACTIVATION)
            except RefusedError:
                answer = await remote.patch(USERS, remote_id, _WITHOUT_PATH)
        else:
            current = await remote.read(USERS, remote_id)
            answer = await remote.replace(
                USERS, remote_id, documents.replacement(current, {"active": False}, ["active"])
            )
    except GoneError:
        return _Outcome(None, State.ABSENT, None, "The account no longer exists.")
    active = documents.get(answer, "active")
    if active is not None and active is not False:
        raise RefusedError("It accepted the request, and the account is still active.")
    return _Outcome(remote_id, State.INACTIVE, None, "Deactivated.")


async def _provide(target: Target, remote: Remote, user_id: UUID, claim: Claim, values: dict[str, Any]) -> _Outcome:
    """Update the account, or adopt one, or create it."""
    if values.get("userName") is None:
        raise RefusedError("The user has no value for userName.")
    sent = documents.hash_of(values)
    if claim.remote_id is not None:
        try:
            changed = await _update(remote, claim.remote_id, values, None)
        except GoneError:
            pass
        else:
            return _Outcome(claim.remote_id, State.ACTIVE, sent, "Updated." if changed else "It was up to date.")
    found = await _find(target, remote, user_id, values)
    if found is None:
        try:
            remote_id = id_of(await remote.create(USERS, documents.new(values)))
        except TakenError:
            found = await _find(target, remote, user_id, values)
            if found is None:
                raise
        else:
            if remote_id is None:
                raise DeliveryFailedError("It did not say which id the new account has.")
            return _Outcome(remote_id, State.ACTIVE, sent, "Created.", renewed=True)
    remote_id = await _free(target, user_id, found)
    try:
        await _update(remote, remote_id, values, found)
    except GoneError as error:
        raise DeliveryFailedError("The account that was found is gone.") from error
    return _Outcome(remote_id, State.ACTIVE, sent, "Adopted.", renewed=True)


async def _find(target: Target, remote: Remote, user_id: UUID, values: dict[str, Any]) -> Document | None:
    """Return the account of a user at the target; None: there is none.

    Args:
        values: of the user, by path; empty: the user is deleted here.

    Raises:
        RefusedError: several accounts match.
    """
    searches = [("externalId", str(user_id), False)]
    if target.match is Match.USER_NAME and values.get("userName"):
        searches.append(("userName", values["userName"], True))
    elif target.match is Match.EMAIL and values.get("emails"):
        searches.append(("emails", values["emails"], True))
    for attribute, value, caseless in searches:
        found = await remote.find(USERS, attribute, value, caseless=caseless)
        if len(found) > 1:
            raise RefusedError(f"Several accounts there have the same {attribute}.")
        if found:
            return found[0]
    return await _marked(remote, user_id, values) if target.match is not Match.USER_NAME else None


async def _marked(remote: Remote, user_id: UUID, values: dict[str, Any]) -> Document | None:
    """Return the account with the userName of a user, if its ``externalId`` says that we made or adopted it.

    Not every server can search by ``externalId``. Otherwise an attempt that is killed after it has created the account
    would lead to a second one, or to a conflict for good.
    """
    if not values.get("userName"):
        return None
    try:
        found = await remote.find(USERS, "userName", values["userName"], caseless=True)
    except RefusedError:
        return None
    return next((each for each in found if documents.get(each, "externalId") == str(user_id)), None)


async def _update(remote: Remote, remote_id: str, values: dict[str, Any], current: Document | None) -> bool:
    """Make an account what it is to be. Returns whether it was not.

    Args:
        current: as it was read a moment ago.

    Raises:
        GoneError: there is no such account.
        TakenError: another account has one of the values.
    """
    for _ in range(_TRIES):
        if current is None:
            current = await remote.read(USERS, remote_id)
        paths = documents.differences(current, values)
        if not paths:
            return False
        version = remote.version_of(current)
        try:
            if remote.features.patch:
                await remote.patch(USERS, remote_id, documents.operations(current, values, paths), version)
            else:
                await remote.replace(USERS, remote_id, documents.replacement(current, values, paths), version)
        except OutdatedError:
            current = None
        else:
            return True
    raise DeliveryFailedError("The account is changed by others all the time.", receiver=False)


async def _record(target: Target, user_id: UUID, claim: Claim, desired: Desired, outcome: _Outcome) -> str:
    """Record the result, and queue the groups whose members change with it.

    Raises:
        DeliveryFailedError: another attempt has begun meanwhile, so that the state at the target is unknown.
    """
    async with transaction():
        if outcome.remote_id is None:
            held = await users.forget(user_id, target.id, claim)
        else:
            sent = Sent(outcome.remote_id, outcome.state, outcome.sent_hash)
            held = await users.record(user_id, target.id, claim, sent)
        left: set[UUID] = set()
        if outcome.remote_id is None or outcome.renewed:
            left = await members.remove_user(target.id, user_id)
        wanted = desired.groups if outcome.state is State.ACTIVE else frozenset()
        concerned = wanted ^ await members.groups_of(target.id, user_id) | (left & set(target.pushed_groups))
        await outbox.queue_many(await queueing.deliveries(groups, target.id, concerned))
    if desired.wanted is not Wanted.INACTIVE:
        # Otherwise nothing was asked that may be gone here.
        await connection.works(target, asked=outcome.asked)
    if not held:
        raise DeliveryFailedError("Another delivery of this user was under way.", receiver=False)
    return outcome.text


HANDLER: Final = Handler(perform=perform)
