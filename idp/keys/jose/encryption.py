"""Encrypting signed JWTs for clients (RFC 7516, RFC 7519 section 11.2).

This server never decrypts: it publishes no key for encryption (docs/decisions/0056-signed-and-encrypted-responses.md).
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from joserfc import jwe
from joserfc.errors import JoseError

from idp.keys.algorithms import CONTENT_ENCRYPTION_ALGORITHMS, KEY_ENCRYPTION_ALGORITHMS
from idp.keys.jose.errors import InvalidKeyError, KeySizeError, NoMatchingKeyError, UnsupportedAlgorithmError
from idp.keys.jose.keys import Key, import_foreign_key
from idp.keys.jose.registries import ENCRYPTION

#: Curves of keys for ECDH-ES (RFC 7518 section 4.6, RFC 8037 section 3.2). Ed25519 keys only sign.
_CURVES: Final = (None, "P-256", "P-384", "P-521", "X25519")
_OPERATIONS: Final = ("encrypt", "wrapKey", "deriveKey", "deriveBits")


def encrypt(token: str, jwks: Sequence[Mapping[str, Any]], alg: str, enc: str) -> str:
    """Return a nested JWT: a signed one, encrypted for a client.

    Args:
        token: the signed JWT.
        jwks: the keys of the client's JWK Set.
        alg, enc: the registered algorithms.

    Raises:
        UnsupportedAlgorithmError: one of them is not supported.
        NoMatchingKeyError: the client has no key for this algorithm that can be used.
    """
    if alg not in KEY_ENCRYPTION_ALGORITHMS or enc not in CONTENT_ENCRYPTION_ALGORITHMS:
        raise UnsupportedAlgorithmError("The encryption algorithm is not supported.")
    jwk = encryption_key(jwks, alg)
    header = {"alg": alg, "enc": enc, "cty": "JWT"} | ({"kid": jwk["kid"]} if isinstance(jwk.get("kid"), str) else {})
    try:
        return jwe.encrypt_compact(header, token, _import(jwk), registry=ENCRYPTION)
    except (JoseError, ValueError, TypeError) as error:
        raise NoMatchingKeyError("The encryption key of the client cannot be used.") from error


def encryption_key(jwks: Sequence[Mapping[str, Any]], alg: str) -> Mapping[str, Any]:
    """Return the first key for this algorithm: one that says so if there is one, else one that does not forbid it.

    Raises:
        NoMatchingKeyError: there is none.
    """
    fitting = [
        jwk
        for jwk in jwks
        if jwk.get("kty") in KEY_ENCRYPTION_ALGORITHMS[alg]
        and jwk.get("crv") in _CURVES
        and jwk.get("use", "enc") == "enc"
        and jwk.get("alg", alg) == alg
        and _allows_encryption(jwk.get("key_ops"))
    ]
    if not fitting:
        raise NoMatchingKeyError(f"The client has no key for {alg}.")
    return max(fitting, key=lambda jwk: ("use" in jwk, "alg" in jwk))


def _allows_encryption(key_ops: object) -> bool:
    """RFC 7517 section 4.3: any of these operations; a key without the member is for all."""
    return key_ops is None or (isinstance(key_ops, list) and any(name in key_ops for name in _OPERATIONS))


def _import(jwk: Mapping[str, Any]) -> Key:
    try:
        return import_foreign_key(jwk)
    except KeySizeError as error:
        raise NoMatchingKeyError("The encryption key of the client is too short or too long.") from error
    except InvalidKeyError as error:
        raise NoMatchingKeyError("The encryption key of the client cannot be read.") from error
