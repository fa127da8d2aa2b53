"""Clients that authenticate with assertions (RFC 7523), and servers with their keys."""

import json
import secrets
import time
from http.server import BaseHTTPRequestHandler
from typing import Any

from idp.keys import jose
from idp.oauth.clients.authentication.assertions import ASSERTION_TYPE
from idp.settings import settings
from tests.support import tokens
from tests.support.stand_ins import Answer, StandIn


def claims(client_id: str, **changes: Any) -> dict[str, Any]:
    """Return the claims of a valid assertion. A change to None omits a claim."""
    now = int(time.time())
    values = {
        "iss": client_id,
        "sub": client_id,
        "aud": settings().issuer,
        "iat": now,
        "exp": now + 60,
        "jti": secrets.token_urlsafe(16),
    }
    return {name: value for name, value in (values | changes).items() if value is not None}


def form(assertion: str, **more: str) -> dict[str, str]:
    """Return the parameters that carry an assertion."""
    return {"client_assertion_type": ASSERTION_TYPE, "client_assertion": assertion, **more}


class ClientKeys:
    """The keys of a client. It signs with the last one."""

    def __init__(self, *algorithms: str) -> None:
        self.keys = [jose.generate(alg) for alg in algorithms or ("ES256",)]

    def jwks(self, *left_out: str) -> dict[str, Any]:
        """Return the public keys, without some members of each."""
        return {
            "keys": [{name: key.public_jwk[name] for name in key.public_jwk.keys() - left_out} for key in self.keys]
        }

    def sign(self, claims: Any, **header: Any) -> str:
        """Return an assertion. A member of the header that is None is omitted."""
        key = self.keys[-1]
        members = {"alg": key.alg, "kid": key.kid, "typ": "JWT"} | header
        return tokens.signed(key, {name: value for name, value in members.items() if value is not None}, claims)

    def assertion(self, client_id: str, **changes: Any) -> str:
        return self.sign(claims(client_id, **changes))


class KeyHost(StandIn):
    """A server with a ``jwks_uri`` and its own path, so that caches of other tests do not know it."""

    def __init__(self, keys: ClientKeys) -> None:
        self.keys = keys
        self.document: object = None
        super().__init__()
        self.path = f"/{secrets.token_hex(4)}"
        self.jwks_uri = f"{self.url}{self.path}/jwks"

    def answer(self, path: str, parameters: dict[str, str], handler: BaseHTTPRequestHandler) -> Answer:
        return 200, "application/json", json.dumps(self.keys.jwks() if self.document is None else self.document)
