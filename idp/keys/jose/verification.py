"""Verifying JWTs (RFC 7515 section 5.2)."""

from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from typing import Any

from joserfc import jws
from joserfc.errors import ExceededSizeError, JoseError
from joserfc.jwk import GuestProtocol, KeyFlexible
from joserfc.jws import CompactSignature, JWSRegistry
from joserfc.util import urlsafe_b64decode

from idp.infra import strict_json
from idp.keys.algorithms import ALGORITHMS
from idp.keys.jose.errors import InvalidJWTError, InvalidKeyError, KeySizeError, NoMatchingKeyError
from idp.keys.jose.keys import Key, SigningKey, import_foreign_key
from idp.keys.jose.registries import FOREIGN, MAX_HEADER_LENGTH, OWN, SYMMETRIC
from idp.keys.jose.signing import encoded_header, symmetric_key
from idp.reasons import Reason

Claims = dict[str, Any]

#: Maximum length of a token, in characters. Ours are below 2 KiB.
MAX_TOKEN_LENGTH = 16 * 1024


def decode_object(data: bytes) -> Claims:
    """Decode a JSON object without repeated members (RFC 7515 section 4)."""
    try:
        return strict_json.decode_object(data)
    except ValueError as error:
        raise InvalidJWTError("A part of the token is not a JSON object.") from error


def decode_header(segment: bytes) -> Claims:
    """Decode a header. One of usual length is cached, because all tokens of a key have the same header."""
    return (_decoded if len(segment) <= MAX_HEADER_LENGTH else _decoded.__wrapped__)(segment)


@lru_cache(maxsize=256)
def _decoded(segment: bytes) -> Claims:
    return decode_object(urlsafe_b64decode(segment))


def parse(token: str, registry: JWSRegistry) -> CompactSignature:
    """Split and decode a token, without verifying anything."""
    if len(token) > MAX_TOKEN_LENGTH:
        raise InvalidJWTError("The token is too long.")
    try:
        header, payload, signature = token.encode("ascii").split(b".")
        registry.validate_header_size(header)
        parsed = CompactSignature(decode_header(header), urlsafe_b64decode(payload))
    except ExceededSizeError as error:
        raise InvalidJWTError("The header of the token is too long.") from error
    except ValueError as error:
        raise InvalidJWTError("The token does not have the three parts of a signed JWT.") from error
    parsed.segments.update({"header": header, "payload": payload, "signature": signature})
    return parsed


def verified(token: CompactSignature, key: KeyFlexible, registry: JWSRegistry) -> Claims:
    """Check header and signature, and return the claims. ``key`` may be a function that takes a token with a valid
    header.
    """
    try:
        valid = jws.validate_compact(token, key, registry=registry)
    # A TypeError comes from a `crit` that is not a list.
    except (JoseError, ValueError, TypeError) as error:
        raise InvalidJWTError("The header or the signature of the token is not valid.") from error
    if not valid:
        raise InvalidJWTError("The signature is not valid.", Reason.BAD_SIGNATURE)
    return decode_object(token.payload)


def media_type(typ: str) -> str:
    """Return a ``typ`` for comparison. Its prefix ``application/`` is optional (RFC 7515 section 4.1.9)."""
    return typ.lower().removeprefix("application/")


def verify(token: str, keys: Mapping[str, SigningKey], typ: str | None) -> Claims:
    """Return the claims of a JWT that one of these keys signed.

    The caller checks times (:func:`check_times`), issuer and audience.

    Args:
        keys: by ``kid``. The token must name one of them.
        typ: the required ``typ`` of the header. None accepts any, or none.

    Raises:
        InvalidJWTError: the token is invalid. No token causes any other exception.
    """

    def key_of(candidate: GuestProtocol) -> Key:
        header = candidate.headers()
        key = keys.get(header.get("kid", ""))
        if key is None:
            raise InvalidJWTError("The token does not name one of our keys.", Reason.BAD_SIGNATURE)
        if header["alg"] != key.alg:
            raise InvalidJWTError("The algorithm of the token is not that of its key.")
        if typ is not None and media_type(header.get("typ", "")) != media_type(typ):
            raise InvalidJWTError("The token is of another type.", Reason.WRONG_TYPE)
        return key.key

    return verified(parse(token, OWN), key_of, OWN)


def verify_symmetric(token: str, key: bytes, typ: str) -> Claims:
    """Return the claims of a JWT of :func:`sign_symmetric`. Its header must be exactly the one that this server writes.

    Raises:
        InvalidJWTError: the token is invalid.
    """
    parsed = parse(token, SYMMETRIC)
    if parsed.segments["header"] != encoded_header(alg="HS256", typ=typ):
        raise InvalidJWTError("The header of the token is not one of ours.", Reason.WRONG_TYPE)
    return verified(parsed, symmetric_key(key), SYMMETRIC)


def verify_foreign(token: str, jwks: Sequence[Mapping[str, Any]], algorithms: Collection[str]) -> Claims:
    """Return the claims of a JWT of another issuer, signed by one of its published keys.

    Args:
        jwks: the keys of its JWK Set (RFC 7517 section 5).
        algorithms: the allowed algorithms.

    Raises:
        NoMatchingKeyError: no key matches, or more than one.
        InvalidJWTError: the token is invalid for another reason. No token causes any other exception.
    """

    def key_of(candidate: GuestProtocol) -> Key:
        header = candidate.headers()
        if header["alg"] not in algorithms:
            raise InvalidJWTError("The algorithm of the token is not allowed.")
        return _published_key(jwks, header["alg"], header.get("kid"))

    return verified(parse(token, FOREIGN), key_of, FOREIGN)


def _published_key(jwks: Sequence[Mapping[str, Any]], alg: str, kid: object) -> Key:
    """Return the only key that matches. The issuer need not name algorithms, nor a ``kid`` if it publishes one key."""
    algorithm = ALGORITHMS[alg]
    fitting = [
        jwk
        for jwk in jwks
        if (kid is None or jwk.get("kid") == kid)
        and jwk.get("kty") == algorithm.kty
        and jwk.get("crv") == algorithm.crv
        and jwk.get("alg", alg) == alg
        and jwk.get("use", "sig") == "sig"
    ]
    if len(fitting) != 1:
        raise NoMatchingKeyError("The issuer publishes no key, or more than one, that can have signed the token.")
    try:
        return import_foreign_key(fitting[0])
    except KeySizeError as error:
        raise InvalidJWTError("The key of the token is too short or too long.") from error
    except InvalidKeyError as error:
        raise InvalidJWTError("The key of the token cannot be used.") from error


def algorithm_of(token: str) -> str:
    """Return the algorithm in the header of another issuer's token. Do not trust it before the token is verified.

    Raises:
        InvalidJWTError: there is none.
    """
    alg = parse(token, FOREIGN).protected.get("alg")
    if not isinstance(alg, str):
        raise InvalidJWTError("The header of the token names no algorithm.")
    return alg


def unverified_claims(token: str) -> Claims:
    """Return the claims of a JWT without checking its signature. Do not trust them.

    Raises:
        InvalidJWTError: it is too long, encrypted, or not a JWT.
    """
    return decode_object(parse(token, OWN).payload)
