"""Comparing a secret that a client sent."""

import hmac

from idp import ids
from idp.oauth.clients.authentication.credentials import Failure, Verify
from idp.oauth.clients.models import Client
from idp.reasons import Reason

_NO_HASH = bytes(32)
_WRONG = Failure(Reason.WRONG_SECRET, "wrong secret")
_NONE_SET = Failure(Reason.NO_SECRET_SET, "the client has no secret yet")


def has_secret(secret: str) -> Verify:
    """Return the verification of a secret."""

    async def verify(client: Client | None) -> Failure | None:
        stored = client.client_secret_hash if client is not None else None
        # The same work for an unknown client and for one without a secret.
        same = hmac.compare_digest(ids.digest(secret), stored or _NO_HASH)
        if stored is None:
            return _NONE_SET
        return None if same else _WRONG

    return verify
