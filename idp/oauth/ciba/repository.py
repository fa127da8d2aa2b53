"""The statements on backchannel authentication requests. Each names the user, so that a person's rows stay together."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from idp.infra.db.engine import execute, fetch, fetchrow
from idp.infra.db.expiring import Expiring
from idp.infra.db.named_queries import NamedQuery
from idp.infra.db.rows import many, one
from idp.oauth.authorize.request import ApprovedRequest
from idp.oauth.ciba.tables import BackchannelRequest
from idp.oauth.codes import PresentedCode
from idp.settings import settings
from idp.signin.repository.sessions import SessionKey, columns
from idp.signin.sessions import SignedIn
from idp.signin.transitions import FEDERATED

#: Seconds by which a poll that comes too early lengthens the interval (CIBA Core section 11), and the longest interval.
SLOWER, SLOWEST = 5, 60

# A client that a user reported stays blocked for a day, so the row stays.
EXPIRING = (Expiring(BackchannelRequest, "1 day", key=("user_id", "auth_req_hash")),)

_WAITING = "decided_at IS NULL AND consumed_at IS NULL AND expires_at > now()"

_INSERT = NamedQuery(f"""
WITH before AS (
    SELECT count(*) FILTER (WHERE {_WAITING}) AS waiting,
           coalesce(bool_or(client_id = :client_id AND reported_at > now() - interval '1 day'), false) AS reported
    FROM backchannel_request WHERE user_id = :user_id
), new AS (
    INSERT INTO backchannel_request (user_id, auth_req_hash, id, client_id, request, binding_message, notification,
                                     ip_address, poll_interval, next_poll_at, created_at, expires_at)
    SELECT :user_id, :auth_req_hash, :id, :client_id, :request, :binding_message, :notification, :ip_address,
           :poll_interval, now(), now(), now() + make_interval(secs => :lifetime)
    FROM before WHERE waiting < :max_waiting AND NOT reported
)
SELECT waiting >= :max_waiting AS crowded, reported FROM before
""")  # noqa: S608

_COLUMNS = "id, client_id, request, binding_message, ip_address, created_at, expires_at"
# $1 user_id  $2 id
_FIND_WAITING = f"SELECT {_COLUMNS} FROM backchannel_request WHERE user_id = $1 AND id = $2 AND {_WAITING}"  # noqa: S608
# $1 user_id  $2 auth_req_hash
_FIND_BY_AUTH_REQ_ID = f"""
SELECT {_COLUMNS} FROM backchannel_request WHERE user_id = $1 AND auth_req_hash = $2 AND {_WAITING}
"""  # noqa: S608
_ALL_WAITING = f"""
SELECT {_COLUMNS} FROM backchannel_request WHERE user_id = $1 AND {_WAITING} ORDER BY id DESC
"""  # noqa: S608

_SECONDS_LEFT = "extract(epoch FROM expires_at - now())::int AS seconds_left"
_APPROVE = NamedQuery(f"""
UPDATE backchannel_request
SET decided_at = now(), approved = true, request = :request, session_id = :session_id, auth_time = :auth_time,
    auth_age = :auth_age, amr = :amr, acr = :acr
WHERE user_id = :user_id AND id = :id AND {_WAITING}
RETURNING client_id, auth_req_hash, notification, {_SECONDS_LEFT}
""")  # noqa: S608
# $1 user_id  $2 id  $3 whether it is reported
_DENY = f"""
UPDATE backchannel_request
SET decided_at = now(), approved = false, reported_at = CASE WHEN $3 THEN now() END
WHERE user_id = $1 AND {_WAITING} AND (id = $2 OR ($3 AND client_id = (
    SELECT client_id FROM backchannel_request WHERE user_id = $1 AND id = $2)))
RETURNING client_id, auth_req_hash, notification, {_SECONDS_LEFT}
"""  # noqa: S608

_IS_REPORTED = """
SELECT FROM backchannel_request
WHERE user_id = $1 AND client_id = $2 AND reported_at > now() - interval '1 day' LIMIT 1
"""

# A poll before its time makes the interval longer. Parallel polls are decided one after the other.
# $1 user_id  $2 auth_req_hash  $3 client_id
_POLL = f"""
WITH found AS MATERIALIZED (
    SELECT poll_interval, next_poll_at > now() AS early, {_WAITING} AS waiting, coalesce(approved, false) AS approved,
           decided_at IS NOT NULL AS decided, consumed_at IS NOT NULL AS consumed, expires_at <= now() AS expired
    FROM backchannel_request
    WHERE user_id = $1 AND auth_req_hash = $2 AND client_id = $3 FOR UPDATE
), polled AS (
    UPDATE backchannel_request AS r
    SET poll_interval = new.seconds, next_poll_at = now() + make_interval(secs => new.seconds)
    FROM (SELECT CASE WHEN early THEN least(poll_interval + {SLOWER}, {SLOWEST}) ELSE poll_interval END AS seconds
          FROM found WHERE waiting) AS new
    WHERE r.user_id = $1 AND r.auth_req_hash = $2
)
SELECT early, waiting, approved, decided, consumed, expired FROM found
"""  # noqa: S608

# $1 user_id  $2 auth_req_hash  $3 client_id  $4 not_before  $5 whether it ends with the session of its approval
_CONSUME = """
UPDATE backchannel_request AS r SET consumed_at = now()
WHERE user_id = $1 AND auth_req_hash = $2 AND client_id = $3 AND approved AND consumed_at IS NULL
  AND expires_at > now() AND created_at >= $4
  AND (NOT $5 OR EXISTS (SELECT FROM session AS s WHERE s.user_id = $1 AND s.id = r.session_id AND s.ended_at IS NULL))
RETURNING user_id, request, auth_time, auth_age, amr, acr
"""

_CANCEL_ALL = "UPDATE backchannel_request SET consumed_at = now() WHERE consumed_at IS NULL"
_CANCEL_OF_CLIENT = f"{_CANCEL_ALL} AND client_id = $1"
# Those that wait go on waiting.
_CANCEL_OF_USER = f"{_CANCEL_ALL} AND approved AND user_id = $1"
# Of sign-ins before a time. $2 auth_time  $3 client_id (null: all clients)
_CANCEL_EARLIER = f"{_CANCEL_OF_USER} AND auth_time < $2 AND ($3::text IS NULL OR client_id = $3)"
_CANCEL_IN_ORGANIZATION = f"{_CANCEL_OF_USER} AND request ->> 'organization_id' = $2::text"
_CANCEL_OF_CONSENT = f"{_CANCEL_ALL} AND approved AND user_id = $1 AND client_id = $2"
# $1 user_ids  $2 session_ids
_CANCEL_OF_SESSIONS = """
UPDATE backchannel_request AS r SET consumed_at = now()
FROM unnest($1::uuid[], $2::uuid[]) AS a (user_id, session_id)
WHERE r.user_id = a.user_id AND r.session_id = a.session_id AND approved AND consumed_at IS NULL
"""
# Also those whose session has ended. $1 upstream_id  $2 the method of a sign-in with an upstream
_CANCEL_OF_UPSTREAM = f"""
{_CANCEL_ALL} AND approved AND $2 = ANY (amr)
AND user_id IN (SELECT i.user_id FROM identity AS i WHERE i.upstream_id = $1)
"""  # noqa: S608


class NewRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The columns of a new request. ``request`` is JSON, ``lifetime`` is in seconds."""

    user_id: UUID
    auth_req_hash: bytes
    id: UUID
    client_id: str
    request: str
    binding_message: str | None
    notification: bytes | None
    ip_address: str
    poll_interval: int
    lifetime: float


class Refusal(msgspec.Struct, frozen=True):
    """Why a request was not stored: too many wait for the user, or the user has reported the client."""

    crowded: bool
    reported: bool


class WaitingRequest(msgspec.Struct, frozen=True):
    """A request that waits for its user. ``request`` is JSON."""

    id: UUID
    client_id: str
    request: str
    binding_message: str | None
    ip_address: str
    created_at: datetime
    expires_at: datetime


class DecidedRequest(msgspec.Struct, frozen=True):
    """A request that its user has just decided, with what a ping needs, encrypted."""

    client_id: str
    auth_req_hash: bytes
    notification: bytes | None
    seconds_left: int


class PollResult(msgspec.Struct, frozen=True):
    """The state of a request when its client polls. ``early``: sooner than the interval allows."""

    early: bool
    waiting: bool
    decided: bool
    approved: bool
    consumed: bool
    expired: bool


async def insert(new: NewRequest, max_waiting: int) -> Refusal | None:
    """Store a request, unless too many wait for its user, or the user reported its client within a day."""
    refusal = one(Refusal, await _INSERT.fetchrow(**msgspec.structs.asdict(new), max_waiting=max_waiting))
    assert refusal is not None  # noqa: S101 -- the statement returns one row
    return refusal if refusal.crowded or refusal.reported else None


async def find_waiting(user_id: UUID, id: UUID) -> WaitingRequest | None:
    """Return a request that waits for a user."""
    return one(WaitingRequest, await fetchrow(_FIND_WAITING, user_id, id))


async def find_by_auth_req_id(code: PresentedCode) -> WaitingRequest | None:
    """Return a request that waits for its user, by what its client has."""
    return one(WaitingRequest, await fetchrow(_FIND_BY_AUTH_REQ_ID, code.user_id, code.hash))


async def all_waiting(user_id: UUID) -> list[WaitingRequest]:
    """Return the requests that wait for a user, newest first."""
    return many(WaitingRequest, await fetch(_ALL_WAITING, user_id))


async def approve(id: UUID, request: str, session: SignedIn) -> DecidedRequest | None:
    """Approve a request with the sign-in of a session. Returns None if it no longer waits for this user.

    Args:
        request: what the user was shown, as JSON.
    """
    row = await _APPROVE.fetchrow(
        id=id,
        request=request,
        user_id=session.user_id,
        session_id=session.id,
        auth_time=session.auth_time,
        auth_age=session.auth_age,
        amr=session.amr,
        acr=session.acr,
    )
    return one(DecidedRequest, row)


async def deny(user_id: UUID, id: UUID, *, report: bool) -> Sequence[DecidedRequest]:
    """Deny a request; with ``report`` also the others of its client, which is then blocked for this user for a day."""
    return many(DecidedRequest, await fetch(_DENY, user_id, id, report))


async def is_reported(user_id: UUID, client_id: str) -> bool:
    """Return whether a user has reported a client within a day."""
    return await fetchrow(_IS_REPORTED, user_id, client_id) is not None


async def poll(code: PresentedCode, client_id: str) -> PollResult | None:
    """Return the state of a request for its client, and count the poll. None if the client has no such request."""
    return one(PollResult, await fetchrow(_POLL, code.user_id, code.hash, client_id))


async def consume(code: PresentedCode, client_id: str, not_before: datetime) -> ApprovedRequest | None:
    """Consume an approved request, once. Returns None if a condition is not met.

    Args:
        not_before: a request that was made earlier is refused.
    """
    values = (code.user_id, code.hash, client_id, not_before, settings().single_session)
    return one(ApprovedRequest, await fetchrow(_CONSUME, *values))


async def cancel_of_user(user_id: UUID) -> int:
    """Make the approved requests of a user yield no tokens. Returns their number, as do the functions after this one.

    Call it before token families are revoked: it waits for a redemption at the same moment, whose family is then found.
    """
    return await execute(_CANCEL_OF_USER, user_id)


async def cancel_in_organization(user_id: UUID, organization_id: UUID) -> int:
    return await execute(_CANCEL_IN_ORGANIZATION, user_id, str(organization_id))


async def cancel_earlier(user_id: UUID, auth_time: datetime, client_id: str | None) -> int:
    """Cancel what a user approved in sign-ins before ``auth_time``, for one client or for all (None)."""
    return await execute(_CANCEL_EARLIER, user_id, auth_time, client_id)


async def cancel_of_sessions(sessions: Sequence[SessionKey]) -> int:
    return await execute(_CANCEL_OF_SESSIONS, *columns(sessions))


async def cancel_of_upstream(upstream_id: str) -> int:
    """Cancel the approvals that may have come from a sign-in with an upstream."""
    return await execute(_CANCEL_OF_UPSTREAM, upstream_id, FEDERATED)


async def cancel_of_client(client_id: str) -> int:
    """Make all requests of a client yield no tokens, also those that wait."""
    return await execute(_CANCEL_OF_CLIENT, client_id)


async def cancel_of_consent(user_id: UUID, client_id: str) -> int:
    return await execute(_CANCEL_OF_CONSENT, user_id, client_id)


async def cancel_all() -> int:
    return await execute(_CANCEL_ALL)
