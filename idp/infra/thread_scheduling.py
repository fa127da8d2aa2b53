"""The scheduling policy of a worker's threads (docs/decisions/0025-threads-let-others-finish.md).

A request passes through several threads that each run for microseconds. By default a thread that wakes up preempts
the running one, and each context switch costs more than the wait. Under ``SCHED_BATCH`` it does not preempt. While
a thread hashes passwords, for tens of milliseconds, the others must preempt it, and get the default policy back.
"""

import contextlib
import os
import sys
import threading
from pathlib import Path


class _Threads:
    """The threads of this process. They have the default policy until :meth:`let_finish` is called."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: int | None = None
        self._computing = 0

    def let_finish(self) -> None:
        """Put the existing threads under ``SCHED_BATCH``. Call once, in the event loop's thread."""
        with self._lock:
            self._loop = threading.get_native_id()
            self._schedule()

    def computing(self, change: int) -> None:
        """Change the number of threads that compute for long, by 1 or -1."""
        with self._lock:
            before, self._computing = self._computing, self._computing + change
            if self._loop is not None and bool(before) != bool(self._computing):
                self._schedule()

    def _schedule(self) -> None:
        """The loop's thread never preempts. The others do while something computes."""
        if sys.platform == "linux":
            others = os.SCHED_OTHER if self._computing else os.SCHED_BATCH
            for thread in (int(entry.name) for entry in Path("/proc/self/task").iterdir()):
                # The thread has ended, or a sandbox forbids the call.
                with contextlib.suppress(OSError):
                    policy = os.SCHED_BATCH if thread == self._loop else others
                    os.sched_setscheduler(thread, policy, os.sched_param(0))


threads = _Threads()
