"""Setting the sign-in policy of an organization. A stricter one counts from the next sign-in and the next token on."""

from collections.abc import Collection
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from idp.audit.events import record
from idp.directory import lockouts, organizations
from idp.directory.errors import UnknownOrganizationError
from idp.directory.repository import sign_in_policies as repository
from idp.directory.sign_in_policy import NO_POLICY, WAYS, SignInPolicy
from idp.errors import ValidationError, VersionConflictError

#: Seconds: shorter ones would end while the user is still at the consent page, or reads a page of the application.
MIN_AGE, MIN_IDLE = 900, 300
MAX_AGE = 400 * 86_400


class InvalidSignInPolicyError(ValidationError):
    """A sign-in policy is not valid."""


async def policy_of(organization_id: UUID) -> SignInPolicy:
    """Return the policy of an organization.

    Raises:
        UnknownOrganizationError: there is no such organization.
    """
    policy = await repository.policy_of(organization_id)
    if policy is None:
        raise UnknownOrganizationError
    return policy


async def set_policy(
    organization_id: UUID,
    expected_at: datetime | None = None,
    *,
    amr: Collection[str] | None = None,
    accept_lockout: bool = False,
    **values: Any,
) -> SignInPolicy:
    """Set the policy of an organization, in place of the one that it has.

    Args:
        expected_at: the ``updated_at`` of the organization as the caller has read it.
        amr: how the member who sets it has signed in; None: no member does.
        accept_lockout: whether it may lock people out.
        values: the fields of :class:`SignInPolicy`. Without any, it asks for nothing.

    Raises:
        InvalidSignInPolicyError: a value is not valid.
        UnknownOrganizationError: there is no such organization.
        VersionConflictError: it has changed since.
        LockoutError: it would lock people out.
    """
    policy = checked(values)
    async with organizations.changing(organization_id) as organization:
        if expected_at is not None and organization.updated_at != expected_at:
            raise VersionConflictError
        before = await policy_of(organization_id)
        if policy != before:
            if not accept_lockout:
                await lockouts.check_policy(organization_id, policy, amr)
            await repository.set_policy(organization_id, policy)
            detail = {"organization_id": str(organization.id), "slug": organization.slug}
            await record("organization_policy_set", detail=detail | {"before": _shown(before), "after": _shown(policy)})
    return policy


def _shown(policy: SignInPolicy) -> dict[str, Any]:
    """Return what a policy asks for."""
    shown: dict[str, Any] = msgspec.to_builtins(policy)
    return {name: value for name, value in shown.items() if value}


def checked(values: dict[str, Any]) -> SignInPolicy:
    """Return a policy in the form in which it is stored.

    Raises:
        InvalidSignInPolicyError: a value is not valid.
    """
    try:
        policy = msgspec.convert(values, SignInPolicy)
    except (msgspec.ValidationError, UnicodeError) as error:
        raise InvalidSignInPolicyError("A value is of a wrong type.") from error
    if not set(policy.ways) <= WAYS.keys():
        raise InvalidSignInPolicyError(f"The ways must be some of {', '.join(WAYS)}.")
    for name, lowest in (("session_max_age", MIN_AGE), ("session_idle", MIN_IDLE)):
        seconds = getattr(policy, name)
        if seconds is not None and not lowest <= seconds <= MAX_AGE:
            raise InvalidSignInPolicyError(f"{name} must be {lowest} to {MAX_AGE} seconds.")
    # All of them are no condition.
    ways = tuple(name for name in WAYS if name in policy.ways) if set(policy.ways) != WAYS.keys() else NO_POLICY.ways
    return msgspec.structs.replace(policy, ways=ways)
