"""JOSE: keys, signed and encrypted JWTs and their claims (RFC 7515 to 7519).

The only package that imports joserfc or touches a private key. A token is verified with the key that its ``kid`` names,
by the one algorithm of that key. Keys, certificates and URLs in a header are not used, except the key of a proof of
possession (:func:`verify_embedded`). A header with ``crit`` is refused.

joserfc imports keys, checks headers, and makes and verifies signatures. JSON is decoded here, because joserfc
accepts repeated members. Tokens are assembled here, because that is faster (docs/decisions/0043-jose-by-joserfc.md).
"""

from idp.keys.jose.claims import LEEWAY, MAX_AHEAD, audience, check_times, foreign_time, left_half_hash, lives_longer
from idp.keys.jose.embedded import verify_embedded
from idp.keys.jose.encryption import encrypt
from idp.keys.jose.errors import InvalidJWTError, InvalidKeyError, NoMatchingKeyError, UnsupportedAlgorithmError
from idp.keys.jose.key_sets import check_key_set, has_encryption_key, has_verification_key
from idp.keys.jose.keys import (
    SigningKey,
    from_file,
    from_own_jwk,
    from_private_jwk,
    from_public_jwk,
    generate,
    to_pem,
    to_private_jwk,
)
from idp.keys.jose.registered import same_key, unverified, verify_registered, verify_shared
from idp.keys.jose.registries import MAX_HEADER_LENGTH
from idp.keys.jose.signing import sign, sign_assertion, sign_symmetric
from idp.keys.jose.verification import (
    MAX_TOKEN_LENGTH,
    Claims,
    algorithm_of,
    unverified_claims,
    verify,
    verify_foreign,
    verify_symmetric,
)

__all__ = [
    "LEEWAY",
    "MAX_AHEAD",
    "MAX_HEADER_LENGTH",
    "MAX_TOKEN_LENGTH",
    "Claims",
    "InvalidJWTError",
    "InvalidKeyError",
    "NoMatchingKeyError",
    "SigningKey",
    "UnsupportedAlgorithmError",
    "algorithm_of",
    "audience",
    "check_key_set",
    "check_times",
    "encrypt",
    "foreign_time",
    "from_file",
    "from_own_jwk",
    "from_private_jwk",
    "from_public_jwk",
    "generate",
    "has_encryption_key",
    "has_verification_key",
    "left_half_hash",
    "lives_longer",
    "same_key",
    "sign",
    "sign_assertion",
    "sign_symmetric",
    "to_pem",
    "to_private_jwk",
    "unverified",
    "unverified_claims",
    "verify",
    "verify_embedded",
    "verify_foreign",
    "verify_registered",
    "verify_shared",
    "verify_symmetric",
]
