"""Nonces for DPoP proofs (RFC 9449 section 8), which need no storage.

A nonce is an HMAC of the time step in which it was given out. So every worker of every replica knows all nonces, and
each is accepted for a bounded time. It limits how long a proof can be made in advance; that a proof is used once is
known by its ``jti``.
"""

import hmac
from base64 import urlsafe_b64encode
from functools import lru_cache

from idp import clock
from idp.keys import vault

#: Length of a time step, in seconds.
STEP = 60
#: Number of steps before the current one whose nonces are accepted. So a nonce lives for 2 to 3 minutes.
EARLIER_STEPS = 2
#: Largest length of a nonce that is compared.
MAX_LENGTH = 64


@lru_cache(maxsize=64)
def _nonce(key: bytes, step: int) -> str:
    return urlsafe_b64encode(hmac.digest(key, step.to_bytes(8, "big"), "sha256")[:18]).decode("ascii")


def _at(step: int) -> str:
    return _nonce(vault.derive("dpop-nonce"), step)


def current() -> str:
    """Return the nonce to give out now."""
    return _at(clock.timestamp() // STEP)


def age(nonce: str) -> int | None:
    """Return how many steps ago a nonce was given out, or None if it is not, or not any more, one of ours.

    Negative for one of a replica whose clock is ahead of ours.
    """
    if len(nonce) > MAX_LENGTH:
        return None
    now, given = clock.timestamp() // STEP, nonce.encode("utf-8", "replace")
    for steps in range(-1, EARLIER_STEPS + 1):
        if hmac.compare_digest(_at(now - steps).encode(), given):
            return steps
    return None
