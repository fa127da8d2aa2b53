"""The product in production mode: `idp serve` on a PostgreSQL with durable commits."""

import asyncio
import logging
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import structlog

from bench import load

WORKERS = 2
START_WITHIN_SECONDS = 30
#: Lets this process and a server call receivers on this machine.
OUTBOUND = {"IDP_OUTBOUND_ALLOW_HTTP": "true", "IDP_OUTBOUND_ALLOWED_HOSTS": "127.0.0.1/32"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Product:
    """A running `idp serve`.

    Attributes:
        started_within: seconds from the start of the process to its first response with the discovery document.
        other_port: the port for a second server.
    """

    def __init__(self, folder: Path, dsn: str, *, port: int, **settings: str) -> None:
        """
        Args:
            folder: the folder of its log.
        """
        self.port, self.other_port = port, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.issuer = f"http://localhost:{self.port}"
        environment = {name: value for name, value in os.environ.items() if not name.startswith("IDP_")}
        environment |= {
            "IDP_DATABASE_URL": dsn,
            "IDP_ISSUER": self.issuer,
            "IDP_MASTER_KEY": os.environ["IDP_MASTER_KEY"],
            "IDP_WORKERS": str(WORKERS),
            # The load comes from one machine but stands for many, so each request names another address.
            "IDP_TRUSTED_PROXIES": "127.0.0.0/8",
            "PYTHONPATH": str(Path(__file__).parents[1]),
            # As when installed, where it is compiled once and not at each start.
            "PYTHONDONTWRITEBYTECODE": "",
        }
        started = time.perf_counter()
        self.log = folder / f"server-{time.monotonic_ns()}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "idp", "serve", "--port", str(self.port)],
                cwd=folder,
                env=environment | settings,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        client = httpx.Client()
        deadline = started + START_WITHIN_SECONDS
        self._wait(lambda: self._answers(client, "/.well-known/openid-configuration"), deadline)
        self.started_within = time.perf_counter() - started
        self._wait(lambda: self._answers(client, "/health/ready"), deadline)
        # Connections made before a worker listens would all go to the others.
        self._wait(lambda: self._listeners() >= int(settings.get("IDP_WORKERS", WORKERS)), deadline)

    def _wait(self, condition: Callable[[], bool], deadline: float) -> None:
        while time.perf_counter() < deadline and self.process.poll() is None:
            if condition():
                return
            time.sleep(0.005)
        self.kill()
        raise RuntimeError(f"The server did not start: {self.log.read_text()}")

    def _answers(self, client: httpx.Client, path: str) -> bool:
        try:
            return client.get(f"{self.url}{path}", timeout=2).is_success
        except httpx.TransportError:
            return False

    def _listeners(self) -> int:
        sockets = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        return sum(local.endswith(f":{self.port:04X}") and state == "0A" for _, local, _, state, *_ in sockets)

    @property
    def workers(self) -> list[int]:
        """Return the process ids of the workers."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [pid for pid in map(int, children) if "resource_tracker" not in _command(pid)]

    def memory(self) -> float:
        """Return the memory of the largest worker, in MiB."""
        return max(_resident(pid) for pid in self.workers)

    def proportional(self) -> float:
        """Return the memory of all processes in MiB, in which each page counts once however many share it (PSS)."""
        session = (path for path in Path("/proc").glob("[0-9]*") if _session(path) == self.process.pid)
        return sum(_proportional(path) for path in session)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def _command(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().decode()


def _resident(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS:"))


def _session(process: Path) -> int:
    """Return the id of the session of a process; 0: it has ended."""
    try:
        return os.getsid(int(process.name))
    except ProcessLookupError:
        return 0


def _proportional(process: Path) -> float:
    lines = (process / "smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:"))


@contextmanager
def running(folder: Path, dsn: str, *, port: int, **settings: str) -> Iterator[Product]:
    """Run a server for the duration of a block."""
    product = Product(folder, dsn, port=port, **settings)
    try:
        yield product
    finally:
        product.stop()


def run(measure: Callable[[int], Coroutine[Any, Any, None]]) -> None:
    """Run a command of the benchmark. ``measure`` gets the port of the product."""
    try:
        load.check()
    except load.NoWrkError as error:
        sys.exit(str(error))
    # A benchmark that is interrupted stops what it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    port = free_port()
    set_up_environment(port)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    asyncio.run(measure(port))


def set_up_environment(port: int) -> None:
    """Set the environment of the server in this process, which registers clients and users."""
    for name in [name for name in os.environ if name.startswith("IDP_")]:
        del os.environ[name]
    os.environ["IDP_MASTER_KEY"] = secrets.token_urlsafe(32)
    os.environ["IDP_ISSUER"] = f"http://localhost:{port}"
    os.environ |= OUTBOUND
    from idp import settings

    # Likewise for a file beside this checkout.
    settings.ENV_FILE = os.devnull
    settings.Settings.model_config["env_file"] = None
