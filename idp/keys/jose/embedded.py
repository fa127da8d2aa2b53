"""Verifying JWTs that carry their own public key, as proofs that the sender has the private one (RFC 7515 section
4.1.3).
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from idp.keys.algorithms import ALGORITHMS
from idp.keys.jose.errors import InvalidJWTError, InvalidKeyError, KeySizeError
from idp.keys.jose.key_sets import SECRET_MEMBERS
from idp.keys.jose.keys import Key, import_foreign_key
from idp.keys.jose.registries import FOREIGN
from idp.keys.jose.verification import Claims, decode_header, media_type, parse, verified
from idp.reasons import Reason

#: Maximum length of an encoded header, which is kept in memory. One with an RSA key of 4096 bits has about 1000.
_MAX_HEADER_LENGTH = 4 * 1024
#: Allowed sizes of an RSA key, in bits.
_RSA_SIZES = range(2048, 4096 + 1)


class _Expected(NamedTuple):
    """The requirements for the header."""

    typ: str
    algorithms: tuple[str, ...]


class _EmbeddedKey(NamedTuple):
    """A public key and its thumbprint (RFC 7638)."""

    key: Key
    thumbprint: str


def _has_type(header: Mapping[str, Any], expected: _Expected) -> None:
    typ = header.get("typ")
    if not isinstance(typ, str) or media_type(typ) != media_type(expected.typ):
        raise InvalidJWTError(f"typ is not {expected.typ}.", Reason.WRONG_TYPE)


def _has_listed_algorithm(header: Mapping[str, Any], expected: _Expected) -> None:
    if header.get("alg") not in expected.algorithms:
        raise InvalidJWTError(f"alg is not one of {', '.join(expected.algorithms)}.")


def _has_public_key(header: Mapping[str, Any], expected: _Expected) -> None:
    jwk = header.get("jwk")
    if not isinstance(jwk, dict):
        raise InvalidJWTError("jwk is missing, or not an object.")
    if not SECRET_MEMBERS.isdisjoint(jwk):
        raise InvalidJWTError("jwk is not a public key.")


def _has_key_of_its_algorithm(header: Mapping[str, Any], expected: _Expected) -> None:
    jwk, algorithm = header["jwk"], ALGORITHMS[header["alg"]]
    if jwk.get("kty") != algorithm.kty or jwk.get("crv") != algorithm.crv:
        raise InvalidJWTError("jwk is not a key for alg.")
    if jwk.get("alg", header["alg"]) != header["alg"]:
        raise InvalidJWTError("jwk is for another algorithm.")


_HEADER_CHECKS: tuple[Callable[[Mapping[str, Any], _Expected], None], ...] = (
    _has_type,
    _has_listed_algorithm,
    _has_public_key,
    _has_key_of_its_algorithm,
)


def _import_public(jwk: Mapping[str, Any]) -> Key:
    try:
        return import_foreign_key(jwk, _RSA_SIZES)
    except KeySizeError as error:
        raise InvalidJWTError("jwk is an RSA key that is too short or too long.") from error
    except InvalidKeyError as error:
        raise InvalidJWTError("jwk cannot be read as a key.") from error


@lru_cache(maxsize=1024)
def _embedded_key(segment: bytes, expected: _Expected) -> _EmbeddedKey:
    """Check an encoded header and import its key. Cached, because all proofs of a key have the same header."""
    header = decode_header(segment)
    for check in _HEADER_CHECKS:
        check(header, expected)
    key = _import_public(header["jwk"])
    return _EmbeddedKey(key, key.thumbprint())


def verify_embedded(token: str, typ: str, algorithms: tuple[str, ...]) -> tuple[Claims, str]:
    """Return the claims of a JWT that is signed by the public key in its own header, and the thumbprint of the key.

    It proves that its sender has the private key, and nothing about who that is.

    Args:
        typ: the required ``typ``.
        algorithms: the allowed algorithms.

    Raises:
        InvalidJWTError: the token is invalid. The message says why, without content of the token. No token causes any
            other exception.
    """
    parsed = parse(token, FOREIGN)
    header = parsed.segments["header"]
    if len(header) > _MAX_HEADER_LENGTH:
        raise InvalidJWTError("The header of the token is too long.")
    key, thumbprint = _embedded_key(header, _Expected(typ, algorithms))
    return verified(parsed, key, FOREIGN), thumbprint
