"""Which clients took part in a session."""

import asyncio
from uuid import UUID

from idp.accounts.tables import User
from idp.infra.db.engine import fetch, fetchrow
from idp.oauth.clients.service import delete_client
from idp.oauth.logout.repository import clients_of_session
from tests.conftest import MakeClient
from tests.support.browser import Browser
from tests.support.oauth import RelyingParty


async def session_of(user: User) -> UUID:
    """The one session of a user."""
    rows = await fetch("SELECT id FROM session WHERE user_id = $1", user.id)
    (row,) = rows
    found: UUID = row["id"]
    return found


async def test_a_client_takes_part_from_its_first_code(
    browser: Browser, make_client: MakeClient, client: RelyingParty, alice: User
) -> None:
    other, stranger = await make_client(skip_consent=True), await make_client(skip_consent=True)
    await client.sign_in(browser, alice.email)
    session_id = await session_of(alice)
    assert await clients_of_session(alice.id, session_id) == [client.client_id]
    # A code that is never redeemed is enough: the client may have shown the user as signed in.
    await other.sign_in(browser, alice.email)
    await asyncio.gather(*(client.sign_in(browser, alice.email) for _ in range(3)))
    assert await clients_of_session(alice.id, session_id) == [client.client_id, other.client_id]
    assert stranger.client_id not in await clients_of_session(alice.id, session_id)


async def test_it_stays_when_the_client_is_deleted(browser: Browser, client: RelyingParty, alice: User) -> None:
    await client.sign_in(browser, alice.email)
    await delete_client(client.client_id)
    assert await clients_of_session(alice.id, await session_of(alice)) == [client.client_id]


async def test_it_goes_with_the_session(browser: Browser, client: RelyingParty, alice: User) -> None:
    await client.sign_in(browser, alice.email)
    await fetch("DELETE FROM session WHERE user_id = $1", alice.id)
    row = await fetchrow("SELECT count(*) AS found FROM session_client WHERE user_id = $1", alice.id)
    assert row is not None
    assert row["found"] == 0
