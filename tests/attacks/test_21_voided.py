"""Row 21: an unverified account is disabled, not linked, when a provider verifies its address for another user."""

import secrets
from collections.abc import Awaitable, Callable

import pytest

from idp.accounts.tables import User
from idp.federation.repository import insert_identity
from idp.infra.db.engine import execute, fetch, fetchrow
from idp.signin.transitions import Step
from tests.conftest import MakeUser
from tests.federation.conftest import Add, add, provider, sign_in
from tests.support.browser import Browser, as_page, open_browser
from tests.support.mailbox import Mailbox
from tests.support.oauth import PASSWORD, RelyingParty
from tests.support.person import equip
from tests.support.stand_ins import OpenIDProvider

__all__ = ["add", "provider"]

Come = Callable[[Browser, OpenIDProvider, Add, Mailbox, str], Awaitable[None]]


async def _vouched_for(browser: Browser, provider: OpenIDProvider, add: Add, mailbox: Mailbox, email: str) -> None:
    provider.person.email = email
    await sign_in(browser, await add(issuer=provider.issuer, trust_email=True))


async def _by_mail(browser: Browser, provider: OpenIDProvider, add: Add, mailbox: Mailbox, email: str) -> None:
    """Sign in with an untrusted provider; the owner then proves by mail that they read the address."""
    page = as_page(await sign_in(browser, await add(issuer=provider.issuer)))
    page = as_page(await browser.submit(page, "upstream-send", username=email))
    await browser.submit(page, "code-submit", code=(await mailbox.next(email)).code)


@pytest.mark.parametrize("come", [_vouched_for, _by_mail], ids=["vouched for", "by mail"])
async def test_21_the_owner_gets_an_account_of_their_own(
    browser: Browser, client: RelyingParty, provider: OpenIDProvider, add: Add, make_user: MakeUser, mailbox: Mailbox,
    come: Come,
) -> None:  # fmt: skip
    """All that the attacker prepared ends: password, passkey, app, sessions and tokens."""
    squatted = await make_user(email=f"{secrets.token_hex(6)}@example.com", name="Mallory")
    await execute("UPDATE users SET origin = 'registration' WHERE id = $1", squatted.id)
    async with open_browser(browser.issuer) as attacker:
        tokens = await client.tokens(attacker, squatted.email)
        await equip(squatted, browser.issuer, [Step.TOTP, Step.PASSKEY, Step.RECOVERY_CODE], two_step=False)

        await come(browser, provider, add, mailbox, squatted.email)
        assert browser.signed_in
        row = await fetchrow("SELECT id, name, email_verified FROM users WHERE email = $1", squatted.email)
        assert row is not None
        assert row["id"] != squatted.id
        assert (row["name"], row["email_verified"]) == (None, True)

        assert as_page(await attacker.get("/account")).path.startswith("/login/")
        assert (await client.refresh(tokens["refresh_token"])).status_code == 400
        assert (await client.userinfo(tokens["access_token"])).status_code == 401
        assert await client.introspect(tokens["access_token"]) == {"active": False}
        page = as_page(await attacker.get("/login"))
        assert as_page(await attacker.sign_in(page, squatted.email, PASSWORD)).status == 400
        assert not attacker.signed_in or as_page(await attacker.get("/account")).path.startswith("/login/")
    for table in ("passkey", "totp", "recovery_code", "identity"):
        assert await fetch(f"SELECT 1 FROM {table} WHERE user_id = $1", squatted.id) == []
    kept = await fetchrow("SELECT email, disabled_at FROM users WHERE id = $1", squatted.id)
    assert kept is not None
    assert kept["disabled_at"] is not None
    assert kept["email"].endswith("@voided.invalid")


async def test_21_an_identity_of_the_attackers_own_is_not_inherited(
    browser: Browser, provider: OpenIDProvider, add: Add, alice: User
) -> None:
    """Else they would sign in to the owner's account with it, later."""
    upstream = await add(issuer=provider.issuer, trust_email=True)
    await execute("UPDATE users SET origin = 'registration' WHERE id = $1", alice.id)
    assert await insert_identity(alice.id, provider.issuer, "mallory", upstream_id=upstream.id, used=False)
    provider.person.email = alice.email
    await sign_in(browser, upstream)
    assert browser.signed_in
    owner = provider.person.sub
    provider.person.sub, provider.person.email = "mallory", f"{secrets.token_hex(6)}@example.com"
    async with open_browser(browser.issuer) as attacker:
        await sign_in(attacker, upstream)
        rows = await fetch("SELECT user_id, subject FROM identity WHERE issuer = $1", provider.issuer)
    users = {row["subject"]: row["user_id"] for row in rows}
    assert users[owner] != users["mallory"]
    assert alice.id not in users.values()


async def test_21_a_verified_account_is_never_voided(
    browser: Browser, provider: OpenIDProvider, add: Add, alice: User, mailbox: Mailbox
) -> None:
    """Otherwise accounts could be taken away from their owners."""
    await execute("UPDATE users SET email_verified = true WHERE id = $1", alice.id)
    await _vouched_for(browser, provider, add, mailbox, alice.email)
    row = await fetchrow("SELECT email, disabled_at, password_hash FROM users WHERE id = $1", alice.id)
    assert row is not None
    assert (row["email"], row["disabled_at"], row["password_hash"]) == (alice.email, None, alice.password_hash)
    assert not browser.signed_in
