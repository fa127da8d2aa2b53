"""The statements that read why a token or a code is refused. They decide nothing."""

from datetime import datetime
from uuid import UUID

import msgspec

from idp.directory.repository.organizations import is_member
from idp.directory.repository.sign_in_policies import SignInColumns, failing
from idp.infra.db.engine import fetchrow
from idp.infra.db.rows import one
from idp.oauth.repository.families import LAST_USED
from idp.oauth.repository.live_tokens import TokenOfUser
from idp.reasons import Reason

_SESSION_END = """
    (SELECT ended_at FROM session WHERE user_id = $1 AND id = {id}) AS session_ended_at,
    (SELECT concat_ws(' by ', ended_reason, nullif(ended_by, '')) FROM session WHERE user_id = $1 AND id = {id})
        AS session_ended_because
"""
# The state of a family ``f`` and its user ``u``, whose id is $1, to explain a refusal.
_FAMILY_STATE = f"""
    f.id AS family_id, f.user_id, f.client_id, f.created_at, f.revoked_at IS NOT NULL AS revoked,
    f.revoked_reason, f.revoked_at, f.expires_at AS family_expires_at, f.expires_at <= now() AS family_expired,
    u.disabled_at IS NOT NULL AS user_disabled,
    NOT f.offline_access AND NOT EXISTS (
        SELECT FROM session AS s
        WHERE s.user_id = $1 AND s.id = f.session_id AND s.ended_at IS NULL AND s.expires_at > now()
    ) AS session_ended,
    f.organization_id IS NOT NULL AND NOT {is_member("$1", "f.organization_id")} AS not_member,
    {_SESSION_END.format(id="f.session_id")}
"""
# $1 user_id  $2 family_id  $3 jti  $4 token_hash
_STATE_OF_REFRESH_TOKEN = f"""
SELECT {_FAMILY_STATE}, r.jti IS NOT NULL AS known, r.rotated_at IS NOT NULL AS rotated,
       r.issued_at, r.rotated_at, r.expires_at,
       r.expires_at <= now() AS expired,
       {failing("f.organization_id", SignInColumns.of("f", LAST_USED))} AS unmet
FROM token_family AS f JOIN users AS u ON u.id = f.user_id
LEFT JOIN refresh_token AS r ON r.user_id = $1 AND r.jti = $3 AND r.token_hash = $4 AND r.family_id = f.id
WHERE f.user_id = $1 AND f.id = $2
"""  # noqa: S608
# $1 user_id  $2 family_id  $3 jti
_STATE_OF_ACCESS_TOKEN = f"""
SELECT {_FAMILY_STATE},
       EXISTS (SELECT FROM revoked_access_token AS t WHERE t.jti = ANY (string_to_array($3, ' '))) AS token_revoked
FROM token_family AS f JOIN users AS u ON u.id = f.user_id WHERE f.user_id = $1 AND f.id = $2
"""  # noqa: S608
# A redeemed code has a family; one that was consumed by a sign-out has none. $1 user_id  $2 code_hash
_STATE_OF_CODE = f"""
SELECT c.user_id, c.client_id, c.redirect_uri, c.code_challenge, c.confirmation, c.created_at,
       f.id AS family_id, c.trace_id, c.expires_at,
       {_SESSION_END.format(id="c.session_id")},
       c.consumed_at IS NOT NULL AS consumed, c.expires_at <= now() AS expired,
       u.disabled_at IS NOT NULL AS user_disabled, s.ended_at IS NOT NULL OR s.expires_at <= now() AS session_ended,
       c.organization_id IS NOT NULL AND NOT {is_member("$1", "c.organization_id")} AS not_member,
       {failing("c.organization_id", SignInColumns.of("c"))} AS unmet
FROM authorization_code AS c JOIN users AS u ON u.id = c.user_id
JOIN session AS s ON s.user_id = c.user_id AND s.id = c.session_id
LEFT JOIN token_family AS f ON f.user_id = c.user_id AND f.id = c.family_id
WHERE c.user_id = $1 AND c.code_hash = $2
"""  # noqa: S608


class FamilyState(msgspec.Struct, frozen=True, kw_only=True):
    """Why a token family may yield no tokens."""

    family_id: UUID
    user_id: UUID
    client_id: str
    created_at: datetime
    revoked: bool
    revoked_reason: str | None
    revoked_at: datetime | None
    family_expires_at: datetime
    session_ended_at: datetime | None
    session_ended_because: str | None
    family_expired: bool
    user_disabled: bool
    session_ended: bool
    not_member: bool


class RefreshTokenState(FamilyState, frozen=True, kw_only=True):
    """The state of a family and of one of its refresh tokens. ``expired`` is None if the token is unknown.

    ``unmet``: why the sign-in does not meet the policy of the organization, if it does not.
    """

    known: bool
    issued_at: datetime | None
    rotated_at: datetime | None
    expires_at: datetime | None
    rotated: bool
    expired: bool | None
    unmet: Reason | None


class AccessTokenState(FamilyState, frozen=True, kw_only=True):
    """The state of a family, and whether one of its access tokens was revoked individually."""

    token_revoked: bool


class CodeState(msgspec.Struct, frozen=True, kw_only=True):
    """Why an authorization code may be refused. ``unmet`` as of :class:`RefreshTokenState`."""

    user_id: UUID
    client_id: str
    redirect_uri: str
    code_challenge: str | None
    confirmation: str | None
    created_at: datetime
    expires_at: datetime
    trace_id: str
    session_ended_at: datetime | None
    session_ended_because: str | None
    family_id: UUID | None
    consumed: bool
    expired: bool
    user_disabled: bool
    session_ended: bool
    not_member: bool
    unmet: Reason | None


async def state_of_refresh_token(
    user_id: UUID, family_id: UUID, jti: UUID, token_hash: bytes
) -> RefreshTokenState | None:
    """Return the state of a refresh token; None if its family is unknown."""
    return one(RefreshTokenState, await fetchrow(_STATE_OF_REFRESH_TOKEN, user_id, family_id, jti, token_hash))


async def state_of_access_token(token: TokenOfUser) -> AccessTokenState | None:
    """Return the state of an access token; None if its family is unknown."""
    return one(AccessTokenState, await fetchrow(_STATE_OF_ACCESS_TOKEN, *token))


async def state_of_code(user_id: UUID, code_hash: bytes) -> CodeState | None:
    """Return the state of a code; None if it is unknown."""
    return one(CodeState, await fetchrow(_STATE_OF_CODE, user_id, code_hash))
