"""The device grant from start to end (RFC 8628): endpoint, pages and polls."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from idp.accounts.tables import User
from idp.infra.db.engine import execute, fetch, fetchrow
from idp.oauth.clients.registration import register_resource_server
from idp.oauth.device import codes
from idp.oauth.device.codes import GRANT_TYPE
from tests.conftest import MakeClient, MakeUser
from tests.support.browser import Browser, as_page, open_browser
from tests.support.devices import METADATA, Device, approve, enter, error_of, open_page, start_device
from tests.support.dpop import DPoPKey
from tests.support.oauth import RelyingParty
from tests.support.server import Server
from tests.support.tokens import claims_of


async def stored(device: Device) -> dict[str, Any]:
    code_hash = codes.device_code_hash(device.codes["device_code"])
    row = await fetchrow("SELECT * FROM device_authorization WHERE device_code_hash = $1", code_hash)
    assert row is not None
    return dict(row)


async def age(device: Device, seconds: int) -> None:
    """Let time pass for a device."""
    await execute(
        "UPDATE device_authorization SET created_at = created_at - make_interval(secs => $2),"
        " expires_at = expires_at - make_interval(secs => $2), polled_at = polled_at - make_interval(secs => $2)"
        " WHERE device_code_hash = $1",
        codes.device_code_hash(device.codes["device_code"]),
        seconds,
    )


async def test_a_device_gets_tokens(make_client: MakeClient, browser: Browser, alice: User) -> None:
    """And its user stays signed in there after the browser session has ended."""
    device = await start_device(make_client)
    issuer = device.party.issuer
    assert device.codes == {
        "device_code": device.codes["device_code"],
        "user_code": device.user_code,
        "verification_uri": f"{issuer}/device",
        "verification_uri_complete": f"{issuer}/device?user_code={device.user_code}",
        "expires_in": 600,
        "interval": 5,
    }
    assert await error_of(device) == "authorization_pending"
    page = await enter(browser, alice.email, device)
    assert "Television" in page.text
    assert device.user_code in page.text
    assert "device-warning" in page.ids
    await approve(browser, alice.email, device)
    tokens = await device.tokens()
    claims = claims_of(tokens["id_token"])
    assert claims["sub"] == str(alice.id)
    assert claims["amr"] == ["pwd"]
    assert claims["acr"] == "1"
    assert "auth_time" in claims
    assert "sid" not in claims
    assert (await device.party.userinfo(tokens["access_token"])).json()["email"] == alice.email
    await execute("UPDATE session SET ended_at = now() WHERE user_id = $1", alice.id)
    refreshed = await device.party.refresh(tokens["refresh_token"])
    assert refreshed.status_code == 200, refreshed.text
    assert (await device.party.userinfo(refreshed.json()["access_token"])).status_code == 200
    events = await fetch("SELECT event, outcome FROM audit_event WHERE client_id = $1", device.party.client_id)
    assert ("device_authorization", "success") in [tuple(row) for row in events]


async def test_secrets_are_stored_as_hashes(make_client: MakeClient) -> None:
    device = await start_device(make_client)
    row = str(await stored(device))
    assert device.codes["device_code"] not in row
    assert device.user_code not in row


async def test_consent_is_kept_and_the_device_confirmed_each_time(
    make_client: MakeClient, browser: Browser, alice: User
) -> None:
    device = await start_device(make_client)
    await approve(browser, alice.email, device)
    again = await Device.start(device.party)
    page = as_page(await browser.submit(await enter(browser, alice.email, again), "device-confirm"))
    assert "device-approved" in page.ids
    assert await again.tokens()


async def test_the_scopes_that_the_user_saw(make_client: MakeClient, browser: Browser, alice: User) -> None:
    """Unknown scopes are dropped; parameters of the poll add nothing."""
    party = await make_client(**METADATA)
    device = await Device.start(party, scope="openid email admin")
    await approve(browser, alice.email, device)
    response = await device.poll(scope="openid profile email")
    assert response.json()["scope"] == "openid email"


async def test_resources(make_client: MakeClient, browser: Browser, alice: User) -> None:
    """A poll may name some of the granted resources, and no other (RFC 8707 section 2.2)."""
    for name in ("tv", "films"):
        await register_resource_server(f"https://{name}.device.example", name=name, scope=f"{name}:read")
    party = await make_client(**METADATA | {"scope": "openid tv:read films:read"})
    refused = await party.post("/device_authorization", resource="https://unknown.device.example")
    assert refused.json()["error"] == "invalid_target"
    device = await Device.start(party, scope="tv:read films:read", resource="https://tv.device.example")
    await approve(browser, alice.email, device)
    assert await error_of(device, resource="https://films.device.example") == "invalid_target"
    tokens = (await device.poll(resource="https://tv.device.example")).json()
    assert claims_of(tokens["access_token"])["aud"] == "https://tv.device.example"


@pytest.mark.parametrize("button", ["device-deny", "consent-deny"])
async def test_a_user_says_no(button: str, make_client: MakeClient, browser: Browser, alice: User) -> None:
    device = await start_device(make_client)
    page = await enter(browser, alice.email, device)
    if button == "consent-deny":
        page = as_page(await browser.submit(page, "device-confirm"))
    page = as_page(await browser.submit(page, button))
    assert "device-denied" in page.ids
    assert await error_of(device) == "access_denied"
    page = await open_page(browser, alice.email)
    page = as_page(await browser.submit(page, "device-submit", user_code=device.user_code))
    assert page.status == 400


async def test_polls_that_are_too_fast(make_client: MakeClient) -> None:
    """Each makes the interval five seconds longer, for good (section 3.5)."""
    device = await start_device(make_client)
    assert await error_of(device) == "authorization_pending"
    assert await error_of(device) == "slow_down"
    await age(device, 8)
    assert await error_of(device) == "slow_down"
    assert (await stored(device))["poll_interval"] == 15
    await age(device, 15)
    assert await error_of(device) == "authorization_pending"


async def test_many_polls_at_once(make_client: MakeClient) -> None:
    device = await start_device(make_client)
    errors = [response.json()["error"] for response in await asyncio.gather(*(device.poll() for _ in range(20)))]
    assert sorted(errors) == ["authorization_pending", *["slow_down"] * 19]
    assert (await stored(device))["poll_interval"] == 5 + 19 * 5


async def test_an_expired_code(make_client: MakeClient, browser: Browser, alice: User) -> None:
    """Also one that the user has approved, and one whose confirmation page is open."""
    waiting, approved = [await start_device(make_client) for _ in range(2)]
    page = await enter(browser, alice.email, waiting)
    await approve(browser, alice.email, approved)
    for device in (waiting, approved):
        await age(device, 601)
        assert await error_of(device) == "expired_token"
    assert as_page(await browser.submit(page, "device-confirm")).status == 400
    page = await open_page(browser, alice.email)
    assert as_page(await browser.submit(page, "device-submit", user_code=waiting.user_code)).status == 400


async def test_expiry_between_confirmation_and_consent(make_client: MakeClient, browser: Browser, alice: User) -> None:
    device = await start_device(make_client)
    page = as_page(await browser.submit(await enter(browser, alice.email, device), "device-confirm"))
    await age(device, 601)
    assert as_page(await browser.submit(page, "consent-allow")).status == 400
    assert await error_of(device) == "expired_token"


async def test_two_users_with_one_code(
    make_client: MakeClient, browser: Browser, alice: User, make_user: MakeUser
) -> None:
    """The first to decide decides."""
    bob = await make_user()
    device = await start_device(make_client)
    async with open_browser(browser.issuer) as of_bob:
        page = await enter(of_bob, bob.email, device)
        page = as_page(await of_bob.submit(page, "device-confirm"))
        await approve(browser, alice.email, device)
        assert as_page(await of_bob.submit(page, "consent-allow")).status == 400
    assert claims_of((await device.tokens())["id_token"])["sub"] == str(alice.id)


@pytest.mark.parametrize("how", ["proof", "dpop_jkt"])
async def test_only_the_key_of_the_device_redeems(
    how: str, make_client: MakeClient, browser: Browser, alice: User
) -> None:
    party, key, other = await make_client(**METADATA), DPoPKey(), DPoPKey()
    url = f"{party.issuer}/token"
    if how == "proof":
        device = await Device.start(party, key("POST", f"{party.issuer}/device_authorization"))
    else:
        device = await Device.start(party, dpop_jkt=key.jkt)
    await approve(browser, alice.email, device)
    assert await error_of(device) == "invalid_grant"
    assert await error_of(device, headers=other("POST", url)) == "invalid_grant"
    tokens = await device.tokens(key("POST", url))
    assert tokens["token_type"] == "DPoP"
    assert (await party.refresh(tokens["refresh_token"])).status_code == 400
    assert (await party.refresh(tokens["refresh_token"], key("POST", url))).status_code == 200


async def test_a_proof_with_another_key_than_dpop_jkt(make_client: MakeClient) -> None:
    party, key = await make_client(**METADATA), DPoPKey()
    headers = key("POST", f"{party.issuer}/device_authorization")
    refused = await party.post("/device_authorization", headers, dpop_jkt=DPoPKey().jkt)
    assert refused.json()["error"] == "invalid_dpop_proof"


async def test_a_confidential_client_authenticates_itself(
    make_client: MakeClient, browser: Browser, alice: User
) -> None:
    party = await make_client(**METADATA | {"token_endpoint_auth_method": "client_secret_basic"})
    nobody = RelyingParty(party.issuer, party.http, party.client_id)
    assert (await nobody.post("/device_authorization")).status_code == 401
    device = await Device.start(party, scope="openid offline_access")
    assert (await device.poll(party=nobody)).status_code == 401
    await approve(browser, alice.email, device)
    tokens = await device.tokens()
    assert (await party.introspect(tokens["access_token"]))["sub"] == str(alice.id)
    assert (await party.introspect(tokens["refresh_token"]))["active"] is True


async def test_a_client_without_the_grant(client: RelyingParty, make_client: MakeClient) -> None:
    response = await client.post("/device_authorization", scope="openid")
    assert (response.status_code, response.json()["error"]) == (400, "unauthorized_client")
    device = await start_device(make_client)
    assert await error_of(device, party=client) == "unauthorized_client"


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"device_code": None}, "invalid_request"),
        ({"device_code": "a" * 42}, "invalid_grant"),
        ({"device_code": "a" * 43}, "invalid_grant"),
        ({"device_code": "a" * 60_000}, "invalid_grant"),
        ({"device_code": "\0" * 43}, "invalid_request"),
        ({"device_code": "é" * 43}, "invalid_grant"),
    ],
    ids=["missing", "short", "unknown", "long", "nul", "not ascii"],
)
async def test_malformed_device_codes(changes: dict[str, Any], error: str, make_client: MakeClient) -> None:
    assert await error_of(await start_device(make_client), **changes) == error


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("scope=openid&scope=email", "invalid_request"),
        ("scope=%00", "invalid_request"),
        ("scope=%FF", "invalid_request"),
        ("scope=none-such", "invalid_scope"),
        (f"scope={'a' * 3000}", "invalid_request"),
        ("max_age=-1", "invalid_request"),
        ("dpop_jkt=short", "invalid_request"),
        ("authorization_details=%7B%7D", "invalid_authorization_details"),
        (f"acr_values={'1' * 3000}", "invalid_request"),
        ("resource=not-registered", "invalid_target"),
    ],
)
async def test_malformed_requests(body: str, error: str, make_client: MakeClient) -> None:
    party = await make_client(**METADATA)
    response = await party.http.post(
        f"{party.issuer}/device_authorization",
        content=f"client_id={party.client_id}&{body}",
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )
    assert (response.status_code, response.json()["error"]) == (400, error)


@pytest.mark.parametrize(
    "typed",
    ["", "BCDF-GHJ", "BCDF-GHJK", "x" * 3000, "<script>", "BCDF-GHJ\u0663"],
    ids=["none", "short", "unknown", "long", "markup", "other digits"],
)
async def test_wrong_user_codes(typed: str, browser: Browser, alice: User) -> None:
    page = await open_page(browser, alice.email)
    page = as_page(await browser.submit(page, "device-submit", user_code=typed))
    assert page.status == 400
    assert "device-submit" in page.ids
    assert "<script>" not in page.text


async def test_a_user_code_with_a_nul(browser: Browser, alice: User) -> None:
    page = await open_page(browser, alice.email)
    assert as_page(await browser.submit(page, "device-submit", user_code="BCDF\0GHJK")).status == 400


async def test_the_code_survives_the_sign_in(make_client: MakeClient, browser: Browser, alice: User) -> None:
    """It is filled in as it is written on the device, however the address has it, and nothing is sent by itself."""
    device = await start_device(make_client)
    typed = device.user_code.replace("-", "").lower()
    page = await open_page(browser, alice.email, f"/device?user_code={typed}")
    assert page.forms[0].fields["user_code"] == device.user_code
    assert "device-compare" in page.ids
    assert (await stored(device))["status"] == "pending"


async def test_a_form_of_another_site_confirms_nothing(make_client: MakeClient, browser: Browser, alice: User) -> None:
    """Nor does the form of one code confirm another, nor one of another session."""
    device, other = [await start_device(make_client) for _ in range(2)]
    page = await enter(browser, alice.email, device)
    fields = page.forms[0].fields | {"action": "confirm"}
    for wrong in ({"user_code": other.user_code}, {"csrf_token": ""}, {"csrf_token": "0" * 64}):
        assert as_page(await browser.post("/device/confirm", fields | wrong)).status == 400
    assert as_page(await browser.post("/device/confirm", fields, origin="https://evil.example")).status == 400
    assert as_page(await browser.post("/device", {"user_code": device.user_code})).status == 400
    assert (await stored(device))["status"] == "pending"
    assert (await stored(other))["status"] == "pending"


async def test_another_user_takes_over_at_the_confirmation(
    make_client: MakeClient, browser: Browser, alice: User, make_user: MakeUser
) -> None:
    bob, device = await make_user(), await start_device(make_client)
    page = await enter(browser, alice.email, device)
    fields = page.forms[0].fields | {"action": "switch"}
    page = as_page(await browser.post("/device/confirm", fields))
    page = as_page(await browser.sign_in(page, bob.email, "correct horse battery staple"))
    assert page.forms[0].fields["user_code"] == device.user_code
    assert bob.email in page.text
    await approve(browser, bob.email, device)
    assert claims_of((await device.tokens())["id_token"])["sub"] == str(bob.id)


async def test_another_user_cannot_go_on_after_the_confirmation(
    make_client: MakeClient, browser: Browser, alice: User, make_user: MakeUser
) -> None:
    """The next user of the browser was never asked whether it is their device."""
    bob, device = await make_user(), await start_device(make_client)
    page = await enter(browser, alice.email, device)
    page = as_page(await browser.post("/device/confirm", page.forms[0].fields | {"action": "confirm"}))
    assert "consent-allow" in page.ids
    request_id = page.forms[0].action.rpartition("/")[2]
    del browser.cookies["__Host-session"]
    page = as_page(await browser.get(f"/authorize/{request_id}"))
    await browser.sign_in(page, bob.email, "correct horse battery staple")
    assert (await stored(device))["status"] == "denied"


async def test_the_grant_is_off(
    make_client: MakeClient, start_server: Callable[..., Server], http: httpx.AsyncClient
) -> None:
    """Also for a client that has it."""
    server = await asyncio.to_thread(start_server, IDP_DEVICE_GRANT="false")
    party = await make_client(server, **METADATA)
    found = (await http.get(f"{server.issuer}/.well-known/openid-configuration")).json()
    assert "device_authorization_endpoint" not in found
    assert GRANT_TYPE not in found["grant_types_supported"]
    assert (await party.post("/device_authorization", scope="openid")).status_code == 404
    assert (await http.get(f"{server.issuer}/device")).status_code == 404
    response = await party.post("/token", grant_type=GRANT_TYPE, device_code="a" * 43)
    assert response.json()["error"] == "unsupported_grant_type"


def test_the_grant_is_named() -> None:
    assert GRANT_TYPE == "urn:ietf:params:oauth:grant-type:device_code"
