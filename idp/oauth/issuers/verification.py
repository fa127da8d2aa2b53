"""Verifying tokens of trusted issuers (RFC 7521 section 5.2, RFC 7523 section 3)."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, NamedTuple
from uuid import UUID

import msgspec

from idp.accounts.repository.users import user_by_id
from idp.errors import ProofError, Refused
from idp.keys import jose
from idp.oauth.clients import issuer_keys, profiles
from idp.oauth.clients.client_keys import KeysUnavailableError
from idp.oauth.clients.models import Client
from idp.oauth.clients.registry import registry
from idp.oauth.issuers import people
from idp.oauth.issuers.models import Purpose, SubjectSource, TrustedIssuer
from idp.oauth.replay.service import MAX_JTI_LENGTH, use_once
from idp.reasons import Reason
from idp.settings import settings

#: The ``typ`` of an identity assertion authorization grant, which must have one.
ID_JAG_TYPE: Final = "oauth-id-jag+jwt"
#: Allowed values of ``typ``. A token of another kind is refused (RFC 8725 section 3.11). One without ``typ`` is a JWT.
TYPES: Final[Mapping[Purpose, tuple[str, ...]]] = {
    Purpose.JWT_BEARER: ("jwt", "authorization-grant+jwt"),
    Purpose.ID_JAG: (ID_JAG_TYPE,),
    Purpose.TOKEN_EXCHANGE: ("jwt", "at+jwt"),
    # Otherwise a client that gets a hint could present it as a grant.
    Purpose.LOGIN_HINT: ("login-hint+jwt",),
}
#: Purposes whose tokens are grants for this server, and are used once.
GRANTS: Final = frozenset({Purpose.JWT_BEARER, Purpose.ID_JAG})
#: Maximum length of a ``sub``, in characters (OpenID Connect Core section 2).
MAX_SUBJECT_LENGTH = 255


class UntrustedTokenError(ProofError):
    """A token of another issuer is refused.

    Attributes:
        refused: why, and for which user, for the operator.
    """

    def __init__(self, reason: Reason, description: str, user_id: UUID | None = None) -> None:
        super().__init__(description, reason)
        self.refused = Refused(reason, user_id)


class VerifiedAssertion(msgspec.Struct, frozen=True, kw_only=True):
    """A token of a trusted issuer that was verified for a client.

    Attributes:
        subject: its ``sub``.
        user_id: the user here, who was enabled; None: the token is about the client itself.
        claims: all claims, which the issuer vouches for.
    """

    purpose: Purpose
    issuer: TrustedIssuer
    subject: str
    user_id: UUID | None
    claims: jose.Claims

    @property
    def scope(self) -> tuple[str, ...] | None:
        """The scopes that it is limited to; None: it names none.

        Raises:
            UntrustedTokenError: the claim is malformed.
        """
        claim = self.claims.get("scope")
        if claim is None:
            return None
        if not isinstance(claim, str):
            raise UntrustedTokenError(Reason.MALFORMED, "scope is not a string.", self.user_id)
        return tuple(dict.fromkeys(claim.split()))

    @property
    def resource(self) -> tuple[str, ...]:
        """The resource servers that it is limited to, by their identifiers; empty: it names none.

        Raises:
            UntrustedTokenError: the claim is malformed.
        """
        claim = self.claims.get("resource", [])
        values = claim if isinstance(claim, list) else [claim]
        if not all(isinstance(value, str) for value in values):
            raise UntrustedTokenError(Reason.MALFORMED, "resource is not a string, or a list of strings.", self.user_id)
        return tuple(dict.fromkeys(map(registry.identifier, values)))


class ExternalHint(NamedTuple):
    """Whom a trusted issuer names.

    Attributes:
        about: the issuer and its ``sub``.
        user_id: the user here, who may be disabled; None: nobody who is known here.
    """

    about: str
    user_id: UUID | None


async def verify_external(token: str, purpose: Purpose, client: Client) -> VerifiedAssertion:
    """Verify a token of a trusted issuer that a client presents. A grant must then be used up (:func:`use_up`).

    Raises:
        UntrustedTokenError: it is not of a trusted issuer, not valid, or about nobody here.
    """
    issuer, claims = await _verify(token, purpose, client)
    subject: str = claims["sub"]
    user_id = None if issuer.subject is SubjectSource.CLIENT else await _user(issuer, subject, claims)
    return VerifiedAssertion(purpose=purpose, issuer=issuer, subject=subject, user_id=user_id, claims=claims)


async def verify_hint(token: str, client: Client) -> ExternalHint:
    """Verify a token of a trusted issuer that says whom the client wants to ask. It creates no user.

    Raises:
        UntrustedTokenError: it is not of a trusted issuer, or not valid.
    """
    issuer, claims = await _verify(token, Purpose.LOGIN_HINT, client)
    known = msgspec.structs.replace(issuer, create_users=False)
    user_id = await people.find_user(known, claims["sub"], claims)
    return ExternalHint(f"{issuer.issuer} {claims['sub']}", user_id)


async def _verify(token: str, purpose: Purpose, client: Client) -> tuple[TrustedIssuer, jose.Claims]:
    """Return the issuer of a token and its claims."""
    issuer = _issuer(token, purpose, client)
    try:
        algorithms = profiles.algorithms(client, issuer.algorithms)
        claims = await issuer_keys.verify(issuer, token, algorithms, TYPES[purpose])
        jose.check_times(claims, jose.MAX_AHEAD, fractions=True)
    except jose.InvalidJWTError as error:
        raise UntrustedTokenError(error.reason or Reason.MALFORMED, error.description) from error
    except KeysUnavailableError as error:
        raise UntrustedTokenError(Reason.KEYS_UNAVAILABLE, error.description) from error
    _check(claims, purpose, issuer, client)
    return issuer, claims


async def use_up(assertion: VerifiedAssertion) -> None:
    """Use a grant, by its ``jti``. Call it last, outside of a transaction.

    Raises:
        UntrustedTokenError: it was used before.
    """
    claims = assertion.claims
    expires_at = datetime.fromtimestamp(claims["exp"] + jose.LEEWAY, UTC)
    if not await use_once("assertion", assertion.issuer.issuer, claims["jti"], expires_at):
        raise UntrustedTokenError(Reason.REUSED, "The token was used before.", assertion.user_id)


def is_id_jag(token: str) -> bool:
    """Return whether a token says that it is an identity assertion authorization grant."""
    try:
        typ = jose.unverified(token).header.get("typ")
    except jose.InvalidJWTError:
        return False
    return isinstance(typ, str) and typ.lower().removeprefix("application/") == ID_JAG_TYPE


def _issuer(token: str, purpose: Purpose, client: Client) -> TrustedIssuer:
    """Return the issuer that a token names, if the client may present its tokens for this purpose."""
    try:
        unverified = jose.unverified(token)
    except jose.InvalidJWTError as error:
        raise UntrustedTokenError(Reason.MALFORMED, error.description) from error
    name = unverified.claims.get("iss")
    issuer = registry.trusted_issuer(name) if isinstance(name, str) else None
    if issuer is None or purpose not in issuer.purposes:
        raise UntrustedTokenError(Reason.UNTRUSTED_ISSUER, "The issuer is not trusted for this purpose.")
    if client.client_id not in issuer.clients:
        raise UntrustedTokenError(Reason.WRONG_CLIENT, "The client may not present tokens of this issuer.")
    if "jwt" not in TYPES[purpose] and not unverified.header.get("typ"):
        raise UntrustedTokenError(Reason.WRONG_TYPE, f"The typ of the token must be {TYPES[purpose][0]}.")
    return issuer


def _check(claims: jose.Claims, purpose: Purpose, issuer: TrustedIssuer, client: Client) -> None:
    """Check the claims, except for the times."""
    subject, jti = claims.get("sub"), claims.get("jti")
    if not isinstance(subject, str) or not 1 <= len(subject) <= MAX_SUBJECT_LENGTH or not subject.isprintable():
        raise UntrustedTokenError(Reason.MALFORMED, "The sub of the token is missing or malformed.")
    audiences = jose.audience(claims)
    # One that is for others too may have been used there, or may be used here by them.
    if not audiences or not all(one in _accepted(purpose, issuer) for one in audiences):
        raise UntrustedTokenError(Reason.WRONG_AUDIENCE, "The aud of the token is not this server alone.")
    if jose.lives_longer(claims, issuer.max_lifetime + jose.MAX_AHEAD):
        raise UntrustedTokenError(Reason.MALFORMED, "The token is valid for longer than its issuer may say.")
    if purpose in GRANTS and not (isinstance(jti, str) and 1 <= len(jti) <= MAX_JTI_LENGTH):
        raise UntrustedTokenError(Reason.MALFORMED, "The jti of the token is missing or too long.")
    if purpose is Purpose.ID_JAG and ("iat" not in claims or len(audiences) != 1):
        raise UntrustedTokenError(Reason.MALFORMED, "The token has no iat, or several audiences.")
    if purpose is Purpose.ID_JAG and claims.get("client_id") != client.client_id:
        raise UntrustedTokenError(Reason.WRONG_CLIENT, "The token is for another client.")
    # Keys and actors of another server cannot be checked here.
    if claims.keys() & {"cnf", "act"}:
        reason = Reason.WRONG_ACTOR if "act" in claims else Reason.WRONG_KEY
        raise UntrustedTokenError(reason, "The token is bound to a key, or names an actor.")


def _accepted(purpose: Purpose, issuer: TrustedIssuer) -> tuple[str, ...]:
    """Return the values of ``aud`` that a token may have."""
    ours = settings().issuer
    if purpose in (Purpose.ID_JAG, Purpose.LOGIN_HINT):
        return (ours,)
    endpoints = (ours, f"{ours}/token")
    return endpoints if purpose is Purpose.JWT_BEARER else (*endpoints, *issuer.audiences)


async def _user(issuer: TrustedIssuer, subject: str, claims: jose.Claims) -> UUID:
    user_id = await people.find_user(issuer, subject, claims)
    user = await user_by_id(user_id) if user_id is not None else None
    if user is None:
        raise UntrustedTokenError(Reason.UNKNOWN_USER, "The token is about a user who is not known here.")
    if user.disabled_at is not None:
        raise UntrustedTokenError(Reason.USER_DISABLED, "The user is disabled.", user.id)
    return user.id
