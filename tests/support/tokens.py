"""Makes valid and invalid JWTs by hand."""

import base64
import hmac
import json
from functools import cache
from typing import Any
from uuid import UUID

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from idp.keys import jose
from idp.keys.jose import SigningKey

CLAIMS = {"iss": "https://id.example.com", "sub": "alice"}


@cache
def key(alg: str) -> SigningKey:
    """Return a key of this algorithm, always the same."""
    return jose.generate(alg)


def encode(value: Any) -> str:
    """Return base64url of bytes, or of JSON."""
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(segment: str) -> Any:
    return json.loads(base64.urlsafe_b64decode(segment + "=="))


def unsigned(header: Any, claims: Any = CLAIMS) -> str:
    """Return the part that is signed."""
    return f"{encode(header)}.{encode(claims)}"


def signed(signing_key: SigningKey, header: Any, claims: Any = CLAIMS) -> str:
    """Return a token with any header and a valid signature."""
    data = unsigned(header, claims)
    # PyJWT does not know the newer name (RFC 9864).
    algorithm = jwt.PyJWS().get_algorithm_by_name("EdDSA" if signing_key.alg == "Ed25519" else signing_key.alg)
    return f"{data}.{encode(algorithm.sign(data.encode(), signing_key.key.private_key))}"


def hmac_signed(secret: bytes, header: Any, claims: Any = CLAIMS) -> str:
    """Return a token with HS256 and a secret that PyJWT would refuse, such as a public key."""
    data = unsigned(header, claims)
    return f"{data}.{encode(hmac.digest(secret, data.encode(), 'sha256'))}"


def claims_of(token: str) -> dict[str, Any]:
    """Return the unverified claims of a token."""
    claims: dict[str, Any] = decode(token.split(".")[1])
    return claims


def jti_of(token: str) -> UUID:
    """Return the ``jti`` of a token without verifying it."""
    return UUID(decode(token.split(".")[1])["jti"])


class ForeignKey:
    """A key of another party, of any algorithm."""

    def __init__(self, alg: str) -> None:
        self.alg = alg
        self._algorithm = jwt.get_algorithm_by_name({"Ed25519": "EdDSA"}.get(alg, alg))
        self._key = _private_key(alg)
        public = self._algorithm.to_jwk(self._key.public_key(), as_dict=True)
        self.public_jwk = {name: value for name, value in public.items() if name != "key_ops"} | {"kid": f"key-{alg}"}

    def sign(self, claims: Any) -> str:
        data = unsigned({"alg": self.alg, "kid": f"key-{self.alg}"}, claims)
        return f"{data}.{encode(self._algorithm.sign(data.encode(), self._key))}"


def _private_key(alg: str) -> Any:
    if alg.startswith("ES"):
        return ec.generate_private_key({"ES256": ec.SECP256R1, "ES384": ec.SECP384R1, "ES512": ec.SECP521R1}[alg]())
    return ed25519.Ed25519PrivateKey.generate() if alg.startswith("Ed") else rsa.generate_private_key(65537, 2048)


@cache
def foreign_key(alg: str) -> ForeignKey:
    """Return a key of this algorithm, always the same."""
    return ForeignKey(alg)
