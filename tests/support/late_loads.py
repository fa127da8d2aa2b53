"""Servers that load changes late: `TEST_LATE_LOADS=1 make test` finds tests that go on before a server knows a change.

Usually a server knows it within milliseconds, so such a test fails once in thousands of runs.
"""

import asyncio
import os
import random
from typing import Final

from idp.infra.db.cache_invalidation import Watch

#: Seconds for which a load waits before and after it; most tests that do not wait fail with the longest.
SECONDS: Final = (0.0, 0.02, 0.3)


def install() -> None:
    """Delay the loads of this process, and of those that it forks, if the environment asks for it."""
    if not os.environ.get("TEST_LATE_LOADS"):
        return
    load = Watch._load

    async def load_late(self: Watch, topic: str) -> None:
        await asyncio.sleep(random.choice(SECONDS))
        await load(self, topic)
        await asyncio.sleep(random.choice(SECONDS))

    Watch._load = load_late  # type: ignore[method-assign]
