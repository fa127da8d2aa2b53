"""ID tokens (OpenID Connect Core section 2)."""

import secrets
from collections.abc import Mapping
from typing import Any

from idp import clock
from idp.accounts.claims import claims_of
from idp.accounts.repository.users import user_by_id
from idp.keys import jose
from idp.oauth import client_jwts, subjects
from idp.oauth.authorize.request import ClaimsRequest
from idp.oauth.clients.models import Client
from idp.oauth.scopes import claims_of_scopes, visible_claims
from idp.oauth.token.grant import Grant
from idp.settings import settings


async def id_token(
    client: Client, grant: Grant, access_token: str | None, scope: str, *, hashed: Mapping[str, str | None] = {}
) -> str:
    """Return an ID token.

    It has the claims of scopes for a client with ``scope_claims_in_id_token``, and if the client gets no access token
    for userinfo (OpenID Connect Core section 5.4).

    Args:
        access_token: the access token beside it; None: there is none.
        hashed: values beside it in an authorization response, by the claim of their hash, ``c_hash`` or ``s_hash``.

    Raises:
        OAuthError: the client registered encryption, and has no key for it that can be used.
    """
    now = clock.timestamp()
    alg = client_jwts.signing_alg(client, "id_token")
    claims = {
        "iss": settings().issuer,
        "sub": subjects.subject(client, grant.user_id),
        "aud": client.client_id,
        "iat": now,
        "exp": now + settings().id_token_lifetime,
        **{
            name: jose.left_half_hash(value, alg)
            for name, value in {"at_hash": access_token, **hashed}.items()
            if value is not None
        },
        "jti": secrets.token_urlsafe(16),
        **grant.authentication_claims,
    }
    if grant.session_id is not None:
        claims["sid"] = subjects.sid(client, grant.session_id)
    if grant.nonce is not None:
        claims["nonce"] = grant.nonce
    with_scopes = client.scope_claims_in_id_token or (access_token is None and hashed.get("c_hash") is None)
    if grant.claims or with_scopes:
        claims = await _claims_of_user(client, grant, scope if with_scopes else "") | claims
    return await client_jwts.make(client, "id_token", "JWT", claims)


async def _claims_of_user(client: Client, grant: Grant, scope: str) -> dict[str, Any]:
    """Return the claims that the ``claims`` parameter requests, and those of the scopes."""
    names = visible_claims(ClaimsRequest.from_json(grant.claims).id_token, client.scopes)
    names += claims_of_scopes(scope.split())
    user = await user_by_id(grant.user_id) if names else None
    return claims_of(user, names) if user else {}
