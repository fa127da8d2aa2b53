"""A limit on audit events of unauthenticated requests, so that they cannot fill the audit trail.

Each worker writes at most ``IDP_AUDIT_FAILURE_LIMIT`` events of one kind a minute, and a tenth of that for one key. The
rest is counted and reported in one event. The limits of :mod:`idp.infra.rate_limits` apply before this one.
"""

import time
from collections import Counter

from idp.infra.request_context import client_address, request_id
from idp.settings import settings

WINDOW_SECONDS = 60.0

_seen: Counter[tuple[str, str]] = Counter()
_left_out: Counter[str] = Counter()
_since = 0.0


def limit_key(known: object = None) -> str:
    """Return the key of an event: the user or client if known, else the client address if address limits are on."""
    if known is not None:
        return str(known)
    return client_address.get() if settings().address_limits else request_id.get()


def admitted(event: str, key: str) -> bool:
    """Return whether one more event of this key is written. If not, it is counted as left out."""
    global _since  # noqa: PLW0603
    now, limit = time.monotonic(), settings().audit_failure_limit
    if now - _since >= WINDOW_SECONDS:
        _seen.clear()
        _since = now
    of_all, of_key = (event, ""), (event, f"/{key}")
    if _seen[of_all] >= limit or _seen[of_key] >= max(1, limit // 10):
        _left_out[event] += 1
        return False
    _seen[of_all] += 1
    _seen[of_key] += 1
    return True


def left_out() -> dict[str, int]:
    """Return how many events of each kind were left out since the last call."""
    taken = dict(_left_out)
    _left_out.clear()
    return taken
