"""The statements on pending and pushed authorization requests, and the issue of authorization codes."""

from datetime import datetime
from uuid import UUID

import msgspec

from idp.directory.repository.organizations import is_member
from idp.infra.db.coalescing import CoalescedQuery
from idp.infra.db.engine import execute, fetchrow
from idp.infra.db.expiring import Expiring
from idp.infra.db.rows import one
from idp.oauth.tables import AuthorizationCode, AuthorizationRequestRow, PushedRequest
from idp.settings import settings

EXPIRING = (
    Expiring(AuthorizationRequestRow, "1 hour"),
    # A browser that loaded it may finish its sign-in later.
    Expiring(PushedRequest, "1 hour", further=lambda: settings().flow_lifetime),
    # A code that is replayed within a day still revokes its family.
    Expiring(AuthorizationCode, "1 day", key=("user_id", "code_hash")),
)

_INSERT_REQUEST = """
INSERT INTO authorization_request (id, browser_hash, client_id, request, created_at, expires_at)
VALUES ($1, $2, $3, $4, now(), now() + make_interval(secs => $5)) RETURNING created_at
"""
# The request starts now for this browser: an earlier sign-in does not count as a sign-in for it.
_CLAIM_REQUEST = """
UPDATE authorization_request SET id = $2, browser_hash = $3, created_at = now()
WHERE id = $1 AND browser_hash IS NULL AND finished_at IS NULL AND expires_at > now()
"""
_FIND_REQUEST = """
SELECT request, consented_by, organization_id, chosen_by, created_at, finished_at IS NOT NULL AS finished,
       expires_at > now() AS live
FROM authorization_request WHERE id = $1 AND browser_hash = $2
"""
_TRACE_OF_PENDING = """
SELECT coalesce(request ->> 'trace_id', '') AS trace_id FROM authorization_request
WHERE id = $1 AND finished_at IS NULL AND expires_at > now()
"""
_PENDING = "id = $1 AND browser_hash = $2 AND finished_at IS NULL AND expires_at > now()"
_FINISH_REQUEST = f"UPDATE authorization_request SET finished_at = now() WHERE {_PENDING}"  # noqa: S608
_SET_CONSENTED_BY = f"""
UPDATE authorization_request SET consented_by = $3 WHERE {_PENDING}
"""  # noqa: S608
_CHOOSE_ORGANIZATION = f"""
UPDATE authorization_request SET organization_id = $3, chosen_by = $4 WHERE {_PENDING}
"""  # noqa: S608
_FINISH_OF_CLIENT = """
UPDATE authorization_request SET finished_at = now() WHERE client_id = $1 AND finished_at IS NULL
"""
_FINISH_ALL = "UPDATE authorization_request SET finished_at = now() WHERE finished_at IS NULL"

_INSERT_PUSHED = CoalescedQuery(
    "request_uri_hash bytea, client_id text, request text, lifetime float8",
    """
WITH pushed AS (
    INSERT INTO pushed_request (request_uri_hash, client_id, request, created_at, expires_at)
    SELECT request_uri_hash, client_id, request::jsonb, now(), now() + make_interval(secs => lifetime) FROM asked
)
SELECT number FROM asked
""",
)
_FIND_PUSHED = CoalescedQuery(
    "request_uri_hash bytea",
    """
SELECT a.number, p.client_id, p.request, p.used_at IS NOT NULL AS used, p.expires_at > now() AS live
FROM asked AS a, pushed_request AS p WHERE p.request_uri_hash = a.request_uri_hash
""",
)
# Not the expiry: a user whose browser loaded the request in time may take longer to sign in.
_USE_PUSHED = "UPDATE pushed_request SET used_at = now() WHERE request_uri_hash = $1 AND used_at IS NULL"
_USE_PUSHED_OF_CLIENT = "UPDATE pushed_request SET used_at = now() WHERE client_id = $1 AND used_at IS NULL"
_USE_ALL_PUSHED = "UPDATE pushed_request SET used_at = now() WHERE used_at IS NULL"

# The lock of the session makes a concurrent sign-out wait, and then consume the code. A pushed request is used up only
# if the session is live, and there is a code only if it was not used before. resource, amr: separated by spaces.
# The client takes part in the session from then on; in order, because concurrent statements insert the same rows.
_INSERT_CODE = CoalescedQuery(
    "user_id uuid, code_hash bytea, pushed bytea, family_id uuid, client_id text, session_id uuid, "
    "organization_id uuid, redirect_uri text, "
    "code_challenge text, nonce text, scope text, resource text, claims text, confirmation text, "
    "authorization_details text, offline_access boolean, auth_time timestamptz, auth_age int, amr text, acr text, "
    "trace_id text, lifetime float8",
    f"""
WITH live AS MATERIALIZED (
    SELECT a.* FROM asked AS a, users AS u, session AS s
    WHERE u.id = a.user_id AND u.disabled_at IS NULL
      AND s.user_id = a.user_id AND s.id = a.session_id AND s.ended_at IS NULL AND s.expires_at > now()
      AND (a.organization_id IS NULL OR {is_member("a.user_id", "a.organization_id")})
    FOR SHARE OF s
), used AS (
    UPDATE pushed_request AS p SET used_at = now() FROM live AS l
    WHERE p.request_uri_hash = l.pushed AND p.used_at IS NULL
    RETURNING l.number
), answered AS (
    SELECT l.*, l.pushed IS NULL OR u.number IS NOT NULL AS stored FROM live AS l LEFT JOIN used AS u USING (number)
), code AS (
    INSERT INTO authorization_code AS c (user_id, code_hash, family_id, client_id, session_id, organization_id,
                                    redirect_uri, code_challenge, nonce, scope, resource, claims, confirmation,
                                    authorization_details, offline_access, auth_time, auth_age, amr, acr, trace_id,
                                    created_at, expires_at)
    SELECT user_id, code_hash, family_id, client_id, session_id, organization_id, redirect_uri, code_challenge, nonce,
           scope, string_to_array(resource, ' '), claims::jsonb, confirmation::jsonb, authorization_details::jsonb,
           offline_access, auth_time, auth_age, string_to_array(amr, ' '), acr, trace_id, now(),
           now() + make_interval(secs => lifetime)
    FROM answered WHERE stored
    RETURNING c.user_id, c.session_id, c.client_id
), participant AS (
    INSERT INTO session_client (user_id, session_id, client_id, created_at)
    SELECT user_id, session_id, client_id, now() FROM code ORDER BY 1, 2, 3 ON CONFLICT DO NOTHING
)
SELECT number, stored FROM answered
""",  # noqa: S608
)


class StoredRequest(msgspec.Struct, frozen=True):
    """A stored authorization request. ``request`` is JSON."""

    request: str
    consented_by: UUID | None
    organization_id: UUID | None
    chosen_by: UUID | None
    created_at: datetime
    finished: bool
    live: bool


class StoredPushedRequest(msgspec.Struct, frozen=True):
    """A pushed authorization request. ``request`` is JSON."""

    client_id: str
    request: str
    used: bool
    live: bool


class NewCode(msgspec.Struct, frozen=True, kw_only=True):
    """The columns of a new authorization code. ``lifetime`` is in seconds, ``claims`` and ``confirmation`` are JSON,
    ``resource`` and ``amr`` are separated by spaces. ``pushed`` is the hash of the pushed request that it answers.
    """

    user_id: UUID
    code_hash: bytes
    pushed: bytes | None
    family_id: UUID
    client_id: str
    session_id: UUID
    organization_id: UUID | None = None
    redirect_uri: str
    code_challenge: str | None
    nonce: str | None
    scope: str
    resource: str
    claims: str | None
    confirmation: str | None
    authorization_details: str | None
    offline_access: bool
    auth_time: datetime
    auth_age: int | None
    amr: str
    acr: str
    trace_id: str
    lifetime: float


async def insert_request(
    id: str, browser_hash: bytes | None, client_id: str, request: str, lifetime: float
) -> datetime:
    """Store a request for ``lifetime`` seconds. Returns its ``created_at``.

    Args:
        browser_hash: None for a request that came by POST, until a browser claims it.
    """
    row = await fetchrow(_INSERT_REQUEST, id, browser_hash, client_id, request, lifetime)
    assert row is not None  # noqa: S101 -- INSERT … RETURNING gives its row
    created_at: datetime = row["created_at"]
    return created_at


async def claim_request(id: str, new_id: str, browser_hash: bytes) -> bool:
    """Bind an unclaimed request to a browser under a new id. Returns False if there is none."""
    return bool(await execute(_CLAIM_REQUEST, id, new_id, browser_hash))


async def find_request(id: str, browser_hash: bytes) -> StoredRequest | None:
    """Return the request of a browser, expired and finished ones included."""
    return one(StoredRequest, await fetchrow(_FIND_REQUEST, id, browser_hash))


async def trace_of_pending(id: str) -> str | None:
    """Return the ``trace_id`` of the pending request with this id, of any browser; None if there is none."""
    row = await fetchrow(_TRACE_OF_PENDING, id)
    return row["trace_id"] if row is not None else None


async def finish_request(id: str, browser_hash: bytes) -> bool:
    """Finish a request. Returns False if it is finished already, or expired."""
    return bool(await execute(_FINISH_REQUEST, id, browser_hash))


async def set_consented_by(id: str, browser_hash: bytes, user_id: UUID) -> bool:
    """Record the user who consented. Returns False if the request is finished, or expired."""
    return bool(await execute(_SET_CONSENTED_BY, id, browser_hash, user_id))


async def choose_organization(id: str, browser_hash: bytes, organization_id: UUID, user_id: UUID) -> bool:
    """Record the organization that a user chose. Returns False if the request is finished, or expired."""
    return bool(await execute(_CHOOSE_ORGANIZATION, id, browser_hash, organization_id, user_id))


async def finish_requests_of_client(client_id: str) -> int:
    """Finish the requests of a client. Returns their number."""
    return await execute(_FINISH_OF_CLIENT, client_id)


async def finish_all_requests() -> int:
    """Finish all requests. Returns their number."""
    return await execute(_FINISH_ALL)


async def insert_pushed(request_uri_hash: bytes, client_id: str, request: str, lifetime: float) -> None:
    """Store a pushed request, which a browser can load for ``lifetime`` seconds."""
    await _INSERT_PUSHED.fetchrow(
        request_uri_hash=request_uri_hash, client_id=client_id, request=request, lifetime=lifetime
    )


async def find_pushed(request_uri_hash: bytes) -> StoredPushedRequest | None:
    """Return a pushed request, expired and used ones included."""
    return one(StoredPushedRequest, await _FIND_PUSHED.fetchrow(request_uri_hash=request_uri_hash))


async def use_pushed(request_uri_hash: bytes) -> bool:
    """Mark a pushed request as used. Returns False if it is used already."""
    return bool(await execute(_USE_PUSHED, request_uri_hash))


async def use_pushed_of_client(client_id: str) -> int:
    """Mark the pushed requests of a client as used. Returns their number."""
    return await execute(_USE_PUSHED_OF_CLIENT, client_id)


async def use_all_pushed() -> int:
    """Mark all pushed requests as used. Returns their number."""
    return await execute(_USE_ALL_PUSHED)


async def insert_code(code: NewCode) -> bool | None:
    """Store a code, and use up the pushed request that it answers.

    Returns False if that is used already; None if the user is disabled or not a member of the organization, or the
    session has ended. Then nothing changes.
    """
    row = await _INSERT_CODE.fetchrow(**msgspec.structs.asdict(code))
    return bool(row["stored"]) if row is not None else None
