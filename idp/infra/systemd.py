"""Messages to systemd: the server is ready, stops, or is alive (sd_notify(3)). Without systemd nothing is sent."""

import os
import socket
from contextlib import suppress


def notify(state: str) -> None:
    """Send a state, such as ``READY=1``, to the service manager if there is one. Never fails and never waits."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path.startswith(("/", "@")):
        return
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as manager:
        manager.setblocking(False)
        # An @ stands for the zero byte of an abstract socket.
        manager.sendto(state.encode(), path.replace("@", "\0", 1) if path[0] == "@" else path)


def watchdog_interval() -> float | None:
    """Return the seconds after which ``WATCHDOG=1`` is due: half of ``WatchdogSec=`` (sd_watchdog_enabled(3)).

    None if this process has no watchdog.
    """
    microseconds, pid = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", str(os.getpid()))
    return int(microseconds) / 2e6 if microseconds.isdecimal() and pid == str(os.getpid()) else None
