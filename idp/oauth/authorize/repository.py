"""The statements on pending and pushed authorization requests, and the issue of authorization codes."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from idp.infra.db.engine import execute, fetchrow
from idp.infra.db.expiring import Expiring
from idp.infra.db.named_queries import NamedQuery
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
SELECT request, consented_by, created_at, finished_at IS NOT NULL AS finished, expires_at > now() AS live
FROM authorization_request WHERE id = $1 AND browser_hash = $2
"""
_IS_PENDING = "SELECT FROM authorization_request WHERE id = $1 AND finished_at IS NULL AND expires_at > now()"
_PENDING = "id = $1 AND browser_hash = $2 AND finished_at IS NULL AND expires_at > now()"
_FINISH_REQUEST = f"UPDATE authorization_request SET finished_at = now() WHERE {_PENDING}"  # noqa: S608
_SET_CONSENTED_BY = f"""
UPDATE authorization_request SET consented_by = $3 WHERE {_PENDING}
"""  # noqa: S608
_FINISH_OF_CLIENT = """
UPDATE authorization_request SET finished_at = now() WHERE client_id = $1 AND finished_at IS NULL
"""
_FINISH_ALL = "UPDATE authorization_request SET finished_at = now() WHERE finished_at IS NULL"

_INSERT_PUSHED = """
INSERT INTO pushed_request (request_uri_hash, client_id, request, created_at, expires_at)
VALUES ($1, $2, $3, now(), now() + make_interval(secs => $4))
"""
_FIND_PUSHED = """
SELECT client_id, request, used_at IS NOT NULL AS used, expires_at > now() AS live
FROM pushed_request WHERE request_uri_hash = $1
"""
# Not the expiry: a user whose browser loaded the request in time may take longer to sign in.
_USE_PUSHED = "UPDATE pushed_request SET used_at = now() WHERE request_uri_hash = $1 AND used_at IS NULL"
_USE_PUSHED_OF_CLIENT = "UPDATE pushed_request SET used_at = now() WHERE client_id = $1 AND used_at IS NULL"
_USE_ALL_PUSHED = "UPDATE pushed_request SET used_at = now() WHERE used_at IS NULL"

# The lock of the session makes a concurrent sign-out wait, and then consume the code.
_INSERT_CODE = NamedQuery("""
INSERT INTO authorization_code (user_id, code_hash, family_id, client_id, session_id, redirect_uri, code_challenge,
                                nonce, scope, resource, claims, confirmation, authorization_details, offline_access,
                                auth_time, auth_age, amr, acr, created_at, expires_at)
SELECT s.user_id, :code_hash, :family_id, :client_id, s.id, :redirect_uri, :code_challenge, :nonce, :scope, :resource,
       :claims, :confirmation, :authorization_details, :offline_access, :auth_time, :auth_age, :amr, :acr,
       now(), now() + make_interval(secs => :lifetime)
FROM users AS u, session AS s
WHERE u.id = :user_id AND u.disabled_at IS NULL
  AND s.user_id = :user_id AND s.id = :session_id AND s.ended_at IS NULL AND s.expires_at > now()
FOR SHARE OF s
RETURNING code_hash
""")


class StoredRequest(msgspec.Struct, frozen=True):
    """A stored authorization request. ``request`` is JSON."""

    request: str
    consented_by: UUID | None
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
    """The columns of a new authorization code. ``lifetime`` is in seconds, ``claims`` and ``confirmation`` are JSON."""

    user_id: UUID
    code_hash: bytes
    family_id: UUID
    client_id: str
    session_id: UUID
    redirect_uri: str
    code_challenge: str | None
    nonce: str | None
    scope: str
    resource: Sequence[str]
    claims: str | None
    confirmation: str | None
    authorization_details: str | None
    offline_access: bool
    auth_time: datetime
    auth_age: int | None
    amr: Sequence[str]
    acr: str
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


async def is_pending(id: str) -> bool:
    """Return whether any browser has a pending request with this id."""
    return await fetchrow(_IS_PENDING, id) is not None


async def finish_request(id: str, browser_hash: bytes) -> bool:
    """Finish a request. Returns False if it is finished already, or expired."""
    return bool(await execute(_FINISH_REQUEST, id, browser_hash))


async def set_consented_by(id: str, browser_hash: bytes, user_id: UUID) -> bool:
    """Record the user who consented. Returns False if the request is finished, or expired."""
    return bool(await execute(_SET_CONSENTED_BY, id, browser_hash, user_id))


async def finish_requests_of_client(client_id: str) -> int:
    """Finish the requests of a client. Returns their number."""
    return await execute(_FINISH_OF_CLIENT, client_id)


async def finish_all_requests() -> int:
    """Finish all requests. Returns their number."""
    return await execute(_FINISH_ALL)


async def insert_pushed(request_uri_hash: bytes, client_id: str, request: str, lifetime: float) -> None:
    """Store a pushed request, which a browser can load for ``lifetime`` seconds."""
    await execute(_INSERT_PUSHED, request_uri_hash, client_id, request, lifetime)


async def find_pushed(request_uri_hash: bytes) -> StoredPushedRequest | None:
    """Return a pushed request, expired and used ones included."""
    return one(StoredPushedRequest, await fetchrow(_FIND_PUSHED, request_uri_hash))


async def use_pushed(request_uri_hash: bytes) -> bool:
    """Mark a pushed request as used. Returns False if it is used already."""
    return bool(await execute(_USE_PUSHED, request_uri_hash))


async def use_pushed_of_client(client_id: str) -> int:
    """Mark the pushed requests of a client as used. Returns their number."""
    return await execute(_USE_PUSHED_OF_CLIENT, client_id)


async def use_all_pushed() -> int:
    """Mark all pushed requests as used. Returns their number."""
    return await execute(_USE_ALL_PUSHED)


async def insert_code(code: NewCode) -> bool:
    """Store a code. Returns False if its user is disabled or its session has ended."""
    return await _INSERT_CODE.fetchrow(**msgspec.structs.asdict(code)) is not None
