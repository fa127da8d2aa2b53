"""The processes that serve requests."""

import multiprocessing
import os
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from idp.cli.workers import _join

PROCESSES = multiprocessing.get_context("fork")


@pytest.fixture
def worker() -> Iterator[Any]:
    """Granian's representation of a worker, which ends on request."""
    process = PROCESSES.Process(target=time.sleep, args=(60,))
    process.start()
    yield SimpleNamespace(inner=process)
    process.kill()
    process.join()


def test_a_worker_whose_end_another_thread_saw_has_ended(worker: Any) -> None:
    """The other thread reports it a moment later, as on a busy machine."""
    worker.inner.terminate()
    os.waitpid(worker.inner.pid, 0)
    say_so = threading.Timer(0.3, setattr, (worker.inner._popen, "returncode", 0))
    say_so.start()
    _join(worker, 10)
    assert not worker.inner.is_alive()
    say_so.join()


def test_one_that_hangs_is_waited_for_no_longer_than_wished(worker: Any) -> None:
    _join(worker, 0.1)
    assert worker.inner.is_alive()
