"""What every grant ends with: the tokens, and the response that carries them."""

import hmac
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from idp import clock, ids
from idp.accounts.claims import claims_of
from idp.accounts.tables import user_by_id
from idp.audit.buffer import token_issued
from idp.errors import Refused
from idp.keys import jose, vault
from idp.keys.algorithms import DEFAULT_ALGORITHM
from idp.keys.key_set import key_set
from idp.oauth.authorize.request import ClaimsRequest
from idp.oauth.clients.models import Client
from idp.oauth.clients.registry import registry
from idp.oauth.scopes import claims_of_scopes, visible_claims
from idp.settings import settings

REFRESH_TOKEN_TYPE = "rt+jwt"


class Grant(msgspec.Struct, frozen=True):
    """What a user authorized: the row that redeeming a code or rotating a refresh token returns.

    ``auth_age`` is by how many seconds the proof was older than the sign-in at ``auth_time``; None: nobody knows.
    """

    family_id: UUID
    user_id: UUID
    session_id: UUID | None
    scope: str
    resource: Sequence[str]
    claims: str | None
    auth_time: datetime
    amr: Sequence[str]
    acr: str
    auth_age: int | None = 0
    nonce: str | None = None

    @property
    def context(self) -> dict[str, Any]:
        """How sure it is who the user is (OpenID Connect Core section 2); no ``auth_time`` that nobody knows."""
        claims = {"acr": self.acr, "amr": list(self.amr)}
        return (
            claims if self.auth_age is None else claims | {"auth_time": int(self.auth_time.timestamp()) - self.auth_age}
        )


class TokenResponse(msgspec.Struct, frozen=True):
    """A token response (RFC 6749 section 5.1, OpenID Connect Core section 3.1.3.3)."""

    access_token: str
    expires_in: int
    scope: str
    token_type: str = "Bearer"
    id_token: str | UnsetType = UNSET
    refresh_token: str | UnsetType = UNSET


class NewRefreshToken(msgspec.Struct, frozen=True):
    """A refresh token about to be stored: its row's values and the JWT itself."""

    family_id: UUID
    jti: UUID
    issued_at: datetime
    expires_at: datetime
    token: str

    @property
    def hash(self) -> bytes:
        return ids.digest(self.token)


class PresentedRefreshToken(msgspec.Struct, frozen=True):
    """A refresh token that we made and that has not expired.

    Attributes:
        family_id: None in a token that an earlier release made.
    """

    jti: UUID
    family_id: UUID | None
    hash: bytes


def family_jti(family_id: UUID) -> str:
    """The ``jti`` of an access token: opened by its family's id, so that revoking the family finds it."""
    return f"{urlsafe_b64encode(family_id.bytes).rstrip(b'=').decode()}.{secrets.token_urlsafe(12)}"


def family_of(jti: str) -> UUID | None:
    """The family that an access token belongs to; None for one of the client's own (client_credentials)."""
    family, dot, _ = jti.partition(".")
    return UUID(bytes=urlsafe_b64decode(family + "==")) if dot else None


def access_token(client: Client, subject: str, scope: str, resource: Sequence[str], jti: str, **claims: Any) -> str:
    """An access token (RFC 9068 section 2), for the resource servers asked for, or else for this server itself."""
    now = clock.timestamp()
    audience = list(resource)
    if not audience or "openid" in scope.split():
        # userinfo is one of the token's audiences whenever OpenID Connect is in play.
        audience.append(settings().issuer)
    server = registry.resource_server(audience[0])
    return key_set.sign(
        server.access_token_signed_response_alg if server else DEFAULT_ALGORITHM,
        server.access_token_type if server else "at+jwt",
        {
            "iss": settings().issuer,
            "sub": subject,
            "aud": audience if len(audience) > 1 else audience[0],
            "client_id": client.client_id,
            "scope": scope,
            "iat": now,
            "exp": now + settings().access_token_lifetime,
            "jti": jti,
            **claims,
        },
    )


async def id_token(client: Client, grant: Grant, access_token: str, scope: str) -> str:
    """An ID token (OpenID Connect Core section 2). Scopes are answered by userinfo, and here where the client asks."""
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
        **grant.context,
    }
    if grant.session_id is not None:
        claims["sid"] = str(grant.session_id)
    if grant.nonce is not None:
        claims["nonce"] = grant.nonce
    if grant.claims or client.scope_claims_in_id_token:
        claims = await _claims_of_user(client, grant, scope) | claims
    return key_set.sign(alg, "JWT", claims)


async def _claims_of_user(client: Client, grant: Grant, scope: str) -> dict[str, Any]:
    """What the ``claims`` parameter asks to have in the ID token itself, and the claims of scopes for some clients."""
    wanted = visible_claims(ClaimsRequest.from_json(grant.claims).id_token, client.scopes)
    if client.scope_claims_in_id_token:
        wanted += claims_of_scopes(scope.split())
    user = await user_by_id(grant.user_id) if wanted else None
    return claims_of(user, wanted) if user else {}


def new_refresh_token(family_id: UUID) -> NewRefreshToken:
    """A refresh token, not stored yet."""
    jti, issued_at = ids.uuid7(), clock.now().replace(microsecond=0)
    expires_at = issued_at + timedelta(seconds=settings().refresh_token_lifetime)
    return NewRefreshToken(
        family_id, jti, issued_at, expires_at, refresh_jwt(jti, issued_at, expires_at, family_id)
    )  # fmt: skip


def refresh_jwt(jti: UUID, issued_at: datetime, expires_at: datetime, family_id: UUID | None) -> str:
    """The refresh token of a row, byte for byte the same each time.

    Signed with a key of our own, so that a forged one costs no query. It names its family for a database that has lost
    its row; all else that it stands for is in the row.
    """
    claims = {
        "iss": settings().issuer,
        "jti": str(jti),
        "iat": int(issued_at.timestamp()),
        "exp": int(expires_at.timestamp()),
    }
    if family_id is not None:
        claims["family"] = str(family_id)
    return jose.sign_symmetric(vault.derive("refresh-token"), REFRESH_TOKEN_TYPE, claims)


def stored_refresh_jwt(
    jti: UUID, issued_at: datetime, expires_at: datetime, token_hash: bytes, family_id: UUID
) -> str:  # fmt: skip
    """The refresh token of a row that an earlier release may have made, which did not name the family."""
    token = refresh_jwt(jti, issued_at, expires_at, family_id)
    ours = hmac.compare_digest(ids.digest(token), token_hash)
    return token if ours else refresh_jwt(jti, issued_at, expires_at, None)


def present_refresh_token(token: str) -> PresentedRefreshToken | Refused:
    """A refresh token that we made and that has not expired; for any other string, why it is none."""
    try:
        claims = jose.verify_symmetric(token, vault.derive("refresh-token"), typ=REFRESH_TOKEN_TYPE)
    except jose.InvalidJWTError as error:
        return Refused(error.reason)
    family_id = UUID(claims["family"]) if claims.get("family") else None
    try:
        jose.check_times(claims)
    except jose.InvalidJWTError as error:
        return Refused(error.reason, family_id=family_id)
    return PresentedRefreshToken(UUID(claims["jti"]), family_id, ids.digest(token))


async def respond(
    client: Client,
    grant: Grant,
    refresh_token: str | UnsetType = UNSET,
    *,
    grant_type: str,
    scope: str | None = None,
    resource: Sequence[str] = (),
) -> TokenResponse:
    """The response to a grant in a user's name: access token, ID token where OpenID Connect is used, refresh token.

    Args:
        grant_type: by which it came, for the audit trail.
        scope: the narrower scope that a refresh request asked for; by default all that was granted.
        resource: those of the granted resources that the access token is for (RFC 8707 section 2.2); by default all.
    """
    scope, jti = grant.scope if scope is None else scope, family_jti(grant.family_id)
    token = access_token(
        client,
        str(grant.user_id),
        scope,
        resource or grant.resource,
        jti,
        **grant.context,
    )
    token_issued(
        grant_type,
        client.client_id,
        jti,
        user_id=grant.user_id,
        session_id=grant.session_id,
        family_id=grant.family_id,
    )
    return TokenResponse(
        access_token=token,
        expires_in=settings().access_token_lifetime,
        scope=scope,
        id_token=await id_token(client, grant, token, scope) if "openid" in scope.split() else UNSET,
        refresh_token=refresh_token,
    )
