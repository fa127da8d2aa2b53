"""Adding, changing and removing trusted issuers.

Each change is one transaction with its cache invalidation and its audit event, as for clients.
"""

from datetime import datetime
from typing import Any

import msgspec

from idp.audit.events import record
from idp.errors import ConflictError, NotFoundError, ValidationError, VersionConflictError
from idp.keys import jose
from idp.keys.algorithms import VERIFICATION_ALGORITHMS
from idp.oauth.clients.metadata import is_scope
from idp.oauth.clients.registration import change
from idp.oauth.clients.registry import registry
from idp.oauth.clients.uris import InvalidURIError, check_identifier, check_link, is_dns_name
from idp.oauth.issuers import repository
from idp.oauth.issuers.models import Purpose, StoredTrustedIssuer, SubjectSource, TrustedIssuer
from idp.oauth.token.repository.assertions import revoke_asserted_families
from idp.settings import DAY, settings

#: Maximum number of clients, audiences or domains of an issuer, and of characters of an audience.
MAX_ITEMS, MAX_LENGTH = 100, 500
#: Maximum lifetime of a token that is a grant, in seconds. The replay store remembers it for as long.
MAX_GRANT_LIFETIME = 1800


class InvalidTrustedIssuerError(ValidationError):
    """A value of a trusted issuer is not valid."""


class TrustedIssuerExistsError(ConflictError):
    """There is a trusted issuer with this ``iss``."""


class UnknownTrustedIssuerError(NotFoundError):
    """There is no such issuer."""

    def __init__(self) -> None:
        super().__init__("There is no trusted issuer with this id.")


async def add(**values: Any) -> TrustedIssuer:
    """Trust an issuer.

    Args:
        values: the fields of :class:`TrustedIssuer`.

    Raises:
        InvalidTrustedIssuerError: a value is not valid.
        TrustedIssuerExistsError: there is one with this ``iss``.
    """
    issuer = checked(values)
    async with change():
        if not await repository.insert_issuer(issuer):
            raise TrustedIssuerExistsError("An issuer with this iss is trusted already.")
        await _set_clients(issuer)
        await record("trusted_issuer_added", detail=_shown(issuer))
    return issuer


async def update(id: str, expected: datetime | None = None, **changes: Any) -> TrustedIssuer:
    """Change an issuer, except its ``iss``. What its tokens gave to clients that it no longer has is revoked.

    Raises:
        UnknownTrustedIssuerError: there is no such issuer.
        VersionConflictError: it was changed since.
        InvalidTrustedIssuerError: a value is not valid.
    """
    async with change():
        stored = await _lock(id, expected)
        before = {name: getattr(stored, name) for name in TrustedIssuer.__struct_fields__}
        issuer = checked(before | changes)
        if (issuer.id, issuer.issuer) != (stored.id, stored.issuer):
            raise InvalidTrustedIssuerError("The iss of an issuer cannot be changed.")
        changed = sorted(name for name, value in before.items() if getattr(issuer, name) != value)
        if changed:
            await repository.update_issuer(issuer)
            await _set_clients(issuer)
            await revoke_asserted_families(issuer.id, issuer.clients if issuer.enabled else ())
            await record("trusted_issuer_updated", detail={"issuer": issuer.issuer, "changed": changed})
    return issuer


async def remove(id: str, expected: datetime | None = None) -> None:
    """Trust an issuer no more, and revoke what its tokens gave.

    Raises:
        UnknownTrustedIssuerError: there is no such issuer.
        VersionConflictError: it was changed since.
    """
    async with change():
        stored = await _lock(id, expected)
        await revoke_asserted_families(id)
        await repository.delete_issuer(id)
        await record("trusted_issuer_removed", detail={"issuer": stored.issuer})


async def _lock(id: str, expected: datetime | None) -> StoredTrustedIssuer:
    stored = await repository.lock_issuer(id)
    if stored is None:
        raise UnknownTrustedIssuerError
    if expected is not None and stored.updated_at != expected:
        raise VersionConflictError
    return stored


async def _set_clients(issuer: TrustedIssuer) -> None:
    if not await repository.set_clients(issuer):
        raise InvalidTrustedIssuerError("One of the clients does not exist.")


def _shown(issuer: TrustedIssuer) -> dict[str, Any]:
    shown = ("issuer", "purposes", "clients", "subject", "email_domains", "create_users", "scope")
    return {name: msgspec.to_builtins(getattr(issuer, name)) for name in shown}


def checked(values: dict[str, Any]) -> TrustedIssuer:
    """Return an issuer in the form in which it is stored.

    Raises:
        InvalidTrustedIssuerError: a value is not valid.
    """
    try:
        issuer = msgspec.convert(values, TrustedIssuer)
    except (msgspec.ValidationError, UnicodeError) as error:
        raise InvalidTrustedIssuerError("A value is missing, or of a wrong type.") from error
    issuer = msgspec.structs.replace(
        issuer,
        clients=tuple(sorted(set(issuer.clients))),
        email_domains=tuple(sorted({domain.lower() for domain in issuer.email_domains})),
    )
    _check_keys(issuer)
    _check_lists(issuer)
    _check_subject(issuer)
    _check_scope(issuer)
    longest = MAX_GRANT_LIFETIME if {Purpose.JWT_BEARER, Purpose.ID_JAG} & set(issuer.purposes) else DAY
    if not 1 <= issuer.max_lifetime <= longest:
        raise InvalidTrustedIssuerError(f"max_lifetime must be 1 to {longest} seconds.")
    return issuer


def _check_keys(issuer: TrustedIssuer) -> None:
    if issuer.issuer == settings().issuer:
        raise InvalidTrustedIssuerError("issuer is this server itself.")
    if issuer.jwks is not None and issuer.jwks_uri is not None:
        raise InvalidTrustedIssuerError("jwks and jwks_uri exclude each other.")
    try:
        # Without keys, its discovery document is fetched.
        (check_link if issuer.jwks is None and issuer.jwks_uri is None else check_identifier)(issuer.issuer)
    except InvalidURIError as error:
        raise InvalidTrustedIssuerError(f"issuer {error}.") from error
    try:
        if issuer.jwks is not None:
            jose.check_key_set(issuer.jwks)
        if issuer.jwks_uri is not None:
            check_link(issuer.jwks_uri)
    except jose.InvalidKeyError as error:
        raise InvalidTrustedIssuerError(f"jwks {error}.") from error
    except InvalidURIError as error:
        raise InvalidTrustedIssuerError(f"jwks_uri {error}.") from error


def _check_lists(issuer: TrustedIssuer) -> None:
    if not issuer.purposes:
        raise InvalidTrustedIssuerError(f"purposes must be some of {', '.join(Purpose)}.")
    if not issuer.algorithms or not set(issuer.algorithms) <= set(VERIFICATION_ALGORITHMS):
        raise InvalidTrustedIssuerError(f"algorithms must be some of {', '.join(VERIFICATION_ALGORITHMS)}.")
    if max(map(len, (issuer.clients, issuer.audiences, issuer.email_domains))) > MAX_ITEMS:
        raise InvalidTrustedIssuerError(f"clients, audiences and email_domains may have up to {MAX_ITEMS} values.")
    if not all(1 <= len(text) <= MAX_LENGTH and text.isprintable() for text in issuer.audiences):
        raise InvalidTrustedIssuerError(f"Each of the audiences must be one line of up to {MAX_LENGTH} characters.")
    if not all(map(is_dns_name, issuer.email_domains)):
        raise InvalidTrustedIssuerError("Each of the email_domains must be a host name.")


def _check_subject(issuer: TrustedIssuer) -> None:
    """An issuer that vouches for every address could name every user."""
    by_email = issuer.subject is SubjectSource.EMAIL or issuer.create_users
    if by_email and not issuer.email_domains:
        raise InvalidTrustedIssuerError("email_domains is needed if users are found or created by their address.")
    about_users = {Purpose.ID_JAG, Purpose.LOGIN_HINT} & set(issuer.purposes)
    if issuer.subject is SubjectSource.CLIENT and (issuer.create_users or about_users):
        raise InvalidTrustedIssuerError(
            "With the subject client there are no users: neither id_jag nor login_hint nor create_users."
        )


def _check_scope(issuer: TrustedIssuer) -> None:
    if not is_scope(issuer.scope):
        raise InvalidTrustedIssuerError("scope must be a list of scopes, separated by spaces.")
    if registry.builtin_scopes & set(issuer.scope.split()) or "offline_access" in issuer.scope.split():
        raise InvalidTrustedIssuerError("Scopes of this server itself, and offline_access, cannot be given.")
