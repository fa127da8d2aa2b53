"""The processes that serve requests."""

import asyncio
import multiprocessing
import os
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from idp.cli.workers import RESOLVER_THREADS, _join
from tests.support.assertions import ClientKeys, form, register_bank
from tests.support.processes import children, threads
from tests.support.server import Server

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


async def test_a_worker_resolves_many_names_at_once(server: Server, http: httpx.AsyncClient) -> None:
    """Names without an answer, which clients choose with their ``jwks_uri``, do not stop other connections."""
    client = await register_bank(jwks_uri="https://localhost:1/jwks.json")
    assertion = form(ClientKeys().assertion(client.client_id), grant_type="client_credentials")
    async with asyncio.timeout(20):
        while max(map(threads, children(server.process.pid))) < RESOLVER_THREADS:
            response = await http.post(f"{server.url}/token", data=assertion)
            assert response.status_code == 401
            await asyncio.sleep(0.05)
