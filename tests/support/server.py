"""The real server, `idp serve`, in a separate process."""

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx

from tests.support import prefork

START_WITHIN_SECONDS = 30
STOP_WITHIN_SECONDS = 20

#: Cheap hashing, because the tests sign in often.
CHEAP_HASHING = {"IDP_ARGON2_MEMORY_COST": "8", "IDP_ARGON2_TIME_COST": "1", "IDP_HASHING_WAIT": "60"}
#: The servers that the server calls in tests are on this machine.
LOOPBACK = {"IDP_OUTBOUND_ALLOW_HTTP": "true", "IDP_OUTBOUND_ALLOWED_HOSTS": "127.0.0.0/8,::1/128"}

#: Tests sign in from many browsers, and read the next mail.
QUIET = {"IDP_NEW_BROWSER_MAIL": "false"}

#: Shared by the HTTP clients of the tests, because loading the certificate authorities of the machine takes 30 ms.
TLS = httpx.create_ssl_context()

#: The Python code that runs `idp`.
PYTHON = ("-m", "idp")


# Below the range from which systems choose the port of an outgoing connection, so that a server can be started again on
# its port. In a random order for each process, so that two of them rarely try the same.
_PORTS = random.Random(f"{os.getpid()} {time.time_ns()}").sample(range(10_000, 32_000), 22_000)


def free_port() -> int:
    """Return a port on which nothing listens, and that this process has not returned before."""
    while not _is_free(port := _PORTS.pop()):
        pass
    return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As servers do, ignore remains of closed connections.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def clean_environment() -> dict[str, str]:
    """Return the environment without settings of the user."""
    return {name: value for name, value in os.environ.items() if not name.startswith("IDP_")}


class Server:
    """`idp serve` with the given settings, answering when the constructor returns.

    Args:
        program: the Python code to run. By default `idp` is forked from a process that has imported it.

    Attributes:
        issuer: its URL.
        log_path: the file with its output.
    """

    def __init__(
        self,
        folder: Path,
        *arguments: str,
        port: int | None = None,
        wait: bool = True,
        program: tuple[str, ...] | None = None,
        **settings: str,
    ):
        self.port = port or free_port()
        self.issuer = settings.get("IDP_ISSUER", f"http://localhost:{self.port}")
        self.url = f"http://127.0.0.1:{self.port}"
        self.log_path = folder / f"server-{self.port}-{time.monotonic_ns()}.log"
        folder.mkdir(parents=True, exist_ok=True)
        environment = clean_environment() | CHEAP_HASHING | LOOPBACK | QUIET | {"IDP_ISSUER": self.issuer} | settings
        command = ["serve", "--port", str(self.port), *arguments]
        self._ended = False
        self.process: prefork.Forked | subprocess.Popen[bytes]
        with self.log_path.open("wb") as log, Path(os.devnull).open("rb") as nothing:
            # A process group of its own either way: `kill` below must reach the workers and no other process.
            if program is None and prefork.can_run(settings):
                files = (nothing.fileno(), log.fileno(), log.fileno())
                self.process = prefork.start(command, folder, environment, files)
            else:
                self.process = subprocess.Popen(
                    [sys.executable, *(program or PYTHON), *command],
                    cwd=folder,
                    env=environment | {"PYTHONPATH": str(prefork.ROOT)},
                    stdin=nothing,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        if wait:
            self.wait_until_ready()

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_WITHIN_SECONDS
        with httpx.Client(timeout=2, verify=TLS) as client:
            while time.monotonic() < deadline:
                if self.process.poll() is not None:
                    raise AssertionError(f"The server ended with {self.process.returncode}:\n{self.log}")
                with contextlib.suppress(httpx.TransportError):
                    if client.get(f"{self.url}/health/ready").is_success:
                        return
                time.sleep(0.05)
        self.kill()
        raise AssertionError(f"The server did not start in time:\n{self.log}")

    def stop(self) -> int:
        """Ask it to stop, as a service manager would. Returns the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_WITHIN_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()
                raise
        code = self.process.wait()
        # A crash may have left workers behind.
        self._ended = code == 0
        return code

    def kill(self) -> None:
        """End it and its workers at once, as a crash would."""
        if self._ended:
            # Another server may listen on its port.
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        # The workers are not our children. The system closes their sockets some time later.
        deadline = time.monotonic() + STOP_WITHIN_SECONDS
        while not _is_free(self.port) and time.monotonic() < deadline:
            time.sleep(0.01)
        self._ended = True
