"""Making JWTs by hand, good ones and bad ones."""

import base64
import hmac
import json
from functools import cache
from typing import Any
from uuid import UUID

import jwt

from idp.keys import jose
from idp.keys.jose import SigningKey

CLAIMS = {"iss": "https://id.example.com", "sub": "alice"}


@cache
def key(alg: str) -> SigningKey:
    """A key of this algorithm; always the same one."""
    return jose.generate(alg)


def encode(value: Any) -> str:
    """base64url of bytes, or of the JSON of anything else."""
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(segment: str) -> Any:
    return json.loads(base64.urlsafe_b64decode(segment + "=="))


def unsigned(header: Any, claims: Any = CLAIMS) -> str:
    """What is to be signed."""
    return f"{encode(header)}.{encode(claims)}"


def signed(signing_key: SigningKey, header: Any, claims: Any = CLAIMS) -> str:
    """A token with a header of one's choice and a signature that is right."""
    data = unsigned(header, claims)
    algorithm = jwt.PyJWS().get_algorithm_by_name(signing_key.alg)
    return f"{data}.{encode(algorithm.sign(data.encode(), signing_key.key.private_key))}"


def hmac_signed(secret: bytes, header: Any, claims: Any = CLAIMS) -> str:
    """A token under HS256 with a secret that PyJWT would refuse, such as a public key."""
    data = unsigned(header, claims)
    return f"{data}.{encode(hmac.digest(secret, data.encode(), 'sha256'))}"


def claims_of(token: str) -> dict[str, Any]:
    """What a token says, unverified."""
    claims: dict[str, Any] = decode(token.split(".")[1])
    return claims


def jti_of(token: str) -> UUID:
    """The ``jti`` of a token, whoever signed it."""
    return UUID(decode(token.split(".")[1])["jti"])
