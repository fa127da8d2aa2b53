"""Every statement on the set-up and idempotent responses (docs/decisions/0045-repositories.md)."""

import msgspec

from idp.admin.tables import IdempotentAnswer
from idp.infra.db.engine import execute, fetchrow
from idp.infra.db.expiring import Expiring
from idp.infra.db.rows import one

EXPIRING = (Expiring(IdempotentAnswer, "1 hour"),)

# The set-up

_OPEN = """
INSERT INTO setup (id, token_hash, created_at)
SELECT 1, $1, now() WHERE NOT EXISTS (SELECT 1 FROM admin_role)
ON CONFLICT (id) DO UPDATE SET token_hash = excluded.token_hash, created_at = now()
WHERE setup.completed_at IS NULL
RETURNING id
"""
_IS_OPEN = """
SELECT id FROM setup WHERE token_hash = $1 AND completed_at IS NULL AND NOT EXISTS (SELECT 1 FROM admin_role)
"""
_COMPLETE = """
UPDATE setup SET completed_at = now() WHERE token_hash = $1 AND completed_at IS NULL
AND NOT EXISTS (SELECT 1 FROM admin_role) RETURNING id
"""
_CLOSE = """
INSERT INTO setup (id, created_at, completed_at) VALUES (1, now(), now())
ON CONFLICT (id) DO UPDATE SET completed_at = coalesce(setup.completed_at, now())
"""


async def open_setup(token_hash: bytes) -> bool:
    """Store the hash of a new token. Returns False if the set-up is complete or there is an admin."""
    return await fetchrow(_OPEN, token_hash) is not None


async def is_setup_open(token_hash: bytes) -> bool:
    """Return whether the set-up can be completed with this token."""
    return await fetchrow(_IS_OPEN, token_hash) is not None


async def complete_setup(token_hash: bytes) -> bool:
    """Complete the set-up. Of concurrent calls, one returns True."""
    return await fetchrow(_COMPLETE, token_hash) is not None


async def close_setup() -> None:
    """Mark the set-up as complete without a token."""
    await execute(_CLOSE)


# Idempotent responses

_CLAIM = """
INSERT INTO idempotent_answer (id, request_hash, headers, created_at, expires_at)
VALUES ($1, $2, '{}', now(), now() + make_interval(secs => $3))
ON CONFLICT (id) DO UPDATE SET request_hash = excluded.request_hash, status = NULL, body = NULL,
    expires_at = excluded.expires_at WHERE idempotent_answer.expires_at <= now()
RETURNING id
"""
_STORE = "UPDATE idempotent_answer SET status = $2, headers = $3, body = $4 WHERE id = $1"
_FIND = "SELECT request_hash, status, headers, body FROM idempotent_answer WHERE id = $1"


class StoredResponse(msgspec.Struct, frozen=True):
    """The response to an earlier request with the same key. ``headers`` is JSON, ``body`` is encrypted."""

    request_hash: bytes
    status: int
    headers: str
    body: bytes


async def claim_key(key: bytes, request_hash: bytes, seconds: int) -> bool:
    """Insert an idempotency key. Waits for a concurrent transaction with the same key; False if it was used."""
    return await fetchrow(_CLAIM, key, request_hash, seconds) is not None


async def store_response(key: bytes, status: int, headers: str, body: bytes) -> None:
    """Store the response of a claimed key."""
    await execute(_STORE, key, status, headers, body)


async def find_response(key: bytes) -> StoredResponse | None:
    """Return the stored response of a key."""
    return one(StoredResponse, await fetchrow(_FIND, key))
