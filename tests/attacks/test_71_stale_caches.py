"""Row 71: caches are reloaded, or readiness reports that they are not."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from idp import ids
from idp.keys import lifecycle
from idp.oauth import codes
from idp.oauth.clients.registration import disable_client, register_client
from tests.conftest import MASTER_KEY
from tests.support.isolated import isolated
from tests.support.postgres import Cluster
from tests.support.proxy import Proxy, proxy_to
from tests.support.server import Server

pytestmark = [pytest.mark.fault(40), pytest.mark.fault(41), pytest.mark.fault(18)]

#: The interval of the server's polls is 2 s, and the machine may be busy.
STALENESS_SECONDS = 2 + 3


class Place:
    """A server behind a proxy, with its own database."""

    def __init__(self, server: Server, proxy: Proxy, dsn: str, cluster: Cluster, http: httpx.AsyncClient) -> None:
        self.server, self.proxy, self.cluster, self.http = server, proxy, cluster, http
        self.database = urlsplit(dsn).path.strip("/")

    async def ready(self) -> tuple[int, dict[str, Any]]:
        response = await self.http.get(f"{self.server.url}/health/ready")
        return response.status_code, response.json()

    async def until_ready(self, status: int, seconds: float = 20) -> dict[str, Any]:
        async with asyncio.timeout(seconds):
            while (found := await self.ready())[0] != status:
                await asyncio.sleep(0.05)
        return found[1]

    async def redeem(self, client_id: str, secret: str) -> httpx.Response:
        """Send a request that writes to the database."""
        form = {
            "grant_type": "authorization_code",
            "client_id": client_id,
            "client_secret": secret,
            "code": codes.new(ids.uuid7()),
            "code_verifier": "v" * 43,
            "redirect_uri": "https://machine.example.com/callback",
        }
        return await self.http.post(f"{self.server.url}/token", data=form)

    async def token(self, client_id: str, secret: str) -> httpx.Response:
        form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": secret}
        return await self.http.post(f"{self.server.url}/token", data=form)

    async def read_only(self, value: str) -> None:
        """Make sessions that begin from now on read-only, or not. The server's own stay as they are."""
        await self.cluster.execute(f"ALTER DATABASE {self.database} SET default_transaction_read_only = {value}")

    async def cut(self) -> None:
        await self.cluster.execute(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{self.database}'"
        )


@pytest.fixture
async def place(cluster: Cluster, template: str, tmp_path: Path, http: httpx.AsyncClient) -> AsyncIterator[Place]:
    dsn = await cluster.create_database(template)
    async with isolated(dsn), proxy_to(dsn) as proxy:
        await lifecycle.ensure_signing_key("RS256")
        proxy.listen = "refused"
        server = await asyncio.to_thread(
            Server,
            tmp_path,
            IDP_DATABASE_URL=proxy.dsn,
            IDP_MASTER_KEY=MASTER_KEY,
            IDP_RELOAD_INTERVAL="2",
            IDP_ADDRESS_LIMITS="false",
        )
        yield Place(server, proxy, dsn, cluster, http)
        server.kill()


async def machine(place: Place) -> tuple[str, str]:
    """Register a client, and wait until the server knows it."""
    client, secret = await register_client(
        "machine",
        client_name="Machine",
        grant_types=["client_credentials", "authorization_code"],
        redirect_uris=["https://machine.example.com/callback"],
        scope="",
        token_endpoint_auth_method="client_secret_post",
    )
    async with asyncio.timeout(STALENESS_SECONDS):
        while (await place.token(client.client_id, str(secret))).status_code != 200:
            await asyncio.sleep(0.05)
    return client.client_id, str(secret)


async def test_71_listen_refused(place: Place) -> None:
    """A disabled client is refused within the interval; readiness names the lack, and the log does so once."""
    client, secret = await machine(place)
    await disable_client(client)
    async with asyncio.timeout(STALENESS_SECONDS):
        while (await place.token(client, secret)).status_code != 401:
            await asyncio.sleep(0.05)
    status, found = await place.ready()
    assert (status, found["reasons"], found["warnings"]) == (200, [], ["notices"])
    assert found["reload_age"] < STALENESS_SECONDS
    assert place.server.log.count("notices_refused") == 1


async def test_71_the_database_is_read_only(place: Place) -> None:
    """Like the old primary after a failover. The server reports it, and needs no restart once it has another one."""
    client, secret = await machine(place)
    await place.read_only("on")
    await place.cut()
    async with asyncio.timeout(20):
        while (await place.ready())[1]["reasons"] != ["database_read_only"]:
            await asyncio.sleep(0.05)
    refused = await place.redeem(client, secret)
    assert refused.status_code == 503
    assert refused.json()["error"] == "temporarily_unavailable"
    assert int(refused.headers["retry-after"]) > 0
    await place.read_only("off")
    await place.until_ready(200)
    async with asyncio.timeout(20):
        while (answer := await place.redeem(client, secret)).status_code == 503:
            await asyncio.sleep(0.05)
    assert answer.json()["error"] == "invalid_grant"
