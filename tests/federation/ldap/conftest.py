"""An OpenLDAP directory, upstreams for it, and users in it."""

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, NamedTuple

import pytest

from idp.federation import registry
from idp.federation.ldap import pool
from idp.federation.models import Upstream
from tests.federation.conftest import until
from tests.support.server import Server
from tests.support.slapd import BIND_DN, BIND_PASSWORD, PEOPLE, Slapd, person

Configure = Callable[..., Upstream]
AddDirectory = Callable[..., Awaitable[Upstream]]


class Person(NamedTuple):
    """A user of the directory, whose address is ``uid@example.com`` if nothing else was said."""

    uid: str
    password: str

    @property
    def dn(self) -> str:
        return f"uid={self.uid},{PEOPLE}"

    @property
    def email(self) -> str:
        return f"{self.uid}@example.com"


Make = Callable[..., Person]


@pytest.fixture(scope="session")
def slapd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slapd]:
    """The directory that most tests share; each test creates its own users and groups."""
    slapd = Slapd(tmp_path_factory.mktemp("slapd"))
    yield slapd
    slapd.stop()


@pytest.fixture
def make_person(slapd: Slapd) -> Make:
    """Create users of the shared directory."""

    def make(at: Slapd | None = None, **values: Any) -> Person:
        found = Person(f"u{secrets.token_hex(5)}", secrets.token_urlsafe(12))
        (at or slapd).modify(person(found.uid, found.password, **values))
        return found

    return make


@pytest.fixture
def ada(make_person: Make) -> Person:
    """A user of the shared directory."""
    return make_person(displayName="Ada Example")


@pytest.fixture
async def configure(slapd: Slapd) -> AsyncIterator[Configure]:
    """Return upstreams that nobody stored, by default for the shared directory."""

    def configure(at: Slapd | None = None, **values: Any) -> Upstream:
        return registry.configure(**configuration(at or slapd, **values))

    yield configure
    await pool.close_all()


@pytest.fixture
async def add_directory(db: str, server: Server, slapd: Slapd) -> AsyncIterator[AddDirectory]:
    """Add directories, which the shared server knows when this returns, and disable them at the end."""
    async with AsyncExitStack() as stack:

        async def add(at: Slapd | None = None, **values: Any) -> Upstream:
            upstream = registry.configure(**configuration(at or slapd, **values))
            await stack.enter_async_context(added(server, upstream))
            return upstream

        yield add


@asynccontextmanager
async def added(server: Server, upstream: Upstream) -> AsyncIterator[None]:
    """Add a directory to the shared server. It is disabled at the end."""
    assert await registry.add(upstream)
    await until(server.issuer, lambda page: 'name="username" type="text"' in page)
    yield
    await registry.disable(upstream.id)
    await until(server.issuer, lambda page: 'name="username" type="email"' in page)


def configuration(at: Slapd, **values: Any) -> dict[str, Any]:
    """Return the arguments of :func:`registry.configure`. Options are added to the usual ones."""
    name = f"dir-{secrets.token_hex(4)}"
    options = {"url": at.ldaps, "ca": at.ca, "base_dn": PEOPLE, "email_domains": "example.com"}
    usual = {
        "kind": "ldap", "id": name, "name": f"Directory {name}", "client_id": BIND_DN, "client_secret": BIND_PASSWORD,
        "trust_email": True,
    }  # fmt: skip
    return usual | values | {"options": options | values.get("options", {})}
