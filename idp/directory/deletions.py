"""Deletes the memberships of deleted groups, roles and organizations, in the background.

Nothing follows from them: every statement looks for the group, the role or the organization, which has no row any more.
A deletion with millions of members takes as long as one with few, and an interrupted one goes on where it was
(docs/decisions/0072-groups-and-roles.md).
"""

import asyncio
import time
from typing import Final

from idp.directory.repository import deletions as repository
from idp.infra.db.engine import transaction

#: Memberships of one transaction. Their rows are locked until it ends.
BATCH: Final = 1000
#: Seconds of one round, so that other work of the housekeeping has its turn.
ROUND_SECONDS: Final = 5.0


async def delete_memberships() -> bool:
    """Delete memberships for some seconds. Returns whether there may be more."""
    until = time.monotonic() + ROUND_SECONDS
    while time.monotonic() < until:
        started = time.monotonic()
        async with transaction():
            deletion = await repository.next_deletion()
            if deletion is None:
                return False
            found = await repository.delete_some(deletion, BATCH)
            if not found:
                if await repository.is_left(deletion):
                    # Their users are deleted at this moment.
                    return True
                await repository.end(deletion)
        # As long as the work before, so that requests have priority.
        await asyncio.sleep(time.monotonic() - started)
    return True
