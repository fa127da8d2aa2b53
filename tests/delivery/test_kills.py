"""Senders that are killed while they send lose nothing, and repeat nothing whose acknowledgement was recorded.

`TEST_DELIVERIES=10000 TEST_KILLS=100 make test ARGS=tests/delivery/test_kills.py` runs it in full.
"""

import asyncio
import os
import random
import sys
from asyncio.subprocess import Process

from idp.delivery import outbox
from idp.infra.db.engine import fetch, transaction
from tests.conftest import MASTER_KEY
from tests.support.receivers import Receivers

DELIVERIES, KILLS = int(os.environ.get("TEST_DELIVERIES", "800")), int(os.environ.get("TEST_KILLS", "5"))
RECEIVERS = 20


async def _start(dsn: str) -> Process:
    environment = os.environ | {"IDP_MASTER_KEY": MASTER_KEY, "IDP_DATABASE_URL": dsn}
    return await asyncio.create_subprocess_exec(sys.executable, "-m", "tests.delivery.child", dsn, env=environment)


async def _recorded() -> set[str]:
    return {str(row["id"]) for row in await fetch("SELECT id FROM delivery WHERE state = 'delivered'")}


async def test_killed_senders_lose_nothing(receivers: Receivers, database: str) -> None:
    """Half of the receivers get theirs in order."""
    queued = [
        outbox.Queued(
            kind="loose" if n % 2 else "strict", stream=f"client:{n % RECEIVERS}",
            content={"url": receivers.url(str(n % RECEIVERS))},
        )
        for n in range(DELIVERIES)
    ]  # fmt: skip
    async with transaction():
        await outbox.queue_many(queued)
    # By number of the requests that had come: what was recorded then must not come after them.
    recorded: dict[int, set[str]] = {}
    senders = [await _start(database) for _ in range(2)]
    try:
        async with asyncio.timeout(60 + DELIVERIES / 20 + 5 * KILLS):
            for _ in range(KILLS):
                goal = len(receivers.received) + random.uniform(0.1, 0.9) * DELIVERIES / (KILLS + 1)
                while len(receivers.received) < goal:
                    await asyncio.sleep(0.002)
                killed = senders.pop(0)
                killed.kill()
                await killed.wait()
                done = await _recorded()
                recorded[len(receivers.received)] = done
                senders.append(await _start(database))
            while len(await _recorded()) < DELIVERIES:
                await asyncio.sleep(0.1)
    finally:
        for sender in senders:
            sender.kill()
            await sender.wait()
    for number, done in recorded.items():
        assert not {request.headers["id"] for request in receivers.received[number:]} & done
    accepted = [request.headers["id"] for requests in receivers.accepted.values() for request in requests]
    assert set(accepted) == {str(one.id) for one in queued}
    assert len(accepted) - DELIVERIES <= KILLS * RECEIVERS * 4
    for name in map(str, range(0, RECEIVERS, 2)):
        first = list(dict.fromkeys(request.headers["id"] for request in receivers.accepted[name]))
        assert first == [str(one.id) for one in queued if one.stream == f"client:{name}"]
