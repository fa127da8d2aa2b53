"""A lost response to a refresh can be repeated for a bounded time, until the successor is used."""

import pytest

from idp.accounts.tables import User
from idp.infra.db.engine import execute
from tests.support.browser import Browser
from tests.support.oauth import RelyingParty
from tests.support.tokens import jti_of

pytestmark = pytest.mark.fault(42)

#: Seconds that a fail-over takes: longer than the grace time, shorter than the time for repeats.
FAILOVER = 61


async def _age_rotation(token: str, seconds: int) -> None:
    aged = await execute(
        "UPDATE refresh_token SET rotated_at = rotated_at - make_interval(secs => $2) WHERE jti = $1",
        jti_of(token),
        seconds,
    )
    assert aged == 1


async def test_a_failover_signs_no_one_out(browser: Browser, client: RelyingParty, alice: User) -> None:
    """The response was lost, so its token was never used; the client repeats the request when the server is back."""
    first = (await client.tokens(browser, alice.email))["refresh_token"]
    lost = (await client.refresh(first)).json()["refresh_token"]
    await _age_rotation(first, FAILOVER)
    again = (await client.refresh(first)).json()["refresh_token"]
    assert again == lost
    assert (await client.refresh(again)).status_code == 200


async def test_a_successor_that_was_used_was_not_lost(browser: Browser, client: RelyingParty, alice: User) -> None:
    """Someone has a copy of the old token, so the family is revoked."""
    first = (await client.tokens(browser, alice.email))["refresh_token"]
    second = (await client.refresh(first)).json()["refresh_token"]
    third = (await client.refresh(second)).json()["refresh_token"]
    await _age_rotation(first, FAILOVER)
    reused = await client.refresh(first)
    assert (reused.status_code, reused.json()["error"]) == (400, "invalid_grant")
    assert (await client.refresh(third)).status_code == 400
