"""A separate audit trail for a test, with checkpoints."""

from collections.abc import Awaitable, Callable

import pytest

from idp.audit import checkpoints, verification
from idp.audit.events import record
from idp.audit.report import Report
from idp.keys import checkpoint_signer, lifecycle
from idp.keys.key_set import key_set
from tests.support.isolated import empty_database, move_clock, own_database, use_master_key

__all__ = ["empty_database", "move_clock", "own_database", "use_master_key"]

Trail = Callable[..., Awaitable[None]]


@pytest.fixture
async def trail(own_database: str) -> Trail:
    """Write so many rows per checkpoint, into a database for this test only."""
    await lifecycle.ensure_signing_key("RS256")
    await key_set.load()

    async def write(*sizes: int) -> None:
        for size in sizes:
            for number in range(size):
                await record("sign_in", client_id=f"client {number}", detail={"reason": "ä", "rate": 0.5, "n": 1e3})
            assert await checkpoints.create(checkpoint_signer.sign) is not None

    # The event of creating the key gets a checkpoint of its own.
    assert await checkpoints.create(checkpoint_signer.sign) is not None
    return write


async def verified(outside: dict[int, str] | None = None) -> Report:
    return await verification.verify(await checkpoint_signer.reader(), outside)
