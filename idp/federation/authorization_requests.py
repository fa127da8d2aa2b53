"""Authorization requests sent to providers. Each is bound to one sign-in or session and used once."""

import hmac
from base64 import urlsafe_b64encode
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import asyncpg

from idp import ids
from idp.federation.models import AuthorizationRequest
from idp.infra.db.engine import execute, fetchrow
from idp.keys import vault

#: Lifetime of a request in seconds: the time that a user may spend at the provider.
LIFETIME = 15 * 60

_INSERT = """
    INSERT INTO upstream_attempt
        (state_hash, upstream_id, flow_id, session_id, acr, auth_after, created_at, expires_at)
    VALUES ($1, $2, $3, $4, $5, now() - make_interval(secs => $6), now(), now() + make_interval(secs => $7))
    RETURNING auth_after
"""
_LIVE = "state_hash = $1 AND upstream_id = $2 AND consumed_at IS NULL AND expires_at > now()"
_FIND = f"SELECT flow_id, session_id, acr, auth_after FROM upstream_attempt WHERE {_LIVE}"  # noqa: S608
_TAKE = f"UPDATE upstream_attempt SET consumed_at = now() WHERE {_LIVE}"  # noqa: S608


class StoredRequest(NamedTuple):
    """A stored request. Either ``flow_id`` or ``session_id`` names its owner."""

    state: str
    upstream_id: str
    flow_id: str | None
    session_id: UUID | None
    acr: str | None
    auth_after: datetime | None

    @property
    def request(self) -> AuthorizationRequest:
        """The request as the provider's response is checked against it."""
        nonce, verifier = _derived(self.state, "nonce"), _derived(self.state, "code_verifier")
        return AuthorizationRequest(self.state, nonce, verifier, acr=self.acr, auth_after=self.auth_after)


def _derived(state: str, purpose: str) -> str:
    # Derived from the state and a server key, so it need not be stored.
    digest = hmac.digest(vault.derive("upstream"), f"{purpose}\0{state}".encode(), "sha256")
    return urlsafe_b64encode(digest).rstrip(b"=").decode()


async def create(
    upstream_id: str,
    *,
    flow_id: str | None = None,
    session_id: UUID | None = None,
    acr: str | None = None,
    max_age: int | None = None,
) -> StoredRequest:
    """Store a new request.

    Args:
        acr: the ``acr`` requested from the provider.
        max_age: maximum age of the sign-in at the provider in seconds. None: no limit.
    """
    state = ids.random_token()
    oldest = None if max_age is None else float(max_age)
    row = await fetchrow(_INSERT, ids.digest(state), upstream_id, flow_id, session_id, acr, oldest, float(LIFETIME))
    assert row is not None  # noqa: S101 -- INSERT … RETURNING gives its row
    return StoredRequest(state, upstream_id, flow_id, session_id, acr, row["auth_after"])


async def find(state: str, upstream_id: str) -> StoredRequest | None:
    """Return the live request of a callback. The caller checks its owner before :func:`consume`."""
    row: asyncpg.Record | None = await fetchrow(_FIND, ids.digest(state), upstream_id)
    return StoredRequest(state, upstream_id, *row) if row is not None else None


async def consume(attempt: StoredRequest) -> bool:
    """Consume a request. Returns False if it was already consumed or has expired."""
    return bool(await execute(_TAKE, ids.digest(attempt.state), attempt.upstream_id))
