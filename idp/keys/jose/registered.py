"""Verifying JWTs of clients and of trusted issuers, with the keys that they registered or published."""

from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from idp.keys.algorithms import ALGORITHMS
from idp.keys.jose.errors import InvalidJWTError, InvalidKeyError, KeySizeError, NoMatchingKeyError
from idp.keys.jose.keys import PUBLIC_MEMBERS, Key, import_foreign_key, import_key
from idp.keys.jose.registries import FOREIGN, SHARED
from idp.keys.jose.signing import symmetric_key
from idp.keys.jose.verification import Claims, decode_object, media_type, parse, verified
from idp.reasons import Reason

#: Maximum number of keys that are tried for one token.
MAX_TRIED = 8
#: Values of ``use`` of a key that verifies: the second one is of SPIFFE bundles.
_USES = ("sig", "jwt-svid")


class Unverified(NamedTuple):
    """Header and claims of a JWT whose signature was not checked."""

    header: Claims
    claims: Claims


def unverified(token: str) -> Unverified:
    """Return header and claims of a JWT of another party. They say whose keys to use, and are not to be trusted.

    Raises:
        InvalidJWTError: it is too long, encrypted, or not a JWT.
    """
    parsed = parse(token, FOREIGN)
    return Unverified(parsed.headers(), decode_object(parsed.payload))


def verify_registered(
    token: str, jwks: Sequence[Mapping[str, Any]], algorithms: Collection[str], types: Collection[str]
) -> Claims:
    """Return the claims of a JWT that one of these keys signed.

    A key fits if it has the ``kid`` of the token, or the token has none. Of several that fit, each is tried: a client
    may publish keys without ``kid``.

    Args:
        algorithms: the allowed algorithms, all with public keys.
        types: the allowed values of ``typ``, in lower case. A token without one is accepted.

    Raises:
        NoMatchingKeyError: no key fits; or the token names none, and none of them signed it.
        InvalidJWTError: the token is invalid for another reason. No token causes any other exception.
    """
    parsed = parse(token, FOREIGN)
    header = parsed.headers()
    _check_header(header, algorithms, types)
    fitting = _fitting(jwks, header["alg"], header.get("kid"))
    if not fitting:
        raise NoMatchingKeyError("No key of the sender can have signed the token.")
    for jwk in fitting[:MAX_TRIED]:
        try:
            return verified(parsed, _public_key(jwk), FOREIGN)
        except InvalidJWTError as error:
            if error.reason is not Reason.BAD_SIGNATURE:
                raise
    if "kid" in header:
        raise InvalidJWTError("The signature is not valid.", Reason.BAD_SIGNATURE)
    raise NoMatchingKeyError("None of the sender's keys signed the token.")


def verify_shared(token: str, secret: str, algorithms: Collection[str], types: Collection[str]) -> Claims:
    """Return the claims of a JWT with an HMAC by a secret that the sender shares (OpenID Connect Core section 10.1).

    Args:
        algorithms: the allowed algorithms, all with HMAC.
        types: as of :func:`verify_registered`.

    Raises:
        InvalidJWTError: the token is invalid. No token causes any other exception.
    """
    parsed = parse(token, SHARED)
    _check_header(parsed.headers(), algorithms, types)
    return verified(parsed, symmetric_key(secret.encode()), SHARED)


def same_key(jwk: Mapping[str, Any], pem: bytes) -> bool:
    """Return whether a JWK, which may be malformed, and a public key as PEM are the same key (RFC 7638)."""
    kty = jwk.get("kty")
    if kty not in ("RSA", "EC", "OKP"):
        return False
    try:
        return _public_key(jwk).thumbprint() == import_key(pem, kty).thumbprint()
    # A KeyError comes from a certificate whose curve joserfc does not know.
    except (InvalidJWTError, InvalidKeyError, KeyError):
        return False


def _check_header(header: Mapping[str, Any], algorithms: Collection[str], types: Collection[str]) -> None:
    alg, typ = header.get("alg"), header.get("typ", "")
    if not isinstance(alg, str) or alg not in algorithms:
        raise InvalidJWTError(f"The algorithm of the token is not one of {', '.join(algorithms)}.")
    if typ and not (isinstance(typ, str) and media_type(typ) in types):
        raise InvalidJWTError("The token is of another type.", Reason.WRONG_TYPE)


def _fitting(jwks: Sequence[Mapping[str, Any]], alg: str, kid: object) -> list[Mapping[str, Any]]:
    """Return the keys that can have made a signature of this algorithm (RFC 7517 section 4)."""
    algorithm = ALGORITHMS[alg]
    return [
        jwk
        for jwk in jwks
        if (kid is None or jwk.get("kid") == kid)
        and jwk.get("kty") == algorithm.kty
        and jwk.get("crv") == algorithm.crv
        and jwk.get("alg", alg) == alg
        and jwk.get("use", "sig") in _USES
        and ("key_ops" not in jwk or (isinstance(jwk["key_ops"], list) and "verify" in jwk["key_ops"]))
    ]


def _public_key(jwk: Mapping[str, Any]) -> Key:
    members = [(name, value) for name, value in jwk.items() if name in PUBLIC_MEMBERS]
    if not all(isinstance(value, str) for _, value in members):
        raise InvalidJWTError("The key of the token cannot be used.")
    return _import(tuple(members))


@lru_cache(maxsize=1024)
def _import(members: tuple[tuple[str, str], ...]) -> Key:
    """Import a public key. Cached, because that takes as long as verifying a signature. Errors are not cached."""
    try:
        return import_foreign_key(dict(members))
    except KeySizeError as error:
        raise InvalidJWTError("The key of the token is too short or too long.") from error
    except InvalidKeyError as error:
        raise InvalidJWTError("The key of the token cannot be used.") from error
