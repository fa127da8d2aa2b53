"""The statements of the token endpoint: redeeming codes, rotating and revoking refresh tokens.

Each is one round trip. A code or token is consumed by one conditional statement whose predicate has every condition,
including the expiry by the database's clock. A statement that finds no row has changed nothing.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import asyncpg
import msgspec

from idp.infra.db.coalescing import CoalescedQuery
from idp.infra.db.engine import execute, fetchrow
from idp.infra.db.expiring import Expiring
from idp.infra.db.named_queries import NamedQuery
from idp.infra.db.rows import one
from idp.oauth.binding.confirmation import Confirmation
from idp.oauth.repository import live_family_of_user
from idp.oauth.tables import RefreshToken, TokenFamily
from idp.oauth.token.grant import Grant
from idp.oauth.token.refresh_jwt import NewRefreshToken, PresentedRefreshToken, StoredRefreshToken
from idp.settings import settings

EXPIRING = (
    Expiring(RefreshToken, "1 day", key=("user_id", "jti")),
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

# jti and the columns after it: of the refresh token; null: none is issued. resource: separated by spaces.
_REDEEM_CODE = CoalescedQuery(
    "code_hash bytea, user_id uuid, client_id text, redirect_uri text, code_challenge text, resource text, "
    "confirmation text, family_confirmation text, "
    "not_before timestamptz, family_id uuid, family_expires_at timestamptz, jti uuid, token_hash bytea, "
    "issued_at timestamptz, expires_at timestamptz",
    """
WITH code AS (
    UPDATE authorization_code AS c SET consumed_at = now(), family_id = a.family_id
    FROM asked AS a, users AS u, session AS s
    WHERE c.user_id = a.user_id AND c.code_hash = a.code_hash AND c.client_id = a.client_id
      AND c.redirect_uri = a.redirect_uri
      AND c.code_challenge IS NOT DISTINCT FROM a.code_challenge AND c.resource @> string_to_array(a.resource, ' ')
      AND (c.confirmation IS NULL OR c.confirmation <@ a.confirmation::jsonb)
      AND c.consumed_at IS NULL AND c.expires_at > now() AND c.created_at >= a.not_before
      AND u.id = a.user_id AND u.disabled_at IS NULL
      AND s.user_id = a.user_id AND s.id = c.session_id AND s.ended_at IS NULL AND s.expires_at > now()
    RETURNING a.number, a.jti, a.token_hash, a.issued_at, a.expires_at, a.family_expires_at,
              a.family_confirmation::jsonb AS confirmation, c.family_id, c.client_id,
              c.user_id, c.session_id, c.scope, c.resource, c.claims, c.authorization_details, c.offline_access,
              c.nonce, c.auth_time, c.auth_age, c.amr, c.acr
), family AS (
    INSERT INTO token_family (user_id, id, client_id, session_id, scope, resource, claims, confirmation,
                              authorization_details, offline_access, auth_time, auth_age, amr, acr, created_at,
                              expires_at)
    SELECT user_id, family_id, client_id, session_id, scope, resource, claims, confirmation, authorization_details,
           offline_access, auth_time, auth_age, amr, acr, now(), family_expires_at
    FROM code
), refresh AS (
    INSERT INTO refresh_token (user_id, jti, family_id, token_hash, issued_at, expires_at)
    SELECT user_id, jti, family_id, token_hash, issued_at, expires_at FROM code WHERE jti IS NOT NULL
)
SELECT number, family_id, user_id, session_id, scope, resource, claims, authorization_details, nonce, auth_time,
       auth_age, amr, acr
FROM code
""",
)

# A family without a code. The lock of the session makes a concurrent sign-out wait, and then revoke the family.
_INSERT_FAMILY = NamedQuery("""
INSERT INTO token_family (user_id, id, client_id, session_id, scope, resource, claims, offline_access,
                          auth_time, auth_age, amr, acr, created_at, expires_at)
SELECT s.user_id, :family_id, :client_id, s.id, :scope, :resource, :claims, false,
       :auth_time, :auth_age, :amr, :acr, now(), now() + make_interval(secs => :lifetime)
FROM users AS u, session AS s
WHERE u.id = :user_id AND u.disabled_at IS NULL
  AND s.user_id = :user_id AND s.id = :session_id AND s.ended_at IS NULL AND s.expires_at > now()
FOR SHARE OF s
RETURNING id
""")

# $1 user_id  $2 code_hash  $3 client_id  $4 resources
_CODE_FOR_OTHER_RESOURCES = """
SELECT FROM authorization_code
WHERE user_id = $1 AND code_hash = $2 AND client_id = $3 AND consumed_at IS NULL AND expires_at > now()
  AND NOT resource @> $4::text[]
"""

# They do not change, so a request can be compared with them before it consumes anything.
# $1 user_id  $2 code_hash  $3 client_id
_DETAILS_OF_CODE = """
SELECT authorization_details FROM authorization_code WHERE user_id = $1 AND code_hash = $2 AND client_id = $3
"""
# $1 user_id  $2 family_id  $3 client_id
_DETAILS_OF_FAMILY = """
SELECT authorization_details FROM token_family WHERE user_id = $1 AND id = $2 AND client_id = $3
"""

_REVOKED_FAMILY = "f.id, f.client_id, f.user_id, f.session_id"
# Without the key that a code is bound to, nobody can use it, nor end its family.
# $1 user_id  $2 code_hash  $3 client_id  $4 the proved key
_REVOKE_REPLAYED_CODE = f"""
UPDATE token_family AS f SET revoked_at = now(), revoked_reason = 'authorization_code_reuse'
FROM authorization_code AS c
WHERE c.user_id = $1 AND c.code_hash = $2 AND c.client_id = $3 AND c.consumed_at IS NOT NULL
  AND (c.confirmation IS NULL OR c.confirmation <@ $4::jsonb)
  AND f.user_id = $1 AND f.id = c.family_id AND f.revoked_at IS NULL
RETURNING {_REVOKED_FAMILY}
"""  # noqa: S608

# The latest first, so that two redemptions lock the codes in the same order. The statement waits for a redemption
# that runs at the same moment. $1 user_id  $2 auth_time  $3 client_id (null: all clients)
_CONSUME_EARLIER_CODES = """
UPDATE authorization_code SET consumed_at = now() WHERE user_id = $1 AND code_hash IN (
    SELECT code_hash FROM authorization_code
    WHERE user_id = $1 AND auth_time < $2 AND consumed_at IS NULL AND ($3::text IS NULL OR client_id = $3)
    ORDER BY auth_time DESC FOR UPDATE)
"""
_REVOKE_EARLIER_FAMILIES = """
UPDATE token_family SET revoked_at = now(), revoked_reason = 'single_session'
WHERE user_id = $1 AND auth_time < $2 AND revoked_at IS NULL AND ($3::text IS NULL OR client_id = $3)
"""

# new_jti and the columns after it: of the successor. scope and resource: separated by spaces.
_ROTATE = CoalescedQuery(
    "jti uuid, user_id uuid, token_hash bytea, client_id text, scope text, resource text, confirmation text, "
    "not_before timestamptz, new_jti uuid, new_hash bytea, new_issued_at timestamptz, new_expires_at timestamptz",
    f"""
WITH old AS (
    UPDATE refresh_token AS r SET rotated_at = now(), successor = a.new_jti
    FROM asked AS a, token_family AS f, users AS u
    WHERE r.user_id = a.user_id AND r.jti = a.jti AND r.token_hash = a.token_hash
      AND r.rotated_at IS NULL AND r.expires_at > now()
      AND f.id = r.family_id AND f.client_id = a.client_id
      AND string_to_array(f.scope, ' ') @> string_to_array(a.scope, ' ')
      AND f.resource @> string_to_array(a.resource, ' ') AND f.created_at >= a.not_before
      AND (f.confirmation IS NULL OR f.confirmation <@ a.confirmation::jsonb)
      AND {live_family_of_user("a.user_id")}
    RETURNING a.number, a.new_jti, a.new_hash, a.new_issued_at, a.new_expires_at, f.id AS family_id,
              f.user_id, f.session_id, f.scope, f.resource, f.claims, f.authorization_details, f.auth_time,
              f.auth_age, f.amr, f.acr
), new AS (
    INSERT INTO refresh_token (user_id, jti, family_id, token_hash, issued_at, expires_at)
    SELECT user_id, new_jti, family_id, new_hash, new_issued_at, new_expires_at FROM old
)
SELECT number, family_id, user_id, session_id, scope, resource, claims, authorization_details, NULL AS nonce,
       auth_time, auth_age, amr, acr
FROM old
""",  # noqa: S608
)

# A token that is kept is extended to the lifetime of an unused one. One that was made for one use is not: its JWT,
# which is made again from the row, ends with it.
# $1 user_id  $2 jti  $3 token_hash  $4 client_id  $5 scopes  $6 resources  $7 not_before  $8 the proved key
# $9 the lifetime in seconds  $10 when the JWT ends
_KEEP = f"""
UPDATE refresh_token AS r SET expires_at = greatest(r.expires_at, least($10, now() + make_interval(secs => $9)))
FROM token_family AS f, users AS u
WHERE r.user_id = $1 AND r.jti = $2 AND r.token_hash = $3 AND r.rotated_at IS NULL AND r.expires_at > now()
  AND f.id = r.family_id AND f.client_id = $4 AND string_to_array(f.scope, ' ') @> $5::text[]
  AND f.resource @> $6::text[] AND f.created_at >= $7 AND {live_family_of_user("$1")}
  AND (f.confirmation IS NULL OR f.confirmation <@ $8::jsonb)
RETURNING f.id AS family_id, f.user_id, f.session_id, f.scope, f.resource, f.claims, f.authorization_details,
          NULL AS nonce, f.auth_time, f.auth_age, f.amr, f.acr
"""  # noqa: S608

# A used token ``r`` still yields its successor ``n``: during the grace period in any case, so that several tabs or
# processes of a client may use it concurrently; after that while the successor is unused, so that a lost response does
# not sign the user out. Later, a second use is theft or a lost race.
_REPEATABLE = """(
    r.rotated_at + make_interval(secs => {grace}) > now()
    OR (n.rotated_at IS NULL AND r.rotated_at + make_interval(secs => {repeat}) > now()))
"""

# $1 user_id  $2 jti  $3 token_hash  $4 client_id  $5 scopes  $6 resources  $7 not_before  $8, $9 the windows
# $10 the proved key
_REPEAT_ROTATION = f"""
SELECT f.id AS family_id, f.user_id, f.session_id, f.scope, f.resource, f.claims, f.authorization_details,
       NULL AS nonce, f.auth_time, f.auth_age, f.amr, f.acr, n.jti, n.token_hash, n.issued_at, n.expires_at
FROM refresh_token AS r, refresh_token AS n, token_family AS f, users AS u
WHERE r.user_id = $1 AND r.jti = $2 AND r.token_hash = $3 AND r.expires_at > now()
  AND n.user_id = $1 AND n.jti = r.successor AND {_REPEATABLE.format(grace="$8", repeat="$9")}
  AND f.id = r.family_id AND f.client_id = $4 AND string_to_array(f.scope, ' ') @> $5::text[]
  AND f.resource @> $6::text[] AND f.created_at >= $7 AND {live_family_of_user("$1")}
  AND (f.confirmation IS NULL OR f.confirmation <@ $10::jsonb)
"""  # noqa: S608

# Without the key that a family is bound to, nobody can use its tokens, nor end it.
# $1 user_id  $2 jti  $3 token_hash  $4 client_id  $5, $6 the windows  $7 the proved key
_REVOKE_REUSED = f"""
UPDATE token_family AS f SET revoked_at = now(), revoked_reason = 'refresh_token_reuse'
FROM refresh_token AS r LEFT JOIN refresh_token AS n ON n.user_id = $1 AND n.jti = r.successor
WHERE r.user_id = $1 AND r.jti = $2 AND r.token_hash = $3 AND r.rotated_at IS NOT NULL
  AND NOT coalesce({_REPEATABLE.format(grace="$5", repeat="$6")}, false)
  AND f.user_id = $1 AND f.id = r.family_id AND f.client_id = $4 AND f.revoked_at IS NULL
  AND (f.confirmation IS NULL OR f.confirmation <@ $7::jsonb)
RETURNING {_REVOKED_FAMILY}
"""  # noqa: S608

# $1 user_id  $2 family_id  $3 jti
_KNOWN_ANCESTOR = """
SELECT r.jti, r.issued_at, r.expires_at, r.token_hash FROM refresh_token AS r
WHERE r.user_id = $1 AND r.family_id = $2 AND r.jti < $3
  AND NOT EXISTS (SELECT FROM refresh_token AS t WHERE t.user_id = $1 AND t.jti = $3)
ORDER BY r.jti DESC LIMIT 1
"""

# $1 user_id  $2 jti  $3 token_hash  $4 client_id  $5 not_before
_LIVE_REFRESH_TOKEN = f"""
SELECT f.scope, f.confirmation, r.issued_at, r.expires_at
FROM refresh_token AS r, token_family AS f, users AS u
WHERE r.user_id = $1 AND r.jti = $2 AND r.token_hash = $3 AND r.rotated_at IS NULL AND r.expires_at > now()
  AND f.id = r.family_id AND f.client_id = $4 AND f.created_at >= $5 AND {live_family_of_user("$1")}
"""  # noqa: S608

# RFC 7009. $1 user_id  $2 family_id  $3 client_id
_REVOKE_BY_CLIENT = f"""
UPDATE token_family AS f SET revoked_at = now(), revoked_reason = 'revoked_by_client'
WHERE f.user_id = $1 AND f.id = $2 AND f.client_id = $3 AND f.revoked_at IS NULL
RETURNING {_REVOKED_FAMILY}
"""  # noqa: S608

# $1 user_id  $2 family_id
_CLIENT_OF_FAMILY = "SELECT client_id FROM token_family WHERE user_id = $1 AND id = $2"


class CodeRedemption(msgspec.Struct, frozen=True, kw_only=True):
    """The redemption of a code.

    Attributes:
        user_id: the user in the code.
        code_challenge: S256 of the verifier; None: none was sent.
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
    resource: Sequence[str]
    confirmation: Confirmation | None = None
    not_before: datetime
    family_id: UUID
    family_confirmation: Confirmation | None = None
    family_expires_at: datetime
    refresh_token: NewRefreshToken | None


class Rotation(msgspec.Struct, frozen=True, kw_only=True):
    """The use of a refresh token.

    Attributes:
        scope, resource: the scopes and resources that the family must cover.
        confirmation: the key that the request proves.
        not_before: a token whose family was created earlier is refused.
    """

    token: PresentedRefreshToken
    client_id: str
    scope: Sequence[str]
    resource: Sequence[str]
    confirmation: Confirmation | None = None
    not_before: datetime


class RepeatWindows(msgspec.Struct, frozen=True):
    """The seconds for which a used token yields its successor: in any case, and while the successor is unused."""

    grace: int
    repeat: int


class LiveRefreshToken(msgspec.Struct, frozen=True):
    """A refresh token that can be used, with the scope of its family and the key that it is bound to, as JSON."""

    scope: str
    confirmation: str | None
    issued_at: datetime
    expires_at: datetime


class RevokedFamily(msgspec.Struct, frozen=True):
    """A token family that a statement has revoked."""

    id: UUID
    client_id: str
    user_id: UUID
    session_id: UUID | None


def _json(confirmation: Confirmation | None) -> str | None:
    return confirmation.to_json() if confirmation else None


async def redeem_code(redemption: CodeRedemption) -> Grant | None:
    """Consume a code and create its token family. Returns None if a condition is not met."""
    new = redemption.refresh_token
    row = await _REDEEM_CODE.fetchrow(
        code_hash=redemption.code_hash,
        user_id=redemption.user_id,
        client_id=redemption.client_id,
        redirect_uri=redemption.redirect_uri,
        code_challenge=redemption.code_challenge,
        resource=" ".join(redemption.resource),
        confirmation=_json(redemption.confirmation),
        family_confirmation=_json(redemption.family_confirmation),
        not_before=redemption.not_before,
        family_id=redemption.family_id,
        family_expires_at=redemption.family_expires_at,
        jti=new.jti if new else None,
        token_hash=new.hash if new else None,
        issued_at=new.issued_at if new else None,
        expires_at=new.expires_at if new else None,
    )
    return one(Grant, row)


async def insert_family(grant: Grant, client_id: str, lifetime: float) -> bool:
    """Store the family of a grant for ``lifetime`` seconds.

    Returns False if its user is disabled, or its session has ended.
    """
    given = {"client_id": client_id, "lifetime": lifetime}
    values = {name: getattr(grant, name) for name in _INSERT_FAMILY.names if name not in given}
    return await _INSERT_FAMILY.fetchrow(**values, **given) is not None


async def is_code_for_other_resources(redemption: CodeRedemption) -> bool:
    """Return whether the code is unused and was issued for other resources."""
    asked = (redemption.user_id, redemption.code_hash, redemption.client_id, redemption.resource)
    return await fetchrow(_CODE_FOR_OTHER_RESOURCES, *asked) is not None


async def details_of_code(redemption: CodeRedemption) -> str | None:
    """Return the authorization details of a code; an empty list for a code without, None for an unknown code."""
    asked = (redemption.user_id, redemption.code_hash, redemption.client_id)
    return _details(await fetchrow(_DETAILS_OF_CODE, *asked))


async def details_of_family(rotation: Rotation) -> str | None:
    """Return the authorization details of the family of a refresh token, as :func:`details_of_code` does."""
    token = rotation.token
    return _details(await fetchrow(_DETAILS_OF_FAMILY, token.user_id, token.family_id, rotation.client_id))


def _details(row: asyncpg.Record | None) -> str | None:
    return (row["authorization_details"] or "[]") if row is not None else None


async def revoke_replayed_code(redemption: CodeRedemption) -> RevokedFamily | None:
    """Revoke the family of a code that was already consumed."""
    asked = (redemption.user_id, redemption.code_hash, redemption.client_id, _json(redemption.confirmation))
    return one(RevokedFamily, await fetchrow(_REVOKE_REPLAYED_CODE, *asked))


async def revoke_earlier_sign_ins(user_id: UUID, auth_time: datetime, client_id: str | None) -> None:
    """Consume the codes and revoke the families of sign-ins before ``auth_time``, at one client or at all (None)."""
    # Codes first: one that is redeemed at the same moment creates a family.
    await execute(_CONSUME_EARLIER_CODES, user_id, auth_time, client_id)
    await execute(_REVOKE_EARLIER_FAMILIES, user_id, auth_time, client_id)


async def rotate(rotation: Rotation, new: NewRefreshToken) -> Grant | None:
    """Consume a refresh token and store its successor. Returns None if a condition is not met."""
    row = await _ROTATE.fetchrow(
        jti=rotation.token.jti,
        user_id=rotation.token.user_id,
        token_hash=rotation.token.hash,
        client_id=rotation.client_id,
        scope=" ".join(rotation.scope),
        resource=" ".join(rotation.resource),
        confirmation=_json(rotation.confirmation),
        not_before=rotation.not_before,
        new_jti=new.jti,
        new_hash=new.hash,
        new_issued_at=new.issued_at,
        new_expires_at=new.expires_at,
    )
    return one(Grant, row)


async def keep(rotation: Rotation, lifetime: int) -> Grant | None:
    """Use a refresh token without consuming it: it lives for ``lifetime`` more seconds, but not longer than its
    JWT and its family.

    Returns None if a condition is not met.
    """
    token = rotation.token
    row = await fetchrow(
        _KEEP,
        *(token.user_id, token.jti, token.hash),
        *(rotation.client_id, rotation.scope, rotation.resource, rotation.not_before),
        *(_json(rotation.confirmation), lifetime, token.expires_at),
    )
    return one(Grant, row)


async def repeat_rotation(rotation: Rotation, windows: RepeatWindows) -> tuple[Grant, StoredRefreshToken] | None:
    """Return the grant and the successor of a token that was used within the windows."""
    token = rotation.token
    row = await fetchrow(
        _REPEAT_ROTATION,
        *(token.user_id, token.jti, token.hash),
        *(rotation.client_id, rotation.scope, rotation.resource, rotation.not_before),
        *(windows.grace, windows.repeat, _json(rotation.confirmation)),
    )
    grant, successor = one(Grant, row), one(StoredRefreshToken, row)
    return (grant, successor) if grant is not None and successor is not None else None


async def revoke_reused(rotation: Rotation, windows: RepeatWindows) -> RevokedFamily | None:
    """Revoke the family of a token that was used before the windows."""
    token = rotation.token
    asked = (
        *(token.user_id, token.jti, token.hash, rotation.client_id),
        *(windows.grace, windows.repeat, _json(rotation.confirmation)),
    )
    return one(RevokedFamily, await fetchrow(_REVOKE_REUSED, *asked))


async def known_ancestor(token: PresentedRefreshToken) -> StoredRefreshToken | None:
    """Return the youngest older token of the family of a token that is unknown; None if the token is known.

    A commit that issued the unknown token was lost: a lagging replica was promoted, or a backup was restored.
    """
    return one(StoredRefreshToken, await fetchrow(_KNOWN_ANCESTOR, token.user_id, token.family_id, token.jti))


async def live_refresh_token(
    token: PresentedRefreshToken, client_id: str, not_before: datetime
) -> LiveRefreshToken | None:
    """Return the token if this client can use it."""
    asked = (token.user_id, token.jti, token.hash, client_id, not_before)
    return one(LiveRefreshToken, await fetchrow(_LIVE_REFRESH_TOKEN, *asked))


async def revoke_by_client(token: PresentedRefreshToken, client_id: str) -> RevokedFamily | None:
    """Revoke the family of a token, if it is one of this client (RFC 7009)."""
    return one(RevokedFamily, await fetchrow(_REVOKE_BY_CLIENT, token.user_id, token.family_id, client_id))


async def client_of_family(token: PresentedRefreshToken) -> str | None:
    """Return the client of the family of a token; None if the family is unknown."""
    row = await fetchrow(_CLIENT_OF_FAMILY, token.user_id, token.family_id)
    client_id: str | None = row["client_id"] if row else None
    return client_id
