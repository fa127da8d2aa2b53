"""The few hot statements of the protocol, each one round trip.

Whatever is single-use is consumed here by one conditional statement whose predicate holds every condition, expiry by
the database's clock included. A statement that finds no row has changed nothing.
"""

from idp.accounts.tables import User
from idp.infra.db.coalescing import CoalescedQuery
from idp.infra.db.columns import all_columns

# code_challenge: S256 of the verifier (null: none was sent). jti and what follows: of the refresh token (null: none is
# wanted). family_id: of what is issued; the refresh token names it. family_until: the latest end of the family.
# resource: those that the code must cover, parted by spaces. not_before: what the code must not be older than.
REDEEM_CODE = CoalescedQuery(
    "code_hash bytea, client_id text, redirect_uri text, code_challenge text, resource text, not_before timestamptz, "
    "family_id uuid, family_until timestamptz, jti uuid, token_hash bytea, issued_at timestamptz, "
    "expires_at timestamptz",
    """
WITH code AS (
    UPDATE authorization_code AS c SET consumed_at = now(), family_id = a.family_id
    FROM asked AS a, users AS u, session AS s
    WHERE c.code_hash = a.code_hash AND c.client_id = a.client_id AND c.redirect_uri = a.redirect_uri
      AND c.code_challenge IS NOT DISTINCT FROM a.code_challenge AND c.resource @> string_to_array(a.resource, ' ')
      AND c.consumed_at IS NULL AND c.expires_at > now() AND c.created_at >= a.not_before
      AND u.id = c.user_id AND u.disabled_at IS NULL
      AND s.id = c.session_id AND s.ended_at IS NULL AND s.expires_at > now()
    RETURNING a.number, a.jti, a.token_hash, a.issued_at, a.expires_at, a.family_until, c.family_id, c.client_id,
              c.user_id, c.session_id, c.scope, c.resource, c.claims, c.offline_access, c.nonce, c.auth_time,
              c.auth_age, c.amr, c.acr
), family AS (
    INSERT INTO token_family (id, client_id, user_id, session_id, scope, resource, claims, offline_access,
                              auth_time, auth_age, amr, acr, created_at, expires_at)
    SELECT family_id, client_id, user_id, session_id, scope, resource, claims, offline_access,
           auth_time, auth_age, amr, acr, now(), family_until
    FROM code
), refresh AS (
    INSERT INTO refresh_token (jti, family_id, token_hash, issued_at, expires_at)
    SELECT jti, family_id, token_hash, issued_at, expires_at FROM code WHERE jti IS NOT NULL
)
SELECT number, family_id, user_id, session_id, scope, resource, claims, nonce, auth_time, auth_age, amr, acr FROM code
""",
)

# Whether a code, not used up, was granted for other resources. $1 code_hash  $2 client_id  $3 resources
CODE_FOR_OTHER_RESOURCES = """
SELECT 1 FROM authorization_code
WHERE code_hash = $1 AND client_id = $2 AND consumed_at IS NULL AND expires_at > now() AND NOT resource @> $3::text[]
"""

# A code that its client used before: its family dies with all that was issued from it. $1 code_hash  $2 client_id
REVOKE_REPLAYED_CODE = """
UPDATE token_family AS f SET revoked_at = now(), revoked_reason = 'authorization_code_reuse'
FROM authorization_code AS c
WHERE c.code_hash = $1 AND c.client_id = $2 AND c.consumed_at IS NOT NULL
  AND f.id = c.family_id AND f.revoked_at IS NULL
RETURNING f.id, f.client_id, f.user_id, f.session_id
"""

# Single-session mode: what the user's earlier sign-ins gave, and before that the codes that would give more.
# A redemption that runs at the same moment is waited for; latest first, so that no two wait for each other.
# $1 user_id  $2 auth_time  $3 client_id (null: all clients)
END_EARLIER_CODES = """
UPDATE authorization_code SET consumed_at = now() WHERE code_hash IN (
    SELECT code_hash FROM authorization_code
    WHERE user_id = $1 AND auth_time < $2 AND consumed_at IS NULL AND ($3::text IS NULL OR client_id = $3)
    ORDER BY auth_time DESC FOR UPDATE)
"""
REVOKE_EARLIER_FAMILIES = """
UPDATE token_family SET revoked_at = now(), revoked_reason = 'single_session'
WHERE user_id = $1 AND auth_time < $2 AND revoked_at IS NULL AND ($3::text IS NULL OR client_id = $3)
"""

# A family still yields tokens while neither it, nor its user, nor (without offline access) its session has ended.
_FAMILY_LIVES = """
    f.revoked_at IS NULL AND f.expires_at > now() AND u.id = f.user_id AND u.disabled_at IS NULL
    AND (f.offline_access OR EXISTS (
        SELECT FROM session AS s WHERE s.id = f.session_id AND s.ended_at IS NULL AND s.expires_at > now()))
"""

# The state of a family ``f`` with its user ``u``, for the operator, after a statement refused.
_FAMILY_STATE = """
    f.id AS family_id, f.user_id, f.client_id, f.created_at, f.revoked_at IS NOT NULL AS revoked, f.revoked_reason,
    f.expires_at <= now() AS family_expired, u.disabled_at IS NOT NULL AS user_disabled,
    NOT f.offline_access AND NOT EXISTS (
        SELECT FROM session AS s WHERE s.id = f.session_id AND s.ended_at IS NULL AND s.expires_at > now()
    ) AS session_ended
"""

# $1 family_id (null: that of the token)  $2 jti  $3 token_hash
STATE_OF_REFRESH_TOKEN = f"""
SELECT {_FAMILY_STATE}, r.jti IS NOT NULL AS known, r.rotated_at IS NOT NULL AS rotated,
       r.expires_at <= now() AS expired
FROM token_family AS f JOIN users AS u ON u.id = f.user_id
LEFT JOIN refresh_token AS r ON r.family_id = f.id AND r.jti = $2 AND r.token_hash = $3
WHERE f.id = coalesce($1, (SELECT family_id FROM refresh_token WHERE jti = $2 AND token_hash = $3))
"""  # noqa: S608

# $1 family_id  $2 jti
STATE_OF_ACCESS_TOKEN = f"""
SELECT {_FAMILY_STATE}, EXISTS (SELECT FROM revoked_access_token AS t WHERE t.jti = $2) AS token_revoked
FROM token_family AS f JOIN users AS u ON u.id = f.user_id WHERE f.id = $1
"""  # noqa: S608

# A code that was used has a family; one that was only ended has none. $1 code_hash
STATE_OF_CODE = """
SELECT c.user_id, c.client_id, c.redirect_uri, c.code_challenge, c.created_at, f.id AS family_id,
       c.consumed_at IS NOT NULL AS consumed, c.expires_at <= now() AS expired,
       u.disabled_at IS NOT NULL AS user_disabled, s.ended_at IS NOT NULL OR s.expires_at <= now() AS session_ended
FROM authorization_code AS c JOIN users AS u ON u.id = c.user_id JOIN session AS s ON s.id = c.session_id
LEFT JOIN token_family AS f ON f.id = c.family_id
WHERE c.code_hash = $1
"""

# Of the token presented, and scopes and resources that it must cover, parted by spaces. new_jti and what follows: of
# its successor. not_before: what no family may be older than.
ROTATE_REFRESH_TOKEN = CoalescedQuery(
    "jti uuid, token_hash bytea, client_id text, scope text, resource text, not_before timestamptz, "
    "new_jti uuid, new_hash bytea, new_issued_at timestamptz, new_expires_at timestamptz",
    f"""
WITH old AS (
    UPDATE refresh_token AS r SET rotated_at = now(), successor = a.new_jti
    FROM asked AS a, token_family AS f, users AS u
    WHERE r.jti = a.jti AND r.token_hash = a.token_hash AND r.rotated_at IS NULL AND r.expires_at > now()
      AND f.id = r.family_id AND f.client_id = a.client_id
      AND string_to_array(f.scope, ' ') @> string_to_array(a.scope, ' ')
      AND f.resource @> string_to_array(a.resource, ' ') AND f.created_at >= a.not_before AND {_FAMILY_LIVES}
    RETURNING a.number, a.new_jti, a.new_hash, a.new_issued_at, a.new_expires_at, f.id AS family_id,
              f.user_id, f.session_id, f.scope, f.resource, f.claims, f.auth_time, f.auth_age, f.amr, f.acr
), new AS (
    INSERT INTO refresh_token (jti, family_id, token_hash, issued_at, expires_at)
    SELECT new_jti, family_id, new_hash, new_issued_at, new_expires_at FROM old
)
SELECT number, family_id, user_id, session_id, scope, resource, claims, auth_time, auth_age, amr, acr FROM old
""",  # noqa: S608
)

# A used token ``r`` still yields its successor ``n``: for some seconds whatever became of that, so that several tabs or
# processes of a client may use it at once; for longer as long as the successor was never used, so that an answer that
# was lost logs nobody out. Past both, a second use is theft or a lost race.
_REPEATABLE = """(
    r.rotated_at + make_interval(secs => {grace}) > now()
    OR (n.rotated_at IS NULL AND r.rotated_at + make_interval(secs => {repeat}) > now()))
"""

# The successor of a token that may be used again. $1 jti  $2 token_hash  $3 client_id  $4 scopes  $5 resources  that it
# must cover  $6 the moment that no family may be older than  $7 seconds for which a used token yields its successor
# $8 seconds for which it yields one that was never used
REPEAT_ROTATION = f"""
SELECT f.id AS family_id, f.user_id, f.session_id, f.scope, f.resource, f.claims, f.auth_time, f.auth_age, f.amr, f.acr,
       n.jti, n.token_hash, n.issued_at, n.expires_at
FROM refresh_token AS r, refresh_token AS n, token_family AS f, users AS u
WHERE r.jti = $1 AND r.token_hash = $2 AND r.expires_at > now() AND n.jti = r.successor
  AND {_REPEATABLE.format(grace="$7", repeat="$8")}
  AND f.id = r.family_id AND f.client_id = $3 AND string_to_array(f.scope, ' ') @> $4::text[]
  AND f.resource @> $5::text[] AND f.created_at >= $6 AND {_FAMILY_LIVES}
"""  # noqa: S608

# A token that was used before, presented too late: the family dies, whoever it was.
# $1 jti  $2 token_hash  $3 client_id  $4, $5 seconds as in REPEAT_ROTATION
REVOKE_REUSED_REFRESH_TOKEN = f"""
UPDATE token_family AS f SET revoked_at = now(), revoked_reason = 'refresh_token_reuse'
FROM refresh_token AS r LEFT JOIN refresh_token AS n ON n.jti = r.successor
WHERE r.jti = $1 AND r.token_hash = $2 AND r.rotated_at IS NOT NULL
  AND NOT coalesce({_REPEATABLE.format(grace="$4", repeat="$5")}, false)
  AND f.id = r.family_id AND f.client_id = $3 AND f.revoked_at IS NULL
RETURNING f.id, f.client_id, f.user_id, f.session_id
"""  # noqa: S608

# A token of ours that the database does not know was given out by a commit that it has lost: a replica that lagged took
# over, or a backup was restored. It came from the youngest token of its family that is known and older. The token of
# that one stands for it. $1 family_id  $2 jti
KNOWN_ANCESTOR = """
SELECT r.jti, r.issued_at, r.expires_at, r.token_hash FROM refresh_token AS r
WHERE r.family_id = $1 AND r.jti < $2 AND NOT EXISTS (SELECT FROM refresh_token AS t WHERE t.jti = $2)
ORDER BY r.jti DESC LIMIT 1
"""

# $1 jti  $2 token_hash
FAMILY_OF_REFRESH_TOKEN = "SELECT family_id FROM refresh_token WHERE jti = $1 AND token_hash = $2"

# Whether an access token of a family still counts.
_ACCESS_TOKEN_LIVES = f"""
FROM asked AS a, token_family AS f, users AS u
WHERE f.id = a.family_id AND {_FAMILY_LIVES}
  AND NOT EXISTS (SELECT FROM revoked_access_token AS t WHERE t.jti = a.jti)
"""
LIVE_ACCESS_TOKEN = CoalescedQuery("family_id uuid, jti text", f"SELECT a.number, u.id {_ACCESS_TOKEN_LIVES}")
# And what userinfo may say.
CLAIMS_OF_LIVE_ACCESS_TOKEN = CoalescedQuery(
    "family_id uuid, jti text", f"SELECT a.number, {all_columns(User, 'u')}, f.claims {_ACCESS_TOKEN_LIVES}"
)

# Keeps an access token of a family alive for the rest of the transaction. The user first, as everything locks them.
# $1 family_id  $2 jti
HOLD_ACCESS_TOKEN = f"""
SELECT u.id FROM users AS u, token_family AS f
WHERE f.id = $1 AND {_FAMILY_LIVES} AND NOT EXISTS (SELECT FROM revoked_access_token AS t WHERE t.jti = $2)
FOR SHARE OF u FOR SHARE OF f
"""  # noqa: S608

# An access token of no family.
IS_REVOKED = CoalescedQuery("jti text", "SELECT number FROM asked JOIN revoked_access_token USING (jti)")

# $1 jti  $2 token_hash  $3 client_id  $4 the moment that no family may be older than
LIVE_REFRESH_TOKEN = f"""
SELECT f.user_id, f.scope, r.issued_at, r.expires_at
FROM refresh_token AS r, token_family AS f, users AS u
WHERE r.jti = $1 AND r.token_hash = $2 AND r.rotated_at IS NULL AND r.expires_at > now()
  AND f.id = r.family_id AND f.client_id = $3 AND f.created_at >= $4 AND {_FAMILY_LIVES}
"""  # noqa: S608

# Revoke the family of a refresh token, live or not (RFC 7009). $1 family_id  $2 client_id
REVOKE_BY_CLIENT = """
UPDATE token_family AS f SET revoked_at = now(), revoked_reason = 'revoked_by_client'
WHERE f.id = $1 AND f.client_id = $2 AND f.revoked_at IS NULL
RETURNING f.id, f.client_id, f.user_id, f.session_id
"""

# $1 jti  $2 expires_at
REVOKE_ACCESS_TOKEN = """
INSERT INTO revoked_access_token (jti, expires_at) VALUES ($1, $2) ON CONFLICT DO NOTHING
"""

# $1 family_id
OWNER_OF_FAMILY = "SELECT client_id FROM token_family WHERE id = $1"
