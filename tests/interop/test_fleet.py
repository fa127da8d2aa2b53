"""Keys rotate while several resource servers validate tokens, each a process with a third-party library."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from idp.keys import lifecycle, propagation
from idp.keys.lifecycle import State
from idp.oauth.clients.registration import register_client, register_resource_server
from tests.conftest import MASTER_KEY
from tests.support.isolated import isolated
from tests.support.postgres import Cluster
from tests.support.server import Server

PROGRAM = Path(__file__).with_name("resource_server.py")
ROTATIONS = 10
LIFETIME = 30
#: Seconds after which both servers have loaded a change, on a busy machine too.
SWITCHED_SECONDS = 6
SETTINGS = {
    "IDP_JWKS_MAX_AGE": "5",
    # The rotation waits only until every resource server has fetched the key.
    "IDP_KEY_PUBLICATION": "0",
    "IDP_ACCESS_TOKEN_LIFETIME": str(LIFETIME),
    "IDP_ID_TOKEN_LIFETIME": str(LIFETIME),
}
FLEET = (("pyjwt", "0"), ("joserfc", "5"), ("authlib", "5"))


class Member(NamedTuple):
    """A resource server that runs."""

    identifier: str
    process: subprocess.Popen[str]

    def wait_for_key(self, kid: str) -> None:
        """Wait until it has validated a token of a key."""
        assert self.process.stdout is not None
        while (line := self.process.stdout.readline()) != f"{kid}\n":
            assert line, "It has ended."

    def end(self) -> dict[str, Any]:
        """Stop it, and return its results."""
        out, _ = self.process.communicate(timeout=30)
        seen: dict[str, Any] = json.loads(out.splitlines()[-1])
        return seen


class Place(NamedTuple):
    """Two servers on one database, and how to start resource servers at them."""

    servers: list[Server]
    start: Callable[..., Any]


@pytest.fixture
async def place(cluster: Cluster, template: str, tmp_path: Path, http: httpx.AsyncClient) -> AsyncIterator[Place]:
    async with isolated(await cluster.create_database(template)) as dsn:
        await lifecycle.ensure_signing_key("RS256")
        settings = {"IDP_DATABASE_URL": dsn, "IDP_MASTER_KEY": MASTER_KEY, **SETTINGS}
        first = await asyncio.to_thread(Server, tmp_path / "a", **settings)
        second = await asyncio.to_thread(Server, tmp_path / "b", **{"IDP_ISSUER": first.issuer, **settings})
        servers, members = [first, second], list[Member]()

        async def start(library: str, cache: str, *, by_address: bool = False) -> Member:
            """Register a resource server with a client, and start it."""
            identifier = f"https://{library}-{cache}-{len(members)}.example.com"
            server = await register_resource_server(identifier, f"{library} {cache}")
            client, secret = await register_client(
                client_name="Load", grant_types=["client_credentials"], scope="", token_endpoint_auth_method=POST
            )
            await _known(http, servers, client.client_id, str(secret), identifier)
            process = subprocess.Popen(
                [sys.executable, str(PROGRAM), library, cache, f"{first.url}/jwks/{server.jwks_id}"]
                + [f"{server.url}/token" for server in servers],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            )  # fmt: skip
            members.append(Member(identifier, process))
            assert process.stdin is not None
            assert process.stdout is not None
            given = {"client_id": client.client_id, "client_secret": secret, "resource": identifier}
            process.stdin.write(json.dumps(given | {"issuer": first.issuer}) + "\n")
            process.stdin.flush()
            assert await asyncio.to_thread(process.stdout.readline) == "started\n"
            return members[-1]

        try:
            yield Place(servers, start)
        finally:
            for member in members:
                member.process.kill()
                member.process.communicate()
            for server in servers:
                server.kill()


POST = "client_secret_post"


async def _known(http: httpx.AsyncClient, servers: list[Server], client_id: str, secret: str, resource: str) -> None:
    """Wait until all servers have heard of a new client and resource server."""
    form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": secret, "resource": resource}
    for server in servers:
        for _ in range(1500):
            if (await http.post(f"{server.url}/token", data=form)).is_success:
                break
            await asyncio.sleep(0.02)
        else:
            raise AssertionError("The server does not get to know a new client.")


async def _until(kid: str, state: State, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while next(key.state for key in await lifecycle.list_keys() if key.kid == kid) != state:
        assert time.monotonic() < deadline, f"The key is not {state}. Unseen by {await propagation.unseen(kid)}."
        await asyncio.sleep(0.1)


async def test_ten_rotations_without_a_failed_validation(place: Place) -> None:
    """Under load, on two servers, with caches of nothing and of five seconds, whose keys come by the witness alone."""
    members = [await place.start(library, cache) for library, cache in FLEET]
    kids = []
    for _ in range(ROTATIONS):
        kids.append(await lifecycle.rotate("RS256", deadline=None))
        await _until(kids[-1], State.ACTIVE, 30)
        assert await propagation.unseen(kids[-1]) == []
    async with asyncio.timeout(30):
        for member in members:
            await asyncio.to_thread(member.wait_for_key, kids[-1])
    for member in members:
        seen = await asyncio.to_thread(member.end)
        assert seen["failures"] == []
        assert seen["validated"] > 100
        # The last nine are active for some seconds each, so tokens of all of them were validated.
        assert set(kids) <= seen["kids"].keys()


async def test_one_that_never_fetches_again_blocks_and_is_named(place: Place) -> None:
    members = [await place.start("pyjwt", "0"), await place.start("joserfc", "for-ever")]
    stubborn = members[1]
    kid = await lifecycle.rotate("RS256", deadline=None)
    while await propagation.unseen(kid) != [stubborn.identifier]:
        await asyncio.sleep(0.05)
    await asyncio.sleep(3)
    assert [key.state for key in await lifecycle.list_keys()] == [State.ACTIVE, State.PENDING]
    assert any("key_waits" in server.log and stubborn.identifier in server.log for server in place.servers)
    for member in members:
        assert (await asyncio.to_thread(member.end))["failures"] == []


async def test_a_revocation_has_the_effects_of_its_report(place: Place) -> None:
    """A caching server fails until its next fetch; one without a cache fails for old tokens only."""
    eager, patient, stubborn = [
        await place.start(*kind) for kind in (("pyjwt", "0"), ("authlib", "5"), ("joserfc", "for-ever"))
    ]
    await asyncio.sleep(6)
    old = (await lifecycle.list_keys())[0].kid
    began = time.time()
    report = await lifecycle.revoke(old)
    await asyncio.sleep(12)
    assert report.successor is not None
    assert {server.identifier for server in report.services} == {m.identifier for m in (eager, patient, stubborn)}
    assert not any(server.seen for server in report.services)
    period = {server.identifier: server.period for server in report.services}
    assert period[stubborn.identifier] is None
    assert 3 < (period[patient.identifier] or 0) < 9

    seen = await asyncio.to_thread(eager.end)
    # Until both servers have switched, one of them may sign with a key that the other does not publish yet.
    assert {kid for at, kid, _ in seen["failures"] if at > began + SWITCHED_SECONDS} <= {old}
    assert seen["kids"][report.successor] > 10

    seen = await asyncio.to_thread(patient.end)
    of_new = [at for at, kid, _ in seen["failures"] if kid == report.successor]
    assert of_new
    # It fetches five seconds after the servers have switched; the rest is for a busy machine.
    assert began < min(of_new)
    assert max(of_new) < began + 5 + SWITCHED_SECONDS + 1
    assert seen["kids"][report.successor] > 10

    seen = await asyncio.to_thread(stubborn.end)
    assert report.successor not in seen["kids"]
    assert {kid for _, kid, _ in seen["failures"]} == {report.successor}
