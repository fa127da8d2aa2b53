"""A storm of sign-ins: twice as many as Argon2 allows. The surplus must be refused at once, and hold nobody else up."""

import asyncio
import random
import re
import statistics
import time
from collections.abc import Iterator
from functools import partial
from http import HTTPStatus

import msgspec

from bench import sample
from bench.figures import Bench, Figure, Part, client_credentials_request, paired, verifications
from bench.load import Request, loading, result

CONNECTIONS = 200
#: Responses that take longer are failures.
TIMEOUT = 10.0


async def storm(bench: Bench) -> Figure:
    """Measure the p99 of others during a storm and without it, and how long the storm's own sign-ins take."""
    calm = {"connections": 4, "pause": 0.01}
    rate = 2 * verifications(bench)
    emails = [email for _, email in await sample.people(int(rate * bench.seconds * 4))]
    broken = 0

    async def storming(request: Request) -> float:
        nonlocal broken
        requests = await sample.sign_ins(bench.product.issuer, emails)
        with loading(
            bench.product.url, requests, seconds=bench.seconds + 2, connections=CONNECTIONS, once=True,
            pause=CONNECTIONS / rate,
        ) as surge:  # fmt: skip
            time.sleep(1)
            p99 = bench.load(request, **calm).p99
            broken += result(surge).broken
        return p99

    async def unloaded(request: Request) -> float:
        return bench.load(request, **calm).p99

    probes = {
        "JWKS": Request("GET", "/.well-known/jwks.json"),
        "client_credentials": client_credentials_request(bench),
    }
    parts = [
        await paired(bench, f"p99 of {name} (ms)", partial(storming, request), partial(unloaded, request))
        for name, request in probes.items()
    ]
    waits = _Waits()
    await waits.measure(bench, await sample.sign_ins(bench.product.issuer, emails), rate)
    parts += [
        Part.of("median of an admitted sign-in (ms)", statistics.median(waits.admitted) * 1000, 600, "<= 1.00"),
        Part.of("median of a refusal (ms)", statistics.median(waits.refused) * 1000, 20, "<= 1.00"),
    ]
    figure = Figure.of("a storm of sign-ins at twice the Argon2 limit", "ms", "<= 5.00", parts)
    # A sign-in that timed out spoils the figure, even if the others were fast.
    return msgspec.structs.replace(figure, met=figure.met and broken + waits.broken == 0)


class _Waits:
    """Seconds until the response, of the sign-ins of a storm. wrk does not tell them apart.

    Attributes:
        admitted, refused: seconds of those that succeeded, and of those that were answered with 503.
        broken: how many failed otherwise.
    """

    def __init__(self) -> None:
        self.admitted: list[float] = []
        self.refused: list[float] = []
        self.broken = 0

    async def measure(self, bench: Bench, requests: list[Request], rate: float) -> None:
        """Send sign-ins at a rate for the duration of a load."""
        until = time.perf_counter() + bench.seconds
        left = iter(requests)
        port = bench.product.port
        await asyncio.gather(*(self._connection(port, left, until, rate) for _ in range(CONNECTIONS)))

    async def _connection(self, port: int, left: Iterator[Request], until: float, rate: float) -> None:
        # Not an HTTP client, which would need a fifth of the machine.
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while time.perf_counter() < until:
            # Never the same pause, or all connections would ask at the same moment, again and again.
            await asyncio.sleep(random.uniform(0, 2 * CONNECTIONS / rate))
            request = next(left, None)
            if request is None:
                raise RuntimeError("There were too few sign-ins for the time of the storm.")
            started = time.perf_counter()
            try:
                async with asyncio.timeout(TIMEOUT):
                    status = await _ask(reader, writer, request)
            except (OSError, EOFError, TimeoutError):
                self.broken += 1
                break
            self._note(status, time.perf_counter() - started)
        writer.close()

    def _note(self, status: int, seconds: float) -> None:
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            self.refused.append(seconds)
        elif status < HTTPStatus.BAD_REQUEST:
            self.admitted.append(seconds)
        else:
            self.broken += 1


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Request) -> int:
    """Send a request, read the whole response, and return its status."""
    body = request.body.encode()
    headers = {"Host": "localhost", "Content-Length": str(len(body))} | request.headers
    lines = [f"{request.method} {request.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    writer.write("\r\n".join([*lines, "", ""]).encode() + body)
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"\r\ncontent-length: (\d+)", head, re.I)
    assert length is not None, head
    await reader.readexactly(int(length[1]))
    return int(head.split(b" ", 2)[1])
