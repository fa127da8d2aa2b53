"""Receivers that hang or fail do not delay those that work, and cost no memory."""

import asyncio
import os
from pathlib import Path

import pytest

from idp.delivery import outbox, stream
from idp.infra.db.engine import fetchrow, transaction
from tests.delivery.conftest import HANDLERS
from tests.support.receivers import Receivers

GOOD, HANGING, FAILING, EACH = 80, 10, 10, 12


def _memory() -> int:
    """Return the resident memory of this process, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def _queue(receivers: Receivers, names: list[str]) -> None:
    """Those of the receivers that do not work come first, and there are more of them."""
    many = [
        outbox.Queued(kind="loose", stream=f"client:{name}", content={"url": receivers.url(name), "fill": "x" * 2000})
        for name in names
        for _ in range(EACH if name.startswith("good") else EACH * 10)
    ]
    async with transaction():
        await outbox.queue_many(many)


async def _until_good_ones_are_done() -> None:
    task = asyncio.create_task(outbox.run(HANDLERS))
    try:
        async with asyncio.timeout(60):
            while True:
                row = await fetchrow(
                    "SELECT count(*) AS number FROM delivery WHERE state = 'delivered' AND stream LIKE 'client:good%'"
                )
                assert row is not None
                if row["number"] == GOOD * EACH:
                    return
                await asyncio.sleep(0.02)
    finally:
        outbox.LAST_SECONDS = 0.1
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        outbox.LAST_SECONDS = 5.0


async def test_twenty_bad_receivers_do_not_delay_eighty_good_ones(
    receivers: Receivers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request that hangs is not given up before the test ends. Whatever waited for it would never be delivered."""
    monkeypatch.setattr(stream, "SEND_SECONDS", 600.0)
    good = [f"good{n}" for n in range(GOOD)]
    bad = [f"bad{n}" for n in range(HANGING + FAILING)]
    receivers.behaviours = dict.fromkeys(bad[:HANGING], "hang") | dict.fromkeys(bad[HANGING:], "500 |Out of order")
    await _queue(receivers, bad + good)
    before = _memory()
    await _until_good_ones_are_done()
    assert _memory() - before < 30 * 2**20
    asked = [request.path for request in receivers.received if request.path.startswith("bad")]
    assert set(asked) == set(bad)
    # Each of them was asked a few times, and then left alone.
    assert max(map(asked.count, bad)) < stream.PAUSE_AFTER + stream.CONCURRENT + 3
