"""Which threads of a worker may interrupt others (docs/decisions/0025-threads-let-others-finish.md).

A request goes through several threads that each need a moment. Woken at once, they would interrupt each other, to and
fro, which costs more than to wait for the one before. Only what computes for long must be interrupted.
"""

import contextlib
import os
import sys
import threading
from pathlib import Path


class _Threads:
    """Those of this process. Until :meth:`let_finish` they are as the system has them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: int | None = None
        self._computing = 0

    def let_finish(self) -> None:
        """From now on have the threads that are there let others finish. For the thread of the loop to call, once."""
        with self._lock:
            self._loop = threading.get_native_id()
            self._schedule()

    def computing(self, change: int) -> None:
        """Count what computes for long in a thread of this process: one more, or one less."""
        with self._lock:
            before, self._computing = self._computing, self._computing + change
            if self._loop is not None and bool(before) != bool(self._computing):
                self._schedule()

    def _schedule(self) -> None:
        """The loop never interrupts. The others, which take in and hand over, do while something computes."""
        if sys.platform == "linux":
            others = os.SCHED_OTHER if self._computing else os.SCHED_BATCH
            for thread in (int(entry.name) for entry in Path("/proc/self/task").iterdir()):
                # One that has ended, or a sandbox that allows nothing of it.
                with contextlib.suppress(OSError):
                    policy = os.SCHED_BATCH if thread == self._loop else others
                    os.sched_setscheduler(thread, policy, os.sched_param(0))


threads = _Threads()
