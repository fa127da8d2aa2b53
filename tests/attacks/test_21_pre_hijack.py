"""Row 21: registering with the address of another user first gains nothing once its owner registers.

Sign-in at other providers has a file of its own.
"""

import secrets

import pytest

from idp.accounts.tables import User
from idp.infra.db.engine import fetch, fetchrow
from tests.support.browser import Browser, Page, as_page, open_browser
from tests.support.mailbox import Mailbox
from tests.support.oauth import PASSWORD
from tests.support.server import Server

ATTACKERS = "nine green cups whistle"
OWNERS = "seven tired otters nap"


@pytest.fixture
def victim() -> str:
    return f"{secrets.token_hex(6)}@example.com"


async def _register(browser: Browser, email: str, password: str) -> Page:
    page = as_page(await browser.get("/login"))
    page = as_page(await browser.get(f"{page.path}/registration"))
    return as_page(await browser.submit(page, "register-submit", username=email, password=password))


async def _can_sign_in(server: Server, email: str, password: str) -> bool:
    async with open_browser(server.issuer) as browser:
        await browser.sign_in(as_page(await browser.get("/login")), email, password)
        return browser.signed_in


async def test_21_a_password_set_before_the_owner_came(server: Server, victim: str, mailbox: Mailbox) -> None:
    """There is no account before its address is proved, so there is no password to come back with."""
    async with open_browser(server.issuer) as attacker, open_browser(server.issuer) as owner:
        waiting = await _register(attacker, victim, ATTACKERS)
        assert not attacker.signed_in
        assert await fetchrow("SELECT 1 FROM users WHERE email = $1", victim) is None
        # The owner did not expect the mail, and opens its link.
        lure = await mailbox.next(victim)
        await owner.get(lure.path)
        assert not owner.signed_in
        assert await fetchrow("SELECT 1 FROM users WHERE email = $1", victim) is None
        # Later the owner wants an account.
        page = await _register(owner, victim, OWNERS)
        letter = await mailbox.next(victim, 2)
        assert as_page(await owner.submit(page, "code-submit", code=letter.code)).status == 200
        assert owner.signed_in
        # The attacker cannot use it even with the code of the first mail.
        answer = as_page(await attacker.submit(waiting, "code-submit", code=lure.code))
        assert answer.status == 400
        assert not attacker.signed_in
    assert not await _can_sign_in(server, victim, ATTACKERS)
    assert await _can_sign_in(server, victim, OWNERS)
    assert len(await fetch("SELECT 1 FROM users WHERE email = $1", victim)) == 1


async def test_21_an_address_that_the_attacker_claims_for_their_own_account(
    server: Server, alice: User, victim: str, mailbox: Mailbox
) -> None:
    """Alice gets nothing by the victim's address before she has proved it; then it belongs to the victim for good."""
    async with open_browser(server.issuer) as attacker, open_browser(server.issuer) as owner:
        await attacker.sign_in(as_page(await attacker.get("/login")), alice.email, PASSWORD)
        page = as_page(await attacker.get("/account/email"))
        page = as_page(await attacker.submit(page, "email-send", email=victim))
        lure = await mailbox.next(victim)
        await owner.get(lure.path)
        assert not owner.signed_in
        row = await fetchrow("SELECT email FROM users WHERE id = $1", alice.id)
        assert row is not None
        assert row["email"] == alice.email
        registration = await _register(owner, victim, OWNERS)
        letter = await mailbox.next(victim, 2)
        await owner.submit(registration, "code-submit", code=letter.code)
        assert owner.signed_in
        assert as_page(await attacker.submit(page, "code-submit", code=lure.code)).status == 400
        row = await fetchrow("SELECT email FROM users WHERE id = $1", alice.id)
        assert row is not None
        assert row["email"] == alice.email
    assert await _can_sign_in(server, victim, OWNERS)


async def test_21_a_reset_ends_all_other_sessions(server: Server, alice: User, mailbox: Mailbox) -> None:
    """The owner of the address wins: with a new password all other sessions end."""
    async with open_browser(server.issuer) as attacker, open_browser(server.issuer) as owner:
        await attacker.sign_in(as_page(await attacker.get("/login")), alice.email, PASSWORD)
        assert attacker.signed_in
        half_done = as_page(await attacker.get("/account/email"))
        page = as_page(await owner.get("/login"))
        page = as_page(await owner.get(f"{page.path}/forgot"))
        page = as_page(await owner.submit(page, "forgot-submit", username=alice.email))
        code = (await mailbox.next(alice.email)).code
        assert as_page(await owner.submit(page, "reset-submit", code=code, password=OWNERS)).status == 200
        for answer in (
            await attacker.get("/account"),
            await attacker.submit(half_done, "email-send", email="mallory@example.com"),
        ):
            assert as_page(answer).path.startswith("/login/")
    assert not await _can_sign_in(server, alice.email, PASSWORD)
