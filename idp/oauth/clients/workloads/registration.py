"""Adding and removing rules of workload identity.

Each change is one transaction with its cache invalidation and its audit event, as for clients.
"""

import re
from typing import Any
from uuid import UUID

import msgspec

from idp import clock, ids
from idp.audit.events import record
from idp.errors import ConflictError, NotFoundError, ValidationError
from idp.keys import jose
from idp.oauth.clients.auth_methods import WORKLOAD_METHOD
from idp.oauth.clients.registration import UnknownClientError, change
from idp.oauth.clients.repository import lock_client_without_key
from idp.oauth.clients.uris import InvalidURIError, check_identifier, check_link
from idp.oauth.clients.workloads import repository
from idp.oauth.clients.workloads.models import WorkloadIdentity
from idp.settings import settings

MAX_LENGTH = 500
#: Maximum number of ``*`` in a subject.
MAX_WILDCARDS = 3
_SPIFFE_ISSUER = re.compile(r"spiffe://[a-z0-9._-]{1,255}")


class InvalidWorkloadIdentityError(ValidationError):
    """A rule of workload identity is not valid."""


class WorkloadIdentityExistsError(ConflictError):
    """The client has this rule, or cannot have one."""


class UnknownWorkloadIdentityError(NotFoundError):
    """There is no such rule."""

    def __init__(self) -> None:
        super().__init__("There is no workload identity with this id.")


async def add(client_id: str, **values: Any) -> WorkloadIdentity:
    """Let tokens of a trusted issuer authenticate a client.

    Args:
        values: the fields of :class:`WorkloadIdentity`. The default audience is the issuer of this server.

    Raises:
        InvalidWorkloadIdentityError: a value is not valid.
        UnknownClientError: there is no such client.
        WorkloadIdentityExistsError: the client has this rule, or is registered for another method.
    """
    given = {"audience": settings().issuer} | values
    try:
        rule = msgspec.convert(
            given | {"id": ids.uuid7(), "client_id": client_id, "created_at": clock.now()}, WorkloadIdentity
        )
    except msgspec.ValidationError as error:
        raise InvalidWorkloadIdentityError("A value is missing, or of a wrong type.") from error
    _check(rule)
    async with change():
        client = await lock_client_without_key(client_id)
        if client is None:
            raise UnknownClientError("There is no client with this id.")
        if client.token_endpoint_auth_method != WORKLOAD_METHOD:
            raise WorkloadIdentityExistsError(f"The client is not registered for the method {WORKLOAD_METHOD}.")
        if not await repository.insert_identity(rule):
            raise WorkloadIdentityExistsError("The client has this workload identity already.")
        await record("workload_identity_added", client_id=client_id, detail=_shown(rule))
    return rule


async def remove(id: UUID) -> None:
    """Remove a rule. Access tokens that were issued stay valid until they expire.

    Raises:
        UnknownWorkloadIdentityError: there is no such rule.
    """
    async with change():
        client_id = await repository.delete_identity(id)
        if client_id is None:
            raise UnknownWorkloadIdentityError
        await record("workload_identity_removed", client_id=client_id, detail={"id": str(id)})


def _shown(rule: WorkloadIdentity) -> dict[str, Any]:
    return {"id": str(rule.id)} | {name: getattr(rule, name) for name in ("issuer", "subject", "audience")}


def _check(rule: WorkloadIdentity) -> None:
    """
    Raises:
        InvalidWorkloadIdentityError: a value is not valid.
    """
    for name in ("issuer", "subject", "audience"):
        value = getattr(rule, name)
        if not 1 <= len(value) <= MAX_LENGTH or not value.isprintable() or value != value.strip():
            raise InvalidWorkloadIdentityError(f"{name} must be one line of up to {MAX_LENGTH} characters.")
    if rule.subject.startswith("*") or rule.subject.count("*") > MAX_WILDCARDS or "**" in rule.subject:
        raise InvalidWorkloadIdentityError(
            f"subject must not begin with *, nor have more than {MAX_WILDCARDS} of them, nor two beside each other."
        )
    if rule.issuer == settings().issuer:
        raise InvalidWorkloadIdentityError("issuer is this server itself.")
    if rule.jwks is not None and rule.jwks_uri is not None:
        raise InvalidWorkloadIdentityError("jwks and jwks_uri exclude each other.")
    _check_issuer(rule)
    try:
        if rule.jwks is not None:
            jose.check_key_set(rule.jwks)
        if rule.jwks_uri is not None:
            check_link(rule.jwks_uri)
    except jose.InvalidKeyError as error:
        raise InvalidWorkloadIdentityError(f"jwks {error}.") from error
    except InvalidURIError as error:
        raise InvalidWorkloadIdentityError(f"jwks_uri {error}.") from error


def _check_issuer(rule: WorkloadIdentity) -> None:
    has_keys = rule.jwks is not None or rule.jwks_uri is not None
    if rule.issuer.startswith("spiffe:"):
        if not _SPIFFE_ISSUER.fullmatch(rule.issuer) or not has_keys:
            raise InvalidWorkloadIdentityError(
                "A trust domain must be as in spiffe://example.org, and needs jwks or jwks_uri."
            )
        return
    try:
        # Without keys, its discovery document is fetched.
        (check_identifier if has_keys else check_link)(rule.issuer)
    except InvalidURIError as error:
        raise InvalidWorkloadIdentityError(f"issuer {error}.") from error
