"""The algorithms of signatures and of encryption, listed once (RFC 7518 sections 3 to 5, RFC 8037, RFC 9864).

Discovery, validation, the command line and the console read this list. It imports no cryptography, so that every
command can read it and still start quickly.
"""

from collections.abc import Callable
from hashlib import sha256, sha384, sha512
from typing import Any, Final, NamedTuple


class Algorithm(NamedTuple):
    """A signature algorithm with a public key.

    Attributes:
        kty: key type of its keys (RFC 7518 section 6.1).
        crv: their curve; None for RSA.
        digest: hash of the claims ``at_hash`` and ``c_hash``. For Ed25519 it is the hash that the algorithm uses (RFC
            8032).
        signs: whether our own keys may have it. Tokens of other issuers may have any algorithm of the list.
    """

    kty: str
    crv: str | None
    digest: Callable[[bytes], Any]
    signs: bool = False


ALGORITHMS: Final = {
    "RS256": Algorithm("RSA", None, sha256, signs=True),
    "RS384": Algorithm("RSA", None, sha384),
    "RS512": Algorithm("RSA", None, sha512),
    "PS256": Algorithm("RSA", None, sha256, signs=True),
    "PS384": Algorithm("RSA", None, sha384),
    "PS512": Algorithm("RSA", None, sha512),
    "ES256": Algorithm("EC", "P-256", sha256, signs=True),
    "ES384": Algorithm("EC", "P-384", sha384),
    "ES512": Algorithm("EC", "P-521", sha512),
    "EdDSA": Algorithm("OKP", "Ed25519", sha512, signs=True),
    "Ed25519": Algorithm("OKP", "Ed25519", sha512, signs=True),
}
#: Names of the algorithms that tokens of other issuers may have.
VERIFICATION_ALGORITHMS: Final = tuple(ALGORITHMS)
#: Names of the algorithms that a client of a FAPI profile may sign with (FAPI 2.0 Security Profile section 5.4.1).
FAPI_ALGORITHMS: Final = ("PS256", "ES256", "EdDSA", "Ed25519")
#: Names of the algorithms that a signing key may have.
SIGNING_ALGORITHMS: Final = tuple(name for name, algorithm in ALGORITHMS.items() if algorithm.signs)
#: Names of the algorithms that a DPoP proof may have (RFC 9449 section 4.2): with a public key, and not outdated.
PROOF_ALGORITHMS: Final = ("ES256", "ES384", "ES512", "PS256", "PS384", "PS512", "RS256", "EdDSA", "Ed25519")
#: Names of the algorithms of assertions that a client signs with its secret. Secrets are too short for HS384 and HS512
#: (RFC 7518 section 3.2).
SECRET_ALGORITHMS: Final = ("HS256",)
#: The algorithm that every OpenID provider and client must support (OpenID Connect Core section 15.1).
DEFAULT_ALGORITHM: Final = "RS256"
#: Allowed sizes of our RSA keys, in bits.
RSA_SIZES: Final = (2048, 3072, 4096)

#: Names of the algorithms that encrypt the content key of a token for a client (RFC 7518 section 4), each with the key
#: types of its keys. Not RSA1_5, which leaks the key to a caller that can ask often enough whether padding is valid.
KEY_ENCRYPTION_ALGORITHMS: Final = {
    "RSA-OAEP": ("RSA",),
    "RSA-OAEP-256": ("RSA",),
    "ECDH-ES": ("EC", "OKP"),
    "ECDH-ES+A128KW": ("EC", "OKP"),
    "ECDH-ES+A256KW": ("EC", "OKP"),
}
#: Names of the algorithms that encrypt the content (RFC 7518 section 5). The first is the default of OpenID Connect
#: Dynamic Client Registration section 2.
CONTENT_ENCRYPTION_ALGORITHMS: Final = ("A128CBC-HS256", "A256CBC-HS512", "A128GCM", "A256GCM")
DEFAULT_CONTENT_ENCRYPTION: Final = CONTENT_ENCRYPTION_ALGORITHMS[0]
