"""Limits on records of unauthenticated requests, so that they cannot fill a table."""

import time
from collections import Counter

WINDOW_SECONDS = 60.0


class EventLimit:
    """Admits a number of events of one kind a minute, and a tenth of it for one key. It counts what it leaves out."""

    def __init__(self) -> None:
        self._seen = Counter[tuple[str, str]]()
        self._left_out = Counter[str]()
        self._since = 0.0

    def admitted(self, event: str, key: str, limit: int) -> bool:
        """Return whether one more event of this key is recorded. If not, it is counted as left out."""
        now = time.monotonic()
        if now - self._since >= WINDOW_SECONDS:
            self._seen.clear()
            self._since = now
        of_all, of_key = (event, ""), (event, f"/{key}")
        if self._seen[of_all] >= limit or self._seen[of_key] >= max(1, limit // 10):
            self._left_out[event] += 1
            return False
        self._seen[of_all] += 1
        self._seen[of_key] += 1
        return True

    def left_out(self) -> dict[str, int]:
        """Return how many events of each kind were left out since the last call."""
        taken = dict(self._left_out)
        self._left_out.clear()
        return taken
