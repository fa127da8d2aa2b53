"""The JWT of a refresh token, signed with a derived server key, so that a forged one is refused without a query.

The same row always yields the same JWT, byte for byte (docs/decisions/0003-refresh-tokens-are-made-again.md).
"""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec

from idp import clock, ids
from idp.errors import Refused
from idp.keys import jose, sealed_ids, vault
from idp.reasons import Reason
from idp.settings import settings

REFRESH_TOKEN_TYPE = "rt+jwt"
_PURPOSE = "refresh-token"


class NewRefreshToken(msgspec.Struct, frozen=True):
    """A refresh token that is about to be stored: the values of its row, and the JWT."""

    user_id: UUID
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
    """A refresh token of this server that has not expired."""

    user_id: UUID
    family_id: UUID
    jti: UUID
    hash: bytes
    expires_at: datetime


def new_refresh_token(
    user_id: UUID, family_id: UUID, lifetime: int, kept_until: datetime | None = None
) -> NewRefreshToken:
    """Return an unsaved refresh token.

    Args:
        lifetime: seconds after which it expires if it is not used.
        kept_until: the JWT of a token that is used again and again ends then; its row is extended at each use. None: it
            has one use.
    """
    jti, issued_at = ids.uuid7(), clock.now().replace(microsecond=0)
    expires_at = issued_at + timedelta(seconds=lifetime)
    token = encode(jti, issued_at, kept_until or expires_at, family_id, user_id)
    return NewRefreshToken(user_id, family_id, jti, issued_at, expires_at, token)


def encode(jti: UUID, issued_at: datetime, expires_at: datetime, family_id: UUID, user_id: UUID) -> str:
    """Return the JWT of a row. It contains the sealed id of its user, by which the row is found, and its family, for a
    database that has lost the row; everything else is in the row.
    """
    claims = {
        "iss": settings().issuer,
        "jti": str(jti),
        "iat": int(issued_at.timestamp()),
        "exp": int(expires_at.timestamp()),
        "family": str(family_id),
        "sealed_user": sealed_ids.seal(user_id, _PURPOSE, jti.bytes),
    }
    return jose.sign_symmetric(vault.derive("refresh-token"), REFRESH_TOKEN_TYPE, claims)


def decode(token: str) -> PresentedRefreshToken | Refused:
    """Return a refresh token of this server that has not expired, or the reason why the string is none."""
    try:
        claims = jose.verify_symmetric(token, vault.derive("refresh-token"), typ=REFRESH_TOKEN_TYPE)
    except jose.InvalidJWTError as error:
        return Refused(error.reason)
    jti, family_id = UUID(claims["jti"]), UUID(claims["family"])
    user_id = sealed_ids.unseal(claims.get("sealed_user"), _PURPOSE, jti.bytes)
    if user_id is None:
        return Refused(Reason.BAD_SIGNATURE, family_id=family_id)
    try:
        jose.check_times(claims)
    except jose.InvalidJWTError as error:
        return Refused(error.reason, user_id, family_id)
    expires_at = datetime.fromtimestamp(claims["exp"], UTC)
    return PresentedRefreshToken(user_id, family_id, jti, ids.digest(token), expires_at)
