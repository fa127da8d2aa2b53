"""A user whom the policy of a client does not allow: in the browser, at a device, in an app."""

import asyncio
import secrets
from collections.abc import Callable
from typing import Any

import pytest

from idp import clock
from idp.accounts.tables import User
from idp.directory import groups
from idp.directory.models import Group
from idp.infra.db.engine import fetch
from idp.oauth import response_types
from idp.oauth.access_policies.models import DAYS
from idp.oauth.response_types import LEGACY
from idp.settings import settings
from idp.signin.transitions import Step
from tests.conftest import MakeClient, MakeUser
from tests.support.access_policies import set_policy
from tests.support.browser import Browser, Page, Redirect, as_page, open_browser
from tests.support.ciba import CIBA, GRANT, asked, open_request, poll
from tests.support.devices import Device, enter, error_of, start_device
from tests.support.oauth import PASSWORD, RelyingParty
from tests.support.person import equip
from tests.support.server import Server

ELSEWHERE = "192.0.2.0/24"


@pytest.fixture
async def staff(db: str) -> Group:
    return await groups.create(f"Staff {secrets.token_hex(6)}")


@pytest.fixture
async def payroll(make_client: MakeClient, staff: Group) -> RelyingParty:
    """A client for the staff."""
    party = await make_client(
        client_name="Payroll", contacts=["payroll@example.com", "https://help.example/payroll", "extension 4711"]
    )
    await set_policy(party, groups=[staff.id])
    return party


async def signed_in(party: RelyingParty, browser: Browser, user: User, **changes: str | None) -> Page:
    """Sign in for a client. Returns the next page."""
    page = as_page(await party.authorize(browser, **changes))
    return as_page(await browser.sign_in(page, user.email, PASSWORD))


def error_to(answer: Page | Redirect) -> dict[str, str]:
    assert isinstance(answer, Redirect), answer.text
    return answer.parameters


async def events(party: RelyingParty) -> list[tuple[Any, ...]]:
    """Return the refusals by policy in the audit trail."""
    query = """
    SELECT user_id, outcome, detail ->> 'reason', detail ->> 'at' FROM audit_event
    WHERE event = 'access_denied' AND client_id = $1 ORDER BY id
    """
    async with asyncio.timeout(30):
        while not (rows := await fetch(query, party.client_id)):
            await asyncio.sleep(0.05)
    return [tuple(row) for row in rows]


async def test_the_page(payroll: RelyingParty, browser: Browser, alice: User) -> None:
    """It names the application, the account, and whom to ask; not the reason."""
    page = await signed_in(payroll, browser, alice)
    assert (page.status, "access-denied" in page.ids) == (403, True)
    assert alice.email in page.text
    for shown in ('href="mailto:payroll@example.com"', 'href="https://help.example/payroll"', "extension 4711"):
        assert shown in page.text
    assert "group" not in page.text.lower()
    assert "consent-allow" not in page.ids
    assert await events(payroll) == [(alice.id, "denied", "not_in_group", "authorization")]
    query = "SELECT FROM authorization_code WHERE client_id = $1"
    assert await fetch(query, payroll.client_id) == []


async def test_back_to_the_application(payroll: RelyingParty, browser: Browser, alice: User) -> None:
    page = await signed_in(payroll, browser, alice)
    assert error_to(await browser.submit(page, "access-back")) == {
        "error": "access_denied",
        "error_description": "The user may not use this application.",
        "state": "the-state",
        "iss": payroll.issuer,
    }
    # It was answered once.
    assert as_page(await browser.get(page.path)).status == 400


async def test_sign_in_as_somebody_else(
    payroll: RelyingParty, browser: Browser, alice: User, make_user: MakeUser, staff: Group
) -> None:
    bob = await make_user()
    await groups.add_members(staff.id, [bob.id])
    page = as_page(await browser.submit(await signed_in(payroll, browser, alice), "access-switch"))
    page = as_page(await browser.sign_in(page, bob.email, PASSWORD))
    answer = await browser.submit(page, "consent-allow")
    assert "code" in error_to(answer)


async def test_access_is_given_meanwhile(payroll: RelyingParty, browser: Browser, alice: User, staff: Group) -> None:
    """After a reload the sign-in goes on."""
    page = await signed_in(payroll, browser, alice)
    await groups.add_members(staff.id, [alice.id])
    page = as_page(await browser.get(page.path))
    assert "consent-allow" in page.ids
    assert "code" in error_to(await browser.submit(page, "consent-allow"))


async def test_without_a_page(payroll: RelyingParty, browser: Browser, alice: User, staff: Group) -> None:
    """A client without the consent of the user does not find out what the user may not use."""
    await signed_in(payroll, browser, alice)
    answer = await payroll.authorize(browser, prompt="none")
    assert error_to(answer)["error"] == "consent_required"
    await groups.add_members(staff.id, [alice.id])
    assert "code" in error_to(await browser.submit(as_page(await payroll.authorize(browser)), "consent-allow"))
    assert "code" in error_to(await payroll.authorize(browser, prompt="none"))
    await groups.remove_members(staff.id, [alice.id])
    answer = await payroll.authorize(browser, prompt="none")
    assert error_to(answer)["error"] == "access_denied"
    assert error_to(answer)["error_description"] == "The user may not use this application."


async def test_a_session_of_another_client(
    client: RelyingParty, payroll: RelyingParty, browser: Browser, alice: User
) -> None:
    """The sign-in at one client opens no other, and the page needs no stored request before."""
    await client.sign_in(browser, alice.email)
    page = as_page(await payroll.authorize(browser))
    assert (page.status, "access-denied" in page.ids) == (403, True)
    assert error_to(await browser.submit(page, "access-back"))["error"] == "access_denied"


async def test_a_signed_in_user_is_asked_for_nothing_first(
    client: RelyingParty, make_client: MakeClient, browser: Browser, alice: User, staff: Group
) -> None:
    """Neither for a second factor nor for consent to what they may not use."""
    await client.sign_in(browser, alice.email)
    party = await make_client()
    await set_policy(party, groups=[staff.id], acr="2")
    assert "access-denied" in as_page(await party.authorize(browser)).ids


async def test_the_level_is_asked_for(make_client: MakeClient, browser: Browser, alice: User, server: Server) -> None:
    """As ``acr_values`` of a request does; the code of an earlier, lower sign-in is refused."""
    party = await make_client(skip_consent=True)
    person = await equip(alice, server.issuer, [Step.TOTP], two_step=False)
    code = await party.sign_in(browser, alice.email)
    await set_policy(party, acr="2")
    refused = (await party.redeem(code)).json()
    assert refused["error"] == "invalid_grant"
    page = as_page(await party.authorize(browser))
    assert "totp-submit" in page.ids
    answer = error_to(await browser.submit(page, "totp-submit", code=await person.otp()))
    assert (await party.redeem(answer["code"])).status_code == 200
    assert error_to(await party.authorize(browser, prompt="none"))["code"]
    assert await events(party) == [(alice.id, "denied", "acr_too_low", "authorization_code")]


@pytest.mark.parametrize("condition", ["networks", "times"])
async def test_where_and_when(condition: str, make_client: MakeClient, browser: Browser, alice: User) -> None:
    party = await make_client(skip_consent=True)
    today = clock.now().weekday()
    other_day = DAYS[(today + 3) % 7]
    values: dict[str, Any] = (
        {"networks": [ELSEWHERE]} if condition == "networks" else {"times": [{"days": [other_day]}]}
    )
    await set_policy(party, **values)
    assert "access-denied" in (await signed_in(party, browser, alice)).ids
    reason = {"networks": "outside_of_network", "times": "outside_of_time"}[condition]
    assert await events(party) == [(alice.id, "denied", reason, "authorization")]
    values = {"networks": ["127.0.0.0/8"]} if condition == "networks" else {"times": [{"days": DAYS}]}
    await set_policy(party, **values)
    assert "code" in error_to(await party.authorize(browser))


async def test_a_spoofed_address(make_client: MakeClient, browser: Browser, alice: User) -> None:
    """The address is that of the connection, unless a trusted proxy names another one."""
    party = await make_client(skip_consent=True)
    await set_policy(party, networks=[ELSEWHERE])
    browser.client.headers["X-Forwarded-For"] = "192.0.2.7"
    assert "access-denied" in (await signed_in(party, browser, alice)).ids


async def test_a_device(make_client: MakeClient, browser: Browser, alice: User, staff: Group) -> None:
    device: Device = await start_device(make_client, skip_consent=True)
    await set_policy(device.party, groups=[staff.id])
    page = as_page(await browser.submit(await enter(browser, alice.email, device), "device-confirm"))
    assert "access-denied" in page.ids
    # Nobody else saw the device.
    assert "access-switch" not in page.ids
    assert await error_of(device) == "authorization_pending"
    page = as_page(await browser.submit(page, "access-back"))
    assert "device-denied" in page.ids
    assert await error_of(device) == "access_denied"


async def test_a_request_by_another_channel(
    make_client: MakeClient, browser: Browser, alice: User, staff: Group
) -> None:
    """CIBA: the user cannot allow it, and can deny it."""
    bank = await make_client(**CIBA)
    auth_req_id = await asked(bank, alice.email)
    (row,) = await fetch("SELECT id FROM backchannel_request WHERE user_id = $1", alice.id)
    path = f"/account/requests/{row['id']}"
    open_page = await open_request(browser, path, alice.email)
    await set_policy(bank, groups=[staff.id])
    page = as_page(await browser.submit(open_page, "consent-allow"))
    assert (page.status, "access-denied" in page.ids) == (403, True)
    page = as_page(await browser.get(path))
    assert "access-denied" in page.ids
    assert (await poll(bank, auth_req_id)).json()["error"] == "authorization_pending"
    await browser.submit(page, "access-back")
    assert (await poll(bank, auth_req_id)).json()["error"] == "access_denied"
    assert set(await events(bank)) == {(alice.id, "denied", "not_in_group", GRANT)}


async def test_an_app_with_its_own_screens(make_client: MakeClient, alice: User, staff: Group) -> None:
    app = await make_client(
        application_type="native", token_endpoint_auth_method="none", redirect_uris=["com.example.app:/callback"],
        authorization_challenge=True, skip_consent=True,
    )  # fmt: skip
    await set_policy(app, groups=[staff.id])
    form = app.parameters(redirect_uri=None, response_type=None, state=None)
    answer = await app.post("/challenge", **form, username=alice.email, password=PASSWORD)
    assert (answer.status_code, answer.json()) == (
        400,
        {"error": "access_denied", "error_description": "The user may not use this application."},
    )
    await groups.add_members(staff.id, [alice.id])
    answer = await app.post("/challenge", **form, username=alice.email, password=PASSWORD)
    assert "authorization_code" in answer.json()
    assert await events(app) == [(alice.id, "denied", "not_in_group", "challenge")]


async def test_tokens_in_the_response(
    start_server: Callable[..., Server],
    make_client: MakeClient,
    alice: User,
    staff: Group,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The hybrid and the implicit flow end as others do. Without contacts of a client, that of the server is named."""
    config = settings().model_copy(update={"legacy_response_types": True})
    monkeypatch.setattr(response_types, "settings", lambda: config)
    server = start_server(IDP_LEGACY_RESPONSE_TYPES="true", IDP_ACCESS_CONTACT="The help desk")
    party = await make_client(
        at=server, skip_consent=True, require_pkce=False,
        grant_types=["authorization_code", "implicit"], response_types=["code", *LEGACY],
    )  # fmt: skip
    await set_policy(party, groups=[staff.id])
    async with open_browser(server.issuer) as browser:
        page = await signed_in(party, browser, alice, response_type=LEGACY[0])
        assert "access-denied" in page.ids
        assert "The help desk" in page.text
        for response_type in LEGACY:
            answer = await party.authorize(browser, response_type=response_type, prompt="none")
            assert isinstance(answer, Redirect)
            assert answer.fragment["error"] == "access_denied"
            assert not {"code", "access_token", "id_token"} & answer.fragment.keys()
        await groups.add_members(staff.id, [alice.id])
        answer = await party.authorize(browser, response_type=LEGACY[0])
        assert isinstance(answer, Redirect)
        assert {"code", "id_token"} <= answer.fragment.keys()
