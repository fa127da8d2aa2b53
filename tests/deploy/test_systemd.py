"""The unit for systemd, and what the server tells the service manager."""

import re
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from dotenv import dotenv_values

from idp.accounts.tables import User
from idp.cli.serve import check_production
from idp.infra import systemd
from idp.settings import Settings, load
from tests.conftest import MakeClient
from tests.support.browser import open_browser
from tests.support.restricted import UNIT
from tests.support.server import Server

ENVIRONMENT = UNIT.with_name("idp.env")
#: Exposure by `systemd-analyze security`, of 100.
EXPOSURE = 20
#: Keys that systemd 252 does not know, and ignores.
NEWER = ("RestartSteps", "RestartMaxDelaySec")

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """The socket of a service manager."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(30)
        manager.bind(str(tmp_path / "notify"))
        yield manager


def test_the_server_says_when_it_is_ready_alive_and_stopping(
    manager: socket.socket, start_server: Callable[..., Server]
) -> None:
    server = start_server(wait=False, NOTIFY_SOCKET=manager.getsockname(), WATCHDOG_USEC="400000")
    told = [manager.recv(100).decode()]
    while "READY=1" not in told:
        told.append(manager.recv(100).decode())
    server.wait_until_ready()
    while told.count("WATCHDOG=1") < 3:
        told.append(manager.recv(100).decode())
    assert server.stop() == 0
    while told[-1] != "STOPPING=1":
        told.append(manager.recv(100).decode())
    assert set(told) == {"READY=1", "WATCHDOG=1", "STOPPING=1"}


def test_a_socket_without_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(30)
        manager.bind("")  # the system chooses an abstract name
        monkeypatch.setenv("NOTIFY_SOCKET", manager.getsockname().decode().replace("\0", "@", 1))
        systemd.notify("READY=1")
        assert manager.recv(100) == b"READY=1"


@pytest.mark.parametrize("path", ["", "/nowhere/notify", "vsock:2:1234", "@" + "x" * 200])
def test_no_service_manager(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", path)
    systemd.notify("READY=1")


@pytest.mark.parametrize(
    ("microseconds", "pid", "seconds"),
    [("60000000", None, 30.0), ("60000000", "1", None), ("", None, None), ("soon", None, None)],
)
def test_the_interval_of_the_watchdog(
    microseconds: str, pid: str | None, seconds: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", microseconds)
    if pid is not None:
        monkeypatch.setenv("WATCHDOG_PID", pid)
    assert systemd.watchdog_interval() == seconds


@needs_systemd
def test_the_unit_is_valid_and_hardened(tmp_path: Path) -> None:
    unit = tmp_path / "idp.service"
    text = UNIT.read_text()
    unit.write_text(text.replace("/opt/idp/bin/idp", shutil.which("true") or ""))
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    assert [line for line in done.stderr.splitlines() if str(unit) in line and not any(k in line for k in NEWER)] == []
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSURE}", unit],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def test_the_unit_waits_for_the_drain() -> None:
    stop = re.search(r"^TimeoutStopSec=(\d+)$", UNIT.read_text(), re.MULTILINE)
    assert stop is not None
    assert int(stop[1]) >= Settings.model_fields["drain_timeout"].default + 10


def test_commands_run_as_the_service_does() -> None:
    """With its account, folder, settings and secrets."""
    command, unit = UNIT.with_name("idp-command"), UNIT.read_text().splitlines()
    subprocess.run(["sh", "-n", command], check=True)
    given = re.findall(r"--property=(\S+)", command.read_text())
    assert len(given) == 9
    assert [line for line in given if line not in unit] == []
    assert {line for line in unit if line.startswith("LoadCredential=")} <= set(given)


def test_the_example_of_settings_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in dotenv_values(ENVIRONMENT).items():
        monkeypatch.setenv(name, value or "")
    config = load()
    check_production(config)
    assert (config.issuer, config.workers) == ("https://id.example.com", 2)


@needs_systemd
async def test_the_server_runs_with_the_restrictions_of_the_unit(
    start_server: Callable[..., Server], make_client: MakeClient, alice: User
) -> None:
    """Password hashing, signing and the event loop need no other system call, and no memory that is executable."""
    server = start_server(program=("-m", "tests.support.restricted"))
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    assert re.search(r"^Seccomp:\t2$", status, re.MULTILINE)
    assert re.search(r"^NoNewPrivs:\t1$", status, re.MULTILINE)
    party = await make_client(server)
    async with open_browser(server.issuer) as browser:
        tokens = await party.tokens(browser, alice.email)
    assert (await party.refresh(tokens["refresh_token"])).status_code == 200
    assert server.stop() == 0
    assert "unexpected_error" not in server.log
