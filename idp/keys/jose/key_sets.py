"""JWK Sets that clients register (RFC 7517 section 5)."""

from collections.abc import Mapping, Sequence
from typing import Any

from idp.keys.algorithms import ALGORITHMS
from idp.keys.jose.encryption import encryption_key
from idp.keys.jose.errors import InvalidKeyError, KeySizeError, NoMatchingKeyError
from idp.keys.jose.keys import import_foreign_key

MAX_KEYS = 20
MAX_KID_LENGTH = 200
#: Members of private and of symmetric keys (RFC 7518 section 6).
SECRET_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_CURVES = {"EC": ("P-256", "P-384", "P-521"), "OKP": ("Ed25519", "X25519")}


def check_key_set(jwks: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the keys of a set that this server can use. Those of types or curves that it does not know are left out.

    Raises:
        InvalidKeyError: it is no set of public keys, or has none that can be used. The message completes a sentence
            whose subject is the set.
    """
    keys = jwks.get("keys")
    if not isinstance(keys, list) or not all(isinstance(key, dict) for key in keys):
        raise InvalidKeyError("must be an object with a list of keys")
    if len(keys) > MAX_KEYS:
        raise InvalidKeyError(f"must not have more than {MAX_KEYS} keys")
    for key in keys:
        _check_is_public(key)
    usable = [key for key in keys if _is_known(key)]
    if not usable:
        raise InvalidKeyError("has no RSA, EC or OKP key that this server can use")
    for key in usable:
        _check_can_be_imported(key)
    return usable


def has_verification_key(keys: Sequence[Mapping[str, Any]], alg: str) -> bool:
    """Return whether a key of a set can verify signatures of this algorithm."""
    algorithm = ALGORITHMS[alg]
    return any(
        (key.get("kty"), key.get("crv")) == (algorithm.kty, algorithm.crv)
        and key.get("use", "sig") == "sig"
        and key.get("alg", alg) == alg
        for key in keys
    )


def has_encryption_key(keys: Sequence[Mapping[str, Any]], alg: str) -> bool:
    """Return whether a key of a set can encrypt by this algorithm."""
    try:
        encryption_key(keys, alg)
    except NoMatchingKeyError:
        return False
    return True


def _check_is_public(key: Mapping[str, Any]) -> None:
    if key.get("kty") == "oct":
        raise InvalidKeyError("must not have a symmetric key")
    if not SECRET_MEMBERS.isdisjoint(key):
        raise InvalidKeyError("must not have a member of a private key, such as d")
    kid = key.get("kid", "")
    if not isinstance(kid, str) or len(kid) > MAX_KID_LENGTH or not kid.isprintable():
        raise InvalidKeyError(f"must have printable kid values of up to {MAX_KID_LENGTH} characters")


def _is_known(key: Mapping[str, Any]) -> bool:
    kty = key.get("kty")
    return kty == "RSA" or (kty in ("EC", "OKP") and key.get("crv") in _CURVES[kty])


def _check_can_be_imported(key: Mapping[str, Any]) -> None:
    try:
        import_foreign_key(key)
    except KeySizeError as error:
        raise InvalidKeyError("has an RSA key that is too short or too long: 2048 to 8192 bits are allowed") from error
    except InvalidKeyError as error:
        raise InvalidKeyError("has a key that cannot be read") from error
