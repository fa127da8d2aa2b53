"""Comparing a secret that a client sent."""

import hmac

from idp import ids
from idp.oauth.clients.authentication.credentials import Failure, Verify
from idp.oauth.clients.models import Client, Secret
from idp.reasons import Reason

_NO_SECRET = Secret(bytes(32), None, None)
_WRONG = Failure(Reason.WRONG_SECRET, "wrong secret")
_NONE_SET = Failure(Reason.NO_SECRET_SET, "the client has no secret yet")
_EXPIRED = Failure(Reason.SECRET_EXPIRED, "the secret has expired, or was replaced and has ended")


def has_secret(secret: str) -> Verify:
    """Return the verification of a secret. During a change a client has two."""

    async def verify(client: Client | None) -> Failure | None:
        stored = client.secrets if client is not None else ()
        # The same work for an unknown client, and for one without a secret or with only one.
        digest, compared = ids.digest(secret), (*stored, _NO_SECRET, _NO_SECRET)[:2]
        same = [each for each in compared if hmac.compare_digest(digest, each.hash)]
        if not stored:
            return _NONE_SET
        if not same:
            return _WRONG
        return None if any(each.live for each in same) else _EXPIRED

    return verify
