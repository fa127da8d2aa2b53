"""How much of what strangers try is written down, so that they cannot fill the trail.

Of one kind so many a minute (`IDP_AUDIT_FAILURE_LIMIT`), in each worker, and of one subject a tenth of it. The rest is
counted and told in one event. The limits of :mod:`idp.infra.rate_limits` hold before this.
"""

import time
from collections import Counter

from idp.infra.request_context import client_address, request_id
from idp.settings import settings

WINDOW_SECONDS = 60.0

_seen: Counter[tuple[str, str]] = Counter()
_left_out: Counter[str] = Counter()
_since = 0.0


def subject(known: object = None) -> str:
    """Whom something concerns: a user or a client, if one is known, else where it comes from, if addresses count."""
    if known is not None:
        return str(known)
    return client_address.get() if settings().address_limits else request_id.get()


def admitted(event: str, subject: str) -> bool:
    """Whether one more is written down; else it is counted."""
    global _since  # noqa: PLW0603
    now, limit = time.monotonic(), settings().audit_failure_limit
    if now - _since >= WINDOW_SECONDS:
        _seen.clear()
        _since = now
    of_all, of_subject = (event, ""), (event, f"/{subject}")
    if _seen[of_all] >= limit or _seen[of_subject] >= max(1, limit // 10):
        _left_out[event] += 1
        return False
    _seen[of_all] += 1
    _seen[of_subject] += 1
    return True


def left_out() -> dict[str, int]:
    """How many of each kind were left out since this was asked last."""
    taken = dict(_left_out)
    _left_out.clear()
    return taken
