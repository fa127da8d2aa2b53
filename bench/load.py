"""Load from wrk, which uses so little CPU that the cores are left to the server."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

SCRIPT = Path(__file__).with_name("load.lua")
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
THREADS = 2


class NoWrkError(Exception):
    """wrk, which makes the load, is not installed. The message says how to install it."""

    def __init__(self) -> None:
        super().__init__("wrk, which makes the load, is not installed. On Debian and Ubuntu: apt install wrk")


class Request(msgspec.Struct, frozen=True):
    """One request; its parts must be free of tabs and line ends."""

    method: str
    path: str
    headers: dict[str, str] = {}
    body: str = ""

    @property
    def line(self) -> str:
        headers = "|".join(f"{name}: {value}" for name, value in self.headers.items())
        return f"{self.method}\t{self.path}\t{headers}\t{self.body}\n"


class Result(msgspec.Struct, frozen=True):
    """The result that wrk measured.

    Attributes:
        refused: responses with a status of 400 or above.
        broken: connections that failed, and responses that took longer than two seconds. p50, p99: latency in
        milliseconds.
        spent: there were too few requests: the load paused before its time was over.
    """

    requests: int
    seconds: float
    refused: int
    broken: int
    p50: float
    p99: float
    spent: bool = False

    @property
    def rate(self) -> float:
        """Responses below 400 per second.

        Raises:
            RuntimeError: there were too few requests, so that it would be a rate of the load.
        """
        if self.spent:
            raise RuntimeError(f"{self.requests} requests were too few for {self.seconds:.0f} seconds.")
        return (self.requests - self.refused) / self.seconds


def check() -> None:
    """
    Raises:
        NoWrkError: wrk is not installed.
    """
    if shutil.which("wrk") is None:
        raise NoWrkError


@contextmanager
def loading(
    url: str,
    requests: Iterable[Request],
    *,
    seconds: float,
    connections: int = 32,
    once: bool = False,
    pause: float = 0,
) -> Iterator["subprocess.Popen[str]"]:
    """Make load for the duration of a block, or for the given seconds. :func:`result` returns its result.

    Args:
        once: send each request once, and end the load after the last one.
        pause: average seconds between a response and the next request on a connection.
    """
    threads = min(THREADS, connections)
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.writelines(request.line for request in requests)
        file.flush()
        command = ["wrk", "-t", threads, "-c", connections, "-d", f"{seconds:.0f}s", "-s", SCRIPT, url, "--"]
        command += [file.name, threads, "once" if once else "repeat", round(pause * 1000)]
        process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, text=True)
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def result(process: "subprocess.Popen[str]") -> Result:
    """Wait for the end of a load and return its result."""
    output, _ = process.communicate()
    lines = [line for line in output.splitlines() if line.startswith("RESULT ")]
    if not lines:
        raise RuntimeError(f"wrk failed: {output}")
    return msgspec.json.decode(lines[0].removeprefix("RESULT "), type=Result)


def load(url: str, requests: Iterable[Request], *, allow_refusals: bool = False, **options: object) -> Result:
    """Make load and return its result.

    Raises:
        RuntimeError: requests failed, so that the figure would be meaningless.
    """
    with loading(url, requests, **options) as process:  # type: ignore[arg-type]
        found = result(process)
    if found.broken or (found.refused and not allow_refusals):
        raise RuntimeError(f"{found.refused} of {found.requests} requests were refused, {found.broken} broke.")
    return found
