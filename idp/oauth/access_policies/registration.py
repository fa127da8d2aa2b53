"""Setting and removing the access policy of a client.

Each change is one transaction with its cache invalidation and its audit event, as for clients.
"""

import ipaddress
import re
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from msgspec import UNSET, UnsetType

from idp import clock
from idp.accounts.attributes import repository as attributes
from idp.accounts.attributes.errors import InvalidValueError
from idp.accounts.attributes.models import Audience
from idp.accounts.attributes.values import checked
from idp.audit.events import record
from idp.directory.repository import groups, organizations, roles
from idp.errors import NotFoundError, ValidationError, VersionConflictError
from idp.oauth.access_policies import repository
from idp.oauth.access_policies.models import DAYS, AccessPolicy, Window
from idp.oauth.clients.registration import UnknownClientError, change
from idp.oauth.clients.repository import lock_client_without_key
from idp.signin.transitions import ACR_VALUES

#: Maximum number of members of a list.
MAX_MEMBERS = 100
_TIME = re.compile(r"(?:[01][0-9]|2[0-3]):[0-5][0-9]|24:00")


class InvalidAccessPolicyError(ValidationError):
    """An access policy is not valid."""


class NoAccessPolicyError(NotFoundError):
    """The client has no access policy."""

    def __init__(self) -> None:
        super().__init__("The client has no access policy.")


async def set_policy(
    client_id: str,
    expected: datetime | UnsetType | None = UNSET,
    *,
    audience: Audience = Audience.OWNER,
    **values: Any,
) -> AccessPolicy:
    """Set the policy of a client, in place of the one that it has.

    Args:
        expected: the ``updated_at`` that the caller has read; None: there was no policy. If that has changed since,
            nothing is changed.
        audience: who sets it. An attribute that they do not see cannot be named, because refusals would tell its value.
        values: the fields of :class:`AccessPolicy`. What is not given is no condition.

    Raises:
        InvalidAccessPolicyError: a value is not valid, or there is no such group, organization, role or attribute.
        UnknownClientError: there is no such client.
        VersionConflictError: it has changed.
    """
    try:
        policy = msgspec.convert(values | {"client_id": client_id, "updated_at": clock.now()}, AccessPolicy)
    except (msgspec.ValidationError, UnicodeError) as error:
        raise InvalidAccessPolicyError("A value is missing, or of a wrong type.") from error
    check(policy)
    async with change():
        await _lock(client_id, expected)
        await _check_records(policy, audience)
        await repository.save_policy(policy)
        shown = msgspec.to_builtins(policy)
        detail = {name: value for name, value in shown.items() if name not in ("client_id", "updated_at") and value}
        await record("access_policy_set", client_id=client_id, detail=detail)
        saved = await repository.policy_of(client_id)
    assert saved is not None  # noqa: S101 -- this transaction saved it
    return saved


async def remove_policy(client_id: str, expected: datetime | UnsetType | None = UNSET) -> None:
    """Remove the policy of a client. Everybody may use it then.

    Args:
        expected: as of :func:`set_policy`.

    Raises:
        UnknownClientError: there is no such client.
        NoAccessPolicyError: it has none.
        VersionConflictError: it has changed.
    """
    async with change():
        await _lock(client_id, expected)
        if not await repository.delete_policy(client_id):
            raise NoAccessPolicyError
        await record("access_policy_removed", client_id=client_id)


async def _lock(client_id: str, expected: datetime | UnsetType | None) -> None:
    """Lock the client, and compare the version of its policy."""
    if await lock_client_without_key(client_id) is None:
        raise UnknownClientError("There is no client with this id.")
    if expected is UNSET:
        return
    stored = await repository.policy_of(client_id)
    if (stored.updated_at if stored is not None else None) != expected:
        raise VersionConflictError


async def _check_records(policy: AccessPolicy, audience: Audience) -> None:
    """
    Raises:
        InvalidAccessPolicyError: there is no such group, organization, role or attribute.
    """
    unknown = set(policy.groups) - (await groups.keep_groups(policy.groups)).keys()
    if unknown:
        raise InvalidAccessPolicyError(f"There is no group with the id {min(unknown)}.")
    unknown = set(policy.organizations) - await organizations.hold_organizations(policy.organizations)
    if unknown:
        raise InvalidAccessPolicyError(f"There is no organization with the id {min(unknown)}.")
    unknown = set(policy.roles) - await roles.hold_roles(policy.roles, policy.client_id)
    if unknown:
        raise InvalidAccessPolicyError(
            f"There is no role with the id {min(unknown)}, of this client or of the whole server."
        )
    await _check_attributes(policy, audience)


async def _check_attributes(policy: AccessPolicy, audience: Audience) -> None:
    """
    Raises:
        InvalidAccessPolicyError: there is no such attribute or value, or people edit it themselves.
    """
    declared = await attributes.hold_attributes(policy.attributes)
    for name, values in policy.attributes.items():
        attribute = declared.get(name)
        if attribute is None or not attribute.is_visible(audience):
            raise InvalidAccessPolicyError("One of the attributes is not declared.")
        if "person" in attribute.editable_by:
            raise InvalidAccessPolicyError(f"Users edit the attribute {name} themselves.")
        try:
            for value in values:
                checked(attribute, [value] if attribute.multivalued else value)
        except InvalidValueError as error:
            raise InvalidAccessPolicyError(f"A value of the attribute {name} is not valid.") from error


def check(policy: AccessPolicy) -> None:
    """
    Raises:
        InvalidAccessPolicyError: a value is not valid.
    """
    lists = (policy.groups, policy.organizations, policy.roles, policy.attributes, policy.networks, policy.times)
    if not any((*lists, policy.acr)):
        raise InvalidAccessPolicyError("The policy has no condition. Remove it, so that everyone may use the client.")
    if max(map(len, lists)) > MAX_MEMBERS:
        raise InvalidAccessPolicyError(f"A list may have up to {MAX_MEMBERS} members.")
    if not all(1 <= len(values) <= MAX_MEMBERS for values in policy.attributes.values()):
        raise InvalidAccessPolicyError(f"Name 1 to {MAX_MEMBERS} values of each attribute.")
    if policy.acr is not None and policy.acr not in ACR_VALUES:
        raise InvalidAccessPolicyError(f"acr must be one of {', '.join(ACR_VALUES)}.")
    for network in policy.networks:
        _check_network(network)
    for window in policy.times:
        _check_window(window)
    try:
        ZoneInfo(policy.time_zone)
    except (ValueError, OSError, KeyError) as error:
        raise InvalidAccessPolicyError("time_zone must be a name such as Europe/Berlin.") from error


def _check_network(text: str) -> None:
    try:
        network = ipaddress.ip_network(text)
    except ValueError as error:
        raise InvalidAccessPolicyError(
            "networks must be such as 192.0.2.0/24 or 2001:db8::/32, without bits of a host."
        ) from error
    if isinstance(network, ipaddress.IPv6Network) and network.network_address.ipv4_mapped is not None:
        raise InvalidAccessPolicyError("networks of IPv4 must be written as such, as in 192.0.2.0/24.")


def _check_window(window: Window) -> None:
    if not window.days or not set(window.days) <= set(DAYS):
        raise InvalidAccessPolicyError(f"The days of times must be some of {', '.join(DAYS)}.")
    if not _TIME.fullmatch(window.start) or not _TIME.fullmatch(window.end):
        raise InvalidAccessPolicyError("start and end of times must be such as 08:30, up to 24:00.")
    if window.start >= window.end:
        raise InvalidAccessPolicyError(
            "The end of times must be after the start. Hours over midnight are two: until 24:00, and from 00:00."
        )
