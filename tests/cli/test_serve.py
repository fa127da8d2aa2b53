"""`idp serve` from start to end: what it starts, and that nothing is left running."""

import asyncio
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx
import pytest

from idp.accounts.tables import User
from tests.conftest import MASTER_KEY
from tests.support.browser import Browser, Page, open_browser
from tests.support.oauth import PASSWORD
from tests.support.processes import alive, children, command, descendants, until
from tests.support.server import PYTHON, TLS, Server, free_port

StartServer = Callable[..., Server]

#: Hashing that takes about two seconds, one at a time.
SLOW_HASHING = {
    "IDP_ARGON2_MEMORY_COST": "65536",
    "IDP_ARGON2_TIME_COST": "25",
    "IDP_HASHING_THREADS": "1",
    "IDP_HASHING_QUEUE": "0",
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with everything in it, to copy: making a new PostgreSQL takes long."""
    folder = tmp_path_factory.mktemp("data")
    Server(folder, IDP_MASTER_KEY=MASTER_KEY).stop()
    return folder / "data"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[StartServer]:
    """Start servers on separate embedded PostgreSQLs, and at the end kill those of a failed test."""
    started: list[Server] = []

    def start(*arguments: str, data: Path | None = None, **options: Any) -> Server:
        if data is not None:
            subprocess.run(["cp", "-a", data, tmp_path / "data"], check=True)
        # No mail is sent; without the setting the server would warn.
        given = {"IDP_MASTER_KEY": MASTER_KEY, "IDP_SMTP_URL": "smtp://127.0.0.1:9", "program": PYTHON} | options
        server = Server(tmp_path, *arguments, **given)
        started.append(server)
        return server

    yield start
    for server in started:
        left = descendants(server.process.pid) | {_postmaster(tmp_path)}
        server.kill()
        for pid in alive(left):
            os.kill(pid, signal.SIGKILL)


def _postmaster(folder: Path) -> int:
    """The process id of the embedded PostgreSQL, or 0."""
    try:
        return int((folder / "data" / "postgres" / "postmaster.pid").read_text().split()[0])
    except (FileNotFoundError, IndexError):
        return 0


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return probe.connect_ex(("127.0.0.1", port)) != 0 and probe.bind(("127.0.0.1", port)) is None


def _complaints(server: Server) -> list[str]:
    """Return the logged warnings and errors."""
    return [line for line in server.log.splitlines() if '"level":"info"' not in line]


def _workers(server: Server) -> set[int]:
    return {pid for pid in children(server.process.pid) if "idp" in command(pid) and "postgres" not in command(pid)}


# The stop


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=lambda number: number.name)
@pytest.mark.parametrize("whom", ["the process", "every process of the terminal"])
def test_a_signal_stops_all_of_it(
    start: StartServer, data: Path, tmp_path: Path, number: signal.Signals, whom: str
) -> None:
    """`kill`, Ctrl-C, a closed terminal, a service manager that signals the whole group. Quietly, and with code 0."""
    server = start("--workers", "2", data=data)
    family = descendants(server.process.pid)
    assert len(_workers(server)) == 2
    assert _postmaster(tmp_path) in family
    if whom == "the process":
        server.process.send_signal(number)
    else:
        os.killpg(server.process.pid, number)
    assert server.process.wait(20) == 0
    assert alive(family) == set()
    assert _postmaster(tmp_path) == 0
    assert _is_free(server.port)
    assert _complaints(server) == []


#: A server that is told to stop at a certain point of the start of its worker.
_EARLY = """
import os, signal, time
from granian.server import mp
from idp.cli.main import main

def told(*arguments, real=mp.{name}, **options):
    os.kill(os.getppid(), signal.SIGTERM)
    time.sleep(1)
    return real(*arguments, **options)

mp.{name} = told
main()
"""


@pytest.mark.parametrize("name", ["load_env", "_new_cbscheduler"], ids=["at first", "when it has connected"])
def test_a_signal_while_a_worker_starts_stops_it_too(start: StartServer, data: Path, name: str) -> None:
    server = start("--workers", "1", data=data, wait=False, program=("-c", _EARLY.format(name=name)))
    assert server.process.wait(30) == 0
    assert _complaints(server) == []


def test_after_ctrl_c_it_starts_again(start: StartServer, data: Path) -> None:
    """At the same address, with the same key, so that earlier tokens still verify."""
    port = free_port()
    keys = []
    for folder in (data, None):
        server = start(port=port, data=folder)
        keys.append(httpx.get(f"{server.url}/.well-known/jwks.json").json())
        os.killpg(server.process.pid, signal.SIGINT)
        assert server.process.wait(20) == 0
    assert keys[0] == keys[1]


@pytest.mark.parametrize("moment", ["data", "data/postgres/PG_VERSION", "data/postgres/postmaster.pid"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_signal_while_it_starts(start: StartServer, tmp_path: Path, moment: str, number: signal.Signals) -> None:
    server = start(wait=False)
    until(lambda: (tmp_path / moment).exists())
    family = descendants(server.process.pid)
    os.killpg(server.process.pid, number)
    assert server.process.wait(20) == 0
    assert alive(family) == set()
    assert _postmaster(tmp_path) == 0
    # Python says so if the signal comes while it creates an event loop.
    assert server.log == "" or server.log.startswith("Exception ignored in: <function BaseEventLoop.__del__")


#: A server that is told to stop just before it awaits something.
_UNAWAITED = """
import asyncio, os, signal
from idp.cli.main import main

asyncio.run = lambda coroutine: os.kill(os.getpid(), signal.SIGTERM)
main()
"""


def test_a_signal_before_something_is_awaited(start: StartServer) -> None:
    server = start(wait=False, program=("-c", _UNAWAITED))
    assert server.process.wait(20) == 0
    assert server.log == ""


#: A server that is told to stop in the middle of a step of its preparation.
_IN_A_STEP = """
import asyncio, os, signal
from idp.cli.main import main
from idp.infra.db import migrate

async def told():
    os.kill(os.getpid(), signal.SIGTERM)
    print("The step goes on.")
    await asyncio.sleep(600)

migrate.check_version = told
main()
"""


def test_a_signal_while_it_prepares_interrupts_no_step(start: StartServer, data: Path) -> None:
    """An exception in the middle of asyncpg's C code ended the process with SIGSEGV."""
    server = start(data=data, wait=False, program=("-c", _IN_A_STEP))
    assert server.process.wait(20) == 0
    assert server.log == "The step goes on.\n"


def test_a_crash_takes_everything_along(start: StartServer, data: Path) -> None:
    """Not even `kill -9` leaves workers or PostgreSQL behind, and the next start finds its data."""
    server = start("--workers", "2", data=data)
    family = descendants(server.process.pid)
    server.process.kill()
    server.process.wait()
    until(lambda: not alive(family))
    assert _is_free(server.port)
    again = start(port=server.port)
    assert again.stop() == 0


# Draining


async def _slow_sign_in(browser: Browser, server: Server, email: str) -> "asyncio.Task[httpx.Response]":
    """Sends a password that takes long to check; returns when the server is at it."""
    page = await browser.get("/login")
    assert isinstance(page, Page)
    fields = page.forms[0].fields | {"username": email, "password": PASSWORD, "action": "login"}
    headers = {"Origin": server.issuer}
    url = urljoin(page.url, page.forms[0].action)
    request = asyncio.create_task(browser.client.post(url, data=fields, headers=headers))
    async with open_browser(server.issuer) as other:
        page = await other.get("/login")
        assert isinstance(page, Page)
        # Sent first, so that the other one is refused at once, because the only thread is busy.
        await asyncio.sleep(0.3)
        while (answer := await other.sign_in(page, "nobody@example.com", "x")).status != 503:  # type: ignore[union-attr]
            if request.done():
                # The requests arrived in the other order.
                assert request.result().status_code == 503
                request = asyncio.create_task(browser.client.post(url, data=fields, headers=headers))
                await asyncio.sleep(0.3)
    assert isinstance(answer, Page)
    return request


async def _refuses_connections(port: int) -> None:
    for _ in range(3000):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionRefusedError:
            return
        writer.close()
        await asyncio.sleep(0.01)
    raise AssertionError("New connections are still accepted.")


async def test_requests_under_way_are_answered(start_server: StartServer, alice: User) -> None:
    """New connections are refused, so that a load balancer uses other servers."""
    server = start_server(**SLOW_HASHING, IDP_DRAIN_TIMEOUT="60")
    async with open_browser(server.issuer) as browser:
        request = await _slow_sign_in(browser, server, alice.email)
        server.process.send_signal(signal.SIGTERM)
        await _refuses_connections(server.port)
        assert not request.done()
        response = await request
    # The page that redirects.
    assert response.status_code == 200
    assert "__Host-session=" in response.headers["set-cookie"]
    assert server.process.wait(60) == 0


async def test_the_drain_timeout_ends_running_requests(start_server: StartServer, alice: User) -> None:
    """A request that takes longer than IDP_DRAIN_TIMEOUT is cut off."""
    server = start_server(**(SLOW_HASHING | {"IDP_ARGON2_TIME_COST": "250", "IDP_DRAIN_TIMEOUT": "1"}))
    async with open_browser(server.issuer) as browser:
        request = await _slow_sign_in(browser, server, alice.email)
        started = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        with pytest.raises(httpx.TransportError):
            await request
    assert server.process.wait(20) == 0
    assert time.monotonic() - started < 9


async def test_idle_connections_hold_nothing_up(start_server: StartServer) -> None:
    """A browser that keeps its connection delays nothing, and neither does a client that never sends anything."""
    server = start_server()
    silent, writer = await asyncio.open_connection("127.0.0.1", server.port)
    async with httpx.AsyncClient() as kept:
        assert (await kept.get(f"{server.url}/health/live")).is_success
        started = time.monotonic()
        assert await asyncio.to_thread(server.stop) == 0
    assert time.monotonic() - started < 9  # before the drain timeout
    assert await silent.read() == b""
    writer.close()


# Workers


def _connections(server: Server) -> dict[int, int]:
    """How many established connections each worker has."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    ours = {row[9] for row in rows if int(row[1].split(":")[1], 16) == server.port and row[3] == "01"}
    return {pid: sum(_socket(fd) in ours for fd in Path(f"/proc/{pid}/fd").iterdir()) for pid in _workers(server)}


def _socket(fd: Path) -> str:
    try:
        return str(fd.readlink()).removeprefix("socket:[").removesuffix("]")
    except FileNotFoundError:
        return ""


@pytest.mark.parametrize(
    ("options", "settings"), [(("--workers", "2"), {}), ((), {"IDP_WORKERS": "2"})], ids=["option", "setting"]
)
def test_workers_share_the_load(start_server: StartServer, options: tuple[str, ...], settings: dict[str, str]) -> None:
    server = start_server(*options, program=PYTHON, **settings)
    assert len(_workers(server)) == 2
    clients = list[httpx.Client]()

    def connect() -> dict[int, int]:
        clients.append(httpx.Client(verify=TLS))
        assert clients[-1].get(f"{server.url}/health/live").is_success
        return _connections(server)

    try:
        before = connect()
        # One worker may listen a while before the other.
        while not all(before.values()) and len(clients) < 200:
            time.sleep(0.02)
            before = connect()
        for _ in range(40):
            after = connect()
        shares = [after[pid] - before[pid] for pid in before]
        assert sum(shares) >= 40
        assert min(shares) > 4
    finally:
        for client in clients:
            client.close()


def _policies(pid: int) -> set[int]:
    """Return the scheduling policies of the threads of a process."""
    return {os.sched_getscheduler(int(thread.name)) for thread in Path(f"/proc/{pid}/task").iterdir()}


def test_worker_threads_yield(start_server: StartServer) -> None:
    """Soon after the start: requests cost more otherwise (decision 0025)."""
    server = start_server("--workers", "2", program=PYTHON)
    assert len(_workers(server)) == 2
    until(lambda: all(_policies(pid) == {os.SCHED_BATCH} for pid in _workers(server)))


def _is_ready(server: Server) -> bool:
    try:
        return httpx.get(f"{server.url}/health/ready").is_success
    except httpx.TransportError:
        # It was sent to the worker that died.
        return False


def test_a_worker_that_dies_is_replaced(start_server: StartServer) -> None:
    """The other worker continues in the meantime."""
    server = start_server("--workers", "2", program=PYTHON)
    # It is ready as soon as one of them is.
    until(lambda: server.log.count('"serving"') == 2)
    before = _workers(server)
    victim = min(before)
    os.kill(victim, signal.SIGKILL)
    until(lambda: len(_workers(server)) == 2 and victim not in _workers(server))
    until(lambda: _is_ready(server))
    assert len(_workers(server) & before) == 1
    assert server.stop() == 0


@pytest.mark.fault(14)
def test_a_master_key_that_others_may_read_is_told(start: StartServer, data: Path, tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    path.write_text(MASTER_KEY)
    for mode in (0o644, 0o600):
        path.chmod(mode)
        server = start(data=data if mode == 0o644 else None, IDP_MASTER_KEY="", IDP_MASTER_KEY_FILE=str(path))
        assert ("master_key_readable" in server.log) is (mode == 0o644)
        server.stop()
