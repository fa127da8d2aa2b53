"""Ways to a provider and back: each once, from one browser, for one sign-in or one session."""

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

#: Seconds that a person may take there.
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
    """One that is under way. ``flow_id`` or ``session_id`` says whose it is."""

    state: str
    upstream_id: str
    flow_id: str | None
    session_id: UUID | None
    acr: str | None
    auth_after: datetime | None

    @property
    def request(self) -> AuthorizationRequest:
        """What the provider's answer must fit to."""
        nonce, verifier = _derived(self.state, "nonce"), _derived(self.state, "code_verifier")
        return AuthorizationRequest(self.state, nonce, verifier, acr=self.acr, auth_after=self.auth_after)


def _derived(state: str, purpose: str) -> str:
    # Of whoever knows the state, only we can say what belongs to it; so it need not be kept.
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
    """Begin one.

    Args:
        acr: what the provider is asked for.
        max_age: how many seconds ago the person may have signed in there; None: any number.
    """
    state = ids.random_token()
    oldest = None if max_age is None else float(max_age)
    row = await fetchrow(_INSERT, ids.digest(state), upstream_id, flow_id, session_id, acr, oldest, float(LIFETIME))
    assert row is not None  # noqa: S101 -- INSERT … RETURNING gives its row
    return StoredRequest(state, upstream_id, flow_id, session_id, acr, row["auth_after"])


async def find(state: str, upstream_id: str) -> StoredRequest | None:
    """The one that a callback speaks of. Whose it is must be checked before it is taken."""
    row: asyncpg.Record | None = await fetchrow(_FIND, ids.digest(state), upstream_id)
    return StoredRequest(state, upstream_id, *row) if row is not None else None


async def consume(attempt: StoredRequest) -> bool:
    """End it, once. Returns whether this call did."""
    return bool(await execute(_TAKE, ids.digest(attempt.state), attempt.upstream_id))
