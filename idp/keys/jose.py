"""Everything of JOSE: making keys, signing and verifying JWTs (RFC 7515, 7517, 7518, 7519).

The only module that imports joserfc. A token is verified with the key of ours that its ``kid``
names, by the one algorithm of that key; what a header says of keys, certificates or extensions is
never followed.
"""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256, sha384, sha512
from typing import Any, Final, NamedTuple

import msgspec
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS, PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateNumbers, RSAPublicNumbers
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from joserfc.errors import JoseError
from joserfc.jwa import JWSAlgModel
from joserfc.jwk import DictKey, ECKey, OctKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry
from joserfc.util import base64_to_int, urlsafe_b64decode, urlsafe_b64encode

from idp import clock

Claims = dict[str, Any]
Key = RSAKey | ECKey | OKPKey

#: Longest token that is looked at, in characters. Ours are below 2 KiB.
MAX_TOKEN_LENGTH = 16 * 1024
#: Longest header, encoded. Ours are below 150 characters; others put certificates into theirs.
MAX_HEADER_LENGTH, MAX_FOREIGN_HEADER_LENGTH = 1024, 12 * 1024
#: Largest number of seconds that a claim may hold: the year 9999, beyond which no datetime reaches.
MAX_TIMESTAMP = 253_402_300_799
#: Seconds by which the clocks of our replicas may differ.
LEEWAY = 10

#: The header members that we understand (RFC 7515 section 4.1). With any other one, such as
#: ``crit``, ``b64``, ``jwk``, ``jku``, ``x5u`` or ``x5c``, a token is refused.
_HEADER_MEMBERS = frozenset({"alg", "kid", "typ"})

#: The members of a public JWK of the kinds that we know.
_PUBLIC_MEMBERS = frozenset({"kty", "crv", "n", "e", "x", "y"})

#: The members of a complete private RSA key.
_RSA_MEMBERS = ("n", "e", "d", "p", "q", "dp", "dq", "qi")

#: The members of a JWK that we write ourselves.
_OUR_MEMBERS = frozenset({"alg", "kid", "use", "key_ops"})


class InvalidJWTError(Exception):
    """The token is malformed, not signed by one of the keys, or not valid now."""


class UnknownKeyError(InvalidJWTError):
    """None of the keys that the issuer publishes can have signed the token; it may have a new one."""


class InvalidKeyError(ValueError):
    """This is not a private key that we could use."""


class UnsupportedAlgorithmError(ValueError):
    """The algorithm or key size is not one that we use."""


@dataclass(frozen=True, slots=True, eq=False)
class SigningKey:
    """A key pair of ours and the one algorithm that it is for.

    Attributes:
        kid: its RFC 7638 thumbprint.
        public_jwk: what the JWKS says of it, only public members.
    """

    kid: str
    alg: str
    public_jwk: dict[str, str] = field(repr=False)
    key: Key = field(repr=False)

    @property
    def size(self) -> int:
        """Bits of an RSA key; of the others there is only one size."""
        return self.key.raw_value.key_size if isinstance(self.key, RSAKey) else 256


# Signing (RFC 7518 sections 3.3 to 3.5, RFC 8037 section 3.1). joserfc does the same, but looks at the key each time,
# which costs a third of an ES256 signature again; all else of the algorithms is joserfc's.
Sign = Callable[[Any, bytes], bytes]
_SHA256, _PKCS1, _PSS, _ECDSA = SHA256(), PKCS1v15(), PSS(MGF1(SHA256()), SHA256.digest_size), ECDSA(SHA256())


def _sign_es256(key: Any, signed: bytes) -> bytes:
    r, s = decode_dss_signature(key.sign(signed, _ECDSA))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


class _Algorithm(NamedTuple):
    model: JWSAlgModel
    sign: Sign
    key_type: type[RSAKey] | type[ECKey] | type[OKPKey]
    curve: str | None


# Taken from the registry itself: its get_alg() warns at every use of the name EdDSA, which RFC 9864
# deprecates and most clients still need.
_JOSERFC = JWSRegistry.algorithms
_HS256 = _JOSERFC["HS256"]
_ALGORITHMS: Final = {
    "RS256": _Algorithm(_JOSERFC["RS256"], lambda key, signed: key.sign(signed, _PKCS1, _SHA256), RSAKey, None),
    "PS256": _Algorithm(_JOSERFC["PS256"], lambda key, signed: key.sign(signed, _PSS, _SHA256), RSAKey, None),
    "ES256": _Algorithm(_JOSERFC["ES256"], _sign_es256, ECKey, "P-256"),
    "EdDSA": _Algorithm(_JOSERFC["EdDSA"], lambda key, signed: key.sign(signed), OKPKey, "Ed25519"),
    "Ed25519": _Algorithm(_JOSERFC["Ed25519"], lambda key, signed: key.sign(signed), OKPKey, "Ed25519"),
}


class _Foreign(NamedTuple):
    """An algorithm that other issuers sign with, for verification alone."""

    model: JWSAlgModel
    key_type: type[RSAKey] | type[ECKey] | type[OKPKey]
    curve: str | None
    #: For the hash claims of an ID token. EdDSA has its own inside (RFC 8032 section 5.1).
    digest: Callable[[bytes], Any]


_FOREIGN: Final = {
    **{f"{kind}{bits}": _Foreign(_JOSERFC[f"{kind}{bits}"], RSAKey, None, digest)
       for kind in ("RS", "PS") for bits, digest in ((256, sha256), (384, sha384), (512, sha512))},
    "ES256": _Foreign(_JOSERFC["ES256"], ECKey, "P-256", sha256),
    "ES384": _Foreign(_JOSERFC["ES384"], ECKey, "P-384", sha384),
    "ES512": _Foreign(_JOSERFC["ES512"], ECKey, "P-521", sha512),
    "EdDSA": _Foreign(_JOSERFC["EdDSA"], OKPKey, "Ed25519", sha512),
    "Ed25519": _Foreign(_JOSERFC["Ed25519"], OKPKey, "Ed25519", sha512),
}  # fmt: skip
#: Every algorithm that a token of another issuer may have, all of them asymmetric.
FOREIGN_ALGORITHMS: Final = tuple(_FOREIGN)
#: The sizes that an RSA key of another issuer may have, in bits.
FOREIGN_RSA_SIZES: Final = range(2048, 8192 + 1)

#: Every algorithm that a signing key may have.
ALGORITHMS: Final = tuple(_ALGORITHMS)
#: The one that every OpenID provider and client must know (OpenID Connect Core section 15.1).
DEFAULT_ALGORITHM: Final = "RS256"
#: Every size that an RSA key may have, in bits.
RSA_SIZES: Final = (2048, 3072, 4096)


# Keys


def _algorithm(name: str) -> _Algorithm:
    if name not in _ALGORITHMS:
        raise UnsupportedAlgorithmError(f"The algorithm must be one of {', '.join(ALGORITHMS)}.")
    return _ALGORITHMS[name]


def _check_size(bits: int) -> None:
    if bits not in RSA_SIZES:
        raise UnsupportedAlgorithmError(f"An RSA key must have {' or '.join(map(str, RSA_SIZES))} bits.")


def _signing_key(key: Key, alg: str) -> SigningKey:
    kid = key.thumbprint()
    public = {name: str(value) for name, value in key.as_dict(private=False).items()}
    return SigningKey(kid, alg, public | {"kid": kid, "alg": alg, "use": "sig"}, key)


def generate(alg: str, size: int = 2048) -> SigningKey:
    """Make a new key; ``size``, in bits, is for RSA alone, which may take seconds of computing.

    Raises:
        UnsupportedAlgorithmError: we do not use this algorithm or size.
    """
    algorithm = _algorithm(alg)
    if algorithm.key_type is RSAKey:
        _check_size(size)
        return _signing_key(RSAKey.generate_key(size), alg)
    if algorithm.key_type is ECKey:
        return _signing_key(ECKey.generate_key("P-256"), alg)
    return _signing_key(OKPKey.generate_key("Ed25519"), alg)


def from_private_jwk(jwk: Mapping[str, str]) -> SigningKey:
    """Read a private JWK (RFC 7517). Its ``kid`` is always calculated anew.

    Raises:
        UnsupportedAlgorithmError: the ``alg`` is not one of ours, or the key does not fit it.
        InvalidKeyError: it is not a private key.
    """
    key = _import(jwk)
    if not key.key.is_private:
        raise InvalidKeyError("This is not a private key.")
    return key


def from_own_jwk(jwk: Mapping[str, str]) -> SigningKey:
    """Read back what :func:`to_private_jwk` gave, from where nobody else writes.

    It was checked when it was made or imported. To check an RSA key takes longer than a hundred signatures.
    """
    if not jwk.keys() >= set(_RSA_MEMBERS):
        # Of another kind, or imported without its primes, which are quickly checked or have to be found again.
        return from_private_jwk(jwk)
    n, e, d, p, q, dp, dq, qi = (base64_to_int(jwk[name]) for name in _RSA_MEMBERS)
    numbers = RSAPrivateNumbers(p, q, d, dp, dq, qi, RSAPublicNumbers(e, n))
    return _signing_key(RSAKey.import_key(numbers.private_key(unsafe_skip_rsa_key_validation=True)), jwk["alg"])


def from_public_jwk(jwk: Mapping[str, str]) -> SigningKey:
    """Read a key that another server publishes, to verify with. It keeps the ``kid`` that it is published under.

    Raises:
        UnsupportedAlgorithmError: the ``alg`` is not one of ours, or the key does not fit it.
        InvalidKeyError: it is not a key.
    """
    key = _import(jwk)
    return SigningKey(jwk.get("kid", key.kid), key.alg, key.public_jwk, key.key)


def _import(jwk: Mapping[str, str]) -> SigningKey:
    alg = jwk.get("alg", "")
    algorithm = _algorithm(alg)
    if jwk.get("kty") != algorithm.key_type.key_type or jwk.get("crv") != algorithm.curve:
        raise UnsupportedAlgorithmError("The key is not of the kind that its algorithm needs.")
    material: DictKey = {name: jwk[name] for name in jwk if name not in _OUR_MEMBERS}
    try:
        key = algorithm.key_type.import_key(material)
    except (JoseError, ValueError) as error:
        raise InvalidKeyError("This is not a JWK, or its members contradict each other.") from error
    if isinstance(key, RSAKey):
        _check_size(key.raw_value.key_size)
    return _signing_key(key, alg)


def from_file(content: bytes, alg: str) -> SigningKey:
    """Read a private key that was made elsewhere: PEM without a passphrase (PKCS #8 or the older forms), or a JWK.

    Raises:
        UnsupportedAlgorithmError: the algorithm is not one of ours, or the key does not fit it.
        InvalidKeyError: it is neither, or not a private key.
    """
    kind = _algorithm(alg)
    try:
        if content.lstrip().startswith(b"{"):
            members = msgspec.json.decode(content, type=dict[str, Any])
            key = {name: value for name, value in members.items() if isinstance(value, str)}
        else:
            key = {k: str(v) for k, v in kind.key_type.import_key(content).as_dict(private=True).items()}
    except (JoseError, msgspec.MsgspecError, ValueError, TypeError) as error:
        raise InvalidKeyError("This is neither a private key as PEM, without a passphrase, nor a JWK.") from error
    if key.get("alg", alg) != alg:
        raise UnsupportedAlgorithmError(f"The key says that it is for {key['alg']}.")
    return from_private_jwk(key | {"alg": alg})


def to_pem(key: SigningKey, *, private: bool) -> bytes:
    """The key as PEM: SubjectPublicKeyInfo, or PKCS #8."""
    return key.key.as_pem(private=private)


def to_private_jwk(key: SigningKey) -> dict[str, str]:
    """The whole key as a JWK, private members included: only for :mod:`idp.keys.vault` and for an export."""
    private = {name: str(value) for name, value in key.key.as_dict(private=True).items()}
    return private | key.public_jwk


# Signing


@lru_cache(maxsize=256)
def _header(**members: str) -> bytes:
    return urlsafe_b64encode(msgspec.json.encode(members))


def _compact(header: bytes, payload: bytes, sign: Sign, key: Any) -> str:
    # What joserfc's serialize_compact does, less what is the same for every token of a key: the
    # checks of header and key, the encoding of the header and the choice of the algorithm.
    signed = header + b"." + urlsafe_b64encode(payload)
    return (signed + b"." + urlsafe_b64encode(sign(key, signed))).decode("ascii")


def sign(key: SigningKey, typ: str, claims: Mapping[str, Any]) -> str:
    """A signed JWT, its key named by ``kid`` and its kind by ``typ`` (RFC 8725 section 3.11)."""
    header = _header(alg=key.alg, kid=key.kid, typ=typ)
    return _compact(header, msgspec.json.encode(claims), _ALGORITHMS[key.alg].sign, key.key.raw_value)


def sign_assertion(pem: str, alg: str, kid: str, claims: Mapping[str, Any]) -> str:
    """A JWT that proves to another server who we are, with a key that it gave us (RFC 7523 section 2.2).

    Raises:
        UnsupportedAlgorithmError: we do not use this algorithm, or the key does not fit it.
        InvalidKeyError: it is not a private key.
    """
    kind = _algorithm(alg)
    try:
        key = kind.key_type.import_key(pem)
    except (JoseError, ValueError, TypeError) as error:
        raise InvalidKeyError("This is not a private key, as PEM.") from error
    if not key.is_private or key.as_dict(private=False).get("crv") != kind.curve:
        raise InvalidKeyError("This is not a private key for its algorithm.")
    return _compact(_header(alg=alg, kid=kid), msgspec.json.encode(claims), kind.sign, key.private_key)


@lru_cache(maxsize=16)
def _symmetric_key(key: bytes) -> OctKey:
    return OctKey.import_key(key)


def sign_symmetric(key: bytes, typ: str, claims: Mapping[str, Any]) -> str:
    """A JWT under HS256, for tokens that only we read.

    The same claims yield the same bytes, whatever the order of their members.
    """
    payload = msgspec.json.encode(claims, order="sorted")
    return _compact(
        _header(alg="HS256", typ=typ), payload, lambda key, signed: _HS256.sign(signed, key), _symmetric_key(key)
    )


# Verifying


def _unique_members(pairs: list[tuple[str, Any]]) -> Claims:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member is repeated")
    return members


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_unique_members, parse_constant=_no_constant)


def _decode_object(segment: bytes) -> Claims:
    """The JSON object of a segment, in UTF-8, without repeated members (RFC 7515 section 4)."""
    try:
        value = _DECODER.decode(urlsafe_b64decode(segment).decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise InvalidJWTError("A part of the token is not a base64url-encoded JSON object.") from error
    if not isinstance(value, dict):
        raise InvalidJWTError("A part of the token is not a JSON object.")
    return value


def _split(token: str, longest_header: int = MAX_HEADER_LENGTH) -> tuple[bytes, bytes, bytes, bytes]:
    """Header, payload, what was signed, and the decoded signature."""
    if len(token) > MAX_TOKEN_LENGTH:
        raise InvalidJWTError("The token is too long.")
    try:
        header, payload, signature = token.encode("ascii").split(b".")
        if len(header) > longest_header:
            raise InvalidJWTError("The header of the token is too long.")
        return header, payload, header + b"." + payload, urlsafe_b64decode(signature)
    except ValueError as error:
        raise InvalidJWTError("The token does not have the three parts of a signed JWT.") from error


def _media_type(typ: str) -> str:
    """A ``typ`` for comparison; ``application/`` may be left out of it (RFC 7515 section 4.1.9)."""
    return typ.lower().removeprefix("application/")


def _check_signature(model: JWSAlgModel, signed: bytes, signature: bytes, key: Key | OctKey) -> None:
    try:
        valid = model.verify(signed, signature, key)
    except (JoseError, ValueError) as error:
        raise InvalidJWTError("The signature is not valid.") from error
    if not valid:
        raise InvalidJWTError("The signature is not valid.")


@lru_cache(maxsize=256)
def _header_of(segment: bytes) -> Mapping[str, Any]:
    """The header of a token: all those that a key signed have the same."""
    return _decode_object(segment)


def _choose_key(header: Mapping[str, Any], keys: Mapping[str, SigningKey], typ: str | None) -> SigningKey:
    if not header.keys() <= _HEADER_MEMBERS:
        raise InvalidJWTError("The header of the token has a member that is not allowed.")
    if not all(isinstance(value, str) for value in header.values()):
        raise InvalidJWTError("The header of the token has a member of the wrong type.")
    key = keys.get(header.get("kid", ""))
    if key is None:
        raise InvalidJWTError("The header of the token names no key of ours.")
    if header.get("alg") != key.alg:
        raise InvalidJWTError("The algorithm of the token is not that of its key.")
    if typ is not None and _media_type(header.get("typ", "")) != _media_type(typ):
        raise InvalidJWTError("The token is of another type.")
    return key


def verify(token: str, keys: Mapping[str, SigningKey], typ: str | None) -> Claims:
    """The claims of a JWT that one of these keys has signed.

    Their times (:func:`check_times`), issuer and audience are for the caller to check.

    Args:
        keys: by ``kid``. The token must name one of them.
        typ: what the header's ``typ`` must be. None: anything, or nothing.

    Raises:
        InvalidJWTError: for every reason; nothing else is raised, whatever the token is.
    """
    header_segment, payload, signed, signature = _split(token)
    key = _choose_key(_header_of(header_segment), keys, typ)
    _check_signature(_ALGORITHMS[key.alg].model, signed, signature, key.key)
    return _decode_object(payload)


def verify_foreign(token: str, jwks: Sequence[Mapping[str, Any]], algorithms: Collection[str]) -> Claims:
    """The claims of a JWT of another issuer, signed by one of the keys that it publishes.

    Header members that are not understood are ignored (RFC 7515 section 4), the keys that they bring too; but `crit`
    says that they must not be, so with it a token is refused.

    Args:
        jwks: the keys of its JWK Set (RFC 7517 section 5).
        algorithms: those that it may have used.

    Raises:
        UnknownKeyError: none of the keys fits.
        InvalidJWTError: for every other reason; nothing else is raised, whatever the token is.
    """
    header_segment, payload, signed, signature = _split(token, MAX_FOREIGN_HEADER_LENGTH)
    header = _decode_object(header_segment)
    if "crit" in header:
        raise InvalidJWTError("The header of the token has extensions that must be understood.")
    alg = header.get("alg")
    if not isinstance(alg, str) or alg not in algorithms or alg not in _FOREIGN:
        raise InvalidJWTError("The algorithm of the token is not one that may be used.")
    key = _published_key(jwks, alg, header.get("kid"))
    _check_signature(_FOREIGN[alg].model, signed, signature, key)
    return _decode_object(payload)


def _published_key(jwks: Sequence[Mapping[str, Any]], alg: str, kid: object) -> Key:
    """The one key that fits. Not every issuer names algorithms, and one with a single key need not name that."""
    kind = _FOREIGN[alg]
    fitting = [
        jwk
        for jwk in jwks
        if (kid is None or jwk.get("kid") == kid)
        and jwk.get("kty") == kind.key_type.key_type
        and jwk.get("crv") == kind.curve
        and jwk.get("alg", alg) == alg
        and jwk.get("use", "sig") == "sig"
    ]
    if len(fitting) != 1:
        raise UnknownKeyError("The issuer publishes no key, or more than one, that the token may be signed with.")
    # Certificates and the like are of no use here.
    material = {name: value for name, value in fitting[0].items() if name in _PUBLIC_MEMBERS}
    try:
        key = kind.key_type.import_key(material)
    except (JoseError, ValueError, TypeError) as error:
        raise InvalidJWTError("The key that the token names cannot be used.") from error
    if isinstance(key, RSAKey) and key.raw_value.key_size not in FOREIGN_RSA_SIZES:
        raise InvalidJWTError("The key that the token names is too short or too long.")
    return key


def verify_symmetric(token: str, key: bytes, typ: str) -> Claims:
    """The claims of a JWT of :func:`sign_symmetric`, whose header is, byte for byte, what we write.

    Raises:
        InvalidJWTError: for every reason.
    """
    header, payload, signed, signature = _split(token)
    if header != _header(alg="HS256", typ=typ):
        raise InvalidJWTError("The header of the token is not the one that we write.")
    _check_signature(_HS256, signed, signature, _symmetric_key(key))
    return _decode_object(payload)


# Claims


def _timestamp(claims: Mapping[str, Any], name: str, *, fractions: bool) -> float | None:
    """A NumericDate claim (RFC 7519 section 2); ours have no fractions."""
    if name not in claims:
        return None
    value = claims[name]
    if type(value) not in ((int, float) if fractions else (int,)) or not 0 <= value <= MAX_TIMESTAMP:
        raise InvalidJWTError(f"The claim {name} is not a time in seconds.")
    return float(value)


def foreign_time(claims: Mapping[str, Any], name: str) -> float | None:
    """A time that another issuer wrote, with a fraction perhaps; None where there is none.

    Raises:
        InvalidJWTError: it is not a time.
    """
    return _timestamp(claims, name, fractions=True)


def check_times(claims: Mapping[str, Any], leeway: int = LEEWAY, *, fractions: bool = False) -> None:
    """Refuse a token outside its times (RFC 7519 sections 4.1.4 to 4.1.6). ``exp`` must be there.

    Args:
        leeway: seconds granted to ``nbf`` and ``iat``, for the clock of the replica that set them.
            ``exp`` has none.
        fractions: of seconds are allowed, as other issuers write them.

    Raises:
        InvalidJWTError: it has expired, is not valid yet, or one of the claims is not a time.
    """
    now = clock.timestamp()
    expires, not_before, issued = (_timestamp(claims, name, fractions=fractions) for name in ("exp", "nbf", "iat"))
    if expires is None:
        raise InvalidJWTError("The token never expires.")
    if expires <= now:
        raise InvalidJWTError("The token has expired.")
    if max(not_before or 0, issued or 0) > now + leeway:
        raise InvalidJWTError("The token is not valid yet.")


def algorithm_of(token: str) -> str:
    """The algorithm that a token of another issuer names, which counts only once the token is verified.

    Raises:
        InvalidJWTError: it names none.
    """
    alg = _decode_object(_split(token, MAX_FOREIGN_HEADER_LENGTH)[0]).get("alg")
    if not isinstance(alg, str):
        raise InvalidJWTError("The header of the token names no algorithm.")
    return alg


def unverified_claims(token: str) -> Claims:
    """The claims of a JWT whose signature is not looked at. Nothing that they say may be believed.

    Raises:
        InvalidJWTError: it is too long, encrypted, or not a JWT.
    """
    _, payload, _, _ = _split(token)
    return _decode_object(payload)


def left_half_hash(value: str, alg: str) -> str:
    """The ``at_hash`` or ``c_hash`` of a value, for an ID token under ``alg`` (Core 3.1.3.6).

    Raises:
        UnsupportedAlgorithmError: no hash is known for it. A hash claim is never left out instead.
    """
    if alg not in _FOREIGN:
        raise UnsupportedAlgorithmError(f"The algorithm must be one of {', '.join(_FOREIGN)}.")
    digest = _FOREIGN[alg].digest(value.encode("ascii")).digest()
    return urlsafe_b64encode(digest[: len(digest) // 2]).decode("ascii")
