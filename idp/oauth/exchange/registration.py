"""Adding and removing policies of token exchange.

Each change is one transaction with its cache invalidation and its audit event, as for clients.
"""

from typing import Any
from uuid import UUID

import msgspec

from idp import clock, ids
from idp.audit.events import record
from idp.errors import ConflictError, NotFoundError, ValidationError
from idp.oauth.clients.metadata import is_scope
from idp.oauth.clients.registration import UnknownClientError, change
from idp.oauth.clients.repository import lock_client_without_key, lock_resource_server
from idp.oauth.exchange import repository
from idp.oauth.exchange.models import ExchangePolicy
from idp.oauth.scopes import STANDARD_SCOPES
from idp.oauth.token.token_exchange import GRANT_TYPE
from idp.settings import DAY

#: Maximum number of members of a list, and of characters of a member.
MAX_MEMBERS, MAX_LENGTH = 100, 500


class InvalidExchangePolicyError(ValidationError):
    """A policy of token exchange is not valid."""


class ExchangePolicyConflictError(ConflictError):
    """The client cannot have a policy."""


class UnknownExchangePolicyError(NotFoundError):
    """There is no such policy."""

    def __init__(self) -> None:
        super().__init__("There is no policy of token exchange with this id.")


async def add(client_id: str, **values: Any) -> ExchangePolicy:
    """Let a client exchange tokens.

    Args:
        values: the fields of :class:`ExchangePolicy`.

    Raises:
        InvalidExchangePolicyError: a value is not valid.
        UnknownClientError: there is no such client.
        ExchangePolicyConflictError: the client is not registered for the grant.
    """
    try:
        policy = msgspec.convert(
            values | {"id": ids.uuid7(), "client_id": client_id, "created_at": clock.now()}, ExchangePolicy
        )
    except msgspec.ValidationError as error:
        raise InvalidExchangePolicyError("A value is missing, or of a wrong type.") from error
    _check(policy)
    async with change():
        client = await lock_client_without_key(client_id)
        if client is None:
            raise UnknownClientError("There is no client with this id.")
        if GRANT_TYPE not in client.grant_types:
            raise ExchangePolicyConflictError(f"The client is not registered for the grant {GRANT_TYPE}.")
        for identifier in policy.resources:
            if await lock_resource_server(identifier) is None:
                raise InvalidExchangePolicyError("resources has one that is not a registered resource server.")
        await repository.insert_policy(policy)
        shown = msgspec.to_builtins(policy)
        detail = {name: value for name, value in shown.items() if name not in ("client_id", "created_at")}
        await record("token_exchange_policy_added", client_id=client_id, detail=detail)
    return policy


async def remove(id: UUID) -> None:
    """Remove a policy. Access tokens that were issued by it stay valid until they expire.

    Raises:
        UnknownExchangePolicyError: there is no such policy.
    """
    async with change():
        client_id = await repository.delete_policy(id)
        if client_id is None:
            raise UnknownExchangePolicyError
        await record("token_exchange_policy_removed", client_id=client_id, detail={"id": str(id)})


def _check(policy: ExchangePolicy) -> None:
    """
    Raises:
        InvalidExchangePolicyError: a value is not valid.
    """
    for name in ("resources", "subject_token_types", "subject_clients", "user_ids"):
        members = getattr(policy, name)
        if len(set(members)) != len(members) or len(members) > MAX_MEMBERS:
            raise InvalidExchangePolicyError(f"{name} must have up to {MAX_MEMBERS} members, each once.")
        if any(len(str(member)) > MAX_LENGTH or not str(member).isprintable() for member in members):
            raise InvalidExchangePolicyError(f"A member of {name} is too long, or not printable.")
    if not policy.resources or not policy.subject_token_types:
        raise InvalidExchangePolicyError("resources and subject_token_types must not be empty.")
    for name in ("scope", "added_scope"):
        if not is_scope(getattr(policy, name)):
            raise InvalidExchangePolicyError(f"{name} must be names separated by single spaces.")
    # Personal data and lasting access need the consent of the user.
    if set(policy.added_scope.split()) & STANDARD_SCOPES.keys() or "offline_access" in policy.scope.split():
        raise InvalidExchangePolicyError("added_scope must have no standard scopes, and scope no offline_access.")
    if policy.max_lifetime is not None and not 1 <= policy.max_lifetime <= DAY:
        raise InvalidExchangePolicyError(f"max_lifetime must be 1 to {DAY} seconds.")
