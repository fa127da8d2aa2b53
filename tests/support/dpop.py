"""Keys and proofs of DPoP clients, valid and invalid (RFC 9449)."""

import json
import secrets
import time
from base64 import urlsafe_b64encode
from hashlib import sha256
from typing import Any

import jwt

from idp.keys import jose
from tests.support.tokens import encode, signed


def ath(access_token: str) -> str:
    """Return the ``ath`` of an access token."""
    return urlsafe_b64encode(sha256(access_token.encode()).digest()).rstrip(b"=").decode()


class DPoPKey:
    """The key of a client.

    Attributes:
        jkt: its thumbprint, calculated as RFC 7638 says.
    """

    def __init__(self, alg: str = "ES256") -> None:
        self.alg = alg
        self.key = jose.generate(alg)
        self.jwk = {n: v for n, v in self.key.public_jwk.items() if n in ("kty", "crv", "x", "y", "n", "e")}
        self.jkt = ath(json.dumps(self.jwk, sort_keys=True, separators=(",", ":")))

    @property
    def header(self) -> dict[str, Any]:
        return {"typ": "dpop+jwt", "alg": self.alg, "jwk": self.jwk}

    def claims(self, method: str, url: str, token: str | None = None, **changes: Any) -> dict[str, Any]:
        """Return the claims of a proof. A change to None omits a claim."""
        values = {"jti": secrets.token_urlsafe(16), "htm": method, "htu": url, "iat": int(time.time())}
        if token is not None:
            values["ath"] = ath(token)
        return {name: value for name, value in (values | changes).items() if value is not None}

    def proof(self, method: str, url: str, token: str | None = None, **changes: Any) -> str:
        """Return a proof."""
        return signed(self.key, self.header, self.claims(method, url, token, **changes))

    def __call__(self, method: str, url: str, token: str | None = None, **changes: Any) -> dict[str, str]:
        """Return the headers of a request, with ``Authorization`` if there is a token."""
        authorization = {} if token is None else {"Authorization": f"DPoP {token}"}
        return authorization | {"DPoP": self.proof(method, url, token, **changes)}


def symmetric_proof(claims: dict[str, Any], header: dict[str, Any], secret: bytes) -> str:
    """Return a token with HS256."""
    data = f"{encode(header)}.{encode(claims)}"
    return f"{data}.{encode(jwt.PyJWS().get_algorithm_by_name('HS256').sign(data.encode(), secret))}"
