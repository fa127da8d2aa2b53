"""Clients that authenticate with assertions (RFC 7523), and servers with their keys."""

import json
import secrets
import time
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from idp.errors import InvalidClientError
from idp.infra.db.engine import fetch
from idp.keys import jose
from idp.oauth.clients.authentication import authenticate
from idp.oauth.clients.authentication.assertions import ASSERTION_TYPE
from idp.oauth.clients.models import Client
from idp.oauth.clients.registration import register_client
from idp.oauth.clients.registry import registry
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


async def register_bank(method: str = "private_key_jwt", **metadata: Any) -> Client:
    """Register a client that authenticates by assertions, and tell the registry of this process."""
    client, _ = await register_client(
        client_name="Bank",
        grant_types=["client_credentials"],
        scope="",
        token_endpoint_auth_method=method,
        **metadata,
    )
    await registry.load()
    return client


async def refuse(assertion: str) -> None:
    """Authenticate by an assertion. It is refused, and nothing is stored."""
    before = await fetch("SELECT count(*) FROM used_jwt")
    with pytest.raises(InvalidClientError):
        await authenticate(None, form(assertion))
    assert await fetch("SELECT count(*) FROM used_jwt") == before


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
