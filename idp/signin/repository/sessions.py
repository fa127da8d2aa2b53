"""The statements on sessions.

Whatever ends sessions does it by :func:`_end`. A session that has ended and was not announced yet is found by
:func:`claim_ended`.
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

import msgspec

from idp.audit.events import storable
from idp.infra.db.coalescing import CoalescedQuery
from idp.infra.db.engine import execute, fetch, fetchrow
from idp.infra.db.expiring import Expiring
from idp.infra.db.listing import Filter, Listing, Sort
from idp.infra.db.rows import many, one
from idp.infra.request_context import actor
from idp.signin.session_tokens import SessionToken
from idp.signin.tables import Session
from idp.signin.transitions import SINGLE_FACTOR

EXPIRING = (
    Expiring(
        Session,
        "1 day",
        key=("user_id", "id"),
        unless="t.ended_at IS NOT NULL AND t.announced_at IS NULL",
    ),
)

#: Set when this process has ended sessions. The transaction may not be committed yet.
ended = asyncio.Event()


class SessionKey(msgspec.Struct, frozen=True):
    """The key of a session."""

    user_id: UUID
    id: UUID


class ClaimedSession(SessionKey, frozen=True):
    """A session that has ended and is being announced.

    Attributes:
        reason: why it ended.
        by: the actor who ended it; empty: the user.
    """

    reason: str
    by: str


def columns(sessions: Sequence[SessionKey]) -> tuple[list[UUID], list[UUID]]:
    """Return the users and the ids of sessions, as the parameters of one statement on all of them."""
    return [session.user_id for session in sessions], [session.id for session in sessions]


class SessionRow(msgspec.Struct, frozen=True):
    """A live session. ``stale``: ``last_seen_at`` is to be written again. ``pause``: the longest time in seconds
    between two requests since the sign-in.
    """

    id: UUID
    user_id: UUID
    auth_time: datetime
    steps: list[str]
    amr: list[str]
    acr: str
    pause: int
    stale: bool


class SessionEnd(msgspec.Struct, frozen=True):
    """How a session ended, if it did. ``ended_by`` is an actor, as in the audit trail."""

    ended_at: datetime | None
    ended_reason: str | None
    ended_by: str | None
    expires_at: datetime
    expired: bool


class ActiveSession(msgspec.Struct, frozen=True):
    """A live session, as its user sees it."""

    id: UUID
    user_agent: str
    ip_address: str
    auth_time: datetime
    last_seen_at: datetime


class ExportedSession(msgspec.Struct, frozen=True):
    """A session in the export of a user's data."""

    sid: UUID
    auth_time: datetime
    amr: list[str]
    acr: str
    user_agent: str
    ip_address: str
    created_at: datetime
    last_seen_at: datetime
    ended_at: datetime | None


class EndedSession(msgspec.Struct, frozen=True):
    """A session that has ended. ``announced``: its clients are being told."""

    id: UUID
    ended_at: datetime
    reason: str
    announced: bool
    user_agent: str


class LockedSession(msgspec.Struct, frozen=True):
    """The sign-in of a session that is locked. ``age`` is in seconds."""

    age: float
    auth_time: datetime
    steps: list[str]


class NewSession(msgspec.Struct, frozen=True):
    """A session to store. ``auth_time`` None is now; ``lifetime`` is in seconds."""

    id: UUID
    token_hash: bytes
    user_id: UUID
    steps: list[str]
    amr: list[str]
    acr: str
    user_agent: str
    ip_address: str
    lifetime: float
    auth_time: datetime | None = None


def _live(user_id: str, token_hash: str, idle_lifetime: str) -> str:
    """Return the condition that a session ``s`` of a user ``u`` is live."""
    return f"""
    s.user_id = {user_id} AND s.token_hash = {token_hash} AND s.ended_at IS NULL AND s.expires_at > now()
    AND s.last_seen_at > now() - make_interval(secs => {idle_lifetime})
    AND u.id = {user_id} AND u.disabled_at IS NULL
"""


# With the pause that this request ends.
_PAUSE = "greatest(s.longest_pause, extract(epoch FROM now() - s.last_seen_at)::int)"
_FIND_SESSION = CoalescedQuery(
    "token_hash bytea, user_id uuid, idle_lifetime float8, stale_after interval",
    f"""
    SELECT a.number, s.id, s.user_id, s.auth_time, s.steps, s.amr, s.acr, {_PAUSE} AS pause,
           s.last_seen_at < now() - a.stale_after AS stale
    FROM asked AS a, session AS s, users AS u WHERE {_live("a.user_id", "a.token_hash", "a.idle_lifetime")}
""",  # noqa: S608
)
_STATE_OF_SESSION = """
    SELECT ended_at, ended_reason, ended_by, expires_at, expires_at <= now() AS expired
    FROM session WHERE user_id = $1 AND token_hash = $2
"""
_TOUCH_SESSION = f"""
    UPDATE session AS s SET last_seen_at = now(), longest_pause = {_PAUSE} FROM users AS u
    WHERE {_live("$1", "$2", "$3")}
"""  # noqa: S608
# The user first, as in every transaction that locks both. Not FOR SHARE: two requests of one user that change the user
# would deadlock.
_LOCK_SESSION = """
    SELECT extract(epoch FROM now() - s.auth_time)::float8 AS age, s.auth_time, s.steps FROM users AS u, session AS s
    WHERE u.id = $1 AND u.disabled_at IS NULL
      AND s.user_id = $1 AND s.id = $2 AND s.ended_at IS NULL AND s.expires_at > now()
    FOR NO KEY UPDATE OF u FOR SHARE OF s
"""
# A factor that is newer than the sign-in could not be asked for.
_LACKS_FACTOR = """
    SELECT EXISTS (SELECT FROM passkey AS f WHERE f.user_id = $1 AND f.created_at < s.auth_time)
        OR EXISTS (SELECT FROM totp AS f WHERE f.user_id = $1 AND f.confirmed_at < s.auth_time) AS lacks
    FROM session AS s WHERE s.user_id = $1 AND s.id = $2 AND s.acr = $3
"""
_ACTIVE_SESSIONS = """
    SELECT id, user_agent, ip_address, auth_time, last_seen_at FROM session
    WHERE user_id = $1 AND ended_at IS NULL AND expires_at > now()
      AND last_seen_at > now() - make_interval(secs => $2)
    ORDER BY last_seen_at DESC, id LIMIT 100
"""
_ALL_SESSIONS = """
    SELECT id AS sid, auth_time, amr, acr, user_agent, ip_address, created_at, last_seen_at, ended_at
    FROM session WHERE user_id = $1 ORDER BY created_at, id
"""
_INSERT_SESSION = """
    INSERT INTO session (id, token_hash, user_id, auth_time, steps, amr, acr, user_agent, ip_address,
                         created_at, last_seen_at, expires_at)
    VALUES ($1, $2, $3, coalesce($4, now()), $5, $6, $7, $8, $9, now(), now(), now() + make_interval(secs => $10))
    RETURNING auth_time
"""
# $7: the user proved their identity, so that a pause before it does not count.
_RENEW_SESSION = f"""
    UPDATE session AS s SET token_hash = $3, auth_time = now(), last_seen_at = now(), steps = $4, amr = $5, acr = $6,
                            longest_pause = CASE WHEN $7 THEN 0 ELSE {_PAUSE} END
    WHERE user_id = $1 AND id = $2 AND ended_at IS NULL AND expires_at > now()
    RETURNING auth_time, longest_pause
"""  # noqa: S608
_SESSION_IDS_OF_USER = "SELECT id FROM session WHERE user_id = $1 AND ended_at IS NULL"
_ENDED_SESSIONS = """
    SELECT id, ended_at, coalesce(ended_reason, '') AS reason, announced_at IS NOT NULL AS announced, user_agent
    FROM session
    WHERE user_id = $1 AND ($2::uuid IS NULL OR id = $2) AND ended_at > now() - make_interval(secs => $3)
    ORDER BY ended_at DESC LIMIT 20
"""
# $1 reason  $2 actor
_ENDED = "session AS s SET ended_at = now(), ended_reason = $1, ended_by = $2"
_END_ALL_SESSIONS = f"UPDATE {_ENDED} WHERE ended_at IS NULL"
_END_SESSIONS_OF_USER = f"{_END_ALL_SESSIONS} AND user_id = $3"
_END_SESSION = f"{_END_SESSIONS_OF_USER} AND id = $4"
_END_OTHER_SESSIONS = f"{_END_SESSIONS_OF_USER} AND id <> $4"
_END_OTHER_SESSION_OF_TOKEN = f"{_END_OTHER_SESSIONS} AND token_hash = $5"
# $3 user_ids  $4 ids
_END_SESSIONS = f"""
    UPDATE {_ENDED} FROM unnest($3::uuid[], $4::uuid[]) AS a (user_id, id)
    WHERE s.user_id = a.user_id AND s.id = a.id AND s.ended_at IS NULL
"""
_CLAIMED = "s.user_id, s.id, coalesce(s.ended_reason, '') AS reason, coalesce(s.ended_by, '') AS by"
_CLAIM_ENDED = f"""
    WITH due AS MATERIALIZED (
        SELECT user_id, id FROM session WHERE ended_at IS NOT NULL AND announced_at IS NULL
        ORDER BY ended_at LIMIT $1 FOR NO KEY UPDATE SKIP LOCKED
    )
    UPDATE session AS s SET announced_at = now() FROM due
    WHERE s.user_id = due.user_id AND s.id = due.id AND s.announced_at IS NULL
    RETURNING {_CLAIMED}
"""  # noqa: S608
_CLAIM_OF_USER = f"""
    UPDATE session AS s SET announced_at = now() WHERE user_id = $1 AND ended_at IS NOT NULL AND announced_at IS NULL
    RETURNING {_CLAIMED}
"""  # noqa: S608
# The live sessions of users with an identity at the upstream who signed in with an upstream.
_SESSIONS_OF_UPSTREAM = """
    SELECT s.user_id, s.id FROM session AS s WHERE s.ended_at IS NULL AND s.expires_at > now()
    AND EXISTS (SELECT FROM unnest(s.steps) AS step WHERE step LIKE 'upstream%')
    AND EXISTS (SELECT FROM identity AS i WHERE i.user_id = s.user_id AND i.upstream_id = $1)
"""
_STEPS = "SELECT steps FROM session WHERE user_id = $1 AND id = $2 AND ended_at IS NULL AND expires_at > now()"
_STORE_CHALLENGE = "UPDATE session SET challenge = $3 WHERE user_id = $1 AND id = $2"
_CONSUME_CHALLENGE = """
    UPDATE session AS s SET challenge = NULL FROM session AS old
    WHERE s.user_id = $1 AND s.id = $2 AND old.user_id = $1 AND old.id = $2
      AND s.challenge IS NOT NULL AND s.ended_at IS NULL AND s.expires_at > now()
    RETURNING old.challenge
"""


async def active_sessions(user_id: UUID, idle_lifetime: float) -> list[ActiveSession]:
    """Return the live sessions of a user, the most recently used first, at most 100."""
    return many(ActiveSession, await fetch(_ACTIVE_SESSIONS, user_id, idle_lifetime))


async def all_sessions(user_id: UUID) -> list[ExportedSession]:
    """Return every stored session of a user, oldest first."""
    return many(ExportedSession, await fetch(_ALL_SESSIONS, user_id))


async def find_session(token: SessionToken, idle_lifetime: float, precision: timedelta) -> SessionRow | None:
    """Return the live session of a token.

    Args:
        idle_lifetime: seconds without use after which it ends.
        precision: age at which ``last_seen_at`` is stale.
    """
    row = await _FIND_SESSION.fetchrow(
        token_hash=token.hash, user_id=token.user_id, idle_lifetime=idle_lifetime, stale_after=precision
    )
    return one(SessionRow, row)


async def state_of_session(token: SessionToken) -> SessionEnd | None:
    """Return how the session of a token ended, for the flow recorder; None if it is unknown."""
    return one(SessionEnd, await fetchrow(_STATE_OF_SESSION, token.user_id, token.hash))


async def touch_session(token: SessionToken, idle_lifetime: float) -> None:
    """Note that a live session was used."""
    await execute(_TOUCH_SESSION, *token, idle_lifetime)


async def lock_session(user_id: UUID, session_id: UUID) -> LockedSession | None:
    """Lock a live session and its user until the end of the transaction. None if it ended or the user is disabled."""
    return one(LockedSession, await fetchrow(_LOCK_SESSION, user_id, session_id))


async def lacks_factor(user_id: UUID, session_id: UUID) -> bool:
    """Return whether a session is of a single factor, although its user had a second one when they signed in."""
    row = await fetchrow(_LACKS_FACTOR, user_id, session_id, SINGLE_FACTOR)
    return row is not None and bool(row["lacks"])


async def insert_session(new: NewSession) -> datetime:
    """Store a session. Returns its ``auth_time``."""
    row = await fetchrow(
        _INSERT_SESSION, new.id, new.token_hash, new.user_id, new.auth_time, new.steps, new.amr, new.acr,
        new.user_agent, new.ip_address, new.lifetime,
    )  # fmt: skip
    assert row is not None  # noqa: S101 -- INSERT … RETURNING gives its row
    auth_time: datetime = row["auth_time"]
    return auth_time


async def renew_session(new: NewSession, *, proved: bool) -> tuple[datetime, int] | None:
    """Continue a session with a new token and a new sign-in. Returns its ``auth_time`` and its longest pause since the
    user proved their identity; None if it ended.

    Args:
        proved: the user did so now.
    """
    row = await fetchrow(_RENEW_SESSION, new.user_id, new.id, new.token_hash, new.steps, new.amr, new.acr, proved)
    return (row["auth_time"], row["longest_pause"]) if row is not None else None


async def ended_sessions(user_id: UUID, session_id: UUID | None, seconds: float) -> list[EndedSession]:
    """Return the sessions of a user that ended within some seconds, the last one first, at most 20.

    Args:
        session_id: only this one; None: all.
    """
    return many(EndedSession, await fetch(_ENDED_SESSIONS, user_id, session_id, seconds))


async def claim_ended(limit: int) -> list[ClaimedSession]:
    """Mark sessions that have ended as announced, the first ones first, and return them. No session is returned twice.

    Those that another transaction claims are skipped.
    """
    return many(ClaimedSession, await fetch(_CLAIM_ENDED, limit))


async def claim_ended_of_user(user_id: UUID) -> list[ClaimedSession]:
    """Like :func:`claim_ended`, for the sessions of one user."""
    return many(ClaimedSession, await fetch(_CLAIM_OF_USER, user_id))


async def _end(statement: str, reason: str, *arguments: object) -> int:
    """End sessions. Returns how many had not ended.

    Args:
        reason: is recorded with the session, as is the actor.
    """
    number = await execute(statement, reason, storable(actor.get()), *arguments)
    if number:
        ended.set()
    return number


async def end_session(user_id: UUID, session_id: UUID, reason: str) -> bool:
    """End a session of a user. Returns whether it was live."""
    return bool(await _end(_END_SESSION, reason, user_id, session_id))


async def steps_of_session(user_id: UUID, session_id: UUID) -> list[str] | None:
    """Return the steps of the sign-in of a session; None if it has ended."""
    row = await fetchrow(_STEPS, user_id, session_id)
    return list(row["steps"]) if row is not None else None


async def session_ids_of_user(user_id: UUID) -> list[UUID]:
    """Return the ids of a user's sessions that have not ended."""
    return [row["id"] for row in await fetch(_SESSION_IDS_OF_USER, user_id)]


async def end_sessions_of_user(user_id: UUID, reason: str) -> int:
    """End all sessions of a user. Returns how many were live."""
    return await _end(_END_SESSIONS_OF_USER, reason, user_id)


async def sessions_of_upstream(upstream_id: str) -> list[SessionKey]:
    """Return the live sessions that may have come from a sign-in with an upstream."""
    return many(SessionKey, await fetch(_SESSIONS_OF_UPSTREAM, upstream_id))


async def end_sessions(sessions: Sequence[SessionKey], reason: str) -> int:
    """End sessions. Returns how many had not ended."""
    return await _end(_END_SESSIONS, reason, *columns(sessions))


async def end_all_sessions(reason: str) -> int:
    """End every session. Returns their number."""
    return await _end(_END_ALL_SESSIONS, reason)


async def end_other_sessions(user_id: UUID, session_id: UUID, reason: str) -> None:
    """End all sessions of a user except for one."""
    await _end(_END_OTHER_SESSIONS, reason, user_id, session_id)


async def end_other_session_of_token(token: SessionToken, session_id: UUID, reason: str) -> None:
    """End the session of a token, unless it is this session."""
    await _end(_END_OTHER_SESSION_OF_TOKEN, reason, token.user_id, session_id, token.hash)


async def store_challenge(user_id: UUID, session_id: UUID, challenge: bytes) -> None:
    """Store the challenge that the next new passkey of a session must sign."""
    await execute(_STORE_CHALLENGE, user_id, session_id, challenge)


async def consume_challenge(user_id: UUID, session_id: UUID) -> bytes | None:
    """Consume and return the stored challenge of a live session."""
    row = await fetchrow(_CONSUME_CHALLENGE, user_id, session_id)
    return bytes(row["challenge"]) if row is not None else None


SESSIONS = Listing(
    source="session AS s",
    columns="s.id AS sid, s.user_id, (SELECT email FROM users WHERE id = s.user_id) AS email, s.auth_time, s.amr,"
    " s.acr, s.user_agent, s.ip_address, s.created_at, s.last_seen_at, s.expires_at, s.ended_at, s.ended_reason",
    key=Sort("s.id", "uuid"),
    sorts={"sid": Sort("s.id", "uuid")},
    default_sort="-sid",
    filters={
        "sid": Filter("s.id = {}", "uuid", "One session."),
        "user_id": Filter("s.user_id = {}", "uuid", "Of one user."),
        "live": Filter(
            type="boolean",
            help="Whether it is live.",
            # Nearly all are live, or have ended.
            keys="SELECT id FROM session WHERE (ended_at IS NULL AND expires_at > now()) = {}",
        ),
    },
)
