"""Row 16: a not-before time that a validator ignores. The later one of the client and of all clients applies."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from idp import clock
from idp.accounts.users import create_user
from idp.infra.db.engine import execute, fetchrow
from idp.keys import lifecycle
from idp.oauth.clients.registration import register_client
from idp.oauth.clients.service import NotBeforeInFutureError, set_not_before
from tests.conftest import MASTER_KEY
from tests.support.browser import open_browser
from tests.support.isolated import isolated
from tests.support.oauth import PASSWORD, REDIRECT_URI, RelyingParty, until_current
from tests.support.postgres import Cluster
from tests.support.server import Server

EMAIL = "alice@example.com"


class Place:
    """A separate server with one client, because a time for all clients would affect other tests."""

    def __init__(self, server: Server, party: RelyingParty) -> None:
        self.server, self.party = server, party

    async def tokens(self) -> dict[str, Any]:
        async with open_browser(self.server.issuer) as browser:
            return await self.party.tokens(browser, EMAIL)

    async def code(self) -> str:
        async with open_browser(self.server.issuer) as browser:
            return await self.party.sign_in(browser, EMAIL)

    async def counts(self, tokens: dict[str, Any]) -> dict[str, bool]:
        """Return the validators that accept the tokens; the refresh token is not used up."""
        return {
            "userinfo": (await self.party.userinfo(tokens["access_token"])).is_success,
            "introspection": (await self.party.introspect(tokens["access_token"]))["active"],
            "introspection of the refresh token": (await self.party.introspect(tokens["refresh_token"]))["active"],
        }


@pytest.fixture
async def place(cluster: Cluster, template: str, tmp_path: Path, http: httpx.AsyncClient) -> AsyncIterator[Place]:
    async with isolated(await cluster.create_database(template)) as dsn:
        await lifecycle.ensure_signing_key()
        await create_user(EMAIL, PASSWORD)
        client, secret = await register_client(
            "c",
            client_name="Client",
            redirect_uris=[REDIRECT_URI],
            grant_types=["authorization_code", "refresh_token"],
            scope="openid offline_access",
            skip_consent=True,
        )
        settings = {"IDP_DATABASE_URL": dsn, "IDP_MASTER_KEY": MASTER_KEY, "IDP_ADDRESS_LIMITS": "false"}
        server = await asyncio.to_thread(Server, tmp_path, **settings)
        yield Place(server, RelyingParty(server.issuer, http, client.client_id, secret, scope=client.scope))
        server.kill()


@pytest.mark.parametrize("first", ["c", None], ids=["the client's first", "everybody's first"])
async def test_16_the_later_wins_in_every_validator(place: Place, first: str | None) -> None:
    party = place.party
    old, code = await place.tokens(), await place.code()
    rotated = (await party.refresh(old["refresh_token"])).json()
    old["refresh_token"], graced = rotated["refresh_token"], old["refresh_token"]
    assert all((await place.counts(old)).values())
    now = clock.now()
    await set_not_before(first, now - timedelta(days=1))
    assert all((await place.counts(old)).values())
    await set_not_before(None if first else "c", clock.now())
    await until_current(party)  # the families of one client end at once, its codes when the worker knows the time
    assert not any((await place.counts(old)).values())
    for token in (old["refresh_token"], graced):
        assert (await party.refresh(token)).json()["error"] == "invalid_grant"
    assert (await party.redeem(code)).json()["error"] == "invalid_grant"
    left = await fetchrow("SELECT count(*) FILTER (WHERE rotated_at IS NULL) AS live FROM refresh_token")
    assert left is not None
    assert left["live"] == 1  # the refusal did not use it up
    unused = await fetchrow("SELECT count(*) FROM authorization_code WHERE consumed_at IS NULL")
    assert unused is not None
    assert unused["count"] == 1

    await asyncio.sleep(1.1)  # tokens state times in whole seconds
    new = await place.tokens()
    assert all((await place.counts(new)).values())
    assert (await party.refresh(new["refresh_token"])).is_success


async def test_16_a_service_too(place: Place) -> None:
    client, secret = await register_client("s", client_name="S", grant_types=["client_credentials"], scope="")
    party = RelyingParty(place.server.issuer, place.party.http, client.client_id, secret)
    for _ in range(1500):
        answer = await party.post("/token", grant_type="client_credentials")
        if answer.is_success:
            break
        await asyncio.sleep(0.02)
    token = answer.json()["access_token"]
    assert (await party.introspect(token))["active"]
    await asyncio.sleep(1.1)
    await set_not_before("s", clock.now())
    async with asyncio.timeout(30):
        while (await party.introspect(token))["active"]:
            await asyncio.sleep(0.05)


async def test_16_it_moves_forward_only(place: Place) -> None:
    now = clock.now()
    for client_id, table in (("c", "client"), (None, "not_before")):
        await set_not_before(client_id, now)
        await set_not_before(client_id, now - timedelta(hours=1))
        row = await fetchrow(f"SELECT not_before FROM {table}")
        assert row is not None
        assert row["not_before"] == now
        with pytest.raises(NotBeforeInFutureError):
            await set_not_before(client_id, clock.now() + timedelta(minutes=1))
    await execute("DELETE FROM not_before")
