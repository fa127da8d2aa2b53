"""The state that users are to have at a target, by what this server says of them now."""

import asyncio
from collections.abc import Collection
from enum import StrEnum
from typing import Any
from uuid import UUID

import msgspec

from idp.accounts.attributes.service import values_of_users
from idp.accounts.repository.users import users_by_ids
from idp.accounts.tables import User
from idp.directory.effective import memberships
from idp.directory.models import Memberships
from idp.directory.repository.groups import names_of_groups
from idp.directory.repository.organizations import organization_by_id
from idp.errors import OperatorError
from idp.oauth.access_policies.decision import is_for, situation_of
from idp.oauth.access_policies.models import AccessPolicy
from idp.oauth.access_policies.repository import policy_of
from idp.oauth.clients.repository import find_client
from idp.provisioning.documents import hash_of
from idp.provisioning.mapping import DECLARED, values_of
from idp.provisioning.models import Target, Users


class ScopeGoneError(OperatorError):
    """A group, the organization or the client that says which users a target gets does not exist."""


class Wanted(StrEnum):
    """How a user is to be at a target."""

    ACTIVE = "active"
    #: Disabled here, or all of its organization is.
    INACTIVE = "inactive"
    #: Deleted here, or not one of its users.
    REMOVED = "removed"


class Desired(msgspec.Struct, frozen=True):
    """The state that a user is to have at a target.

    Attributes:
        values: by path, if the user is to be active.
        groups: the pushed groups that the user is to be in.
        known_by: the values by which the account is found, if the user exists.
    """

    wanted: Wanted
    values: dict[str, Any] = {}
    groups: frozenset[UUID] = frozenset()
    known_by: dict[str, Any] = {}

    @property
    def has_left(self) -> bool:
        """Whether the user exists and is enabled, and is not one of the users of the target."""
        return self.wanted is Wanted.REMOVED and bool(self.known_by)

    @property
    def hash(self) -> bytes:
        return hash_of(self.values)


REMOVED = Desired(Wanted.REMOVED)


async def desired_of(target: Target, user_ids: Collection[UUID]) -> dict[UUID, Desired]:
    """Return what each of the users is to be. Of a user who is disabled or deleted, the scope is not asked.

    Raises:
        ScopeGoneError: the target says which users it gets by something that does not exist.
    """
    users = await users_by_ids(user_ids)
    enabled = [user for user in users.values() if user.disabled_at is None]
    declared = await values_of_users(list(users)) if _uses_declared(target) and users else {}
    scope = await _scope(target) if enabled else None
    needs_memberships = target.users is not Users.ALL or bool(target.pushed_groups)
    found = await asyncio.gather(*(_memberships(user) for user in enabled)) if needs_memberships else ()
    belongs = dict(zip((user.id for user in enabled), found, strict=True)) if needs_memberships else {}
    result: dict[UUID, Desired] = {}
    for user_id in user_ids:
        user = users.get(user_id)
        if user is None:
            result[user_id] = REMOVED
            continue
        values = {"externalId": str(user_id), "active": True}
        values |= values_of(target.mapping, user, declared.get(user_id, {}))
        if user.disabled_at is not None or (scope is not None and scope.is_disabled):
            result[user_id] = Desired(Wanted.INACTIVE, known_by=values)
        elif scope is not None and not await scope.has(user, belongs.get(user_id, Memberships())):
            result[user_id] = Desired(Wanted.REMOVED, known_by=values)
        else:
            groups = belongs[user_id].groups.keys() & set(target.pushed_groups) if needs_memberships else ()
            result[user_id] = Desired(Wanted.ACTIVE, values, frozenset(groups), values)
    return result


def _uses_declared(target: Target) -> bool:
    return any(source.startswith(DECLARED) for source in target.mapping.values())


async def _memberships(user: User) -> Memberships:
    # Not from the cache: another process may have changed a group a moment ago.
    return await memberships(user.id)


class _Scope:
    """Says whether an enabled user is one of those that a target gets.

    Attributes:
        is_disabled: whether the organization is disabled, so that nobody may use it for now.
    """

    def __init__(self, target: Target, policy: AccessPolicy | None, *, is_disabled: bool = False) -> None:
        self._target, self._policy, self.is_disabled = target, policy, is_disabled

    async def has(self, user: User, found: Memberships) -> bool:
        match self._target.users:
            case Users.ALL:
                return True
            case Users.GROUPS:
                return not found.groups.keys().isdisjoint(self._target.groups)
            case Users.ORGANIZATION:
                return self._target.organization_id in found.organizations
            case Users.CLIENT:
                return self._policy is None or is_for(self._policy, await situation_of(self._policy, user.id))


async def _scope(target: Target) -> _Scope:
    """Return the scope of a target.

    Raises:
        ScopeGoneError: what it refers to does not exist.
    """
    policy, is_disabled = None, False
    if target.users is Users.GROUPS:
        if set(target.groups) - (await names_of_groups(target.groups)).keys():
            raise ScopeGoneError("A group that says which users the target gets no longer exists. Change the target.")
    elif target.users is Users.ORGANIZATION:
        organization = await organization_by_id(target.organization_id) if target.organization_id else None
        if organization is None:
            raise ScopeGoneError("The organisation whose members the target gets no longer exists. Change the target.")
        is_disabled = organization.disabled_at is not None
    elif target.users is Users.CLIENT:
        if target.client_id is None or await find_client(target.client_id) is None:
            raise ScopeGoneError("The client whose users the target gets no longer exists. Change the target.")
        policy = await policy_of(target.client_id)
    return _Scope(target, policy, is_disabled=is_disabled)
