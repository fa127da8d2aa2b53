"""Users over SCIM: created, changed and deleted by the services of :mod:`idp.accounts`."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any
from uuid import UUID

import msgspec

from idp.accounts import profile, users
from idp.accounts.attributes import service as declared_values
from idp.accounts.attributes.errors import InvalidValueError as DeclaredValueError
from idp.accounts.attributes.errors import NotEditableError
from idp.accounts.repository.users import user_by_id
from idp.accounts.tables import Origin, User
from idp.federation.linking import release_email
from idp.infra.db.engine import transaction
from idp.oauth.credentials import credentials_changed
from idp.oauth.sign_out import sign_out_for_deletion
from idp.scim.access import Caller, lock_target
from idp.scim.attributes import USER
from idp.scim.errors import (
    InvalidValueError,
    MutabilityError,
    NotAllowedError,
    OutdatedError,
    UniquenessError,
    UnknownResourceError,
)
from idp.scim.extensions import AUDIENCE, changes, extensions
from idp.scim.patch import Document, apply, read_document, read_operations
from idp.scim.repository import external_ids
from idp.scim.repository import users as repository
from idp.scim.repository.users import StoredUser
from idp.scim.representation import of_user, version_of_user, writable
from idp.scim.targets import Target, entered_of, target_of, validated
from idp.scim.tokens import ORIGINS
from idp.signin.factors.repository import delete_factors

#: What a replacement does not remove.
_KEPT = ("active", "externalId")
#: The reason in the audit trail.
REASON = "scim"


async def show(caller: Caller, user_id: UUID) -> Document:
    """Return a user.

    Raises:
        UnknownResourceError: there is no such user.
    """
    return await _shown(await _stored(caller, user_id))


async def shown(stored: Sequence[StoredUser], *, with_groups: bool) -> list[Document]:
    """Return the representations of users."""
    ids = [user.id for user in stored]
    groups = await repository.groups_of(ids) if with_groups and ids else {}
    declared = await declared_values.values_of_users(ids) if extensions() and ids else {}
    return [of_user(user, groups.get(user.id, ()), declared.get(user.id, {})) for user in stored]


async def _shown(stored: StoredUser) -> Document:
    return (await shown([stored], with_groups=True))[0]


async def _stored(caller: Caller, user_id: UUID) -> StoredUser:
    found = await repository.user(caller.origin, user_id)
    if found is None:
        raise UnknownResourceError
    return found


async def create(caller: Caller, body: Mapping[str, Any]) -> Document:
    """Create a user (RFC 7644 section 3.3).

    Raises:
        InvalidValueError: a value is missing or not valid.
        UniquenessError: another user has the address.
    """
    target = target_of(read_document(USER, body), {})
    claims, address = validated(target.entered)
    async with transaction():
        await release_email(target.email, delete_factors)
        try:
            user = await users.create_user(target.email, None, origin=Origin.SCIM, address=address, **claims)
        except users.EmailTakenError as error:
            raise UniquenessError(error.description) from error
        await _change_declared(caller, user.id, target)
        if target.external_id is not None:
            await external_ids.set_of_user(user.id, caller.origin, target.external_id)
        if target.active is False:
            await users.disable_user(user.id, credentials_changed, by=caller.origin, reason=REASON)
        return await show(caller, user.id)


async def replace(caller: Caller, user_id: UUID, body: Mapping[str, Any], expected: Sequence[str]) -> Document:
    """Replace a user (section 3.5.1). Without ``active`` or ``externalId``, these stay.

    Args:
        expected: the versions in ``If-Match``; empty: any.

    Raises:
        InvalidValueError: a value is missing or not valid.
        UniquenessError: another user has the address.
        UnknownResourceError: there is no such user.
        OutdatedError: the user has another version.
        NotAllowedError: the user is an administrator.
    """
    after = read_document(USER, body)
    async with transaction():
        user, stored = await _locked(caller, user_id, expected)
        before = await _before(stored)
        whole = kept_of(before, after) | after
        target = target_of(whole, {})
        declared = changes(before, whole)
        await _change(caller, user, stored, msgspec.structs.replace(target, declared=declared))
        return await show(caller, user_id)


async def patch(caller: Caller, user_id: UUID, body: Mapping[str, Any], expected: Sequence[str]) -> Document:
    """Change a user by operations (section 3.5.2).

    Raises:
        ScimError: an operation is malformed, or not possible.
        UniquenessError: another user has the address.
        UnknownResourceError: there is no such user.
        OutdatedError: the user has another version.
        NotAllowedError: the user is an administrator.
    """
    operations = read_operations(USER, body)
    async with transaction():
        user, stored = await _locked(caller, user_id, expected)
        before = await _before(stored)
        after = deepcopy(before)
        for operation in operations:
            apply(after, operation)
        await _change(caller, user, stored, target_of(after, before))
        return await show(caller, user_id)


async def delete(caller: Caller, user_id: UUID, expected: Sequence[str]) -> None:
    """Delete a user (section 3.6).

    Raises:
        UnknownResourceError: there is no such user.
        OutdatedError: the user has another version.
        NotAllowedError: the user is an administrator.
    """
    async with transaction():
        await _locked(caller, user_id, expected)
        await profile.delete_user(user_id, sign_out_for_deletion)


def kept_of(before: Document, after: Document) -> Document:
    """Return the parts that a replacement does not name and that stay: an extension is replaced as a whole, or not."""
    return {
        name: value
        for name, value in before.items()
        if name not in after and (name in _KEPT or name.startswith("urn:"))
    }


async def _before(stored: StoredUser) -> Document:
    return writable(stored, await declared_values.stored_values(stored.id, AUDIENCE) if extensions() else {})


async def _locked(caller: Caller, user_id: UUID, expected: Sequence[str]) -> tuple[User, StoredUser]:
    await lock_target(user_id)
    stored, user = await _stored(caller, user_id), await user_by_id(user_id)
    if user is None:
        raise UnknownResourceError
    check_version(expected, version_of_user(stored))
    return user, stored


def check_version(expected: Sequence[str], version: str | None) -> None:
    """
    Raises:
        OutdatedError: ``If-Match`` names another version.
    """
    if expected and "*" not in expected and version not in expected:
        raise OutdatedError


async def change_account(user: User, target: Target) -> None:
    """Change the profile and the address of a user, who is locked.

    Raises:
        InvalidValueError: a value is not valid.
        UniquenessError: another user has the address.
    """
    kept = entered_of(user)
    wanted = kept | target.entered
    if wanted != kept:
        try:
            await profile.update_profile(user, wanted)
        except profile.InvalidProfileError as error:
            raise InvalidValueError(f"{error.field}: {error.description}") from error
    if target.email != user.email:
        await release_email(target.email, delete_factors)
        try:
            await users.assign_email(user.id, target.email, Origin.SCIM, credentials_changed)
        except users.EmailTakenError as error:
            raise UniquenessError(error.description) from error


async def _change(caller: Caller, user: User, stored: StoredUser, target: Target) -> None:
    """Make a user what it is to be. The user is locked."""
    await change_account(user, target)
    await _change_declared(caller, user.id, target)
    if target.external_id != stored.external_id:
        await external_ids.set_of_user(user.id, caller.origin, target.external_id)
    if target.active is False and stored.disabled_at is None:
        await users.disable_user(user.id, credentials_changed, by=caller.origin, reason=REASON)
    elif target.active and stored.disabled_at is not None and not await users.enable_user(user.id, ORIGINS):
        raise NotAllowedError("An administrator has disabled this user. Only administrators may enable the user.")


async def _change_declared(caller: Caller, user_id: UUID, target: Target) -> None:
    """Change values of declared attributes."""
    if not target.declared:
        return
    try:
        await declared_values.change(user_id, target.declared, AUDIENCE, origin=caller.origin)
    except DeclaredValueError as error:
        raise InvalidValueError(f"{error.field}: {error.description}") from error
    except NotEditableError as error:
        raise MutabilityError(error.description) from error
