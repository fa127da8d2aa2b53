"""Names that resolve slowly hold a bounded number of threads, and keep only those of their own group waiting."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from idp.infra import name_lookups
from idp.infra.name_lookups import THREADS, Lookups
from idp.oauth.clients.documents import resolver
from idp.oauth.clients.documents.errors import DocumentError


class Resolver:
    """The system's resolver. It knows ``fine.example``; the name servers of other names do not answer."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self.answers = threading.Event()

    def getaddrinfo(self, host: str, port: int, **_: Any) -> list[Any]:
        if host != "fine.example":
            self.entered.release()
            self.answers.wait()
            raise socket.gaierror(socket.EAI_AGAIN, "no answer")
        return [(2, 1, 6, "", ("192.0.2.1", port))]

    async def waits_for(self, number: int) -> None:
        """Return when this number of lookups is under way."""
        for _ in range(number):
            assert await asyncio.to_thread(self.entered.acquire, timeout=30)


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> Iterator[Resolver]:
    found = Resolver()
    monkeypatch.setattr(name_lookups.socket, "getaddrinfo", found.getaddrinfo)
    yield found
    found.answers.set()


async def test_a_lookup_counts_until_its_thread_is_free(system: Resolver) -> None:
    lookups = Lookups()
    slow = [asyncio.create_task(lookups.getaddrinfo(f"{number}.example", 443)) for number in range(THREADS)]
    await system.waits_for(THREADS)
    for task in slow:
        task.cancel()
    assert all(isinstance(each, asyncio.CancelledError) for each in await asyncio.gather(*slow, return_exceptions=True))
    with pytest.raises(OSError, match="Too many"):
        await lookups.getaddrinfo("fine.example", 443)
    system.answers.set()
    async with asyncio.timeout(30):
        while not lookups._free.acquire(blocking=False):
            await asyncio.sleep(0.01)
    lookups._free.release()
    assert await lookups.getaddrinfo("fine.example", 443) == [(2, 1, 6, "", ("192.0.2.1", 443))]


async def test_strangers_keep_nobody_waiting(system: Resolver, monkeypatch: pytest.MonkeyPatch) -> None:
    """Documents of clients that nobody has allowed leave the lookups of upstreams and deliveries, and other threads."""

    async def unlimited(*_: object, **__: object) -> None:
        """Budgets allow bursts."""

    monkeypatch.setattr(resolver.budgets, "count_fetch", unlimited)
    strangers = Lookups()
    monkeypatch.setattr(resolver, "STRANGERS", strangers)
    fetches = [
        asyncio.create_task(resolver.fetch(f"https://{number}.example/client", stored=False))
        for number in range(THREADS)
    ]
    await system.waits_for(THREADS)
    with pytest.raises(DocumentError):
        await resolver.fetch("https://fine.example/client", stored=False)
    for others in (name_lookups.CONFIGURED, name_lookups.CLIENTS):
        assert await others.getaddrinfo("fine.example", 443)
    await asyncio.to_thread(int)
    system.answers.set()
    assert all(isinstance(each, DocumentError) for each in await asyncio.gather(*fetches, return_exceptions=True))
