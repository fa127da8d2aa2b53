"""The members of an organization as the users of its SCIM clients.

A client creates accounts, or adopts them, with addresses at the verified domains of its organization. It changes the
accounts that it made, and of others the membership only: an account belongs to its person
(docs/decisions/0086-scim-of-an-organization.md).
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any
from uuid import UUID

from idp.accounts import users as accounts
from idp.accounts.repository import admin_roles
from idp.accounts.repository.users import lock_user, user_by_email, user_by_id
from idp.accounts.tables import Origin, User
from idp.directory import member_states, organizations
from idp.directory.repository.organizations import keep_organization
from idp.federation.linking import release_email
from idp.infra.db.engine import transaction
from idp.oauth.credentials import credentials_changed
from idp.scim.access import Caller, lock_target
from idp.scim.attributes import USER
from idp.scim.errors import (
    InvalidValueError,
    MutabilityError,
    UniquenessError,
    UnknownResourceError,
)
from idp.scim.patch import Document, apply, read_document, read_operations
from idp.scim.repository import external_ids
from idp.scim.repository import members as repository
from idp.scim.repository.members import StoredMember
from idp.scim.representation import of_user, version_of, writable
from idp.scim.targets import Target, target_of, validated
from idp.scim.users import REASON, change_account, check_version, kept_of
from idp.signin.factors.repository import delete_factors


async def show(caller: Caller, user_id: UUID) -> Document:
    """Return a member.

    Raises:
        UnknownResourceError: there is no such member.
    """
    stored, organization_id = await _stored(caller, user_id), _organization(caller)
    return (await shown([stored], organization_id, with_groups=True))[0]


async def shown(stored: Sequence[StoredMember], organization_id: UUID, *, with_groups: bool) -> list[Document]:
    """Return the representations of members."""
    roles = await repository.roles_of([one.id for one in stored], organization_id) if with_groups and stored else {}
    return [of_user(one, roles.get(one.id, ()), {}, _version(one)) for one in stored]


def _version(stored: StoredMember) -> str:
    """Return a version of what the client sees, so that it tells nothing of the rest."""
    return version_of(writable(stored, {}), stored.created_at)


def _organization(caller: Caller) -> UUID:
    assert caller.organization_id is not None  # noqa: S101 -- the routes choose this module by it
    return caller.organization_id


async def _stored(caller: Caller, user_id: UUID) -> StoredMember:
    found = await repository.member(caller.origin, _organization(caller), user_id)
    if found is None:
        raise UnknownResourceError
    return found


async def create(caller: Caller, body: Mapping[str, Any]) -> Document:
    """Create an account, or adopt one, with an address at a verified domain of the organization.

    Raises:
        InvalidValueError: a value is missing or not valid, or the address is elsewhere.
        UniquenessError: a member has the address, or an administrator of the server.
    """
    target, organization_id = target_of(read_document(USER, body), {}), _organization(caller)
    async with transaction():
        # Before anything else, so that the answer is the same whether a user has an address elsewhere or not.
        if not await member_states.has_domain(organization_id, target.email):
            raise _elsewhere()
        await release_email(target.email, delete_factors)
        user_id, managed = await _account(organization_id, target)
        if not await member_states.add(organization_id, user_id, caller.origin, managed=managed):
            raise _taken()
        if not await member_states.has_domain(organization_id, target.email, hold=True):
            raise _elsewhere()
        stored = await _stored(caller, user_id)
        if target.external_id is not None:
            await external_ids.set_of_member(user_id, organization_id, caller.origin, target.external_id)
        if target.active is False:
            await _deactivate(caller, stored)
        elif stored.disabled_at is not None:
            await member_states.reactivate(organization_id, user_id)
        return await show(caller, user_id)


async def _account(organization_id: UUID, target: Target) -> tuple[UUID, bool]:
    """Return a new user, or the one with the address, who is locked; and whether the organization made the account."""
    existing = await user_by_email(target.email)
    if existing is None:
        claims, address = validated(target.entered)
        try:
            made = await accounts.create_user(target.email, None, origin=Origin.SCIM, address=address, **claims)
        except accounts.EmailTakenError as error:
            raise _taken() from error
        return made.id, True
    await lock_user(existing.id)
    user = await user_by_id(existing.id)
    if user is None or user.email != target.email or await admin_roles.roles_of_user(existing.id):
        raise _taken()
    return user.id, user.disabled_by == member_states.origin_of(organization_id)


async def replace(caller: Caller, user_id: UUID, body: Mapping[str, Any], expected: Sequence[str]) -> Document:
    """Replace a member. Without ``active`` or ``externalId``, these stay.

    Raises:
        InvalidValueError: a value is missing or not valid.
        MutabilityError: the address of the account is not of the organization.
        UniquenessError: another user has the address.
        UnknownResourceError: there is no such member.
        OutdatedError: the member has another version.
        NotAllowedError: the user is an administrator of the server.
    """
    after = read_document(USER, body)
    async with transaction():
        user, stored = await _locked(caller, user_id, expected)
        await _change(caller, user, stored, target_of(kept_of(writable(stored, {}), after) | after, {}))
        return await show(caller, user_id)


async def patch(caller: Caller, user_id: UUID, body: Mapping[str, Any], expected: Sequence[str]) -> Document:
    """Change a member by operations.

    Raises:
        ScimError: as of :func:`replace`, or an operation is malformed, or not possible.
        UnknownResourceError: there is no such member.
    """
    operations = read_operations(USER, body)
    async with transaction():
        user, stored = await _locked(caller, user_id, expected)
        before = writable(stored, {})
        after = deepcopy(before)
        for operation in operations:
            apply(after, operation)
        await _change(caller, user, stored, target_of(after, before))
        return await show(caller, user_id)


async def delete(caller: Caller, user_id: UUID, expected: Sequence[str]) -> None:
    """Remove a member. An account that the organization made is disabled; it stays the person's.

    Raises:
        UnknownResourceError: there is no such member.
        OutdatedError: the member has another version.
        NotAllowedError: the user is an administrator of the server.
        LastAdminError: nobody else manages the organization.
    """
    async with transaction():
        _, stored = await _locked(caller, user_id, expected)
        await _deactivate(caller, stored)
        await organizations.remove_members(_organization(caller), [user_id])


async def _locked(caller: Caller, user_id: UUID, expected: Sequence[str]) -> tuple[User, StoredMember]:
    # Whether a user exists who is no member is not told.
    await _stored(caller, user_id)
    await lock_target(user_id)
    await keep_organization(_organization(caller))
    stored, user = await _stored(caller, user_id), await user_by_id(user_id)
    if user is None:
        raise UnknownResourceError
    check_version(expected, _version(stored))
    return user, stored


async def _change(caller: Caller, user: User, stored: StoredMember, target: Target) -> None:
    """Make a member what it is to be. The user is locked."""
    organization_id = _organization(caller)
    if stored.managed:
        if target.email != user.email and not await member_states.has_domain(organization_id, target.email, hold=True):
            raise _elsewhere()
        await change_account(user, target)
    elif target.email != user.email:
        raise MutabilityError("The address of this account is not the organisation's to change.")
    if target.external_id != stored.external_id:
        await external_ids.set_of_member(user.id, organization_id, caller.origin, target.external_id)
    if target.active is False:
        await _deactivate(caller, stored)
    elif target.active and stored.disabled_at is not None:
        await member_states.reactivate(organization_id, user.id)


async def _deactivate(caller: Caller, stored: StoredMember) -> None:
    """Disable a membership, and an account that the organization made. What was issued for the organization ends.

    Raises:
        LastAdminError: nobody could manage the organization any more.
    """
    organization_id = _organization(caller)
    await organizations.check_admin_remains(organization_id, [stored.id])
    await member_states.set_enabled(organization_id, stored.id, enabled=False)
    if stored.managed:
        by = member_states.origin_of(organization_id)
        await accounts.disable_user(stored.id, credentials_changed, by=by, reason=REASON)


def _elsewhere() -> InvalidValueError:
    return InvalidValueError("userName must be an address at a verified domain of the organisation.")


def _taken() -> UniquenessError:
    return UniquenessError("A user with this email address already exists.")
