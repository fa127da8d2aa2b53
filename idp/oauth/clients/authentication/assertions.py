"""Assertions: JWTs that authenticate a client (RFC 7521 section 4.2, RFC 7523, OpenID Connect Core section 9).

The checks run in order, after the signature. An assertion is used up last, so that nobody else can use up its ``jti``.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple

from idp.errors import InvalidClientError, Refused
from idp.keys import jose
from idp.oauth.clients import profiles
from idp.oauth.clients.authentication.credentials import Failure, Sent
from idp.oauth.clients.models import Client
from idp.oauth.replay.service import MAX_JTI_LENGTH, use_once
from idp.reasons import Reason
from idp.settings import settings

#: RFC 7523 section 2.2.
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
#: The other one is of SPIFFE (draft-ietf-oauth-spiffe-client-auth).
ASSERTION_TYPES = (ASSERTION_TYPE, "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe")
_TRUST_DOMAIN = re.compile(r"spiffe://[^/]+(?=/)")
#: Allowed values of ``typ``. A token of another kind, such as a DPoP proof, is no assertion (RFC 8725 section 3.11).
TYPES = ("jwt", "client-authentication+jwt")
#: Claims of request objects, of which each has one.
REQUEST_PARAMETERS = frozenset({"response_type", "redirect_uri"})


class Assertion(NamedTuple):
    """An assertion that was not verified yet."""

    token: str
    alg: str
    kid: object
    issuer: str
    subject: str
    audience: object


def read(sent: Sent) -> Assertion | None:
    """Read the assertion of a request; None if there is none.

    Raises:
        InvalidClientError: it is malformed, or of another type.
    """
    token = sent.form.get("client_assertion")
    if token is None and "client_assertion_type" not in sent.form:
        return None
    if token is None or sent.form.get("client_assertion_type") not in ASSERTION_TYPES:
        raise _malformed(f"client_assertion needs the client_assertion_type {ASSERTION_TYPE}")
    return _parse(token)


# Several methods read the assertion of one request.
@lru_cache(maxsize=8)
def _parse(token: str) -> Assertion:
    try:
        header, claims = jose.unverified(token)
    except jose.InvalidJWTError as error:
        raise _malformed("the assertion is not a signed JWT") from error
    alg, issuer, subject = header.get("alg"), _issuer(claims), claims.get("sub")
    if not (isinstance(alg, str) and isinstance(issuer, str) and isinstance(subject, str)):
        raise _malformed("alg, iss and sub of the assertion must be text")
    return Assertion(token, alg, header.get("kid"), issuer, subject, claims.get("aud"))


def _issuer(claims: jose.Claims) -> object:
    """Return ``iss``, which a JWT-SVID may lack: its issuer is the trust domain of ``sub``."""
    found = _TRUST_DOMAIN.match(str(claims.get("sub", ""))) if "iss" not in claims else None
    return found[0] if found else claims.get("iss")


def _malformed(problem: str) -> InvalidClientError:
    return InvalidClientError(
        hint=f"Client authentication failed: {problem}.",
        refused=Refused(Reason.MALFORMED),
    )


def issuer_is_the_client(claims: jose.Claims, client: Client, sent: Sent) -> Failure | None:
    """RFC 7523 section 3, items 1 and 2."""
    if claims.get("iss") == claims["sub"] == client.client_id:
        return None
    return Failure(Reason.WRONG_ISSUER, "iss and sub of the assertion must both be the client_id")


def audience_is_this_server(claims: jose.Claims, client: Client, sent: Sent) -> Failure | None:
    """RFC 7523 section 3, item 3. An assertion that names another server too may have been sent there first.

    FAPI 2.0 Security Profile section 5.3.2.1 allows the issuer only, as a string.
    """
    issuer = settings().issuer
    if profiles.rules(client).issuer_is_the_audience:
        accepted = claims.get("aud") == issuer
    else:
        bases = [base for base in (issuer, settings().mtls_url) if base is not None]
        ours = [issuer, *(f"{base}{path}" for base in bases for path in ("/token", sent.endpoint))]
        audiences = jose.audience(claims)
        accepted = bool(audiences) and all(one in ours for one in audiences)
    return None if accepted else Failure(Reason.WRONG_AUDIENCE, f"aud of the assertion must be {issuer}")


def is_no_request_object(claims: jose.Claims, client: Client, sent: Sent) -> Failure | None:
    """A request object goes through the browser, and may have all claims of an assertion (RFC 9101 section 10.8)."""
    if REQUEST_PARAMETERS.isdisjoint(claims):
        return None
    return Failure(Reason.WRONG_TYPE, "it is a request object")


def time_is_now(claims: jose.Claims, client: Client, sent: Sent) -> Failure | None:
    """RFC 7523 section 3, items 4 to 6."""
    try:
        jose.check_times(claims, jose.MAX_AHEAD, fractions=True)
    except jose.InvalidJWTError as error:
        return Failure(error.reason, f"exp, nbf or iat of the assertion: {error.description.rstrip('.')}")
    if jose.lives_longer(claims, settings().client_assertion_lifetime + jose.MAX_AHEAD):
        return Failure(Reason.MALFORMED, "the assertion is valid for longer than IDP_CLIENT_ASSERTION_LIFETIME")
    return None


def jti_is_bounded(claims: jose.Claims, client: Client, sent: Sent) -> Failure | None:
    """OpenID Connect Core section 9 requires it."""
    jti = claims.get("jti")
    if isinstance(jti, str) and 1 <= len(jti) <= MAX_JTI_LENGTH:
        return None
    return Failure(Reason.MALFORMED, f"jti of the assertion must be text of up to {MAX_JTI_LENGTH} characters")


CHECKS: tuple[Callable[[jose.Claims, Client, Sent], Failure | None], ...] = (
    issuer_is_the_client,
    audience_is_this_server,
    is_no_request_object,
    time_is_now,
    jti_is_bounded,
)


async def check(claims: jose.Claims, client: Client, sent: Sent) -> Failure | None:
    """Check the claims of an assertion whose signature is right, and use it up. Returns None if it authenticates."""
    for one in CHECKS:
        if failure := one(claims, client, sent):
            return failure
    expires_at = datetime.fromtimestamp(claims["exp"] + jose.LEEWAY, UTC)
    if await use_once("client_assertion", client.client_id, claims["jti"], expires_at):
        return None
    return Failure(Reason.REUSED, "the assertion was used before")
