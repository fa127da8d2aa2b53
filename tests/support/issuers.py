"""Trusted issuers: a Kubernetes cluster, GitHub Actions, and a SPIFFE trust domain."""

import json
import secrets
import time
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.support.assertions import ClientKeys
from tests.support.stand_ins import Answer, StandIn

SERVICE_ACCOUNT = "system:serviceaccount:shop:orders"
DEPLOYMENT = "repo:octo-org/octo-repo:environment:production"


class TrustedIssuer(StandIn):
    """An OpenID issuer that signs tokens of workloads, on loopback."""

    def __init__(self) -> None:
        self.keys = ClientKeys("RS256")
        self.metadata: dict[str, Any] = {}
        super().__init__()
        self.path = f"/{secrets.token_hex(4)}"
        self.issuer = self.url + self.path
        self.jwks_uri = f"{self.issuer}/openid/v1/jwks"

    def answer(self, path: str, parameters: dict[str, str], handler: BaseHTTPRequestHandler) -> Answer:
        # A cluster has no endpoints for users.
        documents: dict[str, Any] = {
            "/.well-known/openid-configuration": {
                "issuer": self.issuer,
                "jwks_uri": self.jwks_uri,
                "response_types_supported": ["id_token"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["RS256"],
            }
            | self.metadata,
            "/openid/v1/jwks": self.keys.jwks(),
        }
        if path not in documents:
            return 404, "text/plain", "There is no such page."
        return 200, "application/json", json.dumps(documents[path])

    def kubernetes(self, audience: Any, **changes: Any) -> str:
        """Return a projected token of a service account, as its pod finds it in a file."""
        now = int(time.time())
        claims = {
            "aud": [audience] if isinstance(audience, str) else audience,
            "exp": now + 3600,
            "iat": now,
            "iss": self.issuer,
            "jti": secrets.token_hex(16),
            "kubernetes.io": {
                "namespace": "shop",
                "pod": {"name": "orders-5d7b", "uid": "5f1a"},
                "serviceaccount": {"name": "orders", "uid": "9c2e"},
            },
            "nbf": now,
            "sub": SERVICE_ACCOUNT,
        }
        return self.keys.sign(_changed(claims, changes), typ=None)

    def github(self, audience: Any, **changes: Any) -> str:
        """Return a token of a job in GitHub Actions."""
        now = int(time.time())
        claims = {
            "jti": secrets.token_hex(16),
            "sub": DEPLOYMENT,
            "aud": audience,
            "ref": "refs/heads/main",
            "repository": "octo-org/octo-repo",
            "environment": "production",
            "iss": self.issuer,
            "nbf": now - 300,
            "exp": now + 300,
            "iat": now,
        }
        return self.keys.sign(_changed(claims, changes))

    def svid(self, audience: Any, **changes: Any) -> str:
        """Return a JWT-SVID, which has no iss."""
        now = int(time.time())
        claims = {"sub": "spiffe://shop.example/ns/prod/orders", "aud": audience, "exp": now + 300, "iat": now}
        return self.keys.sign(_changed(claims, changes))

    def grant(self, audience: Any, subject: str, typ: str | None = "JWT", **changes: Any) -> str:
        """Return an assertion about a person (RFC 7523 section 3), with any further claims."""
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "sub": subject,
            "aud": audience,
            "jti": secrets.token_hex(16),
            "iat": now,
            "exp": now + 300,
        }
        return self.keys.sign(_changed(claims, changes), typ=typ)

    def id_jag(self, audience: Any, subject: str, client_id: str, **changes: Any) -> str:
        """Return an identity assertion authorization grant."""
        return self.grant(audience, subject, "oauth-id-jag+jwt", client_id=client_id, **changes)


def _changed(claims: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in (claims | changes).items() if value is not None}
