"""Adding and removing mappings.

Each change is one transaction with its cache invalidation and its audit event, as for clients.
"""

import re
from collections.abc import Collection
from typing import Any
from uuid import UUID

import msgspec

from idp import clock, ids
from idp.accounts.attributes import repository as attributes
from idp.accounts.attributes.models import Audience
from idp.accounts.claims import VERIFICATION_CLAIMS
from idp.audit.events import record
from idp.errors import ConflictError, NotFoundError, ValidationError
from idp.oauth.claims import repository
from idp.oauth.claims.models import SEPARATORS, ClaimMapping, Shape
from idp.oauth.claims.sources import Attribute, Profile, Roles
from idp.oauth.clients.metadata import is_scope
from idp.oauth.clients.registration import UnknownClientError, change
from idp.oauth.clients.repository import lock_client_without_key

#: Maximum number of mappings of a client, and of those for every client.
MAX_MAPPINGS = 50
#: Readers of JSON that ignore case, and those of JavaScript objects, see no other name in it.
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.:/-]{0,99}")
#: Applications trust that an address or a number belongs to the user if these claims say so.
_VERIFIED = frozenset({*VERIFICATION_CLAIMS, *VERIFICATION_CLAIMS.values()})


class InvalidClaimMappingError(ValidationError):
    """A mapping is not valid."""


class ClaimMappingConflictError(ConflictError):
    """Another mapping has the claim, or there are too many."""


class UnknownClaimMappingError(NotFoundError):
    """There is no such mapping."""

    def __init__(self) -> None:
        super().__init__("There is no claim mapping with this id.")


async def add(client_id: str | None, audience: Audience = Audience.OWNER, **values: Any) -> ClaimMapping:
    """Add a mapping for a client, or for every client with a scope.

    Args:
        client_id: None: every client.
        audience: who adds it. Only owners use attributes otherwise than with the scope of their declaration.
        values: the fields of :class:`ClaimMapping`, ``source`` as JSON.

    Raises:
        InvalidClaimMappingError: a value is not valid.
        UnknownClientError: there is no such client.
        ClaimMappingConflictError: another mapping has the claim, or there are too many.
    """
    given = {name: values[name] for name in values.keys() & {"claim", "scope", "source", "places", "shape"}}
    own = {"id": ids.uuid7(), "client_id": client_id, "created_at": clock.now()}
    try:
        mapping = msgspec.convert(given | own, ClaimMapping)
    except msgspec.ValidationError as error:
        raise InvalidClaimMappingError(f"A value is missing, or not valid: {error}.") from error
    check(mapping)
    async with change():
        await _check_references(mapping, audience)
        _check_others(mapping, [one for one in await repository.mappings() if one.client_id == client_id])
        await repository.insert_mapping(mapping)
        await record("claim_mapping_added", client_id=client_id, detail=_shown(mapping))
    return mapping


async def remove(id: UUID) -> None:
    """Remove a mapping. Tokens that were issued keep their claims.

    Raises:
        UnknownClaimMappingError: there is no such mapping.
    """
    async with change():
        mapping = await repository.delete_mapping(id)
        if mapping is None:
            raise UnknownClaimMappingError
        await record("claim_mapping_removed", client_id=mapping.client_id, detail=_shown(mapping))


def _shown(mapping: ClaimMapping) -> dict[str, Any]:
    shown = msgspec.to_builtins(mapping)
    return {name: shown[name] for name in ("id", "claim", "scope", "source", "places", "shape")}


def check(mapping: ClaimMapping) -> None:
    """Check a mapping on its own.

    Raises:
        InvalidClaimMappingError: a value is not valid.
    """
    source = mapping.source
    if not _NAME.fullmatch(mapping.claim):
        raise InvalidClaimMappingError("claim must be 1 to 100 letters, digits and _ . : / -, beginning with a letter.")
    if mapping.is_protected:
        raise InvalidClaimMappingError("This claim has a meaning of its own in tokens. Choose another name.")
    if mapping.claim.lower() in _VERIFIED and source != Profile(claim=mapping.claim):
        raise InvalidClaimMappingError("Applications trust this claim. It can only be that of the profile.")
    if mapping.client_id is None and mapping.scope is None:
        raise InvalidClaimMappingError("A mapping for every client needs a scope.")
    if mapping.scope is not None and (not is_scope(mapping.scope) or len(mapping.scope.split()) != 1):
        raise InvalidClaimMappingError("scope must be one name.")
    if not mapping.places or len(set(mapping.places)) != len(mapping.places):
        raise InvalidClaimMappingError("places must name where the claim goes, each once.")
    if problem := source.problem():
        raise InvalidClaimMappingError(problem)
    if mapping.shape is Shape.OBJECT and not (isinstance(source, Roles) and source.of != "all"):
        raise InvalidClaimMappingError("Only the roles of the server, or those of a client, can be an object.")
    if mapping.shape in SEPARATORS and not source.several:
        raise InvalidClaimMappingError("Only a list can be joined.")


async def _check_references(mapping: ClaimMapping, audience: Audience) -> None:
    named = [mapping.client_id, mapping.source.client_id if isinstance(mapping.source, Roles) else None]
    for client_id in filter(None, named):
        if await lock_client_without_key(client_id) is None:
            raise UnknownClientError("There is no client with this id.")
    if isinstance(mapping.source, Attribute):
        await _check_attribute(mapping.source.name, mapping.scope, audience)


async def _check_attribute(name: str, scope: str | None, audience: Audience) -> None:
    """Check that the audience may put an attribute into claims. It stays until the end of the transaction.

    The declaration says with which scope an attribute leaves the server. Only an owner lets it leave otherwise.

    Raises:
        InvalidClaimMappingError: it may not, or there is no attribute that the audience sees.
    """
    found = (await attributes.hold_attributes([name])).get(name)
    if found is None or not found.is_visible(audience):
        raise InvalidClaimMappingError("There is no attribute with this name.")
    if audience is not Audience.OWNER and (found.scope is None or found.scope != scope):
        raise InvalidClaimMappingError("Only an owner puts this attribute into claims without its own scope.")


def _check_others(mapping: ClaimMapping, others: Collection[ClaimMapping]) -> None:
    if len(others) >= MAX_MAPPINGS:
        raise ClaimMappingConflictError(f"There can be {MAX_MAPPINGS} mappings.")
    for other in others:
        same = other.claim == mapping.claim and other.scope == mapping.scope
        joined = mapping.shape is other.shape is Shape.OBJECT and mapping.source != other.source
        if same and not joined and not set(other.places).isdisjoint(mapping.places):
            raise ClaimMappingConflictError("Another mapping puts this claim there. Remove it first.")
