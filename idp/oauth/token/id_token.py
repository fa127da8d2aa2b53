"""ID tokens (OpenID Connect Core section 2)."""

import secrets
from typing import Any

from idp import clock
from idp.accounts.claims import claims_of
from idp.accounts.repository.users import user_by_id
from idp.keys import jose
from idp.keys.key_set import key_set
from idp.oauth.authorize.request import ClaimsRequest
from idp.oauth.clients.models import Client
from idp.oauth.scopes import claims_of_scopes, visible_claims
from idp.oauth.token.grant import Grant
from idp.settings import settings


async def id_token(client: Client, grant: Grant, access_token: str, scope: str) -> str:
    """Return an ID token. It has the claims of scopes only for a client with ``scope_claims_in_id_token``."""
    now = clock.timestamp()
    alg = client.id_token_signed_response_alg
    claims = {
        "iss": settings().issuer,
        "sub": str(grant.user_id),
        "aud": client.client_id,
        "iat": now,
        "exp": now + settings().id_token_lifetime,
        "at_hash": jose.left_half_hash(access_token, alg),
        "jti": secrets.token_urlsafe(16),
        **grant.authentication_claims,
    }
    if grant.session_id is not None:
        claims["sid"] = str(grant.session_id)
    if grant.nonce is not None:
        claims["nonce"] = grant.nonce
    if grant.claims or client.scope_claims_in_id_token:
        claims = await _claims_of_user(client, grant, scope) | claims
    return key_set.sign(alg, "JWT", claims)


async def _claims_of_user(client: Client, grant: Grant, scope: str) -> dict[str, Any]:
    """Return the claims that the ``claims`` parameter requests, and for some clients those of the scopes."""
    names = visible_claims(ClaimsRequest.from_json(grant.claims).id_token, client.scopes)
    if client.scope_claims_in_id_token:
        names += claims_of_scopes(scope.split())
    user = await user_by_id(grant.user_id) if names else None
    return claims_of(user, names) if user else {}
