"""The decision whether a user may use a client: one function, for every way to a client.

**Where a browser of the user comes** (authorization, device, CIBA, challenge endpoint) all conditions are compared. A
sign-in below the required ``acr`` is raised, not refused (:mod:`idp.oauth.authorize.acr`).

**Where a token is issued** they are compared again, each time; networks only if the client is public: then it is a
program on the device of the user. Other clients ask from their server, whose address says nothing about the user.

A refusal revokes nothing, and consumes nothing: it may hold for an hour, or until somebody is back in a group
(docs/decisions/0075-access-policies.md).
"""

import ipaddress
import math
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple, Protocol
from uuid import UUID
from zoneinfo import ZoneInfo

from idp import clock
from idp.accounts.attributes.models import Value
from idp.accounts.attributes.repository import values_of_user
from idp.audit import unauthenticated_limit
from idp.audit.events import note
from idp.directory.effective import memberships
from idp.directory.models import Memberships, OrganizationMembership
from idp.errors import OAuthError, Refused
from idp.infra.networks import parse_address
from idp.infra.request_context import client_address
from idp.oauth.access_policies.models import AccessPolicy
from idp.oauth.clients.models import Client
from idp.oauth.clients.registry import registry
from idp.reasons import Reason
from idp.settings import IPNetwork
from idp.signin.sessions import SignedIn
from idp.signin.transitions import ACR_VALUES, falls_short

DESCRIPTION = "The user may not use this application."
SIGN_IN_AGAIN = "The organization asks for another sign-in of the user."


class AccessDeniedError(OAuthError):
    """The access policy of a client does not allow its use to a user, or the sign-in does not meet the policy of the
    organization. The reason is for the operator.
    """

    def __init__(
        self,
        reason: Reason,
        user_id: UUID,
        family_id: UUID | None = None,
        code: str = "access_denied",
        description: str = DESCRIPTION,
    ) -> None:
        super().__init__(code, description, refused=Refused(reason, user_id, family_id))
        self.refused: Refused = Refused(reason, user_id, family_id)


class Situation(NamedTuple):
    """What a policy is compared with.

    Attributes:
        attributes: the names and values of those of the user, if the policy names any.
        address: of the user; None: not known, so that networks are not compared.
        acr: of the sign-in; None: it is not compared.
        organization_id: that the user signed in for; None: for none.
    """

    memberships: Memberships
    moment: datetime
    attributes: frozenset[tuple[str, Value]] = frozenset()
    address: str | None = None
    acr: str | None = None
    organization_id: UUID | None = None


class Condition(NamedTuple):
    """A kind of conditions.

    Attributes:
        name: the field of the policy.
        reason: of a refusal.
        holds: whether a condition that is not empty holds.
        personal: whether it is about who the user is, and not about where, when and how.
    """

    name: str
    reason: Reason
    holds: Callable[[AccessPolicy, Situation], bool]
    personal: bool = False


def _in_group(policy: AccessPolicy, situation: Situation) -> bool:
    return any(group in situation.memberships.groups for group in policy.groups)


def _in_organization(policy: AccessPolicy, situation: Situation) -> bool:
    allowed = possible_organizations(policy, situation.memberships)
    return situation.organization_id in allowed if situation.organization_id is not None else bool(allowed)


def possible_organizations(policy: AccessPolicy | None, user: Memberships) -> dict[UUID, OrganizationMembership]:
    """Return the organizations of a user for which they may sign in to a client with this policy."""
    named = policy.organizations if policy is not None else ()
    return {key: each for key, each in user.organizations.items() if not named or key in named}


def _has_role(policy: AccessPolicy, situation: Situation) -> bool:
    return not situation.memberships.role_ids.isdisjoint(policy.roles)


def _has_attributes(policy: AccessPolicy, situation: Situation) -> bool:
    return all(
        any((name, value) in situation.attributes for value in values) for name, values in policy.attributes.items()
    )


def _in_network(policy: AccessPolicy, situation: Situation) -> bool:
    if situation.address is None:
        return True
    address = parse_address(situation.address)
    return address is not None and any(address in network for network in _networks(policy.networks))


@lru_cache(maxsize=1024)
def _networks(networks: tuple[str, ...]) -> tuple[IPNetwork, ...]:
    return tuple(map(ipaddress.ip_network, networks))


def _in_time(policy: AccessPolicy, situation: Situation) -> bool:
    local = situation.moment.astimezone(ZoneInfo(policy.time_zone))
    return any(local in window for window in policy.times)


def _reaches_acr(policy: AccessPolicy, situation: Situation) -> bool:
    if situation.acr is None or policy.acr is None:
        return True
    # A user of a trusted issuer did not sign in here.
    return situation.acr in ACR_VALUES and not falls_short(situation.acr, policy.acr)


#: In the order in which they are compared.
CONDITIONS = (
    Condition("groups", Reason.NOT_IN_GROUP, _in_group, personal=True),
    Condition("organizations", Reason.NOT_IN_ORGANIZATION, _in_organization, personal=True),
    Condition("roles", Reason.WITHOUT_ROLE, _has_role, personal=True),
    Condition("attributes", Reason.WITHOUT_ATTRIBUTE, _has_attributes, personal=True),
    Condition("networks", Reason.OUTSIDE_OF_NETWORK, _in_network),
    Condition("times", Reason.OUTSIDE_OF_TIME, _in_time),
    Condition("acr", Reason.ACR_TOO_LOW, _reaches_acr),
)


def failing(policy: AccessPolicy, situation: Situation) -> list[Condition]:
    """Return the conditions that do not hold, in their order."""
    return [each for each in CONDITIONS if getattr(policy, each.name) and not each.holds(policy, situation)]


def is_for(policy: AccessPolicy, situation: Situation) -> bool:
    """Return whether a policy is for a user: whether they could use the client from somewhere, at some time."""
    return not any(condition.personal for condition in failing(policy, situation))


async def situation_of(policy: AccessPolicy, user_id: UUID, directory_version: int | None = None) -> Situation:
    """Return the situation of a user now, wherever they are.

    Args:
        directory_version: as of :func:`memberships`.
    """
    found = await values_of_user(user_id) if policy.attributes else ()
    return Situation(await memberships(user_id, directory_version), clock.now(), frozenset(found))


async def reasons_against(
    policy: AccessPolicy | None,
    user_id: UUID,
    *,
    address: str | None = None,
    acr: str | None = None,
    moment: datetime | None = None,
) -> list[Reason]:
    """Return all reasons why a policy does not allow a user; empty: it does. It decides nothing.

    Args:
        address, acr: as of :class:`Situation`.
        moment: by default now.
    """
    if policy is None:
        return []
    situation = (await situation_of(policy, user_id))._replace(address=address, acr=acr)
    if moment is not None:
        situation = situation._replace(moment=moment)
    return [condition.reason for condition in failing(policy, situation)]


async def refusal(client: Client, user_id: UUID) -> Reason | None:
    """Return why a user may not use a client now, in the browser or the app of this request; None: they may.

    The level of the sign-in is not compared: it is raised.
    """
    policy = registry.access_policy(client)
    if policy is None:
        return None
    situation = await situation_of(policy, user_id)
    against = failing(policy, situation._replace(address=client_address.get()))
    return against[0].reason if against else None


async def check_session(client: Client, session: SignedIn, at: str) -> None:
    """Check that the user of a session may use a client, as :func:`refusal` says.

    Args:
        at: where, for the audit trail.

    Raises:
        AccessDeniedError: they may not.
    """
    reason = await refusal(client, session.user_id)
    if reason is not None:
        _record(client, session.user_id, reason, at, session_id=session.id)
        raise AccessDeniedError(reason, session.user_id)


class Holder(Protocol):
    """The user of a grant or of a token.

    Attributes:
        acr, amr: the level and the methods of the sign-in.
        proved_at: when the user proved their identity; None: unknown.
        family_id: for the log.
        directory_version: as of :func:`situation_of`.
        organization_id: as of :class:`Situation`.
    """

    @property
    def user_id(self) -> UUID: ...

    @property
    def acr(self) -> str: ...

    @property
    def amr(self) -> Sequence[str]: ...

    @property
    def proved_at(self) -> datetime | None: ...

    @property
    def family_id(self) -> UUID | None: ...

    @property
    def directory_version(self) -> int | None: ...

    @property
    def organization_id(self) -> UUID | None: ...


class TokenHolder(NamedTuple):
    """The user of a token that a client presents: a :class:`Holder`."""

    user_id: UUID
    acr: str
    family_id: UUID | None = None
    directory_version: int | None = None
    organization_id: UUID | None = None
    amr: Sequence[str] = ()
    proved_at: datetime | None = None


async def check_tokens(client: Client, holder: Holder, at: str, *, code: str = "invalid_grant") -> None:
    """Check that a client may get tokens of a user, and that the sign-in meets the policy of its organization.

    Call it in the transaction that consumes what the client presents, so that a refusal consumes nothing.

    Args:
        at: the grant, for the audit trail.
        code: that of the error.

    Raises:
        AccessDeniedError: it may not.
    """
    if holder.organization_id is not None:
        await _check_organization(client, holder, holder.organization_id, at, code)
    policy = registry.access_policy(client)
    if policy is None:
        return
    situation = (await situation_of(policy, holder.user_id, holder.directory_version))._replace(
        address=client_address.get() if client.public else None,
        acr=holder.acr,
        organization_id=holder.organization_id,
    )
    against = failing(policy, situation)
    if against:
        reason = against[0].reason
        _record(client, holder.user_id, reason, at)
        raise AccessDeniedError(reason, holder.user_id, holder.family_id, code)


async def _check_organization(client: Client, holder: Holder, organization_id: UUID, at: str, code: str) -> None:
    """Check that the sign-in of a user meets the policy of the organization that it was for.

    Raises:
        AccessDeniedError: it does not.
    """
    held = (await memberships(holder.user_id, holder.directory_version)).organizations.get(organization_id)
    if held is None:
        # The statement that consumes what the client presents has compared the membership.
        return
    age = math.inf if holder.proved_at is None else (clock.now() - holder.proved_at).total_seconds()
    reason = held.policy.unmet(acr=holder.acr, amr=holder.amr, age=age)
    if reason is not None:
        _record(client, holder.user_id, reason, at)
        raise AccessDeniedError(reason, holder.user_id, holder.family_id, code, SIGN_IN_AGAIN)


def _record(client: Client, user_id: UUID, reason: Reason, at: str, session_id: UUID | None = None) -> None:
    note(
        "access_denied",
        outcome="denied",
        user_id=user_id,
        client_id=client.client_id,
        session_id=session_id,
        detail={"reason": reason, "at": at},
        limit_key=unauthenticated_limit.limit_key(client.client_id),
    )
