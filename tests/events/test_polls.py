"""Polls that wait for tokens: each client has a share of the places of a process."""

import asyncio
from typing import Any

import pytest

from idp import clock, ids
from idp.events.models import Stream
from idp.events.ssf import poll


def _stream(client_id: str) -> Stream:
    return Stream(ids.uuid7(), client_id, "", None, [], "iss_sub", "enabled", "", None, clock.now(), clock.now())


async def test_one_client_cannot_hold_all_places(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: asyncio.Queue[str] = asyncio.Queue()
    arrived = asyncio.Event()

    async def due(stream: str, *_: Any) -> list[str]:
        looked.put_nowait(stream)
        return ["a token"] if arrived.is_set() else []

    monkeypatch.setattr(poll.deliveries, "due", due)
    monkeypatch.setattr(poll, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(poll, "WAIT_SECONDS", 60.0)
    greedy, other = _stream("greedy"), _stream("other")
    waiting = [
        asyncio.create_task(poll._waiting_tokens(greedy, 1, wait=True)) for _ in range(poll.MAX_WAITING_OF_CLIENT)
    ]
    for _ in waiting:
        await looked.get()
    async with asyncio.timeout(30):
        assert await poll._waiting_tokens(greedy, 1, wait=True) == []
    theirs = asyncio.create_task(poll._waiting_tokens(other, 1, wait=True))
    async with asyncio.timeout(30):
        while poll._waiting["other"] == 0:
            await asyncio.sleep(0)
    arrived.set()
    async with asyncio.timeout(30):
        assert await asyncio.gather(*waiting, theirs) == [["a token"]] * (poll.MAX_WAITING_OF_CLIENT + 1)
    assert not poll._waiting
