"""joserfc's registries: which algorithms and header members a token may have."""

from typing import Final, cast

from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from joserfc.jwa import EdDSAAlgorithm, ESAlgorithm
from joserfc.jwe import JWERegistry
from joserfc.jwk import ECKey
from joserfc.jws import JWSRegistry
from joserfc.registry import HeaderParameter, HeaderRegistryDict

from idp.keys.algorithms import (
    CONTENT_ENCRYPTION_ALGORITHMS,
    KEY_ENCRYPTION_ALGORITHMS,
    SECRET_ALGORITHMS,
    SIGNING_ALGORITHMS,
    VERIFICATION_ALGORITHMS,
)

#: Maximum length of an encoded header. Ours are below 150 characters; other issuers include certificates.
MAX_HEADER_LENGTH, MAX_FOREIGN_HEADER_LENGTH = 1024, 12 * 1024


class _EdDSA(EdDSAAlgorithm):
    """Without joserfc's warning: RFC 9864 deprecates this name, but most clients know Ed25519 only by it."""

    security_warning = ""


class _ES256(ESAlgorithm):
    """Signs faster than joserfc's implementation, by more than a tenth of the time of a token
    (docs/decisions/0043-jose-by-joserfc.md).
    """

    _ECDSA = ECDSA(SHA256())

    def sign(self, msg: bytes, key: ECKey) -> bytes:
        r, s = decode_dss_signature(cast(EllipticCurvePrivateKey, key.raw_value).sign(msg, self._ECDSA))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def _refuse(_: object) -> None:
    raise ValueError("is refused")


#: Our own headers have no other members; ``crit``, ``b64``, ``jwk``, ``jku``, ``x5u`` and all others are refused.
_OWN_HEADER: HeaderRegistryDict = {
    "alg": HeaderParameter("Algorithm", "str", required=True),
    "kid": HeaderParameter("Key ID", "str"),
    "typ": HeaderParameter("Type", "str"),
}
#: Headers of other issuers may have other members, which are ignored (RFC 7515 section 4).
_FOREIGN_HEADER: HeaderRegistryDict = {
    "alg": HeaderParameter("Algorithm", "str", required=True),
    "crit": HeaderParameter("Critical", _refuse),
}


class _OwnRegistry(JWSRegistry):
    default_header_registry = _OWN_HEADER
    max_header_length = MAX_HEADER_LENGTH


class _ForeignRegistry(JWSRegistry):
    default_header_registry = _FOREIGN_HEADER
    max_header_length = MAX_FOREIGN_HEADER_LENGTH


JWSRegistry.register(_EdDSA())
JWSRegistry.register(_ES256("ES256", "P-256", 256, recommended=True))
OWN = _OwnRegistry(algorithms=SIGNING_ALGORITHMS)
SYMMETRIC = _OwnRegistry(algorithms=["HS256"])
FOREIGN = _ForeignRegistry(algorithms=VERIFICATION_ALGORITHMS, strict_check_header=False)
SHARED = _ForeignRegistry(algorithms=SECRET_ALGORITHMS, strict_check_header=False)
SIGNERS: Final = {alg: OWN.get_alg(alg) for alg in SIGNING_ALGORITHMS}
HS256: Final = SYMMETRIC.get_alg("HS256")
#: Without ``zip``: a token is never compressed.
ENCRYPTION: Final = JWERegistry(algorithms=[*KEY_ENCRYPTION_ALGORITHMS, *CONTENT_ENCRYPTION_ALGORITHMS])
