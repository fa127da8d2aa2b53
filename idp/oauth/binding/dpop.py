"""Demonstrating Proof of Possession (RFC 9449): the checks of a proof, in order.

A proof is a JWT in the header ``DPoP``, made by the client for one request and signed by the key that its tokens are
bound to.
"""

import hmac
from base64 import urlsafe_b64encode
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import NamedTuple

from idp import clock
from idp.errors import InvalidDPoPProofError, UseDPoPNonceError
from idp.keys import jose
from idp.keys.algorithms import PROOF_ALGORITHMS
from idp.keys.jose import Claims
from idp.oauth.binding import nonces, target_uris
from idp.oauth.replay.service import MAX_JTI_LENGTH, use_once
from idp.reasons import Reason
from idp.settings import settings

TYPE = "dpop+jwt"
#: Largest length of a proof, in characters. One with an RSA key of 4096 bits has about 2000.
MAX_LENGTH = 8 * 1024


class Target(NamedTuple):
    """The request that a proof must be made for.

    Attributes:
        urls: the URLs of the endpoint.
        access_token: the token of a request to a protected resource.
        algorithms: those that the proof may have.
    """

    method: str
    urls: Sequence[str]
    access_token: str | None = None
    algorithms: tuple[str, ...] = PROOF_ALGORITHMS


class Proof(NamedTuple):
    """A proof that passed the checks.

    Attributes:
        jkt: the thumbprint of its key.
        jti: its identifier, which may be used once for a key.
        expires_at: when it is refused by its age at the latest.
        next_nonce: the nonce for the client's next proof, if the one of this proof expires soon.
    """

    jkt: str
    jti: str
    expires_at: datetime
    next_nonce: str | None


def _time(claims: Claims, name: str) -> float | None:
    try:
        return jose.foreign_time(claims, name)
    except jose.InvalidJWTError as error:
        raise InvalidDPoPProofError(f"The {name} of the DPoP proof is not a time in seconds.") from error


def method_is_of_the_request(claims: Claims, target: Target) -> None:
    """``htm`` is compared exactly: names of methods are case-sensitive."""
    if claims.get("htm") != target.method:
        raise InvalidDPoPProofError(
            "The htm of the DPoP proof is not the method of the request.", Reason.PROOF_OF_ANOTHER_REQUEST
        )


def url_is_of_the_request(claims: Claims, target: Target) -> None:
    """``htu`` is compared with the URLs that follow from the issuer, never with the Host header."""
    htu = claims.get("htu")
    if not isinstance(htu, str) or not any(target_uris.same(htu, url) for url in target.urls):
        raise InvalidDPoPProofError(
            "The htu of the DPoP proof is not the URL of the request.", Reason.PROOF_OF_ANOTHER_REQUEST
        )


def time_is_now(claims: Claims, target: Target) -> None:
    """``iat`` is required and recent. ``exp`` and ``nbf`` are optional, and hold if they are there (RFC 7519)."""
    now = clock.now().timestamp()
    issued, expires, starts = (_time(claims, name) for name in ("iat", "exp", "nbf"))
    if issued is None:
        raise InvalidDPoPProofError("The iat of the DPoP proof is missing.")
    if issued < now - settings().dpop_proof_max_age or (expires is not None and expires <= now):
        raise InvalidDPoPProofError("The DPoP proof is too old. Is the clock of the client right?", Reason.EXPIRED)
    if max(issued, starts or 0) > now + jose.MAX_AHEAD:
        raise InvalidDPoPProofError(
            "The DPoP proof is from the future. Is the clock of the client right?", Reason.NOT_YET_VALID
        )


def jti_is_bounded(claims: Claims, target: Target) -> None:
    """It is stored until the proof is too old."""
    jti = claims.get("jti")
    if not isinstance(jti, str) or not 1 <= len(jti) <= MAX_JTI_LENGTH or not (jti.isascii() and jti.isprintable()):
        raise InvalidDPoPProofError(f"The jti of the DPoP proof must be 1 to {MAX_JTI_LENGTH} characters of ASCII.")


def access_token_is_of_the_request(claims: Claims, target: Target) -> None:
    """``ath`` is required at a protected resource (section 7)."""
    if target.access_token is None:
        return
    expected = urlsafe_b64encode(sha256(target.access_token.encode()).digest()).rstrip(b"=")
    ath = claims.get("ath")
    if not isinstance(ath, str) or not hmac.compare_digest(ath.encode("utf-8", "replace"), expected):
        raise InvalidDPoPProofError(
            "The ath of the DPoP proof is not the hash of the access token.", Reason.PROOF_OF_ANOTHER_REQUEST
        )


def nonce_is_ours(claims: Claims, target: Target) -> None:
    """A nonce is optional or required by a setting (section 8). One that is there must be ours, and live."""
    nonce = claims.get("nonce")
    if nonce is None and not settings().dpop_nonce_required:
        return
    if not isinstance(nonce, str) or nonces.age(nonce) is None:
        raise UseDPoPNonceError("The DPoP proof needs a current nonce of this server.", nonces.current())


CHECKS: tuple[Callable[[Claims, Target], None], ...] = (
    method_is_of_the_request,
    url_is_of_the_request,
    time_is_now,
    jti_is_bounded,
    access_token_is_of_the_request,
    nonce_is_ours,
)


def _only(headers: Sequence[str]) -> str:
    """Return the only ``DPoP`` header of a request (section 4.3)."""
    if len(headers) != 1:
        raise InvalidDPoPProofError("The request has more than one DPoP header.")
    if len(headers[0]) > MAX_LENGTH:
        raise InvalidDPoPProofError("The DPoP proof is too long.")
    return headers[0]


def check(headers: Sequence[str], target: Target) -> Proof:
    """Check everything of a proof, except that it is used for the first time (section 4.3).

    Args:
        headers: the values of all ``DPoP`` headers of a request; at least one.

    Raises:
        UseDPoPNonceError: the proof needs another nonce.
        InvalidDPoPProofError: the proof is invalid, or there are several.
    """
    try:
        claims, jkt = jose.verify_embedded(_only(headers), TYPE, target.algorithms)
    except jose.InvalidJWTError as error:
        raise InvalidDPoPProofError(f"The DPoP proof is not valid: {error.description}", error.reason) from error
    for check_one in CHECKS:
        check_one(claims, target)
    expires_at = datetime.fromtimestamp(claims["iat"] + settings().dpop_proof_max_age + jose.LEEWAY, UTC)
    return Proof(jkt, claims["jti"], expires_at, _next_nonce(claims))


async def use_up(proof: Proof) -> None:
    """Use a proof: over all servers of the database, a key uses each ``jti`` once (section 11.1).

    Call it outside of a transaction.

    Raises:
        InvalidDPoPProofError: it was used before.
    """
    if not await use_once("dpop", proof.jkt, proof.jti, proof.expires_at):
        raise InvalidDPoPProofError("The DPoP proof was used before.", Reason.REUSED)


def _next_nonce(claims: Claims) -> str | None:
    """Return a nonce if that of a proof is not of the current time step (section 8.2)."""
    nonce = claims.get("nonce")
    return nonces.current() if nonce is not None and (nonces.age(nonce) or 0) > 0 else None
