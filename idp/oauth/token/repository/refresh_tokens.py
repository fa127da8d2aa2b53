"""The rotation of refresh tokens, and its repetition (RFC 6749 section 6, RFC 9700 section 4.14.2)."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from idp.infra.db.coalescing import CoalescedQuery
from idp.infra.db.engine import fetchrow
from idp.infra.db.expiring import Expiring
from idp.infra.db.rows import one
from idp.oauth.binding.confirmation import Confirmation, stored
from idp.oauth.repository.families import LAST_USED, live_family_of_user
from idp.oauth.tables import RefreshToken
from idp.oauth.token.grant import Grant
from idp.oauth.token.refresh_jwt import NewRefreshToken, PresentedRefreshToken, StoredRefreshToken
from idp.oauth.token.repository.families import REGISTERED, REVOKED_FAMILY, RevokedFamily

EXPIRING = (Expiring(RefreshToken, "1 day", key=("user_id", "jti")),)

# new_jti and the columns after it: of the successor. scope, registered and resource: separated by spaces.
_ROTATE = CoalescedQuery(
    "jti uuid, user_id uuid, token_hash bytea, client_id text, scope text, registered text, resource text, "
    "confirmation text, not_before timestamptz, new_jti uuid, new_hash bytea, new_issued_at timestamptz, "
    "new_expires_at timestamptz",
    f"""
WITH old AS (
    UPDATE refresh_token AS r SET rotated_at = now(), successor = a.new_jti
    FROM asked AS a, token_family AS f, users AS u
    WHERE r.user_id = a.user_id AND r.jti = a.jti AND r.token_hash = a.token_hash
      AND r.rotated_at IS NULL AND r.expires_at > now()
      AND f.id = r.family_id AND f.client_id = a.client_id
      AND string_to_array(f.scope, ' ') @> string_to_array(a.scope, ' ')
      AND {REGISTERED.format(grant="f", registered="string_to_array(a.registered, ' ')")}
      AND f.resource @> string_to_array(a.resource, ' ') AND f.created_at >= a.not_before
      AND (f.confirmation IS NULL OR f.confirmation <@ a.confirmation::jsonb)
      AND {live_family_of_user("a.user_id", LAST_USED)}
    RETURNING a.number, a.new_jti, a.new_hash, a.new_issued_at, a.new_expires_at, f.id AS family_id,
              f.user_id, f.session_id, f.scope, f.resource, f.claims, f.authorization_details, f.auth_time,
              f.auth_age, f.amr, f.acr, f.organization_id, u.directory_version
), new AS (
    INSERT INTO refresh_token (user_id, jti, family_id, token_hash, issued_at, expires_at)
    SELECT user_id, new_jti, family_id, new_hash, new_issued_at, new_expires_at FROM old
)
SELECT number, family_id, user_id, session_id, scope, resource, claims, authorization_details, NULL AS nonce,
       auth_time, auth_age, amr, acr, organization_id, directory_version
FROM old
""",  # noqa: S608
)

# A token that is kept is extended to the lifetime of an unused one. One that was made for one use is not: its JWT,
# which is made again from the row, ends with it. Several requests may use one token, and PostgreSQL updates a row once
# in a statement, so the rows are found first. ends_at: when the JWT ends.
_KEEP = CoalescedQuery(
    "jti uuid, user_id uuid, token_hash bytea, client_id text, scope text, registered text, resource text, "
    "confirmation text, not_before timestamptz, lifetime float8, ends_at timestamptz",
    f"""
WITH found AS MATERIALIZED (
    SELECT a.number, a.jti,
           CASE WHEN r.expires_at < a.ends_at THEN least(a.ends_at, now() + make_interval(secs => a.lifetime))
                ELSE r.expires_at END AS extended_to,
           f.id AS family_id, f.user_id, f.session_id, f.scope, f.resource, f.claims, f.authorization_details,
           NULL AS nonce, f.auth_time, f.auth_age, f.amr, f.acr, f.organization_id, u.directory_version
    FROM asked AS a, refresh_token AS r, token_family AS f, users AS u
    WHERE r.user_id = a.user_id AND r.jti = a.jti AND r.token_hash = a.token_hash
      AND f.id = r.family_id AND f.client_id = a.client_id
      AND string_to_array(f.scope, ' ') @> string_to_array(a.scope, ' ')
      AND {REGISTERED.format(grant="f", registered="string_to_array(a.registered, ' ')")}
      AND f.resource @> string_to_array(a.resource, ' ') AND f.created_at >= a.not_before
      AND (f.confirmation IS NULL OR f.confirmation <@ a.confirmation::jsonb)
      AND {live_family_of_user("a.user_id", LAST_USED)}
), kept AS (
    UPDATE refresh_token AS r SET expires_at = f.extended_to, used_at = now() FROM found AS f
    WHERE r.user_id = f.user_id AND r.jti = f.jti AND r.rotated_at IS NULL AND r.expires_at > now()
    RETURNING r.user_id, r.jti
)
SELECT found.* FROM found JOIN kept USING (user_id, jti)
""",  # noqa: S608
)

# A used token ``r`` still yields its successor ``n``: during the grace period in any case, so that several tabs or
# processes of a client may use it concurrently; after that while the successor is unused, so that a lost response does
# not sign the user out. Later, a second use is theft or a lost race.
_REPEATABLE = """(
    now() - r.rotated_at < make_interval(secs => {grace})
    OR (n.rotated_at IS NULL AND now() - r.rotated_at < make_interval(secs => {repeat})))
"""

# $1 user_id  $2 jti  $3 token_hash  $4 client_id  $5 scopes  $6 resources  $7 not_before  $8, $9 the windows
# $10 the proved key  $11 registered scopes
_REPEAT_ROTATION = f"""
SELECT f.id AS family_id, f.user_id, f.session_id, f.scope, f.resource, f.claims, f.authorization_details,
       NULL AS nonce, f.auth_time, f.auth_age, f.amr, f.acr, f.organization_id, u.directory_version,
       n.jti, n.token_hash, n.issued_at, n.expires_at
FROM refresh_token AS r, refresh_token AS n, token_family AS f, users AS u
WHERE r.user_id = $1 AND r.jti = $2 AND r.token_hash = $3 AND r.expires_at > now()
  AND n.user_id = $1 AND n.jti = r.successor AND {_REPEATABLE.format(grace="$8", repeat="$9")}
  AND f.id = r.family_id AND f.client_id = $4 AND string_to_array(f.scope, ' ') @> $5::text[]
  AND f.resource @> $6::text[] AND f.created_at >= $7 AND {live_family_of_user("$1", "n.issued_at")}
  AND (f.confirmation IS NULL OR f.confirmation <@ $10::jsonb)
  AND {REGISTERED.format(grant="f", registered="string_to_array($11, ' ')")}
"""  # noqa: S608

# Without the key that a family is bound to, nobody can use its tokens, nor end it by using them.
# $1 user_id  $2 jti  $3 token_hash  $4 client_id  $5, $6 the windows  $7 the proved key
_REVOKE_REUSED = f"""
UPDATE token_family AS f SET revoked_at = now(), revoked_reason = 'refresh_token_reuse'
FROM refresh_token AS r LEFT JOIN refresh_token AS n ON n.user_id = $1 AND n.jti = r.successor
WHERE r.user_id = $1 AND r.jti = $2 AND r.token_hash = $3 AND r.rotated_at IS NOT NULL
  AND {_REPEATABLE.format(grace="$5", repeat="$6")} IS NOT TRUE
  AND f.user_id = $1 AND f.id = r.family_id AND f.client_id = $4 AND f.revoked_at IS NULL
  AND (f.confirmation IS NULL OR f.confirmation <@ $7::jsonb)
RETURNING {REVOKED_FAMILY}
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
SELECT f.scope, f.authorization_details IS NOT NULL AS has_details, f.confirmation, r.issued_at,
       least(r.expires_at, f.expires_at) AS expires_at
FROM refresh_token AS r, token_family AS f, users AS u
WHERE r.user_id = $1 AND r.jti = $2 AND r.token_hash = $3 AND r.rotated_at IS NULL AND r.expires_at > now()
  AND f.id = r.family_id AND f.client_id = $4 AND f.created_at >= $5 AND {live_family_of_user("$1", LAST_USED)}
"""  # noqa: S608


class Rotation(msgspec.Struct, frozen=True, kw_only=True):
    """The use of a refresh token.

    Attributes:
        scope, resource: the scopes and resources that the family must cover.
        registered: the scopes, of those that are requested, that the client is registered for. The family must have one
            of them, unless it has authorization details.
        confirmation: the key that the request proves.
        not_before: a token whose family was created earlier is refused.
    """

    token: PresentedRefreshToken
    client_id: str
    scope: Sequence[str]
    registered: str
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
    has_details: bool
    confirmation: str | None
    issued_at: datetime
    expires_at: datetime


async def rotate(rotation: Rotation, new: NewRefreshToken) -> Grant | None:
    """Consume a refresh token and store its successor. Returns None if a condition is not met."""
    row = await _ROTATE.fetchrow(
        **_values(rotation),
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
    row = await _KEEP.fetchrow(**_values(rotation), lifetime=lifetime, ends_at=rotation.token.expires_at)
    return one(Grant, row)


def _values(rotation: Rotation) -> dict[str, object]:
    """Return the columns that :data:`_ROTATE` and :data:`_KEEP` have in common."""
    return {
        "jti": rotation.token.jti,
        "user_id": rotation.token.user_id,
        "token_hash": rotation.token.hash,
        "client_id": rotation.client_id,
        "scope": " ".join(rotation.scope),
        "registered": rotation.registered,
        "resource": " ".join(rotation.resource),
        "confirmation": stored(rotation.confirmation),
        "not_before": rotation.not_before,
    }


async def repeat_rotation(rotation: Rotation, windows: RepeatWindows) -> tuple[Grant, StoredRefreshToken] | None:
    """Return the grant and the successor of a token that was used within the windows."""
    token = rotation.token
    row = await fetchrow(
        _REPEAT_ROTATION,
        *(token.user_id, token.jti, token.hash),
        *(rotation.client_id, rotation.scope, rotation.resource, rotation.not_before),
        *(windows.grace, windows.repeat, stored(rotation.confirmation), rotation.registered),
    )
    grant, successor = one(Grant, row), one(StoredRefreshToken, row)
    return (grant, successor) if grant is not None and successor is not None else None


async def revoke_reused(rotation: Rotation, windows: RepeatWindows) -> RevokedFamily | None:
    """Revoke the family of a token that was used before the windows."""
    token = rotation.token
    asked = (
        *(token.user_id, token.jti, token.hash, rotation.client_id),
        *(windows.grace, windows.repeat, stored(rotation.confirmation)),
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
