"""Deciding a backchannel authentication request, and its tokens (CIBA Core sections 8, 10 and 11)."""

import asyncio
from typing import Any

import pytest

from idp import clock
from idp.accounts.tables import User
from idp.accounts.users import disable_user
from idp.infra.db.engine import execute, fetch, fetchrow
from idp.keys import jose
from idp.keys.key_set import key_set
from idp.oauth import consent
from idp.oauth.authorize.request import ApprovedRequest, AuthorizationRequest
from idp.oauth.ciba import repository
from idp.oauth.clients.registration import register_client
from idp.oauth.credentials import credentials_changed
from idp.oauth.sign_out import end_session, revoke_tokens_of_client, sign_out_everywhere
from idp.oauth.token.approved import grant_of
from idp.signin.transitions import Step
from tests.conftest import MakeClient, MakeUser
from tests.support.browser import Browser, as_page
from tests.support.ciba import CIBA, GRANT, ask, asked, decide, open_request, page_path, poll
from tests.support.conformance import check_json_error
from tests.support.mailbox import Mailbox
from tests.support.oauth import PASSWORD, RelyingParty
from tests.support.person import equip

_EVENTS = "SELECT event, outcome FROM audit_event WHERE user_id = $1 AND event LIKE 'backchannel%' ORDER BY id"


@pytest.fixture
async def bank(make_client: MakeClient) -> RelyingParty:
    return await make_client(**CIBA)


async def path_of(user: User) -> str:
    """Return the path of the page of the latest request of a user."""
    row = await fetchrow("SELECT id FROM backchannel_request WHERE user_id = $1 ORDER BY id DESC LIMIT 1", user.id)
    assert row is not None
    return f"/account/requests/{row['id']}"


async def approved(client: RelyingParty, browser: Browser, user: User, **changes: str | None) -> str:
    """Ask a user, who allows it. Returns the ``auth_req_id``."""
    auth_req_id = await asked(client, user.email, **changes)
    page = await decide(browser, await path_of(user), user.email)
    assert "Allowed" in page.text
    return auth_req_id


async def test_from_the_mail_to_the_tokens(bank: RelyingParty, alice: User, browser: Browser, mailbox: Mailbox) -> None:
    """The mail does not repeat the message of the client; the page shows it. Opening the page decides nothing."""
    auth_req_id = await asked(bank, alice.email, scope="openid email", binding_message="Code 4711")
    letter = await mailbox.next(alice.email)
    assert "Example Bank" in letter.subject
    assert "4711" not in letter.message.as_string()
    page = await open_request(browser, page_path(letter), alice.email)
    assert "Code 4711" in page.text
    assert "See your email address" in page.text
    check_json_error(await poll(bank, auth_req_id), 400, "authorization_pending")
    page = as_page(await browser.submit(page, "consent-allow"))
    assert page.path == "/account/requests"
    response = await poll(bank, auth_req_id)
    assert response.status_code == 200, response.text
    tokens = response.json()
    assert "refresh_token" not in tokens
    claims = jose.verify(tokens["id_token"], key_set.verification(), typ="JWT")
    assert (claims["sub"], claims["aud"], claims["amr"]) == (str(alice.id), bank.client_id, ["pwd"])
    assert "sid" not in claims
    assert claims["at_hash"] == jose.left_half_hash(tokens["access_token"], "RS256")
    assert (await bank.userinfo(tokens["access_token"])).json()["email"] == alice.email
    assert [app.client_id for app in await consent.authorized_applications(alice.id)] == [bank.client_id]
    events = [tuple(row) for row in await fetch(_EVENTS, alice.id)]
    assert events == [("backchannel_request", "success"), ("backchannel_decision", "success")]


async def test_the_account_page_lists_it(bank: RelyingParty, alice: User, browser: Browser) -> None:
    await asked(bank, alice.email, binding_message="Code 4711")
    page = await open_request(browser, "/account/requests", alice.email)
    assert "Example Bank" in page.text
    assert "Code 4711" in page.text
    assert (await path_of(alice)) in page.text
    await decide(browser, await path_of(alice), alice.email, "consent-deny")
    assert "Nothing is waiting" in as_page(await browser.get("/account/requests")).text


async def test_a_refresh_token_comes_with_the_grant(make_client: MakeClient, browser: Browser, alice: User) -> None:
    """It outlives the browser session in which the user decided."""
    client = await make_client(**CIBA | {"grant_types": [GRANT, "refresh_token"]})
    tokens = (await poll(client, await approved(client, browser, alice))).json()
    await browser.submit(as_page(await browser.get("/logout")), "logout-confirm")
    response = await client.refresh(tokens["refresh_token"])
    assert response.status_code == 200, response.text


async def test_denied(bank: RelyingParty, browser: Browser, alice: User) -> None:
    auth_req_id = await asked(bank, alice.email)
    await decide(browser, await path_of(alice), alice.email, "consent-deny")
    for _ in range(2):
        check_json_error(await poll(bank, auth_req_id), 400, "access_denied")
    assert await consent.authorized_applications(alice.id) == []


async def test_reported(make_client: MakeClient, browser: Browser, alice: User) -> None:
    """All requests of the client are denied, it cannot ask this user again for a day, and others can."""
    bank, other = [await make_client(**CIBA) for _ in range(2)]
    waiting = [await asked(bank, alice.email) for _ in range(2)]
    await decide(browser, await path_of(alice), alice.email, "approve-report")
    for auth_req_id in waiting:
        check_json_error(await poll(bank, auth_req_id), 400, "access_denied")
    # More often than anybody may ask: it uses up nothing of what others may ask.
    for _ in range(15):
        check_json_error(await ask(bank, alice.email), 403, "access_denied")
    await asked(other, alice.email)
    await execute(
        "UPDATE backchannel_request SET reported_at = now() - interval '25 hours' WHERE user_id = $1", alice.id
    )
    await asked(bank, alice.email)


class TestPolling:
    async def test_too_early(self, bank: RelyingParty, alice: User) -> None:
        """Each early poll makes the interval five seconds longer (section 11), up to a minute."""
        auth_req_id = await asked(bank, alice.email)
        check_json_error(await poll(bank, auth_req_id), 400, "authorization_pending")
        for _ in range(12):
            check_json_error(await poll(bank, auth_req_id), 400, "slow_down")
        row = await fetchrow("SELECT poll_interval FROM backchannel_request WHERE user_id = $1", alice.id)
        assert row is not None
        assert row["poll_interval"] == repository.SLOWEST
        await execute("UPDATE backchannel_request SET next_poll_at = now() WHERE user_id = $1", alice.id)
        check_json_error(await poll(bank, auth_req_id), 400, "authorization_pending")

    async def test_expired(self, bank: RelyingParty, browser: Browser, alice: User) -> None:
        """Also an approved request. Nobody can decide it any more."""
        waiting, decided = await asked(bank, alice.email), await approved(bank, browser, alice)
        await execute("UPDATE backchannel_request SET expires_at = now() WHERE user_id = $1", alice.id)
        for auth_req_id in (waiting, decided):
            check_json_error(await poll(bank, auth_req_id), 400, "expired_token")
        assert as_page(await browser.get(await path_of(alice))).status == 404

    async def test_once(self, bank: RelyingParty, browser: Browser, alice: User) -> None:
        """Of many polls at the same moment, one gets tokens. A later one does not end them."""
        auth_req_id = await approved(bank, browser, alice)
        answers = await asyncio.gather(*(poll(bank, auth_req_id) for _ in range(20)))
        assert sorted(answer.status_code for answer in answers) == [200] + [400] * 19
        assert {answer.json()["error"] for answer in answers if answer.status_code == 400} == {"invalid_grant"}
        assert len(await fetch("SELECT 1 FROM token_family WHERE user_id = $1", alice.id)) == 1
        check_json_error(await poll(bank, auth_req_id), 400, "invalid_grant")
        tokens = next(answer.json() for answer in answers if answer.status_code == 200)
        assert (await bank.userinfo(tokens["access_token"])).status_code == 200

    async def test_by_another_client(
        self, make_client: MakeClient, bank: RelyingParty, browser: Browser, alice: User
    ) -> None:
        auth_req_id = await approved(bank, browser, alice)
        check_json_error(await poll(await make_client(**CIBA), auth_req_id), 400, "invalid_grant")
        assert (await poll(bank, auth_req_id)).status_code == 200

    @pytest.mark.parametrize("auth_req_id", ["x", "a.b", f"{'a' * 43}.{'b' * 43}", "-", "é", "a" * 5000])
    async def test_malformed(self, bank: RelyingParty, auth_req_id: str) -> None:
        check_json_error(await poll(bank, auth_req_id), 400, "invalid_grant")

    async def test_missing(self, bank: RelyingParty) -> None:
        check_json_error(await bank.post("/token", grant_type=GRANT), 400, "invalid_request")


class TestNoTokens:
    """Whatever ends the authority of the user between approval and redemption."""

    @pytest.mark.parametrize("what", ["disabled", "signed out", "session ended", "withdrawn", "client contained"])
    async def test_after(self, bank: RelyingParty, browser: Browser, alice: User, what: str) -> None:
        auth_req_id = await approved(bank, browser, alice)
        match what:
            case "disabled":
                assert await disable_user(alice.id, credentials_changed)
            case "signed out":
                await sign_out_everywhere(alice.id, "signed_out_by_user")
            case "session ended":
                row = await fetchrow("SELECT id FROM session WHERE user_id = $1 AND ended_at IS NULL", alice.id)
                assert row is not None
                await end_session(alice.id, row["id"], "signed_out_by_user")
            case "withdrawn":
                await consent.withdraw(alice.id, bank.client_id)
            case "client contained":
                await revoke_tokens_of_client(bank.client_id, "client_contained")
        check_json_error(await poll(bank, auth_req_id), 400, "invalid_grant")
        assert await fetch("SELECT 1 FROM token_family WHERE user_id = $1", alice.id) == []


class TestWho:
    async def test_another_user_sees_nothing(
        self, bank: RelyingParty, browser: Browser, alice: User, make_user: MakeUser
    ) -> None:
        """The page is that of a request that does not exist."""
        bob = await make_user()
        await asked(bank, alice.email)
        page = await open_request(browser, await path_of(alice), bob.email)
        gone = as_page(await browser.get("/account/requests/01a22c86-99d2-7bf7-a03a-80c8a1eee5a5"))
        assert (page.status, gone.status) == (404, 404)
        assert "Example Bank" not in page.text

    async def test_a_form_of_another_request_is_refused(
        self, bank: RelyingParty, browser: Browser, alice: User
    ) -> None:
        first = await asked(bank, alice.email)
        page = await open_request(browser, await path_of(alice), alice.email)
        second = await asked(bank, alice.email)
        form = page.forms[0].fields | {"action": "allow"}
        answer = as_page(await browser.post(await path_of(alice), form))
        assert answer.status == 400
        for auth_req_id in (first, second):
            check_json_error(await poll(bank, auth_req_id), 400, "authorization_pending")

    async def test_the_level_that_the_client_requires(
        self, make_client: MakeClient, server: Any, browser: Browser, alice: User
    ) -> None:
        """A session with one factor is asked for the second one."""
        client = await make_client(**CIBA, default_acr_values=["2"])
        person = await equip(alice, server.issuer, [Step.TOTP], two_step=False)
        auth_req_id = await asked(client, alice.email)
        await open_request(browser, "/account", alice.email)
        page = as_page(await browser.get(await path_of(alice)))
        assert "consent-allow" not in page.ids
        page = as_page(await browser.submit(page, "totp-submit", code=await person.otp()))
        await browser.submit(page, "consent-allow")
        claims = jose.verify((await poll(client, auth_req_id)).json()["id_token"], key_set.verification(), typ="JWT")
        assert claims["acr"] == "2"

    async def test_the_age_that_the_client_requires(
        self, make_client: MakeClient, browser: Browser, alice: User
    ) -> None:
        client = await make_client(**CIBA, default_max_age=60)
        await open_request(browser, "/account", alice.email)
        await execute("UPDATE session SET auth_time = auth_time - interval '2 minutes' WHERE user_id = $1", alice.id)
        await asked(client, alice.email)
        page = as_page(await browser.get(await path_of(alice)))
        assert "login-submit" in page.ids
        page = as_page(await browser.sign_in(page, alice.email, PASSWORD))
        assert "consent-allow" in page.ids


async def test_the_registration_narrows_what_was_approved(alice: User) -> None:
    """A scope that the client has lost since is not granted."""
    client, _ = await register_client(**CIBA | {"scope": "openid"})
    asked = AuthorizationRequest(client.client_id, "", "code", scope=("openid", "email"))
    request = ApprovedRequest(alice.id, asked.to_json(), clock.now(), 0, ["pwd"], "1")
    assert grant_of(request, client, alice.id).scope == "openid"
