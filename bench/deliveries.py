"""What the outbox of deliveries carries: ``python -m bench.deliveries [NUMBER]``.

One process delivers to receivers in another process. The limit, measured in the same run, is the same number of the
same requests by the same HTTP client over connections that stay open, without an outbox. Then a tenth of the receivers
hang and a tenth answer with 500; the time is that until all others have theirs.
"""

import asyncio
import base64
import logging
import multiprocessing
import os
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

import structlog

from bench.setting import POSTGRES
from idp.delivery import outbox
from idp.delivery.handlers import DeliveryRequest, DueDelivery, Handler
from idp.infra import outbound
from idp.infra.db import engine, migrate
from idp.infra.db.embedded import EmbeddedPostgres
from idp.infra.db.engine import execute, fetchrow, transaction
from idp.keys import root_key
from idp.settings import settings

RECEIVERS, CONCURRENT = 100, 32
BODY = b'{"type": "user_disabled", "data": {"user_id": "01a22c8d-0d11-7aab-a2a9-2b6dfd25e1f8"}}'


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]))
            if head.startswith(b"POST /hang"):
                await asyncio.sleep(60)
            status = b"500" if head.startswith(b"POST /500") else b"204"
            writer.write(b"HTTP/1.1 " + status + b" x\r\nContent-Length: 0\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


def _receive(ready: Connection) -> None:
    async def serve() -> None:
        server = await asyncio.start_server(_answer, "127.0.0.1", 0, backlog=1000)
        ready.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(serve())


async def limit(base: str, number: int) -> float:
    """Return the seconds for the requests alone."""
    left = iter(range(number))

    async def some() -> None:
        async with outbound.client() as http:
            for _ in left:
                await outbound.exchange(http, "POST", f"{base}/ok", {}, BODY, read=4096)

    started = time.perf_counter()
    await asyncio.gather(*(some() for _ in range(CONCURRENT)))
    return time.perf_counter() - started


async def delivered(base: str, number: int, bad: int) -> float:
    """Return the seconds until the receivers that work have all their deliveries.

    Args:
        bad: receivers that hang, and as many that answer with 500. They come first, with as many deliveries each.
    """

    async def compose(delivery: DueDelivery) -> DeliveryRequest:
        return DeliveryRequest(base + delivery.content["path"], {"content-type": "application/json"}, BODY)

    paths = ["/hang"] * bad + ["/500"] * bad + ["/ok"] * (RECEIVERS - 2 * bad)
    good = number // RECEIVERS * (RECEIVERS - 2 * bad)
    await execute("TRUNCATE delivery, delivery_stream")
    async with transaction():
        await outbox.queue_many(
            [
                outbox.Queued(kind="bench", stream=f"{receiver:03}", content={"path": path})
                for receiver, path in enumerate(paths)
                for _ in range(number // RECEIVERS)
            ]
        )
    started = time.perf_counter()
    task = asyncio.create_task(outbox.run({"bench": Handler(compose, ordered=True)}))
    while True:
        row = await fetchrow("SELECT count(*) AS number FROM delivery WHERE state = 'delivered'")
        if row is not None and row["number"] >= good:
            break
        await asyncio.sleep(0.02)
    seconds = time.perf_counter() - started
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return seconds


async def _main(number: int) -> None:
    here, there = multiprocessing.Pipe()
    receiver = multiprocessing.get_context("spawn").Process(target=_receive, args=(there,), daemon=True)
    receiver.start()
    base = f"http://127.0.0.1:{here.recv()}"
    with (
        tempfile.TemporaryDirectory(prefix="idp-bench-") as folder,
        EmbeddedPostgres.start(Path(folder) / "postgres", options=POSTGRES) as postgres,
    ):
        engine.configure(postgres.dsn)
        async with engine.connected(4):
            await migrate.upgrade()
            await root_key.unlock()
            alone = await limit(base, number)
            print(f"limit: requests alone       {number / alone:8,.0f} a second")
            seconds = await delivered(base, number, 0)
            print(f"deliveries                  {number / seconds:8,.0f} a second, {alone / seconds:.0%} of the limit")
            good, bad = number * 8 // 10, RECEIVERS // 10
            beside = await delivered(base, number, bad)
            print(f"beside {2 * bad} that do not work  {good / beside:8,.0f} a second, all in {beside:.1f} s")
    receiver.terminate()


if __name__ == "__main__":
    os.environ |= {
        "IDP_OUTBOUND_ALLOW_HTTP": "true",
        "IDP_OUTBOUND_ALLOWED_HOSTS": "127.0.0.1/32",
        "IDP_MASTER_KEY": base64.urlsafe_b64encode(bytes(32)).decode(),
    }
    settings.cache_clear()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    asyncio.run(_main(int(sys.argv[1]) if sys.argv[1:] else 10_000))
