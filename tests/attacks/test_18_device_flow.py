"""Row 18: a device gets access by no weaker rules than a browser, once, and nobody finds its code by guessing."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from idp import clock
from idp.accounts.tables import User
from idp.accounts.users import disable_user
from idp.admin.incidents import contain_client, contain_user
from idp.errors import InvalidGrantError
from idp.infra.db.engine import execute, fetch
from idp.oauth import consent
from idp.oauth.clients.metadata import ClientMetadata
from idp.oauth.clients.presets import KINDS
from idp.oauth.clients.registration import disable_client
from idp.oauth.clients.registry import registry
from idp.oauth.clients.service import set_not_before, update_client
from idp.oauth.credentials import credentials_changed
from idp.oauth.device import codes, limits
from idp.oauth.device.codes import GRANT_TYPE
from idp.oauth.sign_out import end_session, sign_out_everywhere
from idp.oauth.token.device_code import redeem
from idp.reasons import Reason
from tests.attacks.test_11_code_replay_race import assert_dead, outcomes, reasons
from tests.conftest import MakeClient, MakeUser
from tests.support.browser import Browser, as_page, open_browser
from tests.support.devices import METADATA, approve, enter, error_of, open_page, start_device
from tests.support.oauth import RelyingParty
from tests.support.server import Server

CONFIDENTIAL = {"token_endpoint_auth_method": "client_secret_basic"}


async def test_18_a_level_that_the_client_requires(make_client: MakeClient, browser: Browser, alice: User) -> None:
    """The device is not approved in a session with one factor."""
    device = await start_device(make_client, default_acr_values=["2"])
    page = as_page(await browser.submit(await enter(browser, alice.email, device), "device-confirm"))
    assert "consent-allow" not in page.ids
    assert "device-approved" not in page.ids
    assert page.path.startswith("/login/")
    assert await error_of(device) == "authorization_pending"


async def test_18_an_age_that_the_client_requires(make_client: MakeClient, browser: Browser, alice: User) -> None:
    device = await start_device(make_client, default_max_age=60)
    page = await enter(browser, alice.email, device)
    await execute("UPDATE session SET auth_time = auth_time - interval '5 minutes' WHERE user_id = $1", alice.id)
    page = as_page(await browser.submit(page, "device-confirm"))
    assert "login-submit" in page.ids


@pytest.mark.parametrize("when", ["before the code", "before the confirmation", "before the consent", "after it"])
async def test_18_a_client_that_is_disabled(when: str, make_client: MakeClient, browser: Browser, alice: User) -> None:
    device = await start_device(make_client)
    party = device.party

    async def disable() -> None:
        await disable_client(party.client_id)
        async with asyncio.timeout(30):
            while (await device.poll()).json()["error"] != "invalid_client":
                await asyncio.sleep(0.02)

    page = await open_page(browser, alice.email)
    if when == "before the code":
        await disable()
        page = as_page(await browser.submit(page, "device-submit", user_code=device.user_code))
        assert page.status == 400
        return
    page = as_page(await browser.submit(page, "device-submit", user_code=device.user_code))
    if when == "before the confirmation":
        await disable()
        assert as_page(await browser.submit(page, "device-confirm")).status == 400
        return
    page = as_page(await browser.submit(page, "device-confirm"))
    if when == "before the consent":
        await disable()
    page = as_page(await browser.submit(page, "consent-allow"))
    assert ("device-approved" in page.ids) == (when == "after it")
    if when == "after it":
        await disable()
    assert (await device.poll()).status_code == 401


async def test_18_a_grant_that_is_taken_away(make_client: MakeClient, browser: Browser, alice: User) -> None:
    device = await start_device(make_client)
    page = as_page(await browser.submit(await enter(browser, alice.email, device), "device-confirm"))
    changes = {"grant_types": ("authorization_code",), "redirect_uris": ("https://tv.example/cb",)}
    await update_client(device.party.client_id, **changes)
    async with asyncio.timeout(30):
        while await error_of(device) != "unauthorized_client":
            await asyncio.sleep(0.02)
    page = as_page(await browser.submit(page, "consent-allow"))
    assert "device-approved" not in page.ids


#: What may come between the approval and the poll.
ENDS: dict[str, Callable[[User, RelyingParty], Awaitable[object]]] = {
    "the user is disabled": lambda user, party: disable_user(user.id, credentials_changed),
    "the user is disabled behind our back": lambda user, party: execute(
        "UPDATE users SET disabled_at = now() WHERE id = $1", user.id
    ),
    "the user is contained": lambda user, party: contain_user(user.id, disable=False),
    "sign-out everywhere": lambda user, party: sign_out_everywhere(user.id, "signed_out_by_user"),
    "that session is ended": lambda user, party: _end_sessions(user),
    "the consent is withdrawn": lambda user, party: consent.withdraw(user.id, party.client_id),
    "the client is contained": lambda user, party: contain_client(party.client_id, disable=False),
}


async def _end_sessions(user: User) -> None:
    for row in await fetch("SELECT id FROM session WHERE user_id = $1", user.id):
        assert await end_session(user.id, row["id"], "signed_out_by_user")


@pytest.mark.parametrize("how", ENDS)
async def test_18_what_ends_an_approval(how: str, make_client: MakeClient, browser: Browser, alice: User) -> None:
    device = await start_device(make_client)
    await approve(browser, alice.email, device)
    await ENDS[how](alice, device.party)
    expected = "invalid_grant" if how.endswith("back") else "access_denied"
    assert await error_of(device) == expected
    assert await fetch("SELECT FROM token_family WHERE user_id = $1", alice.id) == []


async def test_18_what_ends_the_tokens(make_client: MakeClient, browser: Browser, alice: User) -> None:
    """Sign-out everywhere ends those of a device too, though they belong to no session."""
    device = await start_device(make_client, **CONFIDENTIAL)
    await approve(browser, alice.email, device)
    tokens = await device.tokens()
    await sign_out_everywhere(alice.id, "signed_out_by_user")
    await assert_dead(device.party, tokens)


async def _no_proof() -> None:
    """What a request without a proof proves."""


async def test_18_a_not_before_time(make_client: MakeClient, browser: Browser, alice: User) -> None:

    device = await start_device(make_client)
    await approve(browser, alice.email, device)
    await set_not_before(device.party.client_id, clock.now())
    await registry.load()
    client = registry.client(device.party.client_id)
    assert client is not None
    with pytest.raises(InvalidGrantError) as refused:
        await redeem(client, {"device_code": device.codes["device_code"]}, _no_proof)
    assert refused.value.refused.reason is Reason.ISSUED_TOO_EARLY


async def test_18_a_device_code_of_another_client(make_client: MakeClient, browser: Browser, alice: User) -> None:
    """It gets nothing, changes nothing, and does not slow the right client down."""
    device, thief = await start_device(make_client), await make_client(**METADATA)
    assert await error_of(device, party=thief) == "invalid_grant"
    assert await error_of(device) == "authorization_pending"
    await approve(browser, alice.email, device)
    assert await error_of(device, party=thief) == "invalid_grant"
    assert await device.tokens()


async def test_18_a_hundred_polls_at_once(make_client: MakeClient, browser: Browser, alice: User) -> None:
    """One gets tokens, which the others then revoke, as for an authorization code."""
    device = await start_device(make_client, **CONFIDENTIAL)
    await approve(browser, alice.email, device)
    successes, refusals = outcomes(await asyncio.gather(*(device.poll() for _ in range(100))))
    assert len(successes) == 1
    assert refusals == {(400, "invalid_grant")}
    await assert_dead(device.party, successes[0])
    assert await reasons(device.party) == [(alice.id, "device_code_reuse")]
    assert len(await fetch("SELECT FROM token_family WHERE user_id = $1", alice.id)) == 1


async def test_18_a_second_use_by_another_client_revokes_nothing(
    make_client: MakeClient, browser: Browser, alice: User
) -> None:
    device, stranger = await start_device(make_client, **CONFIDENTIAL), await make_client(**METADATA)
    await approve(browser, alice.email, device)
    tokens = await device.tokens()
    assert await error_of(device, party=stranger) == "invalid_grant"
    assert (await device.party.userinfo(tokens["access_token"])).status_code == 200


async def test_18_guesses_of_one_user(make_client: MakeClient, browser: Browser, alice: User) -> None:
    """Right codes count too: otherwise one of the attacker's own devices would pay for the guesses."""
    page = await open_page(browser, alice.email)
    own = await start_device(make_client)
    for _ in range(limits.ENTRIES_OF_USER.burst - 1):
        guess = as_page(await browser.submit(page, "device-submit", user_code=codes.new_user_code()))
        assert guess.status == 400
    right = as_page(await browser.submit(page, "device-submit", user_code=own.user_code))
    assert "device-confirm" in right.ids
    late = as_page(await browser.submit(page, "device-submit", user_code=own.user_code))
    assert late.status == 429
    assert "device-confirm" not in late.ids


async def test_18_guesses_of_many_users_from_one_address(
    start_server: Callable[..., Server], make_user: MakeUser
) -> None:
    """The address has a budget for all of them, and a refused guess spends nothing of the user's own."""
    server = await asyncio.to_thread(start_server, IDP_ADDRESS_LIMITS="true")
    statuses: list[int] = []
    # A slow machine gives some of the budget back meanwhile.
    while len(statuses) < limits.ENTRIES_OF_HOST.burst + 180 and 429 not in statuses:
        user = await make_user()
        async with open_browser(server.issuer) as browser:
            page = await open_page(browser, user.email)
            for _ in range(limits.ENTRIES_OF_USER.burst):
                answer = as_page(await browser.submit(page, "device-submit", user_code=codes.new_user_code()))
                statuses.append(answer.status)
    assert 429 in statuses
    assert len(statuses) >= limits.ENTRIES_OF_HOST.burst


async def test_18_a_stranger_learns_nothing_of_codes(make_client: MakeClient, browser: Browser) -> None:
    """Without a sign-in, a right code and a wrong one have the same answer."""
    device = await start_device(make_client)
    for code in (device.user_code, codes.new_user_code()):
        page = as_page(await browser.get("/device", user_code=code))
        assert "login-submit" in page.ids
        assert "Television" not in page.text


async def test_18_too_many_requests_of_devices(start_server: Callable[..., Server], make_client: MakeClient) -> None:
    """Of a public client, from one address: anybody can send its client_id."""
    server = await asyncio.to_thread(start_server, IDP_ADDRESS_LIMITS="true")
    party = await make_client(server, **METADATA)
    statuses: list[int] = []
    # A slow machine gives some of the budget back meanwhile.
    while len(statuses) < limits.STARTS_OF_HOST.burst + 180 and 429 not in statuses:
        statuses.append((await party.post("/device_authorization")).status_code)
    assert statuses[-1] == 429
    assert statuses.count(200) >= limits.STARTS_OF_HOST.burst


def test_18_no_client_has_the_grant_by_default() -> None:

    assert GRANT_TYPE not in ClientMetadata(client_name="Shop").grant_types
    kinds: dict[str, Any] = KINDS
    assert [kind for kind, values in kinds.items() if GRANT_TYPE in values["grant_types"]] == ["device"]
