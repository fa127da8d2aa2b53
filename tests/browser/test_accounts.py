"""Registration, sign-in, password reset and the account pages in a real browser."""

import json
import re
import secrets
from base64 import b64decode

import pyotp
import pytest
from playwright.async_api import Page, expect

from idp.accounts.tables import User
from idp.infra.db.engine import execute
from tests.browser.conftest import HOME, sign_in, sign_out
from tests.support.mailbox import Mailbox

pytestmark = pytest.mark.browser

NEW_PASSWORD = "seven tired otters nap"


async def _register(page: Page, email: str) -> None:
    await page.goto("/login")
    await page.click("#register")
    await page.fill("#username", email)
    await page.fill("#name", "New Comer")
    await page.fill("#new-password", NEW_PASSWORD)
    await page.click("#register-submit")
    await expect(page.locator("#code")).to_be_focused()


async def test_registration_by_code(page: Page, newcomer: str, mailbox: Mailbox) -> None:
    await _register(page, newcomer)
    await page.keyboard.type((await mailbox.next(newcomer)).code)
    await page.keyboard.press("Enter")
    await expect(page).to_have_url(HOME)
    await expect(page.get_by_text("New Comer")).to_be_visible()


async def test_registration_by_link(page: Page, newcomer: str, mailbox: Mailbox) -> None:
    await _register(page, newcomer)
    await page.goto((await mailbox.next(newcomer)).path)
    await page.click("#link-submit")
    await expect(page).to_have_url(HOME)


async def test_a_code_by_mail(page: Page, alice: User, mailbox: Mailbox) -> None:
    await page.goto("/login")
    await page.fill("#username", alice.email)
    await page.click("#email-code-send")
    await page.fill("#code", "000000")
    await page.click("#code-submit")
    await expect(page.get_by_role("alert")).to_be_visible()
    await page.fill("#code", (await mailbox.next(alice.email)).code)
    await page.click("#code-submit")
    await expect(page).to_have_url(HOME)


async def test_a_forgotten_password(page: Page, alice: User, mailbox: Mailbox) -> None:
    """The mail is read on another device. The sign-in continues here."""
    await page.goto("/login")
    await page.click("#forgot")
    await page.fill("#username", alice.email)
    await page.click("#forgot-submit")
    await expect(page.locator("#code")).to_be_visible()
    letter = await mailbox.next(alice.email)
    assert page.context.browser is not None
    elsewhere = await page.context.browser.new_context(base_url=page.url.partition("/login")[0])
    other = await elsewhere.new_page()
    await other.goto(letter.path)
    await other.fill("#new-password", "password")
    await other.click("#reset-submit")
    await expect(other.get_by_role("alert")).to_be_visible()
    await other.fill("#new-password", NEW_PASSWORD)
    await other.click("#reset-submit")
    await expect(other.locator("#to-login")).to_be_visible()
    await elsewhere.close()
    await sign_in(page, alice, NEW_PASSWORD)
    await expect(page).to_have_url(HOME)


async def test_an_authenticator_app_and_recovery_codes(page: Page, alice: User, mailbox: Mailbox) -> None:
    await sign_in(page, alice)
    await page.click("#to-account")
    await page.click("text=Sign-in and security")
    await page.click("#totp-add")
    await page.click("summary")
    app = pyotp.TOTP((await page.inner_text("#totp-secret")).strip())
    await page.fill("#code", app.now())
    await page.click("#totp-confirm")
    codes = await page.locator("#recovery-codes code").all_inner_texts()
    assert len(set(codes)) == 10
    await page.click("text=saved them")
    await expect(page.locator("#totp-remove")).to_be_visible()
    await mailbox.about(alice.email, "authenticator")

    await sign_out(page)
    await sign_in(page, alice)
    await expect(page.locator("#code")).to_be_focused()
    await execute("UPDATE totp SET last_step = 0 WHERE user_id = $1", alice.id)
    await page.fill("#code", app.now())
    await page.click("#totp-submit")
    await expect(page).to_have_url(HOME)

    await sign_out(page)
    await sign_in(page, alice)
    await page.click("text=Use a recovery code")
    await page.fill("#code", codes[0])
    await page.click("#recovery-submit")
    await expect(page).to_have_url(HOME)


async def test_profile_password_and_address(page: Page, alice: User, mailbox: Mailbox) -> None:
    await sign_in(page, alice)
    await page.goto("/account")
    await page.click("#details-links")
    await page.fill("#nickname", "Ali")
    await page.fill("#birth_year", "yesterday")
    await page.click("#profile-save")
    await expect(page.get_by_role("alert")).to_be_visible()
    await expect(page.locator("#nickname")).to_have_value("Ali")
    await page.fill("#birth_year", "")
    await page.fill("#birthdate", "1990-12-31")
    await page.click("#profile-save")
    await expect(page.get_by_role("status")).to_be_visible()

    await page.goto("/account/security")
    await page.click("#password-change")
    await page.fill("#new-password", NEW_PASSWORD)
    await page.click("#password-save")
    await expect(page.get_by_role("status")).to_be_visible()

    new = f"{secrets.token_hex(6)}@example.com"
    await page.goto("/account/email")
    await page.fill("#email", new)
    await page.click("#email-send")
    await page.fill("#code", (await mailbox.next(new)).code)
    await page.click("#code-submit")
    await expect(page.get_by_role("status")).to_be_visible()
    await expect(page.get_by_text(new).first).to_be_visible()


async def test_a_picture_is_made_smaller(page: Page, alice: User) -> None:
    """By the browser, so that the server gets no large photo and no metadata."""
    await sign_in(page, alice)
    await page.goto("/account")
    large = await page.evaluate(
        """() => {
            const canvas = document.createElement("canvas");
            [canvas.width, canvas.height] = [1200, 900];
            const context = canvas.getContext("2d");
            for (let x = 0; x < 1200; x += 4) {
                context.fillStyle = `rgb(${(x * 7) % 256} ${(x * 13) % 256} ${(x * 29) % 256})`;
                context.fillRect(x, 0, 4, 900 - (x % 500));
            }
            return canvas.toDataURL("image/png").split(",")[1];
        }"""
    )
    await page.set_input_files("#file", {"name": "me.png", "mimeType": "image/png", "buffer": b64decode(large)})
    await expect(page.locator("#file")).to_have_js_property("value", r"C:\fakepath\picture.jpg")
    await page.click("#picture-save")
    await expect(page.get_by_role("status")).to_be_visible()
    picture = page.locator(".portrait img")
    await expect(picture).to_have_js_property("naturalWidth", 256)
    await expect(picture).to_have_js_property("naturalHeight", 256)
    await page.click("#picture-remove")
    await page.click("#ask-confirm")
    await expect(picture).to_have_count(0)


async def test_the_list_of_sessions(page: Page, alice: User) -> None:
    await sign_in(page, alice)
    assert page.context.browser is not None
    elsewhere = await page.context.browser.new_context(base_url=page.url)
    other = await elsewhere.new_page()
    await sign_in(other, alice)
    await expect(other).to_have_url(HOME)
    await page.goto("/account/sessions")
    await expect(page.get_by_text("This browser")).to_have_count(1)
    await page.get_by_role("listitem").get_by_role("button", name="Sign out").click()
    await page.click("#ask-confirm")
    await expect(page.get_by_role("status")).to_be_visible()
    await other.goto("/account")
    await expect(other.locator("#login-submit")).to_be_visible()
    await elsewhere.close()


async def test_the_tab_of_the_page_is_in_sight(page: Page, alice: User) -> None:
    """On a phone the tabs are one row, which is scrolled."""
    await sign_in(page, alice)
    for path in ("", "/sessions", "/data"):
        await page.goto(f"/account{path}")
        await expect(page.locator(".tabs [aria-current]")).to_be_in_viewport(ratio=1)


async def test_taking_it_along_and_going(page: Page, alice: User) -> None:
    await sign_in(page, alice)
    await page.goto("/account/data")
    async with page.expect_download() as download:
        await page.click("#data-download")
    content = json.loads((await (await download.value).path()).read_text())
    assert content["claims"]["email"] == alice.email
    await page.fill("#email", alice.email)
    await page.click("#account-delete")
    await expect(page.get_by_text("deleted").first).to_be_visible()
    await sign_in(page, alice)
    await expect(page.get_by_role("alert")).to_be_visible()


@pytest.mark.fault(24)
async def test_a_tab_that_waits_goes_on_by_itself(page: Page, alice: User) -> None:
    """After a sign-in in another tab, the user need not enter the password again."""
    waiting = await page.context.new_page()
    await waiting.goto("/account/data")
    await expect(waiting.locator("#login-submit")).to_be_visible()
    back = "document.dispatchEvent(new Event('visibilitychange'))"
    async with waiting.expect_response(lambda response: response.request.method == "HEAD") as told:
        await waiting.evaluate(back)
    assert (await told.value).status == 200
    await sign_in(page, alice)
    await expect(page).to_have_url(HOME)
    await expect(waiting.locator("#login-submit")).to_be_visible()
    await waiting.evaluate(back)
    await expect(waiting).to_have_url(re.compile("/account/data$"))
