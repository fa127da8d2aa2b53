"""Passkeys on our own pages, with Chromium's virtual authenticator."""

from urllib.parse import urlencode

import pytest
from playwright.async_api import Page, expect

from idp.accounts.tables import User
from idp.infra.db.engine import fetchrow
from tests.browser.conftest import HOME, sign_in, sign_out
from tests.conftest import MakeClient
from tests.support.authenticator import VirtualAuthenticator, virtual_authenticator
from tests.support.oauth import PASSWORD
from tests.support.server import Server

pytestmark = pytest.mark.browser


async def _create(page: Page, user: User) -> VirtualAuthenticator:
    device = await virtual_authenticator(page)
    await sign_in(page, user)
    await page.goto("/account/security")
    await page.click("#passkey-add")
    await page.click("#passkey-create")
    await expect(page.get_by_role("status")).to_be_visible()
    assert len(await device.credentials()) == 1
    return device


async def test_made_named_used_and_removed(page: Page, alice: User) -> None:
    device = await _create(page, alice)
    name = page.locator("form[action^='/account/passkeys/'] input[name=name]")
    await name.fill("My phone")
    await page.get_by_role("button", name="Rename").click()
    await expect(name).to_have_value("My phone")

    # Autofill offers it as soon as the page is open; the virtual authenticator accepts the offer.
    await sign_out(page)
    await page.goto("/login")
    await expect(page).to_have_url(HOME)
    row = await fetchrow("SELECT amr, acr FROM session WHERE user_id = $1 ORDER BY created_at DESC LIMIT 1", alice.id)
    assert row is not None
    assert (row["amr"], row["acr"]) == (["hwk", "user", "mfa"], "phr")

    await page.goto("/account/security")
    await page.locator("form[action^='/account/passkeys/']").get_by_role("button", name="Remove").click()
    await page.click("#ask-confirm")
    await expect(page.get_by_role("status")).to_be_visible()
    await expect(name).to_have_count(0)
    # The device still has it, but it is useless.
    await sign_out(page)
    await page.goto("/login")
    await expect(page.get_by_role("alert").first).to_be_visible()
    assert len(await device.credentials()) == 1


async def test_sign_in_by_the_button(page: Page, alice: User) -> None:
    device = await _create(page, alice)
    await sign_out(page)
    # Without autofill, which would sign in by itself as soon as the authenticator can verify a user.
    await page.add_init_script("PublicKeyCredential.isConditionalMediationAvailable = async () => false")
    await device.set_user_verified(False)
    await page.goto("/login")
    await page.click("#passkey-get")
    await expect(page.locator("#passkey-message")).to_be_visible()
    await device.set_user_verified(True)
    await page.click("#passkey-get")
    await expect(page).to_have_url(HOME)


async def test_a_passkey_as_the_second_step(page: Page, alice: User) -> None:
    device = await _create(page, alice)
    await page.click("#two-step")
    await expect(page.get_by_role("status")).to_be_visible()
    await sign_out(page)
    await device.set_user_verified(False)
    await sign_in(page, alice, PASSWORD)
    await expect(page.locator("#passkey-get")).to_be_visible()
    await expect(page.locator("#username")).to_have_count(0)
    await device.set_user_verified(True)
    await page.click("#passkey-get")
    await expect(page).to_have_url(HOME)


async def test_made_on_the_way_because_an_application_insists(
    page: Page, server: Server, make_client: MakeClient, alice: User
) -> None:
    await virtual_authenticator(page)
    metadata = {"application_type": "native", "redirect_uris": [f"{server.issuer}/callback"]}
    client = await make_client(default_acr_values=["phr"], skip_consent=True, **metadata)
    await page.goto(f"/authorize?{urlencode(client.parameters())}")
    await page.fill("#username", alice.email)
    await page.fill("#password", PASSWORD)
    await page.click("#login-submit")
    await expect(page.locator("#enrol-skip")).to_have_count(0)
    await page.click("#passkey-create")
    await page.click("#codes-kept")
    await page.wait_for_url("**/callback?**")
    assert "code=" in page.url
