"""A crash between the rotation of a refresh token and the response does not sign the user out."""

import asyncio
from collections.abc import Callable
from uuid import UUID

import httpx
import pytest

from idp import ids
from idp.accounts.tables import User
from idp.infra.db.engine import fetch, fetchrow
from idp.keys import jose, vault
from idp.oauth.token.refresh_jwt import REFRESH_TOKEN_TYPE
from tests.conftest import MakeClient
from tests.support.browser import open_browser
from tests.support.proxy import proxy_to
from tests.support.server import Server


def _jti(token: str) -> UUID:
    return UUID(jose.verify_symmetric(token, vault.derive("refresh-token"), typ=REFRESH_TOKEN_TYPE)["jti"])


async def _until_rotated(jti: UUID) -> UUID:
    for _ in range(3000):
        row = await fetchrow("SELECT successor FROM refresh_token WHERE jti = $1 AND rotated_at IS NOT NULL", jti)
        if row is not None:
            return UUID(str(row["successor"]))
        await asyncio.sleep(0.01)
    raise AssertionError("The token was never rotated.")


async def test_kill_9_between_rotation_and_response(
    dsn: str, start_server: Callable[..., Server], make_client: MakeClient, alice: User
) -> None:
    """PostgreSQL has committed, its answer never arrives, the server is killed: a retry gets the same successor."""
    party = await make_client()
    async with proxy_to(dsn) as proxy:
        doomed = await asyncio.to_thread(start_server, IDP_DATABASE_URL=proxy.dsn)
        party.issuer = doomed.issuer
        async with open_browser(doomed.issuer) as browser:
            first = (await party.tokens(browser, alice.email))["refresh_token"]
        token = (await party.refresh(first)).json()["refresh_token"]
        # From the execution of the statement on: every connection has prepared it by then.
        proxy.withhold_after = _jti(token).bytes
        lost = asyncio.create_task(party.refresh(token))
        successor = await _until_rotated(_jti(token))
        doomed.kill()
        with pytest.raises(httpx.TransportError):
            await lost

    await asyncio.to_thread(start_server, port=doomed.port)
    retried = await party.refresh(token)
    assert retried.status_code == 200, retried.text
    again = retried.json()["refresh_token"]
    stored = await fetchrow("SELECT token_hash FROM refresh_token WHERE jti = $1", successor)
    assert stored is not None
    assert stored["token_hash"] == ids.digest(again)
    family = await fetch(
        "SELECT jti FROM refresh_token WHERE family_id = (SELECT family_id FROM refresh_token WHERE jti = $1)",
        successor,
    )
    assert {row["jti"] for row in family} == {_jti(first), _jti(token), successor}
    assert (await party.refresh(again)).status_code == 200
