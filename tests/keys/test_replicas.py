"""Two servers on one database: if one is killed at any step of a rotation, the other continues."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest

from idp.infra.db.engine import execute, fetch
from idp.keys import lifecycle
from idp.keys.lifecycle import State
from idp.oauth.clients.registration import register_client, register_resource_server
from tests.conftest import MASTER_KEY
from tests.support.isolated import isolated
from tests.support.postgres import Cluster
from tests.support.proxy import proxy_to
from tests.support.server import Server

AUDIENCE = "https://api.example.com"
#: How soon the others must switch: within a second, plus some time for a busy machine.
WITHIN_SECONDS = 20.0
FORM = {"grant_type": "client_credentials", "client_id": "load", "resource": AUDIENCE}


class Pair:
    """Two servers with one client."""

    def __init__(self, folder: Path, dsn: str, secret: str, jwks_id: str, http: httpx.AsyncClient) -> None:
        self.folder, self.secret, self.jwks_id, self.http = folder, secret, jwks_id, http
        self.settings = {
            "IDP_DATABASE_URL": dsn,
            "IDP_MASTER_KEY": MASTER_KEY,
            "IDP_KEY_PUBLICATION": "0",
            "IDP_ISSUER": "http://idp.localhost:9",
        }
        self.servers: list[Server] = []

    async def start(self, **settings: str) -> Server:
        self.servers.append(await asyncio.to_thread(Server, self.folder, **(self.settings | settings)))
        return self.servers[-1]

    async def keys(self, server: Server) -> dict[str, jwt.PyJWK]:
        found = (await self.http.get(f"{server.url}/.well-known/jwks.json")).json()
        return {str(key.key_id): key for key in jwt.PyJWKSet.from_dict(found).keys}

    async def see(self, server: Server) -> None:
        """The resource server fetches its JWKS."""
        assert (await self.http.get(f"{server.url}/jwks/{self.jwks_id}")).is_success

    async def kid(self, server: Server) -> str:
        """Return the key with which a server signs. Its token is valid with its published keys."""
        answer = await self.http.post(f"{server.url}/token", data=FORM | {"client_secret": self.secret})
        token = answer.json()["access_token"]
        kid = str(jwt.get_unverified_header(token)["kid"])
        claims: dict[str, Any] = jwt.decode(
            token, (await self.keys(server))[kid], algorithms=["RS256"], audience=AUDIENCE
        )
        assert claims["client_id"] == "load"
        return kid

    async def until_signed_by(self, server: Server, kid: str) -> None:
        async with asyncio.timeout(WITHIN_SECONDS):
            while await self.kid(server) != kid:
                await asyncio.sleep(0.02)


@pytest.fixture
async def pair(cluster: Cluster, template: str, tmp_path: Path, http: httpx.AsyncClient) -> AsyncIterator[Pair]:
    async with isolated(await cluster.create_database(template)) as dsn:
        await lifecycle.ensure_signing_key("RS256")
        server = await register_resource_server(AUDIENCE, "Orders")
        _, secret = await register_client(
            "load",
            client_name="Load",
            grant_types=["client_credentials"],
            scope="",
            token_endpoint_auth_method="client_secret_post",
        )
        pair = Pair(tmp_path, dsn, str(secret), server.jwks_id, http)
        yield pair
        for started in pair.servers:
            started.kill()


async def states() -> list[State]:
    return [key.state for key in await lifecycle.list_keys()]


async def until(*wanted: State, seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while await states() != list(wanted):
            await asyncio.sleep(0.05)


async def test_both_switch(pair: Pair) -> None:
    """Seen at one, activated by either, signed by both."""
    first, second = await pair.start(), await pair.start()
    before = await pair.kid(first)
    kid = await lifecycle.rotate("RS256")
    async with asyncio.timeout(WITHIN_SECONDS):
        while not all(kid in keys for keys in await asyncio.gather(pair.keys(first), pair.keys(second))):
            await asyncio.sleep(0.02)
    assert await pair.kid(second) == before
    await pair.see(first)
    await until(State.RETIRING, State.ACTIVE)
    await asyncio.gather(*(pair.until_signed_by(server, kid) for server in (first, second)))


async def test_replicas_switch_without_notices(pair: Pair) -> None:
    """Behind a pooler there are none; the revision is looked at every second."""
    server = await pair.start()
    kid = await lifecycle.rotate("RS256")
    await execute("UPDATE signing_key SET activates_at = now() WHERE kid = $1", kid)
    await execute("UPDATE revision SET number = number + 1 WHERE topic = 'keys'")
    await pair.until_signed_by(server, kid)


@pytest.mark.parametrize("step", ["published", "seen", "activated"])
async def test_a_killed_server_leaves_the_rotation_to_the_other(pair: Pair, step: str) -> None:
    doomed, other = await pair.start(), await pair.start()
    kid = await lifecycle.rotate("RS256")
    if step == "published":
        doomed.kill()
    async with asyncio.timeout(30):
        while kid not in await pair.keys(other):
            await asyncio.sleep(0.02)
    if step == "seen":
        async with asyncio.timeout(30):
            while kid not in await pair.keys(doomed):
                await asyncio.sleep(0.02)
        await pair.see(doomed)
        # The fetches it saw may be lost with it: then the next fetch counts.
        doomed.kill()
    await pair.see(other)
    await until(State.RETIRING, State.ACTIVE)
    if step == "activated":
        doomed.kill()
    await pair.until_signed_by(other, kid)
    again = await pair.start()
    assert await pair.kid(again) == kid
    assert (await pair.keys(again)).keys() == (await pair.keys(other)).keys()


@pytest.mark.parametrize("answered", [False, True], ids=["before the commit is known", "after it"])
async def test_a_rotation_killed_in_the_middle_is_whole_or_not_at_all(pair: Pair, answered: bool) -> None:
    """The command is killed while PostgreSQL's answers do not arrive, or as soon as the key is there."""
    server = await pair.start()
    before = await pair.kid(server)
    async with proxy_to(pair.settings["IDP_DATABASE_URL"]) as proxy:
        environment = pair.settings | {"IDP_DATABASE_URL": proxy.dsn, "PATH": "/usr/bin"}
        process = subprocess.Popen(
            [sys.executable, "-m", "idp", "keys", "rotate", "--now"],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            async with asyncio.timeout(20):
                while not proxy.withhold and process.poll() is None:
                    # It holds the lock of the topic, so it is in the middle of its transaction.
                    rows = await fetch(
                        "SELECT FROM pg_locks AS l JOIN pg_class AS c ON c.oid = l.relation"
                        " WHERE c.relname = 'signing_key' AND l.mode = 'RowExclusiveLock'"
                    )
                    proxy.withhold = bool(rows) and not answered
                    await asyncio.sleep(0)
        finally:
            process.kill()
            process.wait()
    await asyncio.sleep(0.5)
    assert await states() in ([State.ACTIVE], [State.RETIRING, State.ACTIVE])
    signing = [key.kid for key in await lifecycle.list_keys() if key.state == State.ACTIVE]
    await pair.until_signed_by(server, signing[0])
    assert before in await pair.keys(server)
    # Nothing remains that would delay the next rotation.
    kid = await lifecycle.rotate("RS256", now=True)
    await pair.until_signed_by(server, kid)


async def test_the_master_key_changes_while_they_serve(pair: Pair) -> None:
    server = await pair.start()
    from idp.keys import root_key

    await root_key.rewrap(b"n" * 32)
    before = await pair.kid(server)
    restarted = await pair.start(IDP_MASTER_KEY="bm5ubm5ubm5ubm5ubm5ubm5ubm5ubm5ubm5ubm5ubm4")
    assert await pair.kid(restarted) == await pair.kid(server) == before
    kid = await lifecycle.rotate("RS256", now=True)
    for each in (server, restarted):
        await pair.until_signed_by(each, kid)
