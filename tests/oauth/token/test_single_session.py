"""Single-session mode: a new sign-in ends the user's earlier ones."""

import asyncio
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from typing import Any

from idp.accounts.repository.users import lock_user
from idp.accounts.tables import User
from idp.infra.db.engine import fetchrow
from idp.oauth.device.codes import GRANT_TYPE as DEVICE_GRANT
from tests.conftest import MakeClient, MakeUser
from tests.signin.test_lock_order import take, waiting
from tests.support.browser import Page, Redirect, open_browser
from tests.support.ciba import GRANT as CIBA_GRANT
from tests.support.ciba import asked, decide, poll
from tests.support.devices import Device, approve, error_of
from tests.support.oauth import RelyingParty
from tests.support.server import Server


async def _tokens(user: User, *parties: RelyingParty) -> list[dict[str, str]]:
    """Sign in once, with a browser that was never used before, and get tokens for each client."""
    async with open_browser(parties[0].issuer) as browser:
        return [await party.tokens(browser, user.email) for party in parties]


async def _works(party: RelyingParty, tokens: dict[str, str]) -> bool:
    """Return whether the refresh token works. The access token always agrees with it."""
    live = (await party.introspect(tokens["access_token"]))["active"]
    assert live is ((await party.refresh(tokens["refresh_token"])).status_code == 200)
    return bool(live)


async def test_for_one_client(make_client: MakeClient, make_user: MakeUser) -> None:
    strict, lenient = await make_client(single_session=True), await make_client()
    alice, bob = await make_user(), await make_user()
    earlier, elsewhere = await _tokens(alice, strict, lenient)
    (of_bob,) = await _tokens(bob, strict)
    (later,) = await _tokens(alice, strict)
    assert not await _works(strict, earlier)
    assert await _works(strict, later)
    assert await _works(lenient, elsewhere)
    assert await _works(strict, of_bob)


async def test_a_sign_in_elsewhere_ends_nothing(make_client: MakeClient, alice: User) -> None:
    strict, lenient = await make_client(single_session=True), await make_client()
    (tokens,) = await _tokens(alice, strict)
    await _tokens(alice, lenient)
    assert await _works(strict, tokens)


async def test_offline_access_ends_too(make_client: MakeClient, alice: User) -> None:
    strict = await make_client(single_session=True, scope="openid offline_access")
    (earlier,) = await _tokens(alice, strict)
    (later,) = await _tokens(alice, strict)
    assert [await _works(strict, tokens) for tokens in (earlier, later)] == [False, True]


async def test_a_code_of_an_earlier_sign_in(make_client: MakeClient, alice: User) -> None:
    """A code that was not redeemed in time would restore what the new sign-in has ended."""
    strict, lenient = await make_client(single_session=True), await make_client()
    async with open_browser(strict.issuer) as browser:
        codes = [await party.sign_in(browser, alice.email) for party in (strict, lenient)]
    (later,) = await _tokens(alice, strict)
    refused = await strict.redeem(codes[0])
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")
    assert (await lenient.redeem(codes[1])).status_code == 200
    assert await _works(strict, later)


async def test_the_same_sign_in_may_give_more(make_client: MakeClient, alice: User) -> None:
    """A second tab of the same browser is no new sign-in."""
    strict = await make_client(single_session=True)
    first, second = await _tokens(alice, strict, strict)
    assert await _works(strict, first)
    assert await _works(strict, second)


async def test_signing_in_again_at_the_same_browser(make_client: MakeClient, alice: User) -> None:
    """The session stays, but it is a new sign-in."""
    strict = await make_client(single_session=True)
    async with open_browser(strict.issuer) as browser:
        first = await strict.tokens(browser, alice.email)
        second = await strict.tokens(browser, alice.email, prompt="login")
    assert [await _works(strict, tokens) for tokens in (first, second)] == [False, True]


async def _decides_elsewhere(make_client: MakeClient, **metadata: Any) -> RelyingParty:
    """Return a client whose users may also decide elsewhere."""
    grants = ["authorization_code", "refresh_token", DEVICE_GRANT, CIBA_GRANT]
    return await make_client(grant_types=grants, **metadata)


async def _ask(party: RelyingParty, user: User) -> tuple[str, str]:
    """Send a CIBA request. Returns its ``auth_req_id`` and the path of its page."""
    auth_req_id = await asked(party, user.email)
    row = await fetchrow("SELECT id FROM backchannel_request WHERE user_id = $1 ORDER BY id DESC LIMIT 1", user.id)
    assert row is not None
    return auth_req_id, f"/account/requests/{row['id']}"


async def test_approvals_of_an_earlier_sign_in(make_client: MakeClient, alice: User) -> None:
    """They end as codes do, so that it does not depend on when a device polls. Those that nobody approved wait on."""
    strict, lenient = await _decides_elsewhere(make_client, single_session=True), await _decides_elsewhere(make_client)
    parties = (strict, lenient)
    devices = [await Device.start(party, scope="openid") for party in parties]
    waiting_device = await Device.start(strict, scope="openid")
    requests = [await _ask(party, alice) for party in parties]
    waiting_request, _ = await _ask(strict, alice)
    async with open_browser(strict.issuer) as browser:
        for device in devices:
            await approve(browser, alice.email, device)
        for _, path in requests:
            await decide(browser, path, alice.email)
    (later,) = await _tokens(alice, strict)
    assert await error_of(devices[0]) == "access_denied"
    assert (await poll(strict, requests[0][0])).json()["error"] == "invalid_grant"
    assert (await devices[1].poll()).status_code == (await poll(lenient, requests[1][0])).status_code == 200
    assert await error_of(waiting_device) == "authorization_pending"
    assert (await poll(strict, waiting_request)).json()["error"] == "authorization_pending"
    assert await _works(strict, later)


async def test_the_user_is_locked_before_what_is_redeemed(make_client: MakeClient, alice: User) -> None:
    """Otherwise two redemptions, which end what the other one redeems, could deadlock."""
    strict = await _decides_elsewhere(make_client, single_session=True)
    device = await Device.start(strict, scope="openid")
    auth_req_id, path = await _ask(strict, alice)
    async with open_browser(strict.issuer) as browser:
        await approve(browser, alice.email, device)
        await decide(browser, path, alice.email)
        code = await strict.sign_in(browser, alice.email)
    for redemption, table in (
        (device.poll(), "device_authorization"),
        (poll(strict, auth_req_id), "backchannel_request"),
        (strict.redeem(code), "authorization_code"),
    ):
        async with waiting(partial(lock_user, alice.id), redemption, copy_context()) as redeeming:
            await take(f"SELECT FROM {table} WHERE user_id = $1", alice.id)
        assert (await redeeming).status_code == 200


async def test_for_the_whole_server(
    start_server: Callable[..., Server], make_client: MakeClient, make_user: MakeUser
) -> None:
    """Sessions end as well, and with them the refresh tokens of every client."""
    parties = [await make_client(scope="openid offline_access"), await make_client()]
    alice, bob = await make_user(), await make_user()
    server = await asyncio.to_thread(start_server, IDP_SINGLE_SESSION="true")
    for party in parties:
        party.issuer = server.issuer
    (of_bob,) = await _tokens(bob, parties[0])
    async with open_browser(server.issuer) as earlier, open_browser(server.issuer) as later:
        old = [await party.tokens(earlier, alice.email) for party in parties]
        new = [await party.tokens(later, alice.email) for party in parties]
        assert [await _works(party, tokens) for party, tokens in zip(parties, old, strict=True)] == [False, False]
        assert [await _works(party, tokens) for party, tokens in zip(parties, new, strict=True)] == [True, True]
        answer = await parties[0].authorize(earlier, prompt="none")
        assert isinstance(answer, Redirect)
        assert answer.parameters["error"] == "login_required"
        page = await later.get("/")
        assert isinstance(page, Page)
        assert alice.email in page.text
    assert await _works(parties[0], of_bob)
