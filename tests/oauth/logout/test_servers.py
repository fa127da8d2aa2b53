"""Whole servers: one that was down when a session ended, two on one database, and commands that end sessions."""

import asyncio
from collections.abc import AsyncIterator, Callable
from uuid import UUID

import pytest

from idp.accounts.users import create_user
from idp.infra.db.engine import fetch
from idp.keys import root_key
from idp.oauth.clients.registration import register_client
from idp.signin.repository import sessions
from tests.oauth.logout.conftest import take_part
from tests.support.isolated import isolated
from tests.support.postgres import Cluster
from tests.support.receivers import Receivers
from tests.support.rows import session_row
from tests.support.server import Server

StartServer = Callable[..., Server]


@pytest.fixture
async def own(cluster: Cluster, template: str) -> AsyncIterator[str]:
    async with isolated(await cluster.create_database(template)) as dsn:
        await root_key.unlock()
        yield dsn


@pytest.fixture
async def started() -> AsyncIterator[Receivers]:
    async with Receivers() as receivers:
        yield receivers


async def participants(receivers: Receivers, number: int) -> list[tuple[UUID, UUID]]:
    """Return users with a session each, in which one client took part."""
    client, _ = await register_client(
        client_name="Shop", redirect_uris=["https://shop.example/cb"], backchannel_logout_uri=receivers.url("shop")
    )
    found = []
    for at in range(number):
        user = await create_user(f"user{at}@example.com", None)
        session = session_row(user.id)
        await session.save()
        await take_part(user.id, session.id, client.client_id)
        found.append((user.id, session.id))
    return found


async def delivered(receivers: Receivers, number: int) -> None:
    async with asyncio.timeout(30):
        while len(await fetch("SELECT FROM delivery WHERE state = 'delivered'")) < number:
            await asyncio.sleep(0.05)
    assert len(receivers.received) == number


async def test_sessions_that_ended_while_no_server_ran(own: str, started: Receivers, start_server: StartServer) -> None:
    """As after a process was killed between the end of a session and its announcement."""
    for user_id, session_id in await participants(started, 3):
        assert await sessions.end_session(user_id, session_id, "x")
    assert await fetch("SELECT FROM delivery") == []
    await asyncio.to_thread(start_server, IDP_DATABASE_URL=own)
    await delivered(started, 3)


async def test_two_servers_announce_once(own: str, started: Receivers, start_server: StartServer) -> None:
    """And sessions that end in a process that announces nothing, such as a command."""
    given = await participants(started, 20)
    for _ in range(2):
        await asyncio.to_thread(start_server, IDP_DATABASE_URL=own)
    for user_id, session_id in given:
        assert await sessions.end_session(user_id, session_id, "x")
    await delivered(started, 20)
    rows = await fetch("SELECT session_id FROM delivery")
    assert sorted(row["session_id"] for row in rows) == sorted(session_id for _, session_id in given)
