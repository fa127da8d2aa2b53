"""The pages of invitations and of a user's organizations: accessible, on desktop and phone, without JavaScript."""

import secrets

import pytest
from playwright.async_api import Page, expect

from idp.directory import invitations
from tests.browser.conftest import sign_in
from tests.browser.test_accessibility import Look, look
from tests.conftest import MakeUser
from tests.support.directory import a_role_in, an_organization
from tests.support.mailbox import Mailbox
from tests.support.oauth import PASSWORD

__all__ = ["look"]

pytestmark = pytest.mark.browser

NEW_PASSWORD = "seven tired otters nap"


async def test_they_are_accessible(page: Page, look: Look, make_user: MakeUser, mailbox: Mailbox) -> None:
    ada, bob = await make_user(email_verified=True), await make_user(name="Bob Builder")
    acme, other = await an_organization(), await an_organization(name="Northwind")
    editor = await a_role_in(acme)
    await invitations.invite(acme.id, ada.email, role_ids=[editor.id], admin=True, invited_by=bob.id)
    link = (await mailbox.next(ada.email)).path
    await invitations.invite(other.id, ada.email)
    await page.goto(link)
    await look("#invitation-continue")
    await sign_in(page, bob)
    await page.goto(link)
    await look("#invitation-switch")
    await page.click("#invitation-switch")
    await sign_in_as(page, ada.email)
    await look("#invitation-accept")
    await page.goto("/account/organizations")
    await look(f"#join-{acme.slug}")
    await page.click(f"#join-{acme.slug}")
    await look("main [role=status]")
    await page.goto((await mailbox.next(ada.email, 2)).path)
    await page.click("#invitation-decline")
    await look("#invitation-declined")


async def sign_in_as(page: Page, email: str) -> None:
    await expect(page.locator("#username")).to_have_value(email)
    await page.fill("#password", PASSWORD)
    await page.click("#login-submit")
    await expect(page.locator("#invitation-accept")).to_be_visible()


async def test_a_phone_without_javascript(script_free: Page, mailbox: Mailbox) -> None:
    """From the mail to the membership of a person without an account."""
    page, email, acme = script_free, f"{secrets.token_hex(6)}@example.com", await an_organization()
    await invitations.invite(acme.id, email)
    await page.goto((await mailbox.next(email)).path)
    await page.click("#invitation-continue")
    await expect(page.locator("#username")).to_have_value(email)
    await page.fill("#new-password", NEW_PASSWORD)
    await page.click("#register-submit")
    await expect(page.locator("main [role=status]")).to_be_visible()
    await expect(page.locator("main")).to_contain_text(acme.slug)
