"""Token revocation (RFC 7009): which client may revoke a token, and what is revoked with it."""

from functools import partial

import pytest

from idp.accounts.tables import User
from idp.infra.db.engine import fetch, fetchrow
from idp.oauth.status.revocation_list import LEEWAY
from tests.conftest import MakeClient
from tests.support.browser import Browser
from tests.support.dpop import DPoPKey
from tests.support.oauth import RelyingParty
from tests.support.tokens import decode

INACTIVE = {"active": False}


async def _assert_over(client: RelyingParty, tokens: dict[str, str]) -> None:
    assert (await client.refresh(tokens["refresh_token"])).status_code == 400
    assert await client.introspect(tokens["access_token"]) == INACTIVE
    assert (await client.userinfo(tokens["access_token"])).status_code == 401


@pytest.mark.fault(35)
@pytest.mark.parametrize("hint", [None, "refresh_token", "access_token", "nonsense"])
async def test_a_refresh_token_takes_the_family(
    browser: Browser, client: RelyingParty, alice: User, hint: str | None
) -> None:
    """Section 2.1: the access tokens of the same authorization too. What another one gave stays."""
    tokens, other = [await client.tokens(browser, alice.email) for _ in range(2)]
    response = await client.post("/revoke", token=tokens["refresh_token"], token_type_hint=hint)
    assert (response.status_code, response.content) == (200, b"")
    assert "content-type" not in response.headers
    assert response.headers["cache-control"] == "no-store"
    await _assert_over(client, tokens)
    assert (await client.userinfo(other["access_token"])).status_code == 200
    assert (await client.refresh(other["refresh_token"])).status_code == 200


async def test_one_that_was_used_takes_it_as_well(browser: Browser, client: RelyingParty, alice: User) -> None:
    """A client that lost the response to its refresh can revoke with the token that it has."""
    first = await client.tokens(browser, alice.email)
    second = (await client.refresh(first["refresh_token"])).json()
    assert (await client.post("/revoke", token=first["refresh_token"])).status_code == 200
    await _assert_over(client, second)


async def test_a_revocation_is_recorded_once(browser: Browser, client: RelyingParty, alice: User) -> None:
    tokens = await client.tokens(browser, alice.email)
    for _ in range(2):
        assert (await client.post("/revoke", token=tokens["refresh_token"])).status_code == 200
    events = await fetch(
        "SELECT client_id, detail->>'reason' AS reason FROM audit_event"
        " WHERE user_id = $1 AND event = 'token_family_revoked'",
        alice.id,
    )
    assert [tuple(event) for event in events] == [(client.client_id, "revoked_by_client")]


@pytest.mark.parametrize("hint", [None, "refresh_token", "access_token", "nonsense"])
async def test_an_access_token_goes_alone(
    browser: Browser, client: RelyingParty, alice: User, hint: str | None
) -> None:
    tokens = await client.tokens(browser, alice.email)
    response = await client.post("/revoke", token=tokens["access_token"], token_type_hint=hint)
    assert (response.status_code, response.content) == (200, b"")
    assert (await client.userinfo(tokens["access_token"])).status_code == 401
    assert await client.introspect(tokens["access_token"]) == INACTIVE
    again = (await client.refresh(tokens["refresh_token"])).json()
    assert (await client.userinfo(again["access_token"])).status_code == 200


async def test_a_revocation_is_kept_for_clocks_that_are_behind(
    browser: Browser, client: RelyingParty, alice: User
) -> None:
    token = (await client.tokens(browser, alice.email))["access_token"]
    await client.post("/revoke", token=token)
    claims = decode(token.split(".")[1])
    row = await fetchrow("SELECT expires_at FROM revoked_access_token WHERE jti = $1", claims["jti"])
    assert row is not None
    assert int(row["expires_at"].timestamp()) == claims["exp"] + LEEWAY


async def test_a_public_client_revokes_its_own_tokens(browser: Browser, make_client: MakeClient, alice: User) -> None:
    public = await make_client(token_endpoint_auth_method="none")
    tokens = await public.tokens(browser, alice.email)
    assert (await public.post("/revoke", token=tokens["refresh_token"])).status_code == 200
    assert (await public.refresh(tokens["refresh_token"])).status_code == 400
    assert (await public.userinfo(tokens["access_token"])).status_code == 401


async def test_a_bound_token_needs_no_proof(browser: Browser, make_client: MakeClient, alice: User) -> None:
    """docs/decisions/0053-proofs-of-possession.md: whoever found it can end it, and only its key can use it."""
    public, key = await make_client(token_endpoint_auth_method="none"), DPoPKey()
    proof = partial(key, "POST", f"{public.issuer}/token")
    token = (await public.redeem(await public.sign_in(browser, alice.email), proof())).json()["refresh_token"]
    assert (await public.refresh(token)).status_code == 400
    token = (await public.refresh(token, proof())).json()["refresh_token"]
    assert (await public.post("/revoke", token=token)).status_code == 200
    assert (await public.refresh(token, proof())).status_code == 400


async def test_anothers_token(browser: Browser, client: RelyingParty, make_client: MakeClient, alice: User) -> None:
    """Section 2.1: the request is refused with an error."""
    tokens = await client.tokens(browser, alice.email)
    other = await make_client()
    for name in ("access_token", "refresh_token"):
        response = await other.post("/revoke", token=tokens[name])
        assert (response.status_code, response.json()["error"]) == (400, "invalid_request")
    assert (await client.userinfo(tokens["access_token"])).status_code == 200
    assert (await client.refresh(tokens["refresh_token"])).status_code == 200


async def test_unknown_and_revoked_tokens_are_a_success(browser: Browser, client: RelyingParty, alice: User) -> None:
    """Section 2.2: the token is invalid, as the client wanted."""
    tokens = await client.tokens(browser, alice.email)
    gone = tokens["refresh_token"]
    for token in (gone, gone, tokens["access_token"], "garbage", "a.b.c", "é", "x" * 20000):
        assert (await client.post("/revoke", token=token)).status_code == 200


async def test_an_id_token_cannot_be_revoked(browser: Browser, client: RelyingParty, alice: User) -> None:
    tokens = await client.tokens(browser, alice.email)
    assert (await client.post("/revoke", token=tokens["id_token"])).status_code == 200
    assert (await client.userinfo(tokens["access_token"])).status_code == 200


async def test_revocation_requires_authentication(browser: Browser, client: RelyingParty, alice: User) -> None:
    tokens = await client.tokens(browser, alice.email)
    url, data = f"{client.issuer}/revoke", {"token": tokens["refresh_token"]}
    for answer in (
        await client.http.post(url, data=data, auth=(client.client_id, "wrong")),
        await client.http.post(url, data=data | {"client_id": client.client_id}),
        await client.http.post(url, data=data),
    ):
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    assert (await client.http.get(url, params=data)).status_code == 405
    assert (await client.refresh(tokens["refresh_token"])).status_code == 200


async def test_a_token_must_be_sent(client: RelyingParty) -> None:
    response = await client.post("/revoke")
    assert (response.status_code, response.json()["error"]) == (400, "invalid_request")
