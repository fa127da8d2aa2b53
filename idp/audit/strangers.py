"""How much of what strangers try is written down, so that they cannot fill the trail.

Of one kind and subject a few a minute, of one kind so many altogether, in each worker. The rest is counted and told in
one event; the limits of :mod:`idp.web.throttle` hold before this.
"""

import time
from collections import Counter

OF_SUBJECT, OF_EVENT = 10, 300
WINDOW_SECONDS = 60.0

_seen: Counter[tuple[str, str]] = Counter()
_left_out: Counter[str] = Counter()
_since = 0.0


def admitted(event: str, subject: str) -> bool:
    """Whether one more is written down; else it is counted."""
    global _since  # noqa: PLW0603
    now = time.monotonic()
    if now - _since >= WINDOW_SECONDS:
        _seen.clear()
        _since = now
    if _seen[event, ""] >= OF_EVENT or _seen[event, subject or "?"] >= OF_SUBJECT:
        _left_out[event] += 1
        return False
    _seen[event, ""] += 1
    _seen[event, subject or "?"] += 1
    return True


def left_out() -> dict[str, int]:
    """How many of each kind were left out since this was asked last."""
    taken = dict(_left_out)
    _left_out.clear()
    return taken
