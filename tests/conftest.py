"""Fixtures: a real PostgreSQL, the real server on it, users and clients."""

import asyncio
import gc
import os
import secrets
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from pathlib import Path
from typing import Any

# Keep bytecode in any environment. Without it, every server and command that a test starts compiles the product again,
# and every run rewrites the assertions of every test file.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# Imports and collection create a million long-lived objects. `pytest_collection` turns the garbage collector on again.
gc.disable()
#: `make test DATABASE_URL=…`: a PostgreSQL that runs already, instead of an embedded one.
DATABASE_URL = os.environ.get("TEST_DATABASE_URL") or None
# Ignore the settings of the user's environment. This comes before the first import of the product.
for _name in [name for name in os.environ if name.startswith("IDP_")]:
    del os.environ[_name]
# A process in the background of a shell, or under nohup, inherits that these signals are ignored, and so would our
# servers.
for _number, _handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _handler)
MASTER_KEY = secrets.token_urlsafe(32)
os.environ |= {
    "IDP_MASTER_KEY": MASTER_KEY,
    "IDP_OUTBOUND_ALLOW_HTTP": "true",
    "IDP_OUTBOUND_ALLOWED_HOSTS": "127.0.0.0/8,::1/128",
    "IDP_CIBA": "true",
    "IDP_ARGON2_MEMORY_COST": "8",
    "IDP_ARGON2_TIME_COST": "1",
    "IDP_HASHING_WAIT": "60",
    "IDP_TOKEN_EXCHANGE": "true",
    "IDP_JWT_BEARER": "true",
    "IDP_DATA_DIR": tempfile.mkdtemp(prefix="idp-test-data-"),
}

import httpx
import hypothesis
import pytest

from idp import settings as settings_module

# The duration of an example depends on the machine, not on the product. Every run tries the same examples, so that a
# test that passes does so again.
hypothesis.settings.register_profile(
    "repeatable",
    deadline=None,
    derandomize=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.function_scoped_fixture],
)
hypothesis.settings.load_profile("repeatable")

settings_module.ENV_FILE = os.devnull
settings_module.Settings.model_config["env_file"] = None

from idp.accounts.tables import User
from idp.accounts.users import create_user
from idp.infra import logs
from idp.infra.db import engine, migrate
from idp.keys import lifecycle, root_key
from idp.keys.key_set import key_set
from idp.oauth.clients.registration import register_client
from idp.oauth.clients.registry import registry
from tests.support import citus, lookups, realms
from tests.support.browser import Browser, open_browser
from tests.support.mailbox import Mailbox
from tests.support.nameserver import Nameserver
from tests.support.oauth import PASSWORD, REDIRECT_URI, RelyingParty, until_settled
from tests.support.postgres import Cluster
from tests.support.server import TLS, Server

logs.strict = True


def pytest_xdist_auto_num_workers() -> int:
    """Use one process more than there are CPUs: a process waits a fifth to a half of its time."""
    return len(os.sched_getaffinity(0)) + 1


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Turn the garbage collector on after collection, without the objects that collection created."""
    result = yield
    gc.freeze()
    gc.enable()
    return result


MakeUser = Callable[..., Awaitable[User]]
MakeClient = Callable[..., Awaitable[RelyingParty]]


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One PostgreSQL for the whole run."""
    cluster = Cluster(tmp_path_factory.mktemp("postgres") / "data", DATABASE_URL)
    yield cluster
    cluster.stop()


@pytest.fixture(scope="session")
async def template(cluster: Cluster) -> str:
    """The name of a migrated database to copy."""
    engine.configure(await cluster.create_template())
    async with engine.connected():
        await migrate.upgrade()
        if distributed := await citus.is_loaded():
            await citus.distribute()
    if distributed:
        await citus.disconnect(cluster, cluster.template)
    return cluster.template


@pytest.fixture(scope="session")
async def dsn(cluster: Cluster, template: str) -> str:
    """The database that most tests share; each test creates its own users and clients."""
    return await cluster.create_database(template)


@pytest.fixture(scope="session")
async def db(dsn: str) -> AsyncIterator[str]:
    """The engine of this process on the shared database, with a signing key."""
    assert engine.engine.pool is None, "A module opened a database of its own first: its fixture needs this one."
    engine.configure(dsn)
    async with engine.connected(size=10):
        await root_key.unlock()
        await lifecycle.ensure_signing_key("RS256")
        await key_set.load()
        await registry.load()
        yield dsn
        assert await lookups.differences() == []


@pytest.fixture(autouse=True)
async def fresh_keys(request: pytest.FixtureRequest) -> None:
    """Load the current keys, because an earlier test may have rotated them."""
    if "db" in request.fixturenames:
        await key_set.load()


#: The shared server, once a test has started it.
_shared: list[Server] = []
_CHANGES = "SELECT topic, number FROM revision ORDER BY 1"
_LEFT = """
SELECT id FROM upstream WHERE disabled_at IS NULL
UNION ALL SELECT domain FROM organization_domain WHERE enforced AND verified_at IS NOT NULL
"""


@pytest.fixture(scope="module", autouse=True)
async def nothing_left() -> AsyncIterator[None]:
    """Fail a module that leaves a provider or an enforced domain, and go on when the shared server knows its changes.

    Its login page asks for the address alone as long as it knows one of them.
    """
    before = await _changes()
    yield
    if engine.engine.pool is None:
        return
    left = await engine.fetch(_LEFT)
    assert not left, f"Delete or disable what was added: {left}"
    if _shared and before != await _changes():
        await until_settled(_shared[0].issuer)
        await realms.until_forgotten(_shared[0])


async def _changes() -> list[Any]:
    return [] if engine.engine.pool is None else await engine.fetch(_CHANGES)


@pytest.fixture(scope="module")
def accepts_certificates() -> Iterator[None]:
    """Let clients of this process authenticate by certificates, which nginx passes on: verified ones, and others."""
    os.environ["IDP_CLIENT_CERTIFICATE_HEADER"] = "nginx"
    settings_module.settings.cache_clear()
    yield
    del os.environ["IDP_CLIENT_CERTIFICATE_HEADER"]
    settings_module.settings.cache_clear()


@pytest.fixture(scope="session")
def mailbox() -> Iterator[Mailbox]:
    """The mailbox of the shared server."""
    mailbox = Mailbox()
    yield mailbox
    mailbox.stop()


@pytest.fixture(scope="session")
def nameserver() -> Iterator[Nameserver]:
    """The name server of the shared server and of this process."""
    nameserver = Nameserver()
    os.environ["IDP_DNS_RESOLVER"] = nameserver.address
    settings_module.settings.cache_clear()
    yield nameserver
    del os.environ["IDP_DNS_RESOLVER"]
    settings_module.settings.cache_clear()
    nameserver.stop()


@pytest.fixture(scope="session")
def server(
    db: str, mailbox: Mailbox, nameserver: Nameserver, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """The server that most tests share."""
    server = Server(
        tmp_path_factory.mktemp("server"),
        IDP_DATABASE_URL=db,
        IDP_MASTER_KEY=MASTER_KEY,
        IDP_SMTP_URL=mailbox.url,
        IDP_DNS_RESOLVER=nameserver.address,
        # All tests share one address, and some make many attempts.
        IDP_ADDRESS_LIMITS="false",
        IDP_AUDIT_FAILURE_LIMIT="1000000",
        IDP_TRACE_SUCCESS_LIMIT="1000000",
        IDP_TRACE_FAILURE_LIMIT="1000000",
        IDP_CLIENT_REGISTRATION="token",
        IDP_TOKEN_EXCHANGE="true",
        IDP_JWT_BEARER="true",
        IDP_CIBA="true",
    )
    _shared.append(server)
    yield server
    _shared.remove(server)
    server.stop()


@pytest.fixture
def start_server(db: str, mailbox: Mailbox, tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Start servers with other settings, by default on the shared database."""
    started: list[Server] = []

    def start(*arguments: str, **settings: Any) -> Server:
        server = Server(
            tmp_path,
            *arguments,
            **(
                {
                    "IDP_DATABASE_URL": db,
                    "IDP_MASTER_KEY": MASTER_KEY,
                    "IDP_SMTP_URL": mailbox.url,
                    "IDP_ADDRESS_LIMITS": "false",
                    "IDP_CIBA": "true",
                }
                | settings
            ),
        )
        started.append(server)
        return server

    yield start
    for server in started:
        server.kill()


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(timeout=30, verify=TLS) as client:
        yield client


@pytest.fixture
async def browser(server: Server) -> AsyncIterator[Browser]:
    """A fresh browser at the shared server."""
    async with open_browser(server.issuer) as browser:
        yield browser


@pytest.fixture
def make_user(db: str) -> MakeUser:
    """Create users with the password of :mod:`tests.support.oauth`."""

    async def make(password: str | None = PASSWORD, **claims: Any) -> User:
        email = claims.pop("email", f"{secrets.token_hex(6)}@example.com")
        return await create_user(email, password, **claims)

    return make


@pytest.fixture
async def alice(make_user: MakeUser) -> User:
    """A user."""
    return await make_user(name="Alice Example")


@pytest.fixture
def make_client(db: str, http: httpx.AsyncClient, server: Server) -> MakeClient:
    """Register clients, by default confidential web clients. Returns once the server knows them."""

    async def make(at: Server | None = None, **metadata: Any) -> RelyingParty:
        issuer = (at or server).issuer
        values: dict[str, Any] = {
            "client_name": "Test client",
            "redirect_uris": [REDIRECT_URI],
            "grant_types": ["authorization_code", "refresh_token"],
            "scope": "openid profile email",
        }
        client, secret = await register_client(**(values | metadata))
        party = RelyingParty(issuer, http, client.client_id, secret, scope=client.scope)
        party.secret_in_body = client.token_endpoint_auth_method == "client_secret_post"
        if client.redirect_uris:
            party.redirect_uri = client.redirect_uris[0]
        await until_known(party)
        return party

    return make


async def until_known(party: RelyingParty) -> None:
    """Wait until the server knows a client that another process registered."""
    for _ in range(1500):
        response = await party.post("/token", grant_type="none-such")
        if response.json()["error"] == "unsupported_grant_type":
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"The server does not get to know a new client: {response.text}")


@pytest.fixture
async def client(make_client: MakeClient) -> RelyingParty:
    """A confidential web client."""
    return await make_client()
