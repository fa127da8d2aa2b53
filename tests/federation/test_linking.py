"""Linking and unlinking identities on the account page."""

import re
from uuid import uuid4

from idp.accounts.tables import User
from idp.infra.db.engine import execute, fetch, fetchrow
from idp.signin.transitions import Step
from tests.conftest import MakeUser
from tests.federation.conftest import Add, sign_in, visit
from tests.support.browser import Browser, Page, Redirect, as_page, open_browser
from tests.support.mailbox import Mailbox
from tests.support.oauth import PASSWORD
from tests.support.person import equip
from tests.support.stand_ins import OpenIDProvider


async def _home(browser: Browser, user: User) -> Page:
    """The page of what protects the account, after a sign-in."""
    browser.cookies.clear()
    await browser.sign_in(as_page(await browser.get("/login")), user.email, PASSWORD)
    return as_page(await browser.get("/account/security"))


def _href(page: Page, upstream_id: str) -> str:
    return page.text.partition(f'id="link-{upstream_id}"')[2].partition('href="')[2].partition('"')[0]


async def _connect(browser: Browser, page: Page, upstream_id: str) -> Page | Redirect:
    away = await browser.get(_href(page, upstream_id))
    assert isinstance(away, Redirect), away.text
    return await browser.get(await visit(away.location))


async def test_connecting_and_parting(
    browser: Browser, provider: OpenIDProvider, add: Add, alice: User, mailbox: Mailbox
) -> None:
    """Its address does not matter: she is signed in here and there."""
    upstream = await add(issuer=provider.issuer, trust_email=True)
    page = as_page(await _connect(browser, await _home(browser, alice), upstream.id))
    assert page.path == "/account/security"
    assert 'role="status"' in page.text
    assert str(provider.person.email) in page.text
    assert f"link-{upstream.id}" not in page.ids
    assert "connected" in (await mailbox.next(alice.email)).subject
    async with open_browser(browser.issuer) as other:
        await sign_in(other, upstream)
        assert alice.email in as_page(await other.get("/account/security")).text
        exported = as_page(await other.submit(as_page(await other.get("/account/data")), "data-download"))
        assert str(provider.person.email) in exported.text
    page = as_page(await browser.get(_unlink(page)))
    assert upstream.name in page.text
    page = as_page(await browser.submit(page, "ask-confirm"))
    assert f"link-{upstream.id}" in page.ids
    await mailbox.about(alice.email, "disconnected")
    async with open_browser(browser.issuer) as other:
        await sign_in(other, upstream)
        assert alice.email not in as_page(await other.get("/account/security")).text


async def test_an_identity_of_another_user(
    browser: Browser, provider: OpenIDProvider, add: Add, alice: User, make_user: MakeUser
) -> None:
    upstream = await add(issuer=provider.issuer)
    bob = await make_user()
    await _connect(browser, await _home(browser, bob), upstream.id)
    for disabled_at in ("NULL", "now()"):
        await execute(f"UPDATE users SET disabled_at = {disabled_at} WHERE id = $1", bob.id)
        refused = as_page(await _connect(browser, await _home(browser, alice), upstream.id))
        assert refused.status == 400
    (row,) = await fetch("SELECT user_id FROM identity WHERE subject = $1", provider.person.sub)
    assert row["user_id"] == bob.id


async def test_only_shortly_after_a_sign_in(browser: Browser, provider: OpenIDProvider, add: Add, alice: User) -> None:
    """To begin it, to end it, and to part with one."""
    upstream = await add(issuer=provider.issuer)
    page = await _home(browser, alice)
    away = await browser.get(_href(page, upstream.id))
    assert isinstance(away, Redirect)
    back = await visit(away.location)
    await execute("UPDATE session SET auth_time = now() - interval '1 hour' WHERE user_id = $1", alice.id)
    assert not isinstance(await browser.get(_href(page, upstream.id)), Redirect)
    assert as_page(await browser.get(back)).status == 400
    fields = as_page(await browser.get("/account/sessions")).forms[-1].fields
    assert as_page(await browser.post(f"/account/upstreams/{uuid4()}/unlink", fields)).path.startswith("/login/")
    assert await fetchrow("SELECT 1 FROM identity WHERE user_id = $1", alice.id) is None


async def test_only_with_the_second_factor(browser: Browser, provider: OpenIDProvider, add: Add, alice: User) -> None:
    """To begin it and to end it: with an identity at a provider that is trusted with two factors, one could add any."""
    upstream = await add(issuer=provider.issuer)
    person = await equip(alice, browser.issuer, [Step.TOTP], two_step=False)
    page = await _home(browser, alice)
    asked = as_page(await browser.get(_href(page, upstream.id)))
    page = as_page(await browser.sign_in(asked, alice.email, PASSWORD))
    page = as_page(await browser.submit(page, "totp-submit", code=await person.otp()))
    assert page.path == "/account/security"
    away = await browser.get(_href(page, upstream.id))
    assert isinstance(away, Redirect)
    back = await visit(away.location)
    await execute("UPDATE session SET acr = '1', steps = ARRAY['password pwd'] WHERE user_id = $1", alice.id)
    assert as_page(await browser.get(back)).status == 400
    assert await fetchrow("SELECT 1 FROM identity WHERE user_id = $1", alice.id) is None


async def test_an_attacker_cannot_link_an_identity(
    browser: Browser, provider: OpenIDProvider, add: Add, alice: User, make_user: MakeUser
) -> None:
    """A link does not help, and neither does an attacker's callback."""
    upstream = await add(issuer=provider.issuer)
    page = await _home(browser, alice)
    for href in (f"/account/upstreams/{upstream.id}/link", _href(page, upstream.id)[:-1] + "x"):
        assert as_page(await browser.get(href)).status == 400
    async with open_browser(browser.issuer) as mallory:
        away = await mallory.get(_href(await _home(mallory, await make_user()), upstream.id))
        assert isinstance(away, Redirect)
        back = await visit(away.location)
    assert as_page(await browser.get(back)).status == 400
    assert await fetchrow("SELECT 1 FROM identity WHERE user_id = $1", alice.id) is None


def _unlink(page: Page) -> str:
    """Confirm the page that asks before an identity is unlinked."""
    found = re.search(r'href="(/account/upstreams/[^"]+/unlink)"', page.text)
    assert found
    return found[1]


async def test_the_last_way_in_stays(browser: Browser, provider: OpenIDProvider, add: Add, make_user: MakeUser) -> None:
    """Without a password, a passkey or a verified address there is no other."""
    upstream = await add(issuer=provider.issuer, trust_email=True)
    await sign_in(browser, upstream)
    row = await fetchrow("SELECT id, user_id FROM identity WHERE subject = $1", provider.person.sub)
    assert row is not None
    await execute("UPDATE users SET email_verified = false WHERE id = $1", row["user_id"])
    page = as_page(await browser.get("/account/security"))
    asked = as_page(await browser.get(_unlink(page)))
    shown = as_page(await browser.submit(asked, "ask-confirm"))
    assert "only way" in shown.text
    assert await fetchrow("SELECT 1 FROM identity WHERE id = $1", row["id"]) is not None
    await execute("UPDATE users SET email_verified = true WHERE id = $1", row["user_id"])
    await browser.submit(asked, "ask-confirm")
    assert await fetchrow("SELECT 1 FROM identity WHERE id = $1", row["id"]) is None


async def test_identities_of_another_user_cannot_be_unlinked(
    browser: Browser, provider: OpenIDProvider, add: Add, alice: User, make_user: MakeUser
) -> None:
    upstream = await add(issuer=provider.issuer)
    await _connect(browser, await _home(browser, await make_user()), upstream.id)
    row = await fetchrow("SELECT id FROM identity WHERE subject = $1", provider.person.sub)
    assert row is not None
    await _home(browser, alice)
    fields = as_page(await browser.get("/account/sessions")).forms[-1].fields
    await browser.post(f"/account/upstreams/{row['id']}/unlink", fields)
    assert await fetchrow("SELECT 1 FROM identity WHERE id = $1", row["id"]) is not None
