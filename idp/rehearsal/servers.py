"""Servers of one or two versions on a copy, isolated: they send nothing of it to anybody.

`IDP_ISOLATED` stops a server from connecting to anything but PostgreSQL. A version that does not know the setting
refuses to start. The folder of its keys and data is a temporary one, so that the mark and the snapshots of the real
servers are left alone, and the issuer is another, so that no service accepts the tokens.
"""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator, Sequence
from functools import partial
from pathlib import Path

import msgspec

from idp.infra import outbound
from idp.infra.db.os_user import end_with_parent
from idp.infra.outbound import CallFailed
from idp.rehearsal.models import CannotRehearseError
from idp.settings import PREFIX, Settings, environment

#: The issuer, without the path of the real one.
ISSUER = "http://rehearsal.localhost"
START_SECONDS, STOP_SECONDS, LOOK_SECONDS = 60.0, 20.0, 0.1
#: Characters that are quoted of the log of a server that did not start.
REASON_LENGTH = 300

#: Settings that a server on a copy does not get: they are of the real one, or have no effect.
_LEFT_OUT = frozenset(
    PREFIX + name
    for name in (
        "AUDIT_CHECKPOINT_FILE", "AUDIT_CHECKPOINT_URL", "AUDIT_CHECKPOINT_URL_FILE", "BREACHED_PASSWORDS_URL",
        "DATABASE_URL_FILE", "DEV", "METRICS_ADDRESS", "MTLS_URL", "SMTP_URL", "SMTP_URL_FILE",
    )
)  # fmt: skip
_PATHS = frozenset(
    PREFIX + name.upper() for name, field in Settings.model_fields.items() if "Path" in str(field.annotation)
)


class ServerFailedError(CannotRehearseError):
    """A server did not start. The message has the last line of its log."""


class RunningServer(msgspec.Struct, frozen=True):
    """A server on loopback.

    Attributes:
        version: ``new`` or ``old``.
        origin: where it is reached, such as ``http://127.0.0.1:12345``.
        issuer: the issuer of its configuration.
    """

    version: str
    origin: str
    issuer: str

    def at(self, url: str) -> str:
        """Return where a URL of the issuer is reached."""
        return url.replace(ISSUER, self.origin, 1)


def settings_for(config: Settings, database_url: str, folder: Path, port: int) -> dict[str, str]:
    """Return the environment of a server on a copy: the settings of the operator, except for what leads outside."""
    kept = {name: _absolute(name, value) for name, value in environment().items() if name not in _LEFT_OUT}
    if config.master_key is None:
        kept[f"{PREFIX}MASTER_KEY_FILE"] = str(config.master_key_path.absolute())
    # A service manager that started this process waits for messages of other servers.
    others = {
        name: value for name, value in os.environ.items() if not name.startswith((PREFIX, "NOTIFY_", "WATCHDOG_"))
    }
    fixed = {
        "DATABASE_URL": database_url,
        "ISSUER": f"{ISSUER}{config.path}",
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "WORKERS": "1",
        "ISOLATED": "true",
        "MIGRATE_ON_START": "false",
        "KEYS_DIR": str(folder),
        "DATA_DIR": str(folder),
        "RELOAD_INTERVAL": "1",
        "LOG_LEVEL": "warning",
        "LOG_FORMAT": "json",
    }
    return others | kept | {PREFIX + name: value for name, value in fixed.items()}


def _absolute(name: str, value: str) -> str:
    """Make the path in a setting independent of the working folder, which is another for the server."""
    return str(Path(value).absolute()) if name in _PATHS or name.endswith("_FILE") else value


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def version_of(command: Sequence[str]) -> str:
    """Return the version that an executable reports.

    Raises:
        CannotRehearseError: it is not one of idp.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *command, "--version", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
        )
    except OSError as error:
        raise CannotRehearseError(f"{command[0]} cannot be run: {error.strerror}.") from error
    output, _ = await process.communicate()
    text = output.decode(errors="replace").strip()
    if process.returncode != 0 or not text.startswith("idp, version "):
        raise CannotRehearseError(f"{command[0]} is not the command idp.")
    return text.removeprefix("idp, version ")


@contextlib.asynccontextmanager
async def serving(
    version: str, command: Sequence[str], config: Settings, database_url: str, folder: Path
) -> AsyncIterator[RunningServer]:
    """Run a server on a copy, which is ready when the block begins.

    Args:
        command: how `idp` of this version is called.
        folder: an empty folder for its keys and data.

    Raises:
        ServerFailedError: it did not start.
    """
    port = free_port()
    log = folder / "server.log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *command,
            "serve",
            cwd=folder,
            env=settings_for(config, database_url, folder, port),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=partial(end_with_parent, signal.SIGTERM),
        )
    try:
        server = RunningServer(version, f"http://127.0.0.1:{port}", f"{ISSUER}{config.path}")
        await _until_ready(server, process, log)
        yield server
    finally:
        await _stop(process)


async def _until_ready(server: RunningServer, process: asyncio.subprocess.Process, log: Path) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(START_SECONDS):
            while process.returncode is None:
                with contextlib.suppress(CallFailed):
                    seen = await outbound.observe(
                        "GET", f"{server.origin}/health/ready", {}, b"", own={server.origin}, timeout_seconds=5.0
                    )
                    if seen.status == 200:
                        return
                await asyncio.sleep(LOOK_SECONDS)
    raise ServerFailedError(f"The {server.version} version does not start on the copy: {_reason(log)}.")


def _reason(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines() or ["it logged nothing"]
    return lines[-1].removeprefix("Error: ")[:REASON_LENGTH].rstrip(".")


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
    with contextlib.suppress(ProcessLookupError):
        # Also workers that a crash left behind.
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()
