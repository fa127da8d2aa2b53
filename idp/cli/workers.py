"""The worker processes of `idp serve`: how Granian runs them, and how they end."""

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

from idp.infra.db.os_user import end_with_parent
from idp.settings import Settings

if TYPE_CHECKING:
    from granian.server.mp import MPServer, WorkerProcess
    from litestar.types import ASGIApp

    from idp.app import Prepare

log = structlog.get_logger()

#: A worker that lived for so many seconds had started.
STARTED_AFTER = 10.0
#: So many failed starts of each worker, with none that ever succeeded, end the server.
FAILED_STARTS = 3
#: Seconds before a worker that died soon after its start starts again: doubled with each death, up to the last.
FIRST_WAIT, LONGEST_WAIT = 0.25, 30.0
#: Files that a worker has open besides its connections to clients.
OTHER_FILES = 256


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


def connection_limit(config: Settings) -> int:
    """How many connections a worker holds at a time: as many as the settings say, if it may have so many files open.

    The soft limit of open files is raised as far as that needs and the hard one allows.
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
    """Run the workers until this process is told to stop, and see to it that they end.

    Args:
        prepare: what a worker has to do to the database before it joins it.

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

        # Made once, and shared by all workers; a collector that looks at it would make a copy for each.
        app = create_app(prepare)
        gc.freeze()
    server = _server()(
        "idp.app:create_app",
        address=config.host,
        port=config.port,
        workers=config.workers,
        workers_kill_timeout=config.drain_timeout,
        # Granian would stop accepting at its backlog divided by the workers, and idle connections would stop it.
        backpressure=connection_limit(config),
        http1_settings=HTTP1Settings(header_read_timeout=config.header_timeout * 1000),
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

    server.serve(target_loader=partial(_application, app, prepare), wrap_loader=False)


class Restarts:
    """When the workers that died start again, by the index of each.

    Granian ends the server when a worker dies twice within seconds, which takes the healthy ones along. Here a worker
    starts again at once; one that keeps dying waits longer each time. The server ends only where no worker has ever
    started: then the cause is not an accident.
    """

    def __init__(self) -> None:
        self.due: dict[int, float] = {}
        self._deaths: dict[int, int] = {}
        self._failed_starts = 0
        self._has_started = False

    def note(self, index: int, lived: float, exit_code: int | None, now: float) -> None:
        """Plan the restart of a worker that died.

        Args:
            lived: seconds.
            exit_code: positive where the worker gave up by itself, negative where a signal ended it.
            now: by a monotonic clock, in seconds.
        """
        early = lived < STARTED_AFTER
        if early and (exit_code or 0) > 0:
            self._failed_starts += 1
        else:
            self._has_started = True
        deaths = self._deaths[index] = self._deaths.get(index, 0) + 1 if early else 0
        self.due[index] = now + (min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(deaths, 10)) if deaths > 1 else 0)

    def started(self) -> None:
        """Note that some worker lives long enough to have started."""
        self._has_started = True

    def hopeless(self, workers: int) -> bool:
        """Whether each of so many workers has failed to start several times, and none has ever started."""
        return not self._has_started and self._failed_starts >= FAILED_STARTS * workers

    def take(self, now: float) -> list[int]:
        """The workers whose time has come."""
        due = [index for index, at in self.due.items() if at <= now]
        for index in due:
            del self.due[index]
        return due

    def wait(self, now: float) -> float | None:
        """Seconds until the next is due; None: none waits."""
        return max(0.0, min(self.due.values()) - now) if self.due else None


def _server() -> "type[MPServer]":
    """Granian's server, which restarts workers as :class:`Restarts` says."""
    from granian.server.mp import MPServer

    class Supervisor(MPServer):
        def _serve_loop(self, spawn_target: Any, target_loader: Any) -> None:
            restarts = Restarts()
            while True:
                self.main_loop_interrupt.wait(restarts.wait(time.monotonic()))
                # Before the lists are read, so that what happens meanwhile wakes the next wait.
                self.main_loop_interrupt.clear()
                if self.interrupt_signal:
                    return
                died, now = list(self.interrupt_children), time.monotonic()
                if died and not self.respawn_failed_workers:
                    return
                if any(worker.inner.is_alive() and now - worker.birth > STARTED_AFTER for worker in self.wrks):
                    restarts.started()
                for index in died:
                    self.interrupt_children.remove(index)
                    worker = self.wrks[index]
                    restarts.note(index, now - worker.birth, worker.inner.exitcode, now)
                if restarts.hopeless(self.workers):
                    log.error("workers_cannot_start", workers=self.workers)
                    # What makes the shutdown end with a failure.
                    self.interrupt_children.extend(died)
                    return
                self._respawn_workers(restarts.take(now), spawn_target, target_loader)

    return Supervisor


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


def _application(app: "ASGIApp | None", prepare: "Prepare | None") -> "ASGIApp":
    """What a worker serves. This is the first that runs in its process.

    Args:
        app: if it is made already.
        prepare: see :func:`run`.
    """
    from granian import _signals

    # Ctrl-C reaches every process of the terminal. Its parent acts on it and tells the worker.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent(signal.SIGTERM)
    _signals.set_loop_signals = _listen
    if app is not None:
        return app
    from idp.app import create_app

    return create_app(prepare)


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
    return event
