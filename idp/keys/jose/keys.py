"""Key pairs: making, importing and exporting them (RFC 7517, RFC 7518 section 6)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateNumbers, RSAPublicNumbers
from joserfc.errors import JoseError
from joserfc.jwk import DictKey, ECKey, OKPKey, RSAKey
from joserfc.util import base64_to_int

from idp.keys.algorithms import ALGORITHMS, RSA_SIZES, SIGNING_ALGORITHMS, Algorithm
from idp.keys.jose.errors import InvalidKeyError, KeySizeError, UnsupportedAlgorithmError

Key = RSAKey | ECKey | OKPKey

_KEY_TYPES: Final[dict[str, type[RSAKey] | type[ECKey] | type[OKPKey]]] = {"RSA": RSAKey, "EC": ECKey, "OKP": OKPKey}
#: Members of a private RSA key that contain its primes.
_RSA_MEMBERS = ("n", "e", "d", "p", "q", "dp", "dq", "qi")
#: Members of public JWKs of others that are used. Certificates and other members are ignored.
PUBLIC_MEMBERS = frozenset({"kty", "crv", "n", "e", "x", "y"})
#: Allowed sizes of an RSA key of others, in bits.
FOREIGN_RSA_SIZES = range(2048, 8192 + 1)
#: Largest RSA exponent of others. Verifying with a large one would take as long as signing.
MAX_EXPONENT = 2**32
#: Members of a JWK that are calculated here.
_OUR_MEMBERS = frozenset({"alg", "kid", "use", "key_ops"})


@dataclass(frozen=True, slots=True, eq=False)
class SigningKey:
    """A key pair of this server and its only algorithm.

    Attributes:
        kid: its RFC 7638 thumbprint.
        public_jwk: its entry in the JWKS, public members only.
    """

    kid: str
    alg: str
    public_jwk: dict[str, str] = field(repr=False)
    key: Key = field(repr=False)

    @property
    def size(self) -> int:
        """Bits of an RSA key; 256 for the others."""
        return self.key.raw_value.key_size if isinstance(self.key, RSAKey) else 256


def algorithm_named(alg: str) -> Algorithm:
    if alg not in SIGNING_ALGORITHMS:
        raise UnsupportedAlgorithmError(f"The algorithm must be one of {', '.join(SIGNING_ALGORITHMS)}.")
    return ALGORITHMS[alg]


def _check_size(bits: int) -> None:
    if bits not in RSA_SIZES:
        raise UnsupportedAlgorithmError(f"An RSA key must have {' or '.join(map(str, RSA_SIZES))} bits.")


def _signing_key(key: Key, alg: str) -> SigningKey:
    kid = key.thumbprint()
    public = {name: str(value) for name, value in key.as_dict(private=False).items()}
    return SigningKey(kid, alg, public | {"kid": kid, "alg": alg, "use": "sig"}, key)


def generate(alg: str, size: int = 2048) -> SigningKey:
    """Generate a key. ``size`` is for RSA, in bits; an RSA key may take seconds.

    Raises:
        UnsupportedAlgorithmError: the algorithm or size is not supported.
    """
    algorithm = algorithm_named(alg)
    if algorithm.kty == "EC":
        return _signing_key(ECKey.generate_key(algorithm.crv), alg)
    if algorithm.kty == "OKP":
        return _signing_key(OKPKey.generate_key("Ed25519"), alg)
    _check_size(size)
    return _signing_key(RSAKey.generate_key(size), alg)


def import_key(material: DictKey | str | bytes, kty: str) -> Key:
    """Import a key of this type.

    Raises:
        InvalidKeyError: it cannot be read, or its members contradict each other.
    """
    try:
        return _KEY_TYPES[kty].import_key(material)
    # A KeyError comes from a curve that joserfc does not know for this type.
    except (JoseError, ValueError, TypeError, KeyError) as error:
        raise InvalidKeyError("The key cannot be read, or its members contradict each other.") from error


def import_foreign_key(jwk: Mapping[str, Any], sizes: range = FOREIGN_RSA_SIZES) -> Key:
    """Import the public members of a JWK of others, which may be malformed.

    Args:
        sizes: the allowed sizes of an RSA key, in bits.

    Raises:
        KeySizeError: it is an RSA key of another size, or with too large an exponent.
        InvalidKeyError: it cannot be read.
    """
    material = {name: value for name, value in jwk.items() if name in PUBLIC_MEMBERS}
    if not all(isinstance(value, str) for value in material.values()):
        raise InvalidKeyError("A member of the key is not a string.")
    key = import_key(material, material.get("kty", ""))
    if isinstance(key, RSAKey):
        numbers = key.public_key.public_numbers()
        if numbers.n.bit_length() not in sizes or numbers.e > MAX_EXPONENT:
            raise KeySizeError("The RSA key is too short or too long, or its exponent is too large.")
    return key


def _import_jwk(jwk: Mapping[str, str]) -> SigningKey:
    alg = jwk.get("alg", "")
    algorithm = algorithm_named(alg)
    if jwk.get("kty") != algorithm.kty or jwk.get("crv") != algorithm.crv:
        raise UnsupportedAlgorithmError("The key is not of the type that its algorithm needs.")
    key = import_key({name: value for name, value in jwk.items() if name not in _OUR_MEMBERS}, algorithm.kty)
    if isinstance(key, RSAKey):
        _check_size(key.raw_value.key_size)
    return _signing_key(key, alg)


def from_private_jwk(jwk: Mapping[str, str]) -> SigningKey:
    """Read a private JWK (RFC 7517). Its ``kid`` is ignored; the key gets its thumbprint.

    Raises:
        UnsupportedAlgorithmError: ``alg`` is not supported, or the key is of another type.
        InvalidKeyError: it is not a private key.
    """
    key = _import_jwk(jwk)
    if not key.key.is_private:
        raise InvalidKeyError("This is not a private key.")
    return key


def from_own_jwk(jwk: Mapping[str, str]) -> SigningKey:
    """Read back the result of :func:`to_private_jwk` from our own storage.

    An RSA key with its primes is not checked again: the check takes longer than a hundred signatures, and was done when
    the key was made or imported.
    """
    if not jwk.keys() >= set(_RSA_MEMBERS):
        return from_private_jwk(jwk)
    n, e, d, p, q, dp, dq, qi = (base64_to_int(jwk[name]) for name in _RSA_MEMBERS)
    numbers = RSAPrivateNumbers(p, q, d, dp, dq, qi, RSAPublicNumbers(e, n))
    return _signing_key(RSAKey.import_key(numbers.private_key(unsafe_skip_rsa_key_validation=True)), jwk["alg"])


def from_public_jwk(jwk: Mapping[str, str]) -> SigningKey:
    """Read a key for verification. It keeps its published ``kid``.

    Raises:
        UnsupportedAlgorithmError: ``alg`` is not supported, or the key is of another type.
        InvalidKeyError: it is not a key.
    """
    key = _import_jwk(jwk)
    return SigningKey(jwk.get("kid", key.kid), key.alg, key.public_jwk, key.key)


def from_file(content: bytes, alg: str) -> SigningKey:
    """Read a private key from a file: PEM without a passphrase (PKCS #8 or the older forms), or a JWK.

    Raises:
        UnsupportedAlgorithmError: the algorithm is not supported, or the key is of another type.
        InvalidKeyError: it has neither format, or is not a private key.
    """
    kty = algorithm_named(alg).kty
    try:
        if content.lstrip().startswith(b"{"):
            members = msgspec.json.decode(content, type=dict[str, Any])
            jwk = {name: value for name, value in members.items() if isinstance(value, str)}
        else:
            jwk = {name: str(value) for name, value in import_key(content, kty).as_dict(private=True).items()}
    except (msgspec.MsgspecError, ValueError) as error:
        raise InvalidKeyError("This is neither a private key as PEM, without a passphrase, nor a JWK.") from error
    if jwk.get("alg", alg) != alg:
        raise UnsupportedAlgorithmError(f"The key says that it is for {jwk['alg']}.")
    return from_private_jwk(jwk | {"alg": alg})


def to_pem(key: SigningKey, *, private: bool) -> bytes:
    """Return the key as PEM: SubjectPublicKeyInfo, or PKCS #8 with the private part."""
    return key.key.as_pem(private=private)


def to_private_jwk(key: SigningKey) -> dict[str, str]:
    """Return the key as a JWK with its private members, for encryption by :mod:`idp.keys.vault` and for export."""
    private = {name: str(value) for name, value in key.key.as_dict(private=True).items()}
    return private | key.public_jwk
