"""Workers die and start while the database is down: keys stay published, and everything recovers."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from idp.cli.workers import FAILED_STARTS, LONGEST_WAIT, STARTED_AFTER, Restarts
from idp.infra.db.embedded import EmbeddedPostgres
from tests.conftest import MASTER_KEY
from tests.support.processes import children, until
from tests.support.server import Server

pytestmark = pytest.mark.fault(39)

PUBLIC = ("/.well-known/openid-configuration", "/.well-known/jwks.json")


class Outage:
    """A server with two workers, and a database that can be stopped and started."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.database: EmbeddedPostgres | None = None
        self.servers: list[Server] = []

    def up(self) -> None:
        self.database = EmbeddedPostgres.start(self.folder / "postgres", options={"fsync": "off"})

    def down(self) -> None:
        if self.database is not None:
            self.database.stop()
            self.database = None

    def serve(self, *, wait: bool = True) -> Server:
        # The socket of the embedded PostgreSQL is at the same path after each start.
        if self.database is not None:
            self.dsn = self.database.dsn
        server = Server(
            self.folder,
            "--workers",
            "2",
            wait=wait,
            # The same at each start, although the port differs.
            IDP_ISSUER="http://localhost:8000",
            IDP_DATABASE_URL=self.dsn,
            IDP_MASTER_KEY=MASTER_KEY,
            IDP_LOG_LEVEL="warning",
        )
        self.servers.append(server)
        return server


@pytest.fixture
def outage(tmp_path: Path) -> Iterator[Outage]:
    outage = Outage(tmp_path)
    outage.up()
    yield outage
    for server in outage.servers:
        server.kill()
    outage.down()


def _status(server: Server, path: str) -> int:
    try:
        return httpx.get(f"{server.url}{path}").status_code
    except httpx.TransportError:
        # It was sent to a worker that died.
        return 0


def _documents(server: Server) -> list[bytes]:
    return [httpx.get(f"{server.url}{path}").content for path in PUBLIC]


def _kill_all_workers(server: Server) -> None:
    """And wait until others answer in their place."""
    before = children(server.process.pid)
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    until(lambda: len(children(server.process.pid) - before) == 2)
    until(lambda: _status(server, "/health/live") == 200)


def _refuses_all_else(server: Server) -> None:
    """With a status that tells a client to try again, not that it is unknown."""
    form = {"grant_type": "client_credentials"}
    token = httpx.post(f"{server.url}/token", data=form, auth=("some-client", "some-secret"))
    page = httpx.get(f"{server.url}/login", headers={"Accept": "text/html"})
    for answer in (token, page):
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) > 0
    assert page.headers["content-type"] == "text/html; charset=utf-8"


def test_workers_that_die_during_an_outage_are_replaced(outage: Outage) -> None:
    server = outage.serve()
    before = _documents(server)
    outage.down()
    # Twice within seconds, too.
    for _ in range(2):
        _kill_all_workers(server)
    assert _status(server, "/health/ready") == 503
    assert _documents(server) == before
    # It cannot know which of these URLs belong to a resource server.
    assert httpx.get(f"{server.url}/jwks/of-a-resource-server").content == before[1]
    _refuses_all_else(server)
    outage.up()
    until(lambda: _status(server, "/health/ready") == 200)
    until(lambda: _status(server, "/jwks/of-a-resource-server") == 404)
    assert _documents(server) == before
    form = {"grant_type": "client_credentials"}
    auth = ("some-client", "some-secret")
    # Each worker joins on its own, and any of them may answer.
    until(lambda: httpx.post(f"{server.url}/token", data=form, auth=auth).status_code == 401)
    assert "Traceback" not in server.log
    assert server.stop() == 0


def test_a_server_starts_during_an_outage_with_the_keys_that_it_published(outage: Outage) -> None:
    first = outage.serve()
    keys = _documents(first)[1]
    assert first.stop() == 0
    outage.down()
    server = outage.serve(wait=False)
    until(lambda: _status(server, PUBLIC[1]) == 200)
    assert _documents(server)[1] == keys
    assert _status(server, "/health/ready") == 503
    outage.up()
    until(lambda: _status(server, "/health/ready") == 200)
    assert server.stop() == 0


def test_a_first_start_without_a_database_ends_with_its_message(outage: Outage) -> None:
    outage.dsn = outage.database.dsn if outage.database else ""
    outage.down()
    server = outage.serve(wait=False)
    assert server.process.wait(30) == 1
    assert "PostgreSQL cannot be reached" in server.log


def test_a_modified_snapshot_of_keys_is_not_published(outage: Outage) -> None:
    first = outage.serve()
    assert first.stop() == 0
    outage.down()
    path = outage.folder / "data" / "last-known-keys"
    content = path.read_bytes()
    path.write_bytes(content.replace(b'"AQAB"', b'"AQAD"'))
    assert path.read_bytes() != content
    server = outage.serve(wait=False)
    assert server.process.wait(30) == 1


# New workers


def _restarts(deaths: int, *, lived: float, exit_code: int) -> Restarts:
    restarts = Restarts()
    for _ in range(deaths):
        restarts.note(0, lived, exit_code, 0)
    return restarts


def test_a_worker_that_keeps_dying_waits_longer_and_never_ends_the_server() -> None:
    waits: Callable[[int], float | None] = lambda deaths: _restarts(deaths, lived=1, exit_code=-9).wait(0)  # noqa: E731
    assert [waits(deaths) for deaths in range(4)] == [None, 0, 1.0, 2.0]
    assert waits(1000) == LONGEST_WAIT
    assert not _restarts(1000, lived=1, exit_code=-9).hopeless(1)


def test_one_that_lived_starts_again_at_once() -> None:
    restarts = _restarts(5, lived=1, exit_code=1)
    restarts.note(0, STARTED_AFTER, 1, 100)
    assert restarts.take(100) == [0]
    assert restarts.wait(100) is None


def test_a_server_of_which_no_worker_ever_starts_ends() -> None:
    restarts = _restarts(2 * FAILED_STARTS - 1, lived=1, exit_code=1)
    assert not restarts.hopeless(2)
    restarts.note(1, 1, 1, 0)
    assert restarts.hopeless(2)
    restarts.started()
    assert not restarts.hopeless(2)
