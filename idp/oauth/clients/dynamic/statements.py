"""Software statements: what a trusted issuer says about the software of a client (RFC 7591 section 2.3).

Its claims take precedence over what the client says itself.
"""

from functools import cache
from pathlib import Path
from typing import Any, Final

import msgspec

from idp.errors import OAuthError
from idp.keys import jose
from idp.keys.algorithms import VERIFICATION_ALGORITHMS
from idp.oauth.clients import client_keys
from idp.oauth.clients.dynamic.request import MEMBERS
from idp.settings import settings

MEMBER: Final = "software_statement"
#: Allowed values of ``typ``. A token of another kind is no statement (RFC 8725 section 3.11).
TYPES: Final = ("jwt",)


class TrustedIssuer(msgspec.Struct, frozen=True, kw_only=True):
    """An issuer of software statements, with its keys."""

    jwks: dict[str, Any] | None = None
    jwks_uri: str | None = None


@cache
def _read(path: Path) -> dict[str, TrustedIssuer]:
    return msgspec.json.decode(path.read_bytes(), type=dict[str, TrustedIssuer])


def trusted_issuers() -> dict[str, TrustedIssuer]:
    """Return the trusted issuers. The file is read once."""
    path = settings().client_registration_statement_issuers
    return _read(path) if path is not None else {}


async def apply(sent: dict[str, Any], stored: str | None = None) -> tuple[dict[str, Any], str | None]:
    """Return the members of a request with those of its software statement, and the statement.

    Args:
        stored: the statement that the client was registered with, which a change need not repeat.

    Raises:
        OAuthError: ``invalid_software_statement`` or ``unapproved_software_statement`` (section 3.2.2).
    """
    # Without trusted issuers, what is sent is ignored, and the stored one stays.
    statement = sent.get(MEMBER, stored) if trusted_issuers() else stored
    if statement is not None and statement == stored:
        # It was verified then, and may have expired since.
        return sent | _members(jose.unverified(statement).claims), statement
    if statement is None:
        if settings().client_registration_statement_required:
            raise _invalid("A software_statement of a trusted issuer is needed.")
        return sent, None
    if not isinstance(statement, str):
        raise _invalid("software_statement must be a text.")
    return sent | _members(await _verified(statement)), statement


def _members(claims: jose.Claims) -> dict[str, Any]:
    return {name: value for name, value in claims.items() if name in MEMBERS}


async def _verified(statement: str) -> jose.Claims:
    try:
        issuer = jose.unverified(statement).claims.get("iss")
        owner = trusted_issuers().get(issuer) if isinstance(issuer, str) else None
        if owner is None:
            raise OAuthError("unapproved_software_statement", "The issuer of the software_statement is not trusted.")
        claims = await client_keys.verify(owner, statement, VERIFICATION_ALGORITHMS, TYPES)
        jose.check_times(claims, fractions=True, require_exp=False)
    except jose.InvalidJWTError as error:
        raise _invalid(f"The software_statement is not valid. {error.description}") from error
    except client_keys.KeysUnavailableError as error:
        raise _invalid("The keys of the issuer of the software_statement cannot be fetched.") from error
    if settings().issuer not in jose.audience(claims, settings().issuer):
        raise _invalid("The software_statement is for another server.")
    return claims


def _invalid(description: str) -> OAuthError:
    return OAuthError("invalid_software_statement", description)
