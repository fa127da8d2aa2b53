"""Row 11: a code can be redeemed once, also by concurrent requests. A second use revokes the tokens of the first."""

import asyncio
import dataclasses
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from idp.accounts.tables import User
from idp.infra.db.engine import fetch
from tests.conftest import MakeClient, until_known
from tests.support.browser import Browser
from tests.support.oauth import RelyingParty, pkce
from tests.support.server import Server


def outcomes(responses: list[httpx.Response]) -> tuple[list[dict[str, Any]], set[tuple[int, str]]]:
    """Return the tokens of the successes, and the errors of the others."""
    successes = [response.json() for response in responses if response.status_code == 200]
    refusals = {
        (response.status_code, response.json()["error"]) for response in responses if response.status_code != 200
    }
    return successes, refusals


async def assert_dead(client: RelyingParty, tokens: dict[str, Any]) -> None:
    assert (await client.userinfo(tokens["access_token"])).status_code == 401
    assert await client.introspect(tokens["access_token"]) == {"active": False}
    assert await client.introspect(tokens["refresh_token"]) == {"active": False}
    refused = await client.refresh(tokens["refresh_token"])
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")


async def assert_alive(client: RelyingParty, tokens: dict[str, Any]) -> None:
    assert (await client.userinfo(tokens["access_token"])).status_code == 200
    assert (await client.introspect(tokens["refresh_token"]))["active"] is True


async def reasons(client: RelyingParty) -> list[tuple[Any, str]]:
    """Whose families of this client were revoked, and why, by the audit."""
    rows = await fetch(
        "SELECT user_id, detail FROM audit_event WHERE event = 'token_family_revoked' AND client_id = $1",
        client.client_id,
    )
    return [(row["user_id"], json.loads(row["detail"])["reason"]) for row in rows]


@pytest.mark.parametrize("metadata", [{}, {"single_session": True}], ids=["plain", "single session"])
async def test_11_a_hundred_at_once(
    metadata: dict[str, Any],
    make_client: MakeClient,
    browser: Browser,
    alice: User,
    start_server: Callable[..., Server],
) -> None:
    """At two replicas: one success, 99 refusals, and the tokens of the success are revoked; the audit trail has the
    reason.
    """
    replica = start_server(IDP_ISSUER=browser.issuer)
    client = await make_client(**metadata)
    elsewhere = dataclasses.replace(client, issuer=replica.url)
    await until_known(elsewhere)
    code = await client.sign_in(browser, alice.email)
    responses = await asyncio.gather(*(at.redeem(code) for at in (client, elsewhere) * 50))
    successes, refusals = outcomes(responses)
    assert len(successes) == 1
    assert refusals == {(400, "invalid_grant")}
    await assert_dead(client, successes[0])
    assert await reasons(client) == [(alice.id, "authorization_code_reuse")]


async def test_11_wrong_ones_in_the_race(make_client: MakeClient, browser: Browser, alice: User) -> None:
    """Redemptions with a wrong verifier win nothing, wherever they come in between."""
    client = await make_client()
    code = await client.sign_in(browser, alice.email)
    wrong = pkce()[0]
    tries = [client.redeem(code, code_verifier=wrong) for _ in range(30)]
    tries.insert(15, client.redeem(code))
    successes, refusals = outcomes(await asyncio.gather(*tries))
    assert len(successes) == 1
    assert refusals == {(400, "invalid_grant")}


@pytest.mark.parametrize("wait", ["at once", "after a refresh"])
async def test_11_a_second_use_revokes_the_first(
    wait: str, client: RelyingParty, browser: Browser, alice: User
) -> None:
    code = await client.sign_in(browser, alice.email)
    tokens = (await client.redeem(code)).json()
    if wait == "after a refresh":
        tokens = (await client.refresh(tokens["refresh_token"])).json()
    await assert_alive(client, tokens)
    response = await client.redeem(code)
    assert (response.status_code, response.json()["error"]) == (400, "invalid_grant")
    assert "access_token" not in response.text
    await assert_dead(client, tokens)
    assert await reasons(client) == [(alice.id, "authorization_code_reuse")]
    await client.redeem(code)
    assert len(await reasons(client)) == 1


async def test_11_tokens_of_another_sign_in_stay(client: RelyingParty, browser: Browser, alice: User) -> None:
    code = await client.sign_in(browser, alice.email)
    first = (await client.redeem(code)).json()
    second = await client.tokens(browser, alice.email)
    await client.redeem(code)
    await assert_dead(client, first)
    await assert_alive(client, second)


async def test_11_the_wrong_request_does_not_burn_the_code(
    make_client: MakeClient, client: RelyingParty, browser: Browser, alice: User
) -> None:
    """A wrong client, redirect URI, verifier or secret does not consume it."""
    code = await client.sign_in(browser, alice.email)
    for other in (await make_client(), await make_client(token_endpoint_auth_method="none")):
        other.verifier = client.verifier
        response = await other.redeem(code)
        assert (response.status_code, response.json()["error"]) == (400, "invalid_grant")
    for changes in (
        {"redirect_uri": "https://app.example.com/other"},
        {"code_verifier": pkce()[0]},
        {"code_verifier": None},
    ):
        response = await client.redeem(code, **changes)
        assert (response.status_code, response.json()["error"]) == (400, "invalid_grant")
    response = await dataclasses.replace(client, client_secret="wrong").redeem(code)
    assert (response.status_code, response.json()["error"]) == (401, "invalid_client")
    await assert_alive(client, (await client.redeem(code)).json())


async def test_11_another_client_cannot_revoke_with_a_used_code(
    make_client: MakeClient, client: RelyingParty, browser: Browser, alice: User
) -> None:
    """A used code from a log is useless to another client."""
    code = await client.sign_in(browser, alice.email)
    tokens = (await client.redeem(code)).json()
    other = await make_client()
    other.verifier = client.verifier
    assert (await other.redeem(code)).status_code == 400
    await assert_alive(client, tokens)
