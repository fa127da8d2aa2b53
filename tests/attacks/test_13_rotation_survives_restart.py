"""Row 13: a used refresh token stays used after a restart."""

import asyncio
from collections.abc import Callable

from idp.accounts.tables import User
from tests.conftest import MakeClient
from tests.support.browser import open_browser
from tests.support.server import Server


async def test_13_replayed_after_a_restart(
    start_server: Callable[..., Server], make_client: MakeClient, alice: User
) -> None:
    """At another server on the same database, too. And its replay ends the family."""
    settings = {"IDP_REFRESH_TOKEN_GRACE": "0", "IDP_REFRESH_TOKEN_REPEAT": "0"}
    server = await asyncio.to_thread(start_server, **settings)
    client = await make_client(at=server)
    async with open_browser(server.issuer) as browser:
        first = (await client.tokens(browser, alice.email))["refresh_token"]
    second = (await client.refresh(first)).json()["refresh_token"]
    await asyncio.to_thread(server.kill)

    server = await asyncio.to_thread(start_server, port=server.port, IDP_ISSUER=server.issuer, **settings)
    other = await asyncio.to_thread(start_server, IDP_ISSUER=server.issuer, **settings)
    client.issuer = other.url
    replayed = await client.refresh(first)
    assert (replayed.status_code, replayed.json()["error"]) == (400, "invalid_grant")
    client.issuer = server.issuer
    for token in (first, second):
        assert (await client.refresh(token)).status_code == 400


async def test_13_the_successor_counts_after_a_restart(
    start_server: Callable[..., Server], make_client: MakeClient, alice: User
) -> None:
    """A restart of the server signs no one out."""
    server = await asyncio.to_thread(start_server)
    client = await make_client(at=server)
    async with open_browser(server.issuer) as browser:
        first = (await client.tokens(browser, alice.email))["refresh_token"]
    second = (await client.refresh(first)).json()["refresh_token"]
    await asyncio.to_thread(server.kill)
    await asyncio.to_thread(start_server, port=server.port, IDP_ISSUER=server.issuer)
    assert (await client.refresh(first)).json()["refresh_token"] == second
    assert (await client.refresh(second)).status_code == 200
