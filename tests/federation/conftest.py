"""Upstream providers of the shared server."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import httpx
import pytest

from idp.federation import registry
from idp.federation.models import Upstream
from tests.support.browser import Browser, Page, Redirect, as_page
from tests.support.nameserver import Nameserver
from tests.support.realms import MakeRealm, making_realms
from tests.support.server import TLS, Server
from tests.support.stand_ins import CLIENT_ID, CLIENT_SECRET, GitHub, OpenIDProvider

Add = Callable[..., Awaitable[Upstream]]


@pytest.fixture
def provider() -> Iterator[OpenIDProvider]:
    """Any OpenID provider."""
    provider = OpenIDProvider()
    yield provider
    provider.stop()


@pytest.fixture
def github() -> Iterator[GitHub]:
    """A GitHub Enterprise Server."""
    github = GitHub()
    yield github
    github.stop()


@pytest.fixture
async def add(db: str, server: Server) -> AsyncIterator[Add]:
    """Add upstreams, which the shared server knows when this returns, and delete them at the end."""
    added: list[str] = []

    async def add(at: Server | None = None, **values: Any) -> Upstream:
        name = f"up-{secrets.token_hex(4)}"
        given = {"id": name, "name": f"Upstream {name}", "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
        upstream = registry.configure(**(given | values))
        assert await registry.add(upstream)
        added.append(upstream.id)
        await until_offered((at or server).issuer, upstream.id)
        return upstream

    yield add
    for name in added:
        await registry.disable(name)
    for name in added:
        await until_offered(server.issuer, name, offered=False)


async def until_offered(issuer: str, upstream_id: str, *, offered: bool = True) -> None:
    """Wait until the server has heard of an upstream that another process added or disabled."""
    await until(issuer, lambda page: (f"upstream-{upstream_id}" in page) is offered)


async def until(issuer: str, holds: Callable[[str], bool]) -> None:
    """Wait until something holds of the first page of a sign-in."""
    async with httpx.AsyncClient(follow_redirects=True, verify=TLS) as client, asyncio.timeout(30):
        # The cookie of a flow is Secure, so this client does not send it over http.
        while True:
            first = await client.get(f"{issuer}/login", follow_redirects=False)
            cookie = first.headers["set-cookie"].partition(";")[0]
            page = await client.get(f"{issuer}{first.headers['location']}", headers={"Cookie": cookie})
            if holds(page.text):
                return
            await asyncio.sleep(0.02)


async def leave(browser: Browser, page: Page, upstream: Upstream) -> str:
    """Press the button of an upstream. Returns the callback URL to which it redirects."""
    away = await browser.get(f"{page.path}/to/{upstream.id}")
    assert isinstance(away, Redirect), away.text
    return await visit(away.location)


async def visit(location: str) -> str:
    """Do the browser's part at the upstream."""
    async with httpx.AsyncClient(verify=TLS) as client:
        answer = await client.get(location)
    assert answer.has_redirect_location, answer.text
    return answer.headers["location"]


async def sign_in(browser: Browser, upstream: Upstream, page: Page | None = None) -> Page | Redirect:
    """There and back. Without a page, from our own."""
    page = page or as_page(await browser.get("/login"))
    return await browser.get(await leave(browser, page, upstream))


@pytest.fixture
async def make_realm(db: str, server: Server, nameserver: Nameserver) -> AsyncIterator[MakeRealm]:
    """Make organizations with a verified domain and an upstream."""
    async with making_realms(server, nameserver) as make:
        yield make
