"""The figure of deliveries to other systems: logout tokens for 100 clients, of which 10 hang and 10 answer with 500.

One worker of a server on an empty database sends them. The receivers are in another process. The limit is the same
number of the same requests by this process, signed and sent over connections that stay open, without an outbox.
"""

import asyncio
import multiprocessing
import statistics
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import msgspec

from bench.figures import Bench, Figure, Part
from bench.product import OUTBOUND, Product
from bench.setting import beside
from idp import ids
from idp.delivery import outbox
from idp.delivery.handlers import DueDelivery
from idp.infra import outbound
from idp.infra.db.engine import execute, fetchrow, transaction
from idp.oauth.clients.registration import register_client
from idp.oauth.clients.registry import registry
from idp.oauth.logout import backchannel

RECEIVERS, HANGING, FAILING = 100, 10, 10
#: Concurrent requests of the limit, each over a connection of its own.
CONCURRENT = 32
#: Seconds for which a receiver that hangs does so. The sender waits for 10.
HANG_SECONDS = 60
#: Receivers by number. Those that do not work are the first ones.
ALL, GOOD = range(RECEIVERS), range(HANGING + FAILING, RECEIVERS)


class Receivers:
    """The receivers, in a process of their own.

    Attributes:
        good: the number of requests with a response of success since :meth:`reset`.
    """

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        here, there = context.Pipe()
        # The number of good requests, and the times of the first and the last one.
        self._seen = context.Array("d", 3)
        self._process = context.Process(target=_receive, args=(there, self._seen), daemon=True)
        self._process.start()
        self._base = f"http://127.0.0.1:{here.recv()}"

    def url(self, number: int) -> str:
        behaviour = "hang" if number < HANGING else "500" if number < HANGING + FAILING else "ok"
        return f"{self._base}/{behaviour}/{number}"

    def reset(self) -> None:
        self._seen[:] = [0.0, 0.0, 0.0]

    @property
    def good(self) -> int:
        return int(self._seen[0])

    @property
    def seconds(self) -> float:
        """Return the time from the first to the last good request."""
        return float(self._seen[2] - self._seen[1])

    def stop(self) -> None:
        self._process.terminate()
        self._process.join()


def _receive(ready: Any, seen: Any) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]))
                if head.startswith(b"POST /hang"):
                    await asyncio.sleep(HANG_SECONDS)
                status = b"500" if head.startswith(b"POST /500") else b"204"
                writer.write(b"HTTP/1.1 " + status + b" x\r\nContent-Length: 0\r\n\r\n")
                if head.startswith(b"POST /ok"):
                    now = time.monotonic()
                    seen[:] = [seen[0] + 1, seen[1] or now, now]
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def serve() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=1000)
        ready.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(serve())


class _Setting(msgspec.Struct, frozen=True):
    """The sender, its receivers, and the clients by number."""

    sender: Product
    receivers: Receivers
    clients: list[str]

    def delivery(self, number: int) -> outbox.Queued:
        client_id = self.clients[number]
        return outbox.Queued(
            kind=backchannel.KIND, stream=backchannel.stream(client_id), content={"client_id": client_id},
            user_id=ids.uuid7(), session_id=ids.uuid7(),
        )  # fmt: skip


@contextmanager
def _receivers() -> Iterator[Receivers]:
    receivers = Receivers()
    try:
        yield receivers
    finally:
        receivers.stop()


@asynccontextmanager
async def _prepared(bench: Bench) -> AsyncIterator[_Setting]:
    with _receivers() as receivers:
        async with beside(bench, IDP_WORKERS="1", **OUTBOUND) as small:
            clients = [await _register(number, receivers.url(number)) for number in ALL]
            await registry.load()
            yield _Setting(small.product, receivers, clients)


async def _register(number: int, url: str) -> str:
    client, _ = await register_client(
        f"receiver-{number:03}", client_name=f"Receiver {number}", redirect_uris=["https://client.example/callback"],
        backchannel_logout_uri=url,
    )  # fmt: skip
    return client.client_id


async def _requests_alone(setting: _Setting, number: int) -> float:
    """Return the seconds for so many requests to the receivers that work."""
    left = iter([setting.delivery(GOOD[n % len(GOOD)]) for n in range(number)])

    async def some() -> None:
        async with outbound.client() as http:
            for queued in left:
                due = DueDelivery(
                    queued.id, queued.kind, queued.stream, queued.content, queued.user_id, queued.session_id, 1
                )
                asked = await backchannel.HANDLER.compose(due)
                await outbound.exchange(http, asked.method, asked.url, asked.headers, asked.body, read=4096)

    started = time.monotonic()
    await asyncio.gather(*(some() for _ in range(CONCURRENT)))
    return time.monotonic() - started


class _Delivered(msgspec.Struct, frozen=True):
    """
    Attributes:
        seconds: from the first to the last delivery to a receiver that works.
        memory: of the sender, in MiB, after the first thousand, or half of them if they are fewer than two thousand.
    """

    seconds: float
    memory: float


async def _deliver(setting: _Setting, to: range, each: int) -> _Delivered:
    """Deliver so many to each of these receivers. Those of a receiver are stored one after the other."""
    await _empty()
    setting.receivers.reset()
    wanted = each * len(set(to) & set(GOOD))
    async with transaction():
        await outbox.queue_many([setting.delivery(number) for number in to for _ in range(each)])
    while setting.receivers.good < min(1000, wanted // 2):
        await asyncio.sleep(0.005)
    memory = setting.sender.memory()
    while setting.receivers.good < wanted:
        await asyncio.sleep(0.005)
    return _Delivered(setting.receivers.seconds, memory)


async def _empty() -> None:
    """Remove what was not delivered, when no request is under way any more."""
    await execute("DELETE FROM delivery")
    while await fetchrow("SELECT FROM delivery_stream WHERE holder IS NOT NULL LIMIT 1") is not None:
        await asyncio.sleep(0.1)
    await execute("TRUNCATE delivery, delivery_stream")


async def deliveries(bench: Bench, number: int) -> Figure:
    """Measure the rate of the deliveries that succeed, the delay by those that do not, and the memory of the sender.

    Args:
        number: deliveries in all. Those to the receivers that work are four fifths.
    """
    each = number // RECEIVERS
    good = each * len(GOOD)
    limits: list[float] = []
    without: list[float] = []
    with_bad: list[float] = []
    memory: list[float] = []
    async with _prepared(bench) as setting:
        for _ in range(bench.rounds):
            limits.append(good / await _requests_alone(setting, good))
            for to, seconds in ((GOOD, without), (ALL, with_bad)):
                measured = await _deliver(setting, to, each)
                seconds.append(measured.seconds)
                memory += [measured.memory, setting.sender.memory()]
    rate = good / statistics.median(with_bad)
    parts = [
        Part.of("deliveries/s, against the requests alone", rate, statistics.median(limits), ">= 0.70"),
        Part.of(
            f"seconds beside {HANGING + FAILING} that do not work, against without them",
            statistics.median(with_bad), statistics.median(without), "<= 1.20",
        ),
        Part.of("MiB of the sender after all, against after the first thousand", memory[-1], memory[0], "<= 1.05"),
    ]  # fmt: skip
    name = f"{number:,} deliveries to {RECEIVERS} receivers, of which {HANGING} hang and {FAILING} answer with 500"
    return Figure.of(name, "in its worst part", "", parts)
