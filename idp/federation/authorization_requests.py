"""Authorization requests sent to providers. Each is bound to one sign-in or session and used once."""

import hmac
from base64 import urlsafe_b64encode
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from idp import ids
from idp.federation import repository
from idp.federation.models import AuthorizationRequest
from idp.keys import vault

#: Lifetime of a request in seconds: the time that a user may spend at the provider.
LIFETIME = 15 * 60


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
        """The request that the provider's response is checked against."""
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
    row = await repository.insert_request(
        ids.digest(state),
        upstream_id,
        flow_id=flow_id,
        session_id=session_id,
        acr=acr,
        max_age=oldest,
        lifetime=float(LIFETIME),
    )
    return _request(state, upstream_id, row)


async def find(state: str, upstream_id: str) -> StoredRequest | None:
    """Return the live request of a callback. The caller checks its owner before :func:`consume`."""
    row = await repository.find_request(ids.digest(state), upstream_id)
    return _request(state, upstream_id, row) if row is not None else None


def _request(state: str, upstream_id: str, row: repository.PendingRequest) -> StoredRequest:
    return StoredRequest(state, upstream_id, row.flow_id, row.session_id, row.acr, row.auth_after)


async def consume(attempt: StoredRequest) -> bool:
    """Consume a request. Returns False if it was already consumed or has expired."""
    return await repository.consume_request(ids.digest(attempt.state), attempt.upstream_id)
