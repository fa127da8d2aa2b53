"""Token families that are started without a code, and the revocation of families."""

from datetime import datetime
from uuid import UUID

import asyncpg
import msgspec

from idp.directory.repository.organizations import is_member
from idp.infra.db.engine import execute, fetchrow
from idp.infra.db.expiring import Expiring
from idp.infra.db.named_queries import NamedQuery
from idp.infra.db.rows import one
from idp.oauth.binding.confirmation import Confirmation, stored
from idp.oauth.tables import TokenFamily
from idp.oauth.token.grant import Grant
from idp.oauth.token.refresh_jwt import NewRefreshToken, PresentedRefreshToken
from idp.settings import settings

EXPIRING = (
    # A family stays until its tokens are deleted: otherwise PostgreSQL would delete and lock all of them in one
    # statement. Its last token expires up to a lifetime later; without that, each round would read all families that
    # still have tokens.
    Expiring(
        TokenFamily,
        "1 day",
        key=("user_id", "id"),
        further=lambda: settings().refresh_token_lifetime,
        unless="EXISTS (SELECT FROM refresh_token AS r WHERE r.user_id = t.user_id AND r.family_id = t.id)",
    ),
)

#: The client of a code or a family has one of its scopes still. Authorization details need none (RFC 9396 section 3).
REGISTERED = "({grant}.authorization_details IS NOT NULL OR string_to_array({grant}.scope, ' ') && {registered})"

# A family without a code, whose client takes part in the session from then on. The lock of the session makes a
# concurrent sign-out wait, and then revoke the family.
_INSERT_FAMILY = NamedQuery(f"""
WITH family AS (
    INSERT INTO token_family AS f (user_id, id, client_id, session_id, organization_id, scope, resource, claims,
                              offline_access, auth_time, auth_age, amr, acr, created_at, expires_at)
    SELECT s.user_id, :family_id, :client_id, s.id, :organization_id, :scope, :resource, :claims,
           false, :auth_time, :auth_age, :amr, :acr, now(), now() + make_interval(secs => :lifetime)
    FROM users AS u, session AS s
    WHERE u.id = :user_id AND u.disabled_at IS NULL
      AND s.user_id = :user_id AND s.id = :session_id AND s.ended_at IS NULL AND s.expires_at > now()
      AND (:organization_id::uuid IS NULL OR {is_member(":user_id", ":organization_id")})
    FOR SHARE OF s
    RETURNING f.user_id, f.session_id, f.client_id
), participant AS (
    INSERT INTO session_client (user_id, session_id, client_id, created_at)
    SELECT user_id, session_id, client_id, now() FROM family ON CONFLICT DO NOTHING
)
SELECT u.directory_version FROM family, users AS u WHERE u.id = :user_id
""")  # noqa: S608

# A family without a session, and its first refresh token, unless jti is null.
_INSERT_OFFLINE_FAMILY = NamedQuery(f"""
WITH family AS (
    INSERT INTO token_family AS f (user_id, id, client_id, scope, resource, claims, authorization_details, confirmation,
                              organization_id, offline_access, auth_time, auth_age, amr, acr, created_at, expires_at)
    SELECT u.id, :family_id, :client_id, :scope, :resource, :claims, :authorization_details, :confirmation,
           :organization_id, true, :auth_time, :auth_age, :amr, :acr, now(), :family_expires_at
    FROM users AS u WHERE u.id = :user_id AND u.disabled_at IS NULL
      AND (:organization_id::uuid IS NULL OR {is_member(":user_id", ":organization_id")})
    RETURNING f.user_id, f.id
), refresh AS (
    INSERT INTO refresh_token (user_id, jti, family_id, token_hash, issued_at, expires_at)
    SELECT user_id, :jti, id, :token_hash, :issued_at, :expires_at FROM family WHERE :jti::uuid IS NOT NULL
)
SELECT u.directory_version FROM family, users AS u WHERE u.id = :user_id
""")  # noqa: S608

# $1 user_id  $2 family_id  $3 client_id
_DETAILS_OF_FAMILY = """
SELECT authorization_details FROM token_family WHERE user_id = $1 AND id = $2 AND client_id = $3
"""

REVOKED_FAMILY = "f.id, f.client_id, f.user_id, f.session_id"

# $1 user_id  $2 auth_time  $3 client_id (null: all clients)
_CONSUME_EARLIER_CODES = """
UPDATE authorization_code SET consumed_at = now()
WHERE user_id = $1 AND auth_time < $2 AND consumed_at IS NULL AND ($3::text IS NULL OR client_id = $3)
"""
_REVOKE_EARLIER_FAMILIES = """
UPDATE token_family SET revoked_at = now(), revoked_reason = 'single_session'
WHERE user_id = $1 AND auth_time < $2 AND revoked_at IS NULL AND ($3::text IS NULL OR client_id = $3)
"""

# RFC 7009. $1 user_id  $2 family_id  $3 client_id
_REVOKE_BY_CLIENT = f"""
UPDATE token_family AS f SET revoked_at = now(), revoked_reason = 'revoked_by_client'
WHERE f.user_id = $1 AND f.id = $2 AND f.client_id = $3 AND f.revoked_at IS NULL
RETURNING {REVOKED_FAMILY}
"""  # noqa: S608

# $1 user_id  $2 family_id  $3 reason
_REVOKE_FOR_REUSE = f"""
UPDATE token_family AS f SET revoked_at = now(), revoked_reason = $3
WHERE f.user_id = $1 AND f.id = $2 AND f.revoked_at IS NULL
RETURNING {REVOKED_FAMILY}
"""  # noqa: S608

# $1 user_id  $2 family_id
_CLIENT_OF_FAMILY = "SELECT client_id FROM token_family WHERE user_id = $1 AND id = $2"


class RevokedFamily(msgspec.Struct, frozen=True):
    """A token family that a statement has revoked."""

    id: UUID
    client_id: str
    user_id: UUID
    session_id: UUID | None


async def insert_family(grant: Grant, client_id: str, lifetime: float) -> Grant | None:
    """Store the family of a grant for ``lifetime`` seconds. Returns the grant with its ``directory_version``.

    Returns None if its user is disabled or not a member of its organization, or its session has ended.
    """
    given = {"client_id": client_id, "lifetime": lifetime}
    values = {name: getattr(grant, name) for name in _INSERT_FAMILY.names if name not in given}
    return with_version(grant, await _INSERT_FAMILY.fetchrow(**values, **given))


def with_version(grant: Grant, row: asyncpg.Record | None) -> Grant | None:
    """Return the grant with the ``directory_version`` of a row; None if there is no row."""
    return msgspec.structs.replace(grant, directory_version=row["directory_version"]) if row is not None else None


async def insert_offline_family(
    grant: Grant,
    client_id: str,
    family_expires_at: datetime,
    confirmation: Confirmation | None,
    refresh_token: NewRefreshToken | None,
) -> Grant | None:
    """Store the family of a grant without a session, and its refresh token.

    Returns the grant with its ``directory_version``; None if its user is disabled, or not a member of its organization.

    Args:
        confirmation: the key that the refresh tokens are bound to.
    """
    new = refresh_token
    row = await _INSERT_OFFLINE_FAMILY.fetchrow(
        user_id=grant.user_id,
        family_id=grant.family_id,
        client_id=client_id,
        scope=grant.scope,
        resource=grant.resource,
        claims=grant.claims,
        authorization_details=grant.authorization_details,
        confirmation=stored(confirmation),
        auth_time=grant.auth_time,
        auth_age=grant.auth_age,
        amr=grant.amr,
        acr=grant.acr,
        organization_id=grant.organization_id,
        family_expires_at=family_expires_at,
        jti=new.jti if new else None,
        token_hash=new.hash if new else None,
        issued_at=new.issued_at if new else None,
        expires_at=new.expires_at if new else None,
    )
    return with_version(grant, row)


async def consume_earlier_codes(user_id: UUID, auth_time: datetime, client_id: str | None) -> None:
    """Consume the codes of sign-ins before ``auth_time``, at one client or at all (None)."""
    await execute(_CONSUME_EARLIER_CODES, user_id, auth_time, client_id)


async def revoke_earlier_families(user_id: UUID, auth_time: datetime, client_id: str | None) -> None:
    """Revoke the families of sign-ins before ``auth_time``, at one client or at all (None)."""
    await execute(_REVOKE_EARLIER_FAMILIES, user_id, auth_time, client_id)


async def revoke_by_client(token: PresentedRefreshToken, client_id: str) -> RevokedFamily | None:
    """Revoke the family of a token, if it is one of this client (RFC 7009)."""
    return one(RevokedFamily, await fetchrow(_REVOKE_BY_CLIENT, token.user_id, token.family_id, client_id))


async def revoke_for_reuse(user_id: UUID, family_id: UUID, reason: str) -> RevokedFamily | None:
    """Revoke the family of something that was used twice."""
    return one(RevokedFamily, await fetchrow(_REVOKE_FOR_REUSE, user_id, family_id, reason))


async def client_of_family(token: PresentedRefreshToken) -> str | None:
    """Return the client of the family of a token; None if the family is unknown."""
    row = await fetchrow(_CLIENT_OF_FAMILY, token.user_id, token.family_id)
    client_id: str | None = row["client_id"] if row else None
    return client_id


async def details_of_family(token: PresentedRefreshToken, client_id: str) -> str | None:
    """Return the authorization details of the family of a refresh token, as :func:`stored_details` does."""
    return stored_details(await fetchrow(_DETAILS_OF_FAMILY, token.user_id, token.family_id, client_id))


def stored_details(row: asyncpg.Record | None) -> str | None:
    """Return the details of a row; an empty list if it has none, None if there is no row."""
    return (row["authorization_details"] or "[]") if row is not None else None
