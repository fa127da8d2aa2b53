"""A migrated database to copy, and servers that are stopped at the end."""

from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from idp.accounts.users import create_user
from idp.infra.db import migrate
from idp.infra.db.embedded import EmbeddedPostgres
from idp.keys import lifecycle, root_key
from idp.oauth.clients.registration import register_client
from tests.conftest import MASTER_KEY
from tests.support.isolated import isolated
from tests.support.load import Session, signed_in
from tests.support.oauth import PASSWORD, REDIRECT_URI, RelyingParty
from tests.support.replication import Node
from tests.support.server import TLS, Server

#: Starts a primary, on a copy of the migrated database, with settings of PostgreSQL.
StartPrimary = Callable[..., Node]
#: Starts a standby of a server.
StartStandby = Callable[[Node], Node]
#: Starts a server on the database with a URL, with settings.
StartServer = Callable[..., Server]
#: Opens a session of each user at a server.
SignIn = Callable[[Server], AbstractAsyncContextManager[list[Session]]]

#: Seconds within which every session must be served again, on a machine with other work.
RECOVERED_WITHIN = 30
#: Seconds within which a request is refused if PostgreSQL refuses connections.
REFUSED_WITHIN = 20

PEOPLE = [f"{number}@example.com" for number in range(6)]


class Migrated(NamedTuple):
    """The data folder of a PostgreSQL that was shut down, and the client in it, at no server yet."""

    data: Path
    party: RelyingParty


@pytest.fixture(scope="package")
async def migrated(tmp_path_factory: pytest.TempPathFactory) -> Migrated:
    """A migrated database with a signing key, a client and users.

    Workers know them from their start. A client that is registered later is known to each of them at another time.
    """
    folder = tmp_path_factory.mktemp("migrated") / "data"
    with EmbeddedPostgres.start(folder, options={"fsync": "off"}) as server:
        async with isolated(server.dsn, migrated=False):
            await migrate.upgrade()
            await root_key.unlock()
            await lifecycle.ensure_signing_key("RS256")
            for email in PEOPLE:
                await create_user(email, PASSWORD)
            client, secret = await register_client(
                client_name="Load", redirect_uris=[REDIRECT_URI], grant_types=["authorization_code", "refresh_token"]
            )
    async with httpx.AsyncClient(verify=TLS) as http:
        return Migrated(folder, RelyingParty("", http, client.client_id, secret, scope="openid"))


@pytest.fixture
def nodes() -> Iterator[list[Node]]:
    """All servers of a test."""
    started: list[Node] = []
    yield started
    for node in reversed(started):
        node.stop()


@pytest.fixture
def start_primary(migrated: Migrated, tmp_path: Path, nodes: list[Node]) -> StartPrimary:
    def start(**options: str) -> Node:
        node = Node(tmp_path / f"node{len(nodes)}", **options).copy(migrated.data)
        nodes.append(node)
        return node.start()

    return start


@pytest.fixture
def start_standby(tmp_path: Path, nodes: list[Node]) -> StartStandby:
    def start(primary: Node) -> Node:
        node = Node(tmp_path / f"node{len(nodes)}", **primary.options).follow(primary)
        nodes.append(node)
        return node.start()

    return start


@pytest.fixture
def start(tmp_path: Path) -> Iterator[StartServer]:
    """Start servers with two workers."""
    started: list[Server] = []

    def start(database_url: str, **settings: str) -> Server:
        fixed = {"IDP_MASTER_KEY": MASTER_KEY, "IDP_WORKERS": "2", "IDP_ADDRESS_LIMITS": "false"}
        server = Server(tmp_path / "server", **(fixed | {"IDP_DATABASE_URL": database_url} | settings))
        started.append(server)
        return server

    yield start
    for server in started:
        server.kill()


@pytest.fixture
def sign_in(migrated: Migrated) -> SignIn:
    return lambda server: signed_in(replace(migrated.party, issuer=server.issuer), PEOPLE)
