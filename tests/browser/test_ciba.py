"""The pages of a backchannel request: accessible in light and dark, on a desktop and a phone, without JavaScript."""

import pytest
from playwright.async_api import Page, expect

from idp.accounts.tables import User
from tests.browser.conftest import sign_in
from tests.browser.test_accessibility import Look, look
from tests.conftest import MakeClient
from tests.support.ciba import CIBA, asked, page_path, poll
from tests.support.mailbox import Mailbox
from tests.support.oauth import PASSWORD

__all__ = ["look"]

pytestmark = pytest.mark.browser

MESSAGE = "Code 4711, transfer of 1,250.00 EUR to the account ending in 0123"


async def test_they_are_accessible(
    page: Page, look: Look, make_client: MakeClient, alice: User, mailbox: Mailbox
) -> None:
    client = await make_client(**CIBA)
    await asked(client, alice.email, scope="openid profile email", binding_message=MESSAGE)
    await sign_in(page, alice)
    await page.goto("/account/requests")
    await look("main a[role=button]")
    await page.goto(page_path(await mailbox.next(alice.email)))
    await look("#consent-allow")
    await page.click("#approve-report")
    await look("main [role=status]")
    await page.goto("/account/requests/01a22c86-99d2-7bf7-a03a-80c8a1eee5a5")
    await look("main a[href='/account/requests']")


async def test_a_phone_without_javascript(
    script_free: Page, make_client: MakeClient, alice: User, mailbox: Mailbox
) -> None:
    """From the mail to the decision, with the sign-in between."""
    client, page = await make_client(**CIBA), script_free
    auth_req_id = await asked(client, alice.email, binding_message=MESSAGE)
    await page.goto(page_path(await mailbox.next(alice.email)))
    await page.fill("#username", alice.email)
    await page.fill("#password", PASSWORD)
    await page.click("#login-submit")
    await expect(page.locator("#binding-message")).to_have_text(MESSAGE)
    await page.click("#consent-allow")
    await expect(page.locator("main [role=status]")).to_be_visible()
    assert (await poll(client, auth_req_id)).status_code == 200
