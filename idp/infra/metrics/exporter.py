"""Serves the metrics of all workers of a server, on a listener of its own.

Every worker runs :func:`run`. One of them holds a lock: it starts the process that listens
(:mod:`idp.infra.metrics.listener`), and reads the state that all workers share. If it ends, another one takes over.
"""

import asyncio
import os
import resource
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from idp import __version__
from idp.infra import observers
from idp.infra.background import kept_running
from idp.infra.logs import exception_fields
from idp.infra.metrics import processes
from idp.infra.metrics.declared import Counter, Gauge, Histogram, create_all

log = structlog.get_logger()

#: Seconds between two readings of a worker's own state, and of the state that all workers share.
OWN_SECONDS, SHARED_SECONDS = 1.0, 5.0
#: Seconds that one reading of shared state may take.
READING_SECONDS = 5.0
#: The program that listens.
LISTENER = Path(__file__).with_name("listener.py")
#: Seconds after which it is started again.
RETRY_SECONDS = 5.0

BUILD = Gauge("idp_build_info", "The running version, as a label. The value is 1.", "version", mode="livemax")
LOOP_LAG = Histogram("idp_event_loop_lag_seconds", "Delay of a timer of the event loop.")
CPU = Counter("idp_worker_cpu_seconds", "CPU time of all workers.")
MEMORY = Gauge(
    "idp_worker_max_resident_memory_bytes", "The largest peak of the resident memory of a worker.", mode="livemax"
)
OBSERVERS = Counter(
    "idp_observer_failures", "Errors of metrics, logs, recorder and so on, which requests survived.", "observer"
)
FAILED = Counter("idp_metrics_readings_failed", "Readings of shared state that failed or took too long.")

#: Reads the state of this worker into gauges.
OwnReading = Callable[[], None]
#: Reads state that all workers share into gauges.
SharedReading = Callable[[], Awaitable[None]]


def prepare() -> None:
    """Load the library, in the process that forks the workers."""
    import prometheus_client.multiprocess  # noqa: F401


async def run(
    address: tuple[str, int], own: Sequence[OwnReading], shared: Sequence[SharedReading], tried: asyncio.Event
) -> None:
    """Count in this worker, and serve the metrics of all workers while this one is chosen, until cancelled.

    Args:
        tried: set when the first attempt to join the database has ended. Shared state is not read before.
    """
    _begin()
    await asyncio.gather(
        kept_running("worker_metrics", partial(_read_own, own)),
        kept_running("shared_metrics", partial(_lead, address, shared, tried)),
    )


def _begin() -> None:
    from prometheus_client import CollectorRegistry, values

    place = processes.take_place()
    values.ValueClass = values.MultiProcessValue(lambda: place)  # type: ignore[no-untyped-call]
    # The library reads the files of all workers, so nothing else needs these objects.
    create_all(CollectorRegistry(auto_describe=False))
    BUILD.set(1, __version__)


async def _read_own(own: Sequence[OwnReading]) -> None:
    loop, used = asyncio.get_running_loop(), 0.0
    while True:
        due = loop.time() + OWN_SECONDS
        await asyncio.sleep(OWN_SECONDS)
        LOOP_LAG.observe(max(0.0, loop.time() - due))
        usage = resource.getrusage(resource.RUSAGE_SELF)
        CPU.add(amount=usage.ru_utime + usage.ru_stime - used)
        used = usage.ru_utime + usage.ru_stime
        MEMORY.set(usage.ru_maxrss * 1024)
        for read in own:
            with observers.observing("metrics"):
                read()
        for observer, number in observers.take_failures().items():
            OBSERVERS.add(observer, amount=number)


async def _lead(address: tuple[str, int], shared: Sequence[SharedReading], tried: asyncio.Event) -> None:
    """Wait until this worker is chosen. Then serve the metrics, and read the shared state."""
    while (lock := processes.locked("exporter")) is None:  # noqa: ASYNC110 -- the holder is another process
        await asyncio.sleep(OWN_SECONDS)
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_serve(address, lock))
            tasks.create_task(_read_shared(shared, tried))
    finally:
        os.close(lock)


async def _serve(address: tuple[str, int], lock: int) -> None:
    """Keep the process that serves running.

    Args:
        lock: the descriptor of the lock. The process holds it too, so that another worker is chosen only when the
            address is free.
    """
    while True:
        try:
            # It gets no settings: they have secrets.
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", LISTENER, address[0], str(address[1])),
                stdin=asyncio.subprocess.PIPE,
                pass_fds=(lock,),
                env={name: value for name, value in os.environ.items() if not name.startswith("IDP_")},
            )
            try:
                raise OSError(code := await process.wait(), os.strerror(code))
            finally:
                with suppress(ProcessLookupError):
                    process.kill()
        except OSError as error:
            log.error("metrics_not_served", **exception_fields(error))  # noqa: TRY400
        await asyncio.sleep(RETRY_SECONDS)


async def _read_shared(shared: Sequence[SharedReading], tried: asyncio.Event) -> None:
    failing: set[Any] = set()
    await tried.wait()
    while True:
        for read in shared:
            try:
                async with asyncio.timeout(READING_SECONDS):
                    await read()
                failing.discard(read)
            except Exception as error:
                FAILED.add()
                if read not in failing:
                    log.warning("metrics_reading_failed", **exception_fields(error))
                failing.add(read)
        await asyncio.sleep(SHARED_SECONDS)
