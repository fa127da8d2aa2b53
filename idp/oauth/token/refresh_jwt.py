"""The JWT of a refresh token, signed with a derived server key: a forged one costs no query.

The same row always yields the same JWT, byte for byte (docs/decisions/0003-refresh-tokens-are-made-again.md).
"""

import hmac
from datetime import datetime, timedelta
from uuid import UUID

import msgspec

from idp import clock, ids
from idp.errors import Refused
from idp.keys import jose, vault
from idp.settings import settings

REFRESH_TOKEN_TYPE = "rt+jwt"


class NewRefreshToken(msgspec.Struct, frozen=True):
    """A refresh token that is about to be stored: the values of its row, and the JWT."""

    family_id: UUID
    jti: UUID
    issued_at: datetime
    expires_at: datetime
    token: str

    @property
    def hash(self) -> bytes:
        return ids.digest(self.token)


class StoredRefreshToken(msgspec.Struct, frozen=True):
    """The row of a refresh token."""

    jti: UUID
    issued_at: datetime
    expires_at: datetime
    token_hash: bytes


class PresentedRefreshToken(msgspec.Struct, frozen=True):
    """A refresh token of this server that has not expired.

    Attributes:
        family_id: None in a token of an earlier release.
    """

    jti: UUID
    family_id: UUID | None
    hash: bytes


def new_refresh_token(family_id: UUID) -> NewRefreshToken:
    """A refresh token that is not stored yet."""
    jti, issued_at = ids.uuid7(), clock.now().replace(microsecond=0)
    expires_at = issued_at + timedelta(seconds=settings().refresh_token_lifetime)
    token = encode(jti, issued_at, expires_at, family_id)
    return NewRefreshToken(family_id, jti, issued_at, expires_at, token)


def encode(jti: UUID, issued_at: datetime, expires_at: datetime, family_id: UUID | None) -> str:
    """The JWT of a row. It names its family for a database that has lost the row; the rest is in the row."""
    claims = {
        "iss": settings().issuer,
        "jti": str(jti),
        "iat": int(issued_at.timestamp()),
        "exp": int(expires_at.timestamp()),
    }
    if family_id is not None:
        claims["family"] = str(family_id)
    return jose.sign_symmetric(vault.derive("refresh-token"), REFRESH_TOKEN_TYPE, claims)


def encode_stored(stored: StoredRefreshToken, family_id: UUID) -> str:
    """The JWT of a row. An earlier release may have made it, without the family."""
    token = encode(stored.jti, stored.issued_at, stored.expires_at, family_id)
    ours = hmac.compare_digest(ids.digest(token), stored.token_hash)
    return token if ours else encode(stored.jti, stored.issued_at, stored.expires_at, None)


def decode(token: str) -> PresentedRefreshToken | Refused:
    """A refresh token of this server that has not expired; for any other string, why it is none."""
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
