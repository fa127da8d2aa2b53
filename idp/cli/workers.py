"""The worker processes of `idp serve`: started, supervised and stopped by Granian with a few changes."""

import gc
import multiprocessing
import resource
import signal
import time
from asyncio import AbstractEventLoop
from functools import partial
from multiprocessing import connection
from typing import TYPE_CHECKING, Any

import structlog

from idp.infra import systemd, thread_scheduling
from idp.infra.db.os_user import end_with_parent
from idp.settings import Settings

if TYPE_CHECKING:
    from granian.server.mp import MPServer, WorkerProcess
    from litestar.types import ASGIApp

    from idp.app import Prepare

log = structlog.get_logger()

#: Seconds after which a worker has all of its threads.
COMPLETE_AFTER = 1
#: Seconds after which a worker counts as started.
STARTED_AFTER = 10.0
#: Failed starts per worker after which the server exits if no worker has ever started.
FAILED_STARTS = 3
#: Seconds before a crashing worker is restarted: doubled with each crash, up to the longest.
FIRST_WAIT, LONGEST_WAIT = 0.25, 30.0
#: Open files of a worker besides its client connections.
OTHER_FILES = 256


def granian_options() -> dict[str, Any]:
    """Return the options of Granian that every server uses."""
    from granian.constants import HTTPModes, Interfaces, Loops, RuntimeModes
    from granian.log import LogLevels

    return {
        "interface": Interfaces.ASGI,
        "http": HTTPModes.http1,
        "loop": Loops.uvloop,
        # In the other mode a worker may never exit (Granian's issue 900).
        "runtime_mode": RuntimeModes.st,
        "websockets": False,
        "log_level": LogLevels.warning,
    }


def connection_limit(config: Settings) -> int:
    """Return the maximum number of connections of a worker: the setting, reduced if the limit of open files is lower.

    The soft limit is raised as needed, up to the hard limit.
    """
    wanted = config.max_connections + OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return config.max_connections
    log.warning("fewer_connections", count=soft - OTHER_FILES)
    return max(1, soft - OTHER_FILES)


def run(config: Settings, prepare: "Prepare | None" = None) -> None:
    """Run the workers until this process is told to stop, and stop them.

    Args:
        prepare: the function that prepares the database before a worker joins it.

    Raises:
        SystemExit: no worker has ever started.
    """
    from granian.http import HTTP1Settings
    from granian.server.mp import WorkerProcess

    WorkerProcess.start = _start  # type: ignore[assignment]
    WorkerProcess.join = _join  # type: ignore[assignment]
    app = None
    if multiprocessing.get_start_method() == "fork":
        from idp.app import create_app

        # Created once and shared by the forked workers. A collection would copy its memory pages in each of them.
        app = create_app(prepare)
        gc.freeze()
    server = _server()(
        "idp.app:create_app",
        address=config.host,
        port=config.port,
        workers=config.workers,
        workers_kill_timeout=config.drain_timeout,
        # Granian's default is its backlog divided by the workers, which idle connections can exhaust.
        backpressure=connection_limit(config),
        http1_settings=HTTP1Settings(header_read_timeout=config.header_timeout * 1000),
        respawn_failed_workers=not config.dev,
        # Granian's messages go to the log of the application.
        log_dictconfig={"loggers": {"_granian": {"propagate": True}}},
        **granian_options(),
    )
    hangup = signal.getsignal(signal.SIGHUP)

    @server.on_startup
    def keep_hangup() -> None:
        # Granian reloads on SIGHUP. A closed terminal must stop it instead.
        ignored = hangup is signal.SIG_IGN
        signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else server.signal_handler_interrupt)

    server.serve(target_loader=partial(_application, app, prepare), wrap_loader=False)


class Restarts:
    """Plans the restarts of crashed workers, by their index.

    Granian stops the server when a worker dies twice within seconds, which stops the healthy workers too. Here a worker
    is restarted at once, and with a growing delay if it keeps crashing. The server exits only if no worker has ever
    started.
    """

    def __init__(self) -> None:
        self.due: dict[int, float] = {}
        self._deaths: dict[int, int] = {}
        self._failed_starts = 0
        self._has_started = False

    def note(self, index: int, lived: float, exit_code: int | None, now: float) -> None:
        """Plan the restart of a worker that died.

        Args:
            lived: the lifetime of the worker, in seconds.
            exit_code: positive if the worker exited by itself, negative if a signal ended it.
            now: the time of a monotonic clock, in seconds.
        """
        early = lived < STARTED_AFTER
        if early and (exit_code or 0) > 0:
            self._failed_starts += 1
        else:
            self._has_started = True
        deaths = self._deaths[index] = self._deaths.get(index, 0) + 1 if early else 0
        self.due[index] = now + (min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(deaths, 10)) if deaths > 1 else 0)

    def started(self) -> None:
        """Record that a worker has started."""
        self._has_started = True

    def hopeless(self, workers: int) -> bool:
        """Return whether every worker failed to start several times and none has ever started."""
        return not self._has_started and self._failed_starts >= FAILED_STARTS * workers

    def take(self, now: float) -> list[int]:
        """Return the workers that are due for a restart, and forget them."""
        due = [index for index, at in self.due.items() if at <= now]
        for index in due:
            del self.due[index]
        return due

    def wait(self, now: float) -> float | None:
        """Return the seconds until the next restart; None if there is none."""
        return max(0.0, min(self.due.values()) - now) if self.due else None


def _server() -> "type[MPServer]":
    """Return Granian's server with the restarts of :class:`Restarts`."""
    from granian.server.mp import MPServer

    class Supervisor(MPServer):
        def _serve_loop(self, spawn_target: Any, target_loader: Any) -> None:
            restarts, watchdog = Restarts(), systemd.watchdog_interval()
            while True:
                waits = [wait for wait in (restarts.wait(time.monotonic()), watchdog) if wait is not None]
                self.main_loop_interrupt.wait(min(waits, default=None))
                # Cleared before the lists are read, so that a later event wakes the next wait.
                self.main_loop_interrupt.clear()
                if self.interrupt_signal:
                    systemd.notify("STOPPING=1")
                    return
                died, now = list(self.interrupt_children), time.monotonic()
                if died and not self.respawn_failed_workers:
                    return
                if any(worker.inner.is_alive() and now - worker.birth > STARTED_AFTER for worker in self.wrks):
                    restarts.started()
                if any(worker.inner.is_alive() for worker in self.wrks):
                    systemd.notify("WATCHDOG=1")
                for index in died:
                    self.interrupt_children.remove(index)
                    worker = self.wrks[index]
                    restarts.note(index, now - worker.birth, worker.inner.exitcode, now)
                if restarts.hopeless(self.workers):
                    log.error("workers_cannot_start", workers=self.workers)
                    # Makes the shutdown exit with an error.
                    self.interrupt_children.extend(died)
                    return
                self._respawn_workers(restarts.take(now), spawn_target, target_loader)

    return Supervisor


def _start(worker: "WorkerProcess") -> None:
    """Start a worker with SIGTERM blocked until it can handle it.

    A forked worker starts with the parent's handler, which only sets a flag that nothing in the worker reads.
    """
    from granian.server.common import AbstractWorker

    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        AbstractWorker.start(worker)  # type: ignore[no-untyped-call]
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


def _join(worker: "WorkerProcess", timeout: float | None = None) -> None:
    """Wait until a worker has exited.

    Replaces Granian's method: a thread of Granian waits for the same process, and only one of the two waits is told of
    the exit. The other one would take the worker for alive, log that it refuses to stop, and kill it.
    """
    if connection.wait([worker.inner.sentinel], timeout):
        # It has closed its files and exits now.
        while worker.inner.is_alive():
            time.sleep(0.001)


def _application(app: "ASGIApp | None", prepare: "Prepare | None") -> "ASGIApp":
    """Return the application of a worker. This is the first code that runs in its process.

    Args:
        app: the application, if it was created before the fork.
        prepare: see :func:`run`.
    """
    from granian import _signals

    # Ctrl-C reaches every process of the terminal. The parent handles it and stops the workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent(signal.SIGTERM)
    _signals.set_loop_signals = _listen
    if app is not None:
        return app
    from idp.app import create_app

    return create_app(prepare)


def _listen(loop: AbstractEventLoop) -> Any:
    """Handle the first SIGTERM from now on.

    Replaces Granian's function, which passes on every signal and deadlocks on a signal that arrives while it handles
    another: a service manager signals every process, and then the parent does so again. Granian also uses the loop's
    signal handlers, which do not run between two runs of the loop.
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
    # Granian has started its threads by then.
    loop.call_later(COMPLETE_AFTER, thread_scheduling.threads.let_finish)
    return event
