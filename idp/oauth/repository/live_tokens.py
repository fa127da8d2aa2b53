"""The statements on access tokens: whether one is live, and its revocation."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from idp.accounts.tables import User
from idp.infra.db.coalescing import CoalescedQuery
from idp.infra.db.columns import all_columns
from idp.infra.db.engine import execute, fetchrow
from idp.infra.db.expiring import Expiring
from idp.infra.db.rows import one
from idp.oauth.repository.families import live_family_of_user
from idp.oauth.tables import RevokedAccessToken

EXPIRING = (Expiring(RevokedAccessToken, "1 hour"),)
_ACCESS_TOKEN_LIVES = f"""
FROM asked AS a, token_family AS f, users AS u
WHERE f.id = a.family_id AND {live_family_of_user("a.user_id")}
  AND NOT EXISTS (SELECT FROM revoked_access_token AS t WHERE t.jti = ANY (string_to_array(a.jti, ' ')))
"""
_LIVE_ACCESS_TOKEN = CoalescedQuery(
    "user_id uuid, family_id uuid, jti text",
    f"SELECT a.number, u.directory_version, f.organization_id {_ACCESS_TOKEN_LIVES}",
)
# What else an exchange of the token depends on.
_LIVE_SUBJECT = CoalescedQuery(
    "user_id uuid, family_id uuid, jti text",
    f"""
SELECT a.number, f.client_id, f.session_id, f.organization_id, f.scope, f.resource, f.authorization_details,
       u.directory_version,
       EXISTS (SELECT FROM admin_role AS r WHERE r.user_id = a.user_id) AS is_admin,
       EXISTS (SELECT FROM session AS s
               WHERE s.user_id = a.user_id AND s.id = f.session_id AND s.ended_at IS NULL AND s.expires_at > now()
       ) AS session_lives
{_ACCESS_TOKEN_LIVES}
""",  # noqa: S608
)
# With the columns that userinfo needs.
_LIVE_ACCESS_TOKEN_WITH_USER = CoalescedQuery(
    "user_id uuid, family_id uuid, jti text",
    f"SELECT a.number, {all_columns(User, 'u')}, f.claims AS requested, f.organization_id {_ACCESS_TOKEN_LIVES}",
)
_ENABLED_USER = CoalescedQuery(
    "user_id uuid", "SELECT a.number FROM asked AS a, users AS u WHERE u.id = a.user_id AND u.disabled_at IS NULL"
)
# The user is locked first, as in all transactions.
# $1 user_id  $2 family_id  $3 jti
_LOCK_ACCESS_TOKEN = f"""
SELECT u.id FROM users AS u, token_family AS f
WHERE f.id = $2 AND {live_family_of_user("$1")}
  AND NOT EXISTS (SELECT FROM revoked_access_token AS t WHERE t.jti = ANY (string_to_array($3, ' ')))
FOR SHARE OF u FOR SHARE OF f
"""  # noqa: S608
_IS_REVOKED = CoalescedQuery("jti text", "SELECT number FROM asked JOIN revoked_access_token USING (jti)")
_REVOKE_ACCESS_TOKEN = """
INSERT INTO revoked_access_token (jti, expires_at) VALUES ($1, $2) ON CONFLICT DO NOTHING
"""


class TokenUser(msgspec.Struct, frozen=True):
    """The user of a live access token.

    Attributes:
        row: the columns of the user, by name, for :func:`idp.accounts.claims.claims_of`.
        requested: the ``claims`` parameter of the family, as JSON.
        organization_id: the organization of the family.
    """

    row: Mapping[str, Any]
    requested: str | None
    organization_id: UUID | None

    @property
    def directory_version(self) -> int:
        """The version of the groups and roles of the user."""
        return int(self.row["directory_version"])


class TokenOfUser(NamedTuple):
    """An access token that was issued for a user.

    ``jti`` is followed by those of the tokens that it was exchanged for, separated by spaces: it ends with them.
    """

    user_id: UUID
    family_id: UUID
    jti: str


class LiveTokenState(msgspec.Struct, frozen=True):
    """The values that the claims of a live access token depend on.

    Attributes:
        directory_version: that of its user.
        organization_id: the organization of the family.
    """

    directory_version: int
    organization_id: UUID | None


class LiveSubject(msgspec.Struct, frozen=True, kw_only=True):
    """The token family of a live token, and what else its exchange depends on.

    Attributes:
        client_id: the client of the family. The token may be one that was exchanged by another client.
        is_admin: whether the user has a role at the admin API.
        session_lives: whether the session of the family lives. One with offline access outlives it.
    """

    client_id: str
    session_id: UUID | None
    organization_id: UUID | None
    scope: str
    resource: list[str]
    authorization_details: str | None
    directory_version: int
    is_admin: bool
    session_lives: bool


async def state_if_live(token: TokenOfUser) -> LiveTokenState | None:
    """Return what the claims of an access token depend on.

    None if the token or its family is revoked or has ended, or its user is disabled.
    """
    return one(LiveTokenState, await _LIVE_ACCESS_TOKEN.fetchrow(**token._asdict()))


async def user_of_live_access_token(token: TokenOfUser) -> TokenUser | None:
    """Return the user and the requested claims of an access token; None as of :func:`state_if_live`."""
    row = await _LIVE_ACCESS_TOKEN_WITH_USER.fetchrow(**token._asdict())
    return TokenUser(row, row["requested"], row["organization_id"]) if row else None


async def live_subject(token: TokenOfUser) -> LiveSubject | None:
    """Return what the exchange of a token depends on; None as of :func:`state_if_live`."""
    return one(LiveSubject, await _LIVE_SUBJECT.fetchrow(**token._asdict()))


async def is_enabled(user_id: UUID) -> bool:
    """Return whether a user exists and is enabled."""
    return await _ENABLED_USER.fetchrow(user_id=user_id) is not None


async def lock_live_access_token(token: TokenOfUser) -> bool:
    """Return whether an access token is live, as of :func:`state_if_live`. It stays so until the transaction ends."""
    return await fetchrow(_LOCK_ACCESS_TOKEN, *token) is not None


async def is_access_token_revoked(jti: str) -> bool:
    """Return whether an access token was revoked individually (RFC 7009)."""
    return await _IS_REVOKED.fetchrow(jti=jti) is not None


async def revoke_access_token(jti: str, expires_at: datetime) -> bool:
    """Revoke an access token. Returns False if it is already revoked."""
    return bool(await execute(_REVOKE_ACCESS_TOKEN, jti, expires_at))
