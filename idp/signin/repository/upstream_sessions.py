"""The statements on sessions at upstream providers, and on their lookup."""

from uuid import UUID

from idp.federation.models import LogoutToken, UpstreamSession
from idp.infra.db.engine import execute, fetch
from idp.infra.db.rows import many
from idp.signin.repository.sessions import SessionKey

# A row of the lookup is written in the same statement, and both are deleted with the session (foreign keys).
_INSERT = """
    WITH named AS (
        INSERT INTO upstream_sid (issuer, sid, user_id, session_id) SELECT $3, $5, $1, $2 WHERE $5 <> ''
        ON CONFLICT DO NOTHING
    )
    INSERT INTO upstream_session (user_id, session_id, issuer, subject, sid) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT DO NOTHING
"""
_USERS_OF_SID = "SELECT DISTINCT user_id FROM upstream_sid WHERE issuer = $1 AND sid = $2"
# $1 user_id  $2 issuer  $3 subject or null  $4 sid or null
_LIVE_SESSIONS = """
    SELECT s.user_id, s.id FROM session AS s WHERE s.user_id = $1 AND s.ended_at IS NULL AND s.expires_at > now()
    AND EXISTS (
        SELECT FROM upstream_session AS u
        WHERE u.user_id = $1 AND u.session_id = s.id AND u.issuer = $2
          AND ($3::text IS NULL OR u.subject = $3) AND ($4::text IS NULL OR u.sid = $4)
    )
"""


async def insert(user_id: UUID, session_id: UUID, upstream: UpstreamSession) -> None:
    """Store the session at a provider that a session here came from, in the transaction that starts the session."""
    await execute(_INSERT, user_id, session_id, upstream.issuer, upstream.subject, upstream.sid)


async def users_of_sid(issuer: str, sid: str) -> list[UUID]:
    """Return the users with a session here that came from a session at a provider."""
    return [row["user_id"] for row in await fetch(_USERS_OF_SID, issuer, sid)]


async def live_sessions(user_id: UUID, token: LogoutToken) -> list[SessionKey]:
    """Return the live sessions of a user that came from the session, or the user, that a logout token names."""
    return many(SessionKey, await fetch(_LIVE_SESSIONS, user_id, token.issuer, token.subject, token.sid))
