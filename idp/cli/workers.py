"""The worker processes of `idp serve`: how Granian runs them, and how they end."""

import gc
import multiprocessing
import signal
import time
from asyncio import AbstractEventLoop
from functools import partial
from multiprocessing import connection
from typing import TYPE_CHECKING, Any

from idp import scheduling
from idp.db.account import end_with_parent
from idp.settings import Settings

if TYPE_CHECKING:
    from granian.server.mp import WorkerProcess
    from litestar.types import ASGIApp

#: Seconds after which a worker has all of its threads.
COMPLETE_AFTER = 1


def granian_options() -> dict[str, Any]:
    """How Granian serves, whatever it serves."""
    from granian.constants import HTTPModes, Interfaces, Loops, RuntimeModes
    from granian.log import LogLevels

    return {
        "interface": Interfaces.ASGI,
        "http": HTTPModes.http1,
        "loop": Loops.uvloop,
        # In the other mode the end of a worker may be waited for in vain (Granian's issue 900).
        "runtime_mode": RuntimeModes.st,
        "websockets": False,
        "log_level": LogLevels.warning,
    }


def run(config: Settings) -> None:
    """Run the workers until this process is told to stop, and see to it that they end.

    Raises:
        SystemExit: workers fail again and again.
    """
    from granian.server import Server
    from granian.server.mp import WorkerProcess

    WorkerProcess.start = _start  # type: ignore[assignment]
    WorkerProcess.join = _join  # type: ignore[assignment]
    app = None
    if multiprocessing.get_start_method() == "fork":
        from idp.app import create_app

        # Made once, and shared by all workers; a collector that looks at it would make a copy for each.
        app = create_app()
        gc.freeze()
    server = Server(
        "idp.app:create_app",
        address=config.host,
        port=config.port,
        workers=config.workers,
        workers_kill_timeout=config.drain_timeout,
        respawn_failed_workers=not config.dev,
        # What Granian has to say goes the way of all other logs.
        log_dictconfig={"loggers": {"_granian": {"propagate": True}}},
        **granian_options(),
    )
    hangup = signal.getsignal(signal.SIGHUP)

    @server.on_startup
    def keep_hangup() -> None:
        # Granian would take the end of its terminal for a wish to reload.
        ignored = hangup is signal.SIG_IGN
        signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else server.signal_handler_interrupt)

    server.serve(target_loader=partial(_application, app), wrap_loader=False)


def _start(worker: "WorkerProcess") -> None:
    """Start a worker, to which SIGTERM comes when it can act on it.

    Until then it would do as its parent, a copy of which it begins as, and only make a note that nobody there reads.
    """
    from granian.server.common import AbstractWorker

    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        AbstractWorker.start(worker)  # type: ignore[no-untyped-call]
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


def _join(worker: "WorkerProcess", timeout: float | None = None) -> None:
    """Wait for the end of a worker.

    In place of Granian's own method: a thread of Granian's waits for the same process, and only one of the two is told
    its end. The other took it for alive a millisecond later, said that it refuses to stop, and killed it.
    """
    if connection.wait([worker.inner.sentinel], timeout):
        # It has closed its files, so it ends now.
        while worker.inner.is_alive():
            time.sleep(0.001)


def _application(app: "ASGIApp | None") -> "ASGIApp":
    """What a worker serves. This is the first that runs in its process.

    Args:
        app: if it is made already.
    """
    from granian import _signals

    # Ctrl-C reaches every process of the terminal. Its parent acts on it and tells the worker.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent(signal.SIGTERM)
    _signals.set_loop_signals = _listen
    if app is not None:
        return app
    from idp.app import create_app

    return create_app()


def _listen(loop: AbstractEventLoop) -> Any:
    """Hear of SIGTERM from now on, once.

    Granian's own function, in place of which this stands, passes on every signal, and blocks for ever on one that
    comes while it takes in another. A service manager signals every process, and then the parent does so again. It
    also asks the loop to listen, which is deaf between its runs, the last of which begins after the start.
    """
    from granian._granian import WorkerSignal

    event, stopping = WorkerSignal(), False

    def stop(*_: object) -> None:
        nonlocal stopping
        if not stopping:
            stopping = True
            event.set()

    signal.signal(signal.SIGTERM, stop)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    # Granian's threads are there by then.
    loop.call_later(COMPLETE_AFTER, scheduling.threads.let_finish)
    return event
