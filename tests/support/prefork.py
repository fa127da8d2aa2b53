"""Runs `idp` in processes that are forked from one that has imported it already.

Importing takes 0.5 s of CPU, most of what a command takes, and tests start some hundreds. Each still runs in a process
of its own, with its own arguments, environment, working folder and files. What starts Python itself is tested in
tests/cli: once for each group of commands, and wherever a test gives a program.
"""

import atexit
import gc
import importlib
import json
import os
import pkgutil
import select
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]


class Forked:
    """A forked process, with the members of `subprocess.Popen`."""

    def __init__(self, pid: int, status: socket.socket) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._status = status

    def poll(self) -> int | None:
        if self.returncode is None and select.select([self._status], [], [], 0)[0]:
            self.wait()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            if not select.select([self._status], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("idp", timeout or 0)
            self.returncode = int(self._status.recv(16))
            self._status.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Ended(NamedTuple):
    """The exit code and the output of a command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class _Launcher:
    """The process from which others are forked, and the socket for requests to it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests, theirs = socket.socketpair()
        with theirs:
            subprocess.Popen(
                [sys.executable, "-m", "tests.support.prefork", str(theirs.fileno())],
                cwd=ROOT,
                env={name: value for name, value in os.environ.items() if not name.startswith("IDP_")},
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        # It ends when this closes.
        atexit.register(self._requests.close)

    def start(self, request: bytes, files: tuple[int, int, int]) -> Forked:
        ours, theirs = socket.socketpair()
        with theirs, self._lock:
            socket.send_fds(self._requests, [len(request).to_bytes(4)], [*files, theirs.fileno()])
            self._requests.sendall(request)
            pid = int.from_bytes(self._requests.recv(4, socket.MSG_WAITALL))
        return Forked(pid, ours)


@cache
def _launcher() -> _Launcher:
    return _Launcher()


def can_run(settings: Mapping[str, str]) -> bool:
    """Return whether all of these settings are of `idp`. Those of Python have no effect in a running process."""
    return not any(name.startswith("PYTHON") for name in settings)


def start(
    arguments: Sequence[str], folder: Path, environment: Mapping[str, str], files: tuple[int, int, int]
) -> Forked:
    """Start `idp` in a session of its own.

    Args:
        files: its input, output and error output.
    """
    return _launcher().start(json.dumps([arguments, str(folder), dict(environment)]).encode(), files)


def run(arguments: Sequence[str], folder: Path, environment: Mapping[str, str], input: str = "") -> Ended:
    """Run `idp` until it ends, for at most a minute."""
    with (
        tempfile.TemporaryFile("w+") as given,
        tempfile.TemporaryFile("w+") as out,
        tempfile.TemporaryFile("w+") as err,
    ):
        given.write(input)
        given.seek(0)
        process = start(arguments, folder, environment, (given.fileno(), out.fileno(), err.fileno()))
        try:
            code = process.wait(60)
        finally:
            process.kill()
        # Its file offsets are shared with this process.
        out.seek(0)
        err.seek(0)
        return Ended(code, out.read(), err.read())


# The rest runs in the process from which others are forked.

_ONCE_A_MINUTE = {
    "idp.housekeeping": "INTERVAL_SECONDS",
    "idp.directory.domain_checks": "POLL_SECONDS",
    "idp.oauth.directory_checks": "POLL_SECONDS",
}


def _import_all() -> None:
    """Import everything that a command may need, before there are settings to read."""
    import idp
    from idp.settings import settings

    for module in pkgutil.walk_packages(idp.__path__, "idp."):
        # The imports of the command itself, and those for which Piccolo's command reads settings.
        if module.name not in {"idp.__main__", "idp.piccolo_conf"} and ".migrations" not in module.name:
            importlib.import_module(module.name)
    for name in "granian.http", "granian.server.mp", "uvloop":
        importlib.import_module(name)
    importlib.import_module("idp.infra.logs").strict = True  # type: ignore[attr-defined]
    # What a server does once a minute must not come between two statements of a test: deleting expired rows that tests
    # count, and checking what is due. Tests of these jobs run them in their own process.
    for name, constant in _ONCE_A_MINUTE.items():
        setattr(importlib.import_module(name), constant, 86400.0)
    # A garbage collection would copy all of these objects into every process.
    gc.disable()
    gc.freeze()
    assert settings.cache_info().currsize == 0
    assert threading.active_count() == 1


def _fork_on_request(requests: socket.socket) -> None:
    """Fork for each request, and report how each process ended. Returns in the new processes."""
    selector = selectors.DefaultSelector()
    selector.register(requests, selectors.EVENT_READ)
    running: dict[int, tuple[int, socket.socket]] = {}
    while True:
        for key, _ in selector.select():
            if key.fd in running:
                pid, status = running.pop(key.fd)
                selector.unregister(key.fd)
                os.close(key.fd)
                code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                try:
                    status.send(str(code).encode())
                except BrokenPipeError:
                    """The test process no longer waits."""
                status.close()
                continue
            size, files, _, _ = socket.recv_fds(requests, 4, 4)
            if not size:
                sys.exit()
            request = requests.recv(int.from_bytes(size), socket.MSG_WAITALL)
            *streams, status_fd = files
            pid = os.fork()
            if pid == 0:
                requests.close()
                selector.close()
                for process, (_, status) in running.items():
                    os.close(process)
                    status.close()
                os.close(status_fd)
                _become(*json.loads(request), streams)
                return
            requests.send(pid.to_bytes(4))
            for fd in streams:
                os.close(fd)
            process = os.pidfd_open(pid)
            running[process] = pid, socket.socket(fileno=status_fd)
            selector.register(process, selectors.EVENT_READ)


def _become(arguments: list[str], folder: str, environment: dict[str, str], streams: list[int]) -> None:
    """Turn a forked process into one that runs `idp` with these arguments."""
    os.setsid()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for target, fd in enumerate(streams):
        os.dup2(fd, target)
        os.close(fd)
    sys.argv = ["idp", *arguments]
    gc.enable()


if __name__ == "__main__":
    from idp.cli.main import main
    from tests.support import late_loads

    _import_all()
    late_loads.install()
    _fork_on_request(socket.socket(fileno=int(sys.argv[1])))
    main()
