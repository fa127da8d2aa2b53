"""The redemption of authorization codes (RFC 6749 section 4.1.3)."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from idp.directory.repository.organizations import is_member
from idp.directory.repository.sign_in_policies import SignInColumns
from idp.infra.db.coalescing import CoalescedQuery
from idp.infra.db.engine import fetchrow
from idp.infra.db.rows import one
from idp.oauth.binding.confirmation import Confirmation, stored
from idp.oauth.token.grant import Grant
from idp.oauth.token.refresh_jwt import NewRefreshToken
from idp.oauth.token.repository.families import REGISTERED, REVOKED_FAMILY, RevokedFamily, stored_details

# jti and the columns after it: of the refresh token; null: none is issued.
# registered and resource: separated by spaces.
_REDEEM_CODE = CoalescedQuery(
    "code_hash bytea, user_id uuid, client_id text, redirect_uri text, code_challenge text, registered text, "
    "resource text, confirmation text, family_confirmation text, "
    "not_before timestamptz, family_id uuid, family_expires_at timestamptz, jti uuid, token_hash bytea, "
    "issued_at timestamptz, expires_at timestamptz",
    f"""
WITH code AS (
    UPDATE authorization_code AS c SET consumed_at = now(), family_id = a.family_id
    FROM asked AS a, users AS u, session AS s
    WHERE c.user_id = a.user_id AND c.code_hash = a.code_hash AND c.client_id = a.client_id
      AND c.redirect_uri = a.redirect_uri
      AND c.code_challenge IS NOT DISTINCT FROM a.code_challenge AND c.resource @> string_to_array(a.resource, ' ')
      AND {REGISTERED.format(grant="c", registered="string_to_array(a.registered, ' ')")}
      AND (c.confirmation IS NULL OR c.confirmation <@ a.confirmation::jsonb)
      AND c.consumed_at IS NULL AND c.expires_at > now() AND c.created_at >= a.not_before
      AND u.id = a.user_id AND u.disabled_at IS NULL
      AND s.user_id = a.user_id AND s.id = c.session_id AND s.ended_at IS NULL AND s.expires_at > now()
      AND (c.organization_id IS NULL OR {is_member("a.user_id", "c.organization_id", SignInColumns.of("c"))})
    RETURNING a.number, a.jti, a.token_hash, a.issued_at, a.expires_at, a.family_expires_at,
              a.family_confirmation::jsonb AS confirmation, c.family_id, c.client_id,
              c.user_id, c.session_id, c.scope, c.resource, c.claims, c.authorization_details, c.offline_access,
              c.nonce, c.auth_time, c.auth_age, c.amr, c.acr, c.organization_id, c.trace_id, u.directory_version
), family AS (
    INSERT INTO token_family (user_id, id, client_id, session_id, scope, resource, claims, confirmation,
                              authorization_details, offline_access, auth_time, auth_age, amr, acr, organization_id,
                              created_at, expires_at)
    SELECT user_id, family_id, client_id, session_id, scope, resource, claims, confirmation, authorization_details,
           offline_access, auth_time, auth_age, amr, acr, organization_id, now(), family_expires_at
    FROM code
), refresh AS (
    INSERT INTO refresh_token (user_id, jti, family_id, token_hash, issued_at, expires_at)
    SELECT user_id, jti, family_id, token_hash, issued_at, expires_at FROM code WHERE jti IS NOT NULL
)
SELECT number, family_id, user_id, session_id, scope, resource, claims, authorization_details, nonce, auth_time,
       auth_age, amr, acr, organization_id, directory_version, trace_id
FROM code
""",  # noqa: S608
)

# $1 user_id  $2 code_hash  $3 client_id  $4 resources  $5 registered scopes
_UNUSED_CODE = f"""
SELECT c.resource @> $4::text[] AS has_resources,
       {REGISTERED.format(grant="c", registered="string_to_array($5, ' ')")} AS has_scope
FROM authorization_code AS c
WHERE c.user_id = $1 AND c.code_hash = $2 AND c.client_id = $3 AND c.consumed_at IS NULL AND c.expires_at > now()
"""  # noqa: S608

# They do not change, so a request can be compared with them before it consumes anything.
# $1 user_id  $2 code_hash  $3 client_id
_DETAILS_OF_CODE = """
SELECT authorization_details FROM authorization_code WHERE user_id = $1 AND code_hash = $2 AND client_id = $3
"""

# Without the key that a code is bound to, nobody can use it, nor end its family by using it.
# $1 user_id  $2 code_hash  $3 client_id  $4 the proved key
_REVOKE_REPLAYED_CODE = f"""
UPDATE token_family AS f SET revoked_at = now(), revoked_reason = 'authorization_code_reuse'
FROM authorization_code AS c
WHERE c.user_id = $1 AND c.code_hash = $2 AND c.client_id = $3 AND c.consumed_at IS NOT NULL
  AND (c.confirmation IS NULL OR c.confirmation <@ $4::jsonb)
  AND f.user_id = $1 AND f.id = c.family_id AND f.revoked_at IS NULL
RETURNING {REVOKED_FAMILY}
"""  # noqa: S608


class CodeRedemption(msgspec.Struct, frozen=True, kw_only=True):
    """The redemption of a code.

    Attributes:
        user_id: the user in the code.
        code_challenge: S256 of the verifier; None: none was sent.
        registered: the scopes that the client is registered for. The code must have one of them, unless it has
            authorization details.
        resource: the resources that the code must cover.
        not_before: a code that was issued earlier is refused.
        confirmation: the key that the request proves.
        family_id: the id of the family that is created.
        family_confirmation: the key that its refresh tokens are bound to.
        refresh_token: is stored with the family; None: none is issued.
    """

    user_id: UUID
    code_hash: bytes
    client_id: str
    redirect_uri: str
    code_challenge: str | None
    registered: str
    resource: Sequence[str]
    confirmation: Confirmation | None = None
    not_before: datetime
    family_id: UUID
    family_confirmation: Confirmation | None = None
    family_expires_at: datetime
    refresh_token: NewRefreshToken | None


class RedeemedCode(Grant, frozen=True, kw_only=True):
    """The authorization of a redeemed code. ``trace_id`` is of the record for support (:mod:`idp.trace`)."""

    trace_id: str


class UnusedCode(msgspec.Struct, frozen=True):
    """Whether a code is for the resources of a redemption, and has a scope that its client is registered for."""

    has_resources: bool
    has_scope: bool


async def redeem_code(redemption: CodeRedemption) -> RedeemedCode | None:
    """Consume a code and create its token family. Returns None if a condition is not met."""
    new = redemption.refresh_token
    row = await _REDEEM_CODE.fetchrow(
        code_hash=redemption.code_hash,
        user_id=redemption.user_id,
        client_id=redemption.client_id,
        redirect_uri=redemption.redirect_uri,
        code_challenge=redemption.code_challenge,
        registered=redemption.registered,
        resource=" ".join(redemption.resource),
        confirmation=stored(redemption.confirmation),
        family_confirmation=stored(redemption.family_confirmation),
        not_before=redemption.not_before,
        family_id=redemption.family_id,
        family_expires_at=redemption.family_expires_at,
        jti=new.jti if new else None,
        token_hash=new.hash if new else None,
        issued_at=new.issued_at if new else None,
        expires_at=new.expires_at if new else None,
    )
    return one(RedeemedCode, row)


async def unused_code(redemption: CodeRedemption) -> UnusedCode | None:
    """Return what an unused code is good for; None if it is unknown, used or expired."""
    code = (redemption.user_id, redemption.code_hash, redemption.client_id)
    return one(UnusedCode, await fetchrow(_UNUSED_CODE, *code, redemption.resource, redemption.registered))


async def details_of_code(redemption: CodeRedemption) -> str | None:
    """Return the authorization details of a code; an empty list for a code without, None for an unknown code."""
    asked = (redemption.user_id, redemption.code_hash, redemption.client_id)
    return stored_details(await fetchrow(_DETAILS_OF_CODE, *asked))


async def revoke_replayed_code(redemption: CodeRedemption) -> RevokedFamily | None:
    """Revoke the family of a code that was already consumed."""
    asked = (redemption.user_id, redemption.code_hash, redemption.client_id, stored(redemption.confirmation))
    return one(RevokedFamily, await fetchrow(_REVOKE_REPLAYED_CODE, *asked))
