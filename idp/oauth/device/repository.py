"""The statements on device authorizations.

A status changes by one conditional statement, whose predicate has the status before and the expiry by the database's
clock. The lookup is by the code that is presented; a user is known only after the approval.
"""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from uuid import UUID

import msgspec

from idp.infra.db.engine import execute, fetchrow
from idp.infra.db.expiring import Expiring
from idp.infra.db.named_queries import NamedQuery
from idp.infra.db.rows import one
from idp.oauth.authorize.request import ApprovedRequest
from idp.oauth.device.tables import DeviceAuthorization
from idp.settings import settings
from idp.signin.repository.sessions import SessionKey, columns
from idp.signin.transitions import FEDERATED

# A device that polls on learns for an hour that its code has expired, and that a code was used twice.
EXPIRING = (Expiring(DeviceAuthorization, "1 hour", key=("device_code_hash",)),)

#: Seconds by which each poll that is too early makes the interval longer (RFC 8628 section 3.5), and its maximum.
SLOWER, LONGEST = 5, 600


class Status(StrEnum):
    """The state of a device authorization, apart from its expiry."""

    PENDING = "pending"
    APPROVED = "approved"
    DENIED = "denied"
    #: The device got its tokens.
    REDEEMED = "redeemed"
    #: A sign-out everywhere, a withdrawn consent or the like came between approval and redemption.
    CANCELLED = "cancelled"


_INSERT = NamedQuery("""
INSERT INTO device_authorization (device_code_hash, user_code_hash, client_id, request, status, poll_interval,
                                  ip_address, created_at, expires_at)
VALUES (:device_code_hash, :user_code_hash, :client_id, :request, 'pending', :poll_interval,
        :ip_address, now(), now() + make_interval(secs => :lifetime))
ON CONFLICT (user_code_hash) DO NOTHING
RETURNING created_at
""")
_FIND_PENDING = """
SELECT device_code_hash, client_id, request, ip_address, created_at FROM device_authorization
WHERE user_code_hash = $1 AND status = 'pending' AND expires_at > now()
"""
_FIND = """
SELECT d.client_id, d.request, d.status, d.expires_at <= now() AS expired, d.created_at, d.user_id, d.family_id,
       u.disabled_at IS NOT NULL AS user_disabled
FROM device_authorization AS d LEFT JOIN users AS u ON u.id = d.user_id
WHERE d.device_code_hash = $1
"""
_USER_OF = "SELECT user_id FROM device_authorization WHERE device_code_hash = $1"
# Clocks and networks vary, so a poll may come a second early. $1 device_code_hash  $2 client_id
_POLL = f"""
WITH pending AS MATERIALIZED (
    SELECT device_code_hash, polled_at + make_interval(secs => poll_interval - 1) > now() IS TRUE AS early
    FROM device_authorization
    WHERE device_code_hash = $1 AND client_id = $2 AND status = 'pending' AND expires_at > now()
    FOR UPDATE
)
UPDATE device_authorization AS d
SET polled_at = now(),
    poll_interval = CASE WHEN p.early THEN least(d.poll_interval + {SLOWER}, {LONGEST}) ELSE d.poll_interval END
FROM pending AS p WHERE d.device_code_hash = p.device_code_hash
RETURNING p.early
"""  # noqa: S608
# The lock of the session makes a concurrent sign-out wait, and then cancel the approval.
_APPROVE = NamedQuery("""
WITH live AS MATERIALIZED (
    SELECT s.user_id, s.id FROM users AS u, session AS s
    WHERE u.id = :user_id AND u.disabled_at IS NULL
      AND s.user_id = :user_id AND s.id = :session_id AND s.ended_at IS NULL AND s.expires_at > now()
    FOR SHARE OF s
)
UPDATE device_authorization AS d
SET status = 'approved', user_id = live.user_id, session_id = live.id, request = :request,
    auth_time = :auth_time, auth_age = :auth_age, amr = :amr, acr = :acr
FROM live
WHERE d.device_code_hash = :device_code_hash AND d.client_id = :client_id
  AND d.status = 'pending' AND d.expires_at > now()
RETURNING d.device_code_hash
""")
_DENY = """
UPDATE device_authorization SET status = 'denied'
WHERE device_code_hash = $1 AND status = 'pending' AND expires_at > now()
"""
# $1 device_code_hash  $2 client_id  $3 not_before  $4 family_id  $5 whether it ends with the session of its approval
_REDEEM = """
UPDATE device_authorization AS d SET status = 'redeemed', family_id = $4
WHERE d.device_code_hash = $1 AND d.client_id = $2 AND d.status = 'approved' AND d.expires_at > now()
  AND d.created_at >= $3
  AND d.user_id IN (SELECT u.id FROM users AS u WHERE u.disabled_at IS NULL AND u.id IN (
      SELECT user_id FROM device_authorization WHERE device_code_hash = $1))
  AND (NOT $5 OR (d.user_id, d.session_id) IN (
      SELECT s.user_id, s.id FROM session AS s WHERE s.ended_at IS NULL AND (s.user_id, s.id) IN (
          SELECT user_id, session_id FROM device_authorization WHERE device_code_hash = $1)))
RETURNING d.user_id, d.request, d.auth_time, d.auth_age, d.amr, d.acr
"""

_CANCEL_OF_USER = "UPDATE device_authorization SET status = 'cancelled' WHERE status = 'approved' AND user_id = $1"
_CANCEL_OF_CONSENT = f"{_CANCEL_OF_USER} AND client_id = $2"
# Of sign-ins before a time. $2 auth_time  $3 client_id (null: all clients)
_CANCEL_EARLIER = f"{_CANCEL_OF_USER} AND auth_time < $2 AND ($3::text IS NULL OR client_id = $3)"
_CANCEL_IN_ORGANIZATION = f"{_CANCEL_OF_USER} AND request ->> 'organization_id' = $2::text"
_CANCEL_OF_SESSION = f"{_CANCEL_OF_USER} AND session_id = $2"
# $1 user_ids  $2 session_ids
_CANCEL_OF_SESSIONS = """
UPDATE device_authorization AS d SET status = 'cancelled'
FROM unnest($1::uuid[], $2::uuid[]) AS a (user_id, session_id)
WHERE d.user_id = a.user_id AND d.session_id = a.session_id AND d.status = 'approved'
"""
# Also those whose session has ended. $1 upstream_id  $2 the method of a sign-in with an upstream
_CANCEL_OF_UPSTREAM = """
UPDATE device_authorization SET status = 'cancelled' WHERE status = 'approved' AND $2 = ANY (amr)
AND user_id IN (SELECT i.user_id FROM identity AS i WHERE i.upstream_id = $1)
"""
# Of a client, and of all, also those that nobody has approved yet.
_CANCEL_ALL = "UPDATE device_authorization SET status = 'cancelled' WHERE status IN ('pending', 'approved')"
_CANCEL_OF_CLIENT = f"{_CANCEL_ALL} AND client_id = $1"


class PendingDevice(msgspec.Struct, frozen=True):
    """A device that waits for its user. ``request`` is JSON."""

    device_code_hash: bytes
    client_id: str
    request: str
    ip_address: str
    created_at: datetime


class StoredDevice(msgspec.Struct, frozen=True):
    """A device authorization in any state. ``request`` is JSON."""

    client_id: str
    request: str
    status: Status
    expired: bool
    created_at: datetime
    user_id: UUID | None
    family_id: UUID | None
    user_disabled: bool


class Approval(msgspec.Struct, frozen=True, kw_only=True):
    """What a user approves, in which session, with which authentication."""

    device_code_hash: bytes
    client_id: str
    request: str
    user_id: UUID
    session_id: UUID
    auth_time: datetime
    auth_age: int | None
    amr: Sequence[str]
    acr: str


async def insert(
    device_code_hash: bytes,
    user_code_hash: bytes,
    client_id: str,
    request: str,
    *,
    interval: int,
    ip_address: str,
    lifetime: float,
) -> bool:
    """Store a request for ``lifetime`` seconds. Returns False if another one has the same user code."""
    row = await _INSERT.fetchrow(
        device_code_hash=device_code_hash,
        user_code_hash=user_code_hash,
        client_id=client_id,
        request=request,
        poll_interval=interval,
        ip_address=ip_address,
        lifetime=lifetime,
    )
    return row is not None


async def find_pending(user_code_hash: bytes) -> PendingDevice | None:
    """Return the device that shows a user code and waits."""
    return one(PendingDevice, await fetchrow(_FIND_PENDING, user_code_hash))


async def find(device_code_hash: bytes) -> StoredDevice | None:
    """Return the device authorization of a device code, also one that has ended."""
    return one(StoredDevice, await fetchrow(_FIND, device_code_hash))


async def user_of(device_code_hash: bytes) -> UUID | None:
    """Return the user who has approved a device."""
    row = await fetchrow(_USER_OF, device_code_hash)
    user_id: UUID | None = row["user_id"] if row is not None else None
    return user_id


async def poll(device_code_hash: bytes, client_id: str) -> bool | None:
    """Note a poll of a device that waits for its user. Returns whether it came too early; None if it does not wait."""
    row = await fetchrow(_POLL, device_code_hash, client_id)
    early: bool | None = row["early"] if row is not None else None
    return early


async def approve(approval: Approval) -> bool:
    """Approve a pending request. Returns False if it is not pending, or the user or the session has ended."""
    return await _APPROVE.fetchrow(**msgspec.structs.asdict(approval)) is not None


async def deny(device_code_hash: bytes) -> bool:
    """Deny a pending request. Returns False if it is not pending."""
    return bool(await execute(_DENY, device_code_hash))


async def redeem(
    device_code_hash: bytes, client_id: str, not_before: datetime, family_id: UUID
) -> ApprovedRequest | None:
    """Consume an approved request. Returns None if a condition is not met.

    Args:
        not_before: a request that was started earlier is refused.
    """
    values = (device_code_hash, client_id, not_before, family_id, settings().single_session)
    return one(ApprovedRequest, await fetchrow(_REDEEM, *values))


async def cancel_of_user(user_id: UUID) -> int:
    """Cancel what a user approved and no device redeemed. Returns the number, as do the functions after this one."""
    return await execute(_CANCEL_OF_USER, user_id)


async def cancel_of_consent(user_id: UUID, client_id: str) -> int:
    return await execute(_CANCEL_OF_CONSENT, user_id, client_id)


async def cancel_in_organization(user_id: UUID, organization_id: UUID) -> int:
    return await execute(_CANCEL_IN_ORGANIZATION, user_id, str(organization_id))


async def cancel_earlier(user_id: UUID, auth_time: datetime, client_id: str | None) -> int:
    """Cancel what a user approved in sign-ins before ``auth_time``, for one client or for all (None)."""
    return await execute(_CANCEL_EARLIER, user_id, auth_time, client_id)


async def cancel_of_session(user_id: UUID, session_id: UUID) -> int:
    return await execute(_CANCEL_OF_SESSION, user_id, session_id)


async def cancel_of_sessions(sessions: Sequence[SessionKey]) -> int:
    return await execute(_CANCEL_OF_SESSIONS, *columns(sessions))


async def cancel_of_upstream(upstream_id: str) -> int:
    """Cancel the approvals that may have come from a sign-in with an upstream."""
    return await execute(_CANCEL_OF_UPSTREAM, upstream_id, FEDERATED)


async def cancel_of_client(client_id: str) -> int:
    """Cancel the requests of a client, also those that nobody has approved."""
    return await execute(_CANCEL_OF_CLIENT, client_id)


async def cancel_all() -> int:
    """Cancel all requests, also those that nobody has approved."""
    return await execute(_CANCEL_ALL)
