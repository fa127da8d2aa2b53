"""Signs and verifies checkpoints of the audit trail, which are verified long after their key has retired."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import msgspec

from idp.keys import jose
from idp.keys.algorithms import DEFAULT_ALGORITHM
from idp.keys.jose import SigningKey
from idp.keys.key_set import key_set
from idp.keys.repository import signing_keys


def sign(typ: str, claims: Mapping[str, Any]) -> str:
    """Sign with the active key. The key need not stay published for it.

    Raises:
        NoSigningKeyError: there is no active key.
    """
    return jose.sign(key_set.signing(DEFAULT_ALGORITHM), typ, claims)


async def reader() -> Callable[[str, str], Mapping[str, Any] | None]:
    """Return a function that verifies a JWS of a ``typ`` with any of our keys, even a retired one, or returns None."""
    keys: dict[str, SigningKey] = {}
    for jwk in await signing_keys.public_jwks():
        # A modified row is not one of our keys.
        with suppress(jose.InvalidKeyError, jose.UnsupportedAlgorithmError, msgspec.MsgspecError, TypeError):
            key = jose.from_public_jwk(msgspec.json.decode(jwk, type=dict[str, str]))
            keys[key.kid] = key

    def read(typ: str, jws: str) -> Mapping[str, Any] | None:
        try:
            return jose.verify(jws, keys, typ)
        except jose.InvalidJWTError:
            return None

    return read
