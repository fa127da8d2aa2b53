"""Inspecting processes by Linux's /proc."""

import time
from collections.abc import Callable
from pathlib import Path


def _parents() -> dict[int, int]:
    """Return every live process and its parent."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The fields after the name, which may contain anything: state, parent.
            state, parent = path.read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if state != "Z":
            found[int(path.parent.name)] = int(parent)
    return found


def alive(pids: set[int]) -> set[int]:
    """Return those that have not ended."""
    return pids & _parents().keys()


def children(pid: int) -> set[int]:
    return {child for child, parent in _parents().items() if parent == pid}


def descendants(pid: int) -> set[int]:
    """Return all descendants, in any process group or session."""
    found: set[int] = set()
    for child in children(pid):
        found |= {child} | descendants(child)
    return found


def command(pid: int) -> str:
    """Return the command line of a process, or an empty list if it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def until(holds: Callable[[], object], seconds: float = 30) -> None:
    """Wait until a condition holds.

    Raises:
        AssertionError: the condition does not hold within so many seconds.
    """
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "It does not come to pass."
        time.sleep(0.02)
