"""Makes request objects as clients do."""

import time
from typing import Any

from idp.keys.jose import SigningKey
from tests.support.oauth import RelyingParty
from tests.support.tokens import key, signed


def jwks(*algorithms: str, kid: bool = True) -> dict[str, Any]:
    """Return the public keys of :func:`tests.support.tokens.key` as a client registers them."""
    left_out = {"alg"} if kid else {"alg", "kid"}
    keys = [key(alg).public_jwk for alg in algorithms]
    return {"keys": [{name: value for name, value in jwk.items() if name not in left_out} for jwk in keys]}


def header(signing_key: SigningKey, **changes: Any) -> dict[str, Any]:
    """Return a header. A change to None leaves a member out."""
    members = {"alg": signing_key.alg, "kid": signing_key.kid, "typ": "oauth-authz-req+jwt"} | changes
    return {name: value for name, value in members.items() if value is not None}


def request_object(client: RelyingParty, alg: str = "ES256", **changes: Any) -> str:
    """Return the request of :meth:`RelyingParty.parameters` as a signed object. A change to None leaves a claim out."""
    now = int(time.time())
    claims: dict[str, Any] = {
        "iss": client.client_id, "aud": client.issuer, "iat": now, "nbf": now, "exp": now + 300, **client.parameters(),
    }  # fmt: skip
    claims = {name: value for name, value in (claims | changes).items() if value is not None}
    return signed(key(alg), header(key(alg)), claims)
