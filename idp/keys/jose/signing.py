"""Signing JWTs (RFC 7515 section 7.1)."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import msgspec
from joserfc.jwa import JWSAlgModel
from joserfc.jwk import OctKey
from joserfc.util import urlsafe_b64encode

from idp.keys.jose.errors import InvalidKeyError
from idp.keys.jose.keys import Key, SigningKey, algorithm_named, import_key
from idp.keys.jose.registries import HS256, SIGNERS


@lru_cache(maxsize=256)
def encoded_header(**members: str) -> bytes:
    return urlsafe_b64encode(msgspec.json.encode(members))


@lru_cache(maxsize=16)
def symmetric_key(key: bytes) -> OctKey:
    return OctKey.import_key(key)


def _compact(header: bytes, payload: bytes, model: JWSAlgModel, key: Key | OctKey) -> str:
    """Return the compact serialization (RFC 7515 section 7.1). The caller makes sure that algorithm and key match."""
    signed = header + b"." + urlsafe_b64encode(payload)
    return (signed + b"." + urlsafe_b64encode(model.sign(signed, key))).decode("ascii")


def sign(key: SigningKey, typ: str, claims: Mapping[str, Any]) -> str:
    """Return a signed JWT. Its header names the key by ``kid`` and the kind of token by ``typ`` (RFC 8725 section
    3.11).
    """
    header = encoded_header(alg=key.alg, kid=key.kid, typ=typ)
    return _compact(header, msgspec.json.encode(claims), SIGNERS[key.alg], key.key)


def sign_symmetric(key: bytes, typ: str, claims: Mapping[str, Any]) -> str:
    """Return a JWT with HS256, for tokens that only this server reads.

    The same claims give the same bytes, in any order of their members.
    """
    payload = msgspec.json.encode(claims, order="sorted")
    return _compact(encoded_header(alg="HS256", typ=typ), payload, HS256, symmetric_key(key))


def sign_assertion(pem: str, alg: str, kid: str, claims: Mapping[str, Any]) -> str:
    """Return a JWT that authenticates this server to another one, with a key issued by that one (RFC 7523 section 2.2).

    Raises:
        UnsupportedAlgorithmError: the algorithm is not supported.
        InvalidKeyError: it is not a private key, or not one for this algorithm.
    """
    algorithm = algorithm_named(alg)
    key = import_key(pem, algorithm.kty)
    if not key.is_private or key.as_dict(private=False).get("crv") != algorithm.crv:
        raise InvalidKeyError("This is not a private key for its algorithm.")
    return _compact(encoded_header(alg=alg, kid=kid), msgspec.json.encode(claims), SIGNERS[alg], key)
