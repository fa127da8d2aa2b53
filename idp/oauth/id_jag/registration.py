"""Adding and removing policies of identity assertions.

Each change is one transaction with its cache invalidation and its audit event, as for clients.
"""

from typing import Any
from uuid import UUID

import msgspec

from idp import clock, ids
from idp.audit.events import record
from idp.errors import NotFoundError, ValidationError
from idp.oauth.clients.metadata import is_scope
from idp.oauth.clients.registration import UnknownClientError, change
from idp.oauth.clients.repository import lock_client_without_key
from idp.oauth.clients.uris import InvalidURIError, check_identifier, check_link, is_dns_name
from idp.oauth.id_jag import repository
from idp.oauth.id_jag.models import IdJagPolicy
from idp.settings import settings
from idp.signin.transitions import ACR_VALUES

#: Maximum number of members of a list, and length of a client_id elsewhere.
MAX_MEMBERS, MAX_LENGTH = 100, 500


class InvalidIdJagPolicyError(ValidationError):
    """A policy of identity assertions is not valid."""


class UnknownIdJagPolicyError(NotFoundError):
    """There is no such policy."""

    def __init__(self) -> None:
        super().__init__("There is no policy of identity assertions with this id.")


async def add(client_id: str, **values: Any) -> IdJagPolicy:
    """Let a client get identity assertions for another authorization server.

    Args:
        values: the fields of :class:`IdJagPolicy`.

    Raises:
        InvalidIdJagPolicyError: a value is not valid.
        UnknownClientError: there is no such client, or no such relying party.
    """
    try:
        policy = msgspec.convert(
            values | {"id": ids.uuid7(), "client_id": client_id, "created_at": clock.now()}, IdJagPolicy
        )
    except (msgspec.ValidationError, UnicodeError) as error:
        raise InvalidIdJagPolicyError("A value is missing, or of a wrong type.") from error
    policy = msgspec.structs.replace(policy, email_domains=tuple(domain.lower() for domain in policy.email_domains))
    _check(policy)
    async with change():
        for each in filter(None, (client_id, policy.relying_party)):
            if await lock_client_without_key(each) is None:
                raise UnknownClientError("There is no client with this id.")
        await repository.insert_policy(policy)
        shown = msgspec.to_builtins(policy)
        detail = {name: value for name, value in shown.items() if name not in ("client_id", "created_at")}
        await record("id_jag_policy_added", client_id=client_id, detail=detail)
    return policy


async def remove(id: UUID) -> None:
    """Remove a policy. Assertions that were issued by it stay valid until they expire.

    Raises:
        UnknownIdJagPolicyError: there is no such policy.
    """
    async with change():
        client_id = await repository.delete_policy(id)
        if client_id is None:
            raise UnknownIdJagPolicyError
        await record("id_jag_policy_removed", client_id=client_id, detail={"id": str(id)})


def _check(policy: IdJagPolicy) -> None:
    """
    Raises:
        InvalidIdJagPolicyError: a value is not valid.
    """
    try:
        check_link(policy.audience)
        for resource in policy.resources:
            check_identifier(resource)
    except InvalidURIError as error:
        raise InvalidIdJagPolicyError(f"audience or a resource {error}.") from error
    if policy.audience == settings().issuer:
        raise InvalidIdJagPolicyError("audience is this server itself.")
    name = policy.audience_client_id
    if not 1 <= len(name) <= MAX_LENGTH or not name.isprintable():
        raise InvalidIdJagPolicyError(f"audience_client_id must be one line of up to {MAX_LENGTH} characters.")
    if max(map(len, (policy.resources, policy.email_domains, policy.user_ids))) > MAX_MEMBERS:
        raise InvalidIdJagPolicyError(f"A list may have up to {MAX_MEMBERS} members.")
    if not is_scope(policy.scope):
        raise InvalidIdJagPolicyError("scope must be a list of scopes, separated by spaces.")
    if not all(map(is_dns_name, policy.email_domains)):
        raise InvalidIdJagPolicyError("Each of the email_domains must be a host name.")
    if policy.acr is not None and policy.acr not in ACR_VALUES:
        raise InvalidIdJagPolicyError(f"acr must be one of {', '.join(ACR_VALUES)}.")
