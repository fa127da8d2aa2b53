"""Sign-in, registration and recovery by mail, with the code and with the link."""

import secrets
from typing import Any

import pytest

from idp.accounts import invitations
from idp.accounts.tables import User
from idp.infra.db.engine import execute, fetchrow
from tests.conftest import MakeUser
from tests.support.browser import Browser, Page, Redirect, as_page, open_browser
from tests.support.mailbox import Mailbox
from tests.support.oauth import PASSWORD, RelyingParty

NEW_PASSWORD = "seven tired otters nap"


@pytest.fixture
def newcomer() -> str:
    return f"{secrets.token_hex(6)}@example.com"


async def _finish(browser: Browser, answer: Page | Redirect) -> Redirect:
    if isinstance(answer, Page) and "consent-allow" in answer.ids:
        answer = await browser.submit(answer, "consent-allow")
    assert isinstance(answer, Redirect), answer.text
    assert "code" in answer.parameters
    return answer


async def _ask(browser: Browser, client: RelyingParty, email: str) -> Page:
    """Request a code on the first page, with the address and without a password."""
    return as_page(await browser.ask_for_code(as_page(await client.authorize(browser)), email))


async def test_sign_in_by_code(browser: Browser, client: RelyingParty, alice: User, mailbox: Mailbox) -> None:
    page = await _ask(browser, client, alice.email)
    assert alice.email in page.text
    letter = await mailbox.next(alice.email)
    assert letter.subject.startswith(letter.code)
    wrong = as_page(await browser.submit(page, "code-submit", code="1234"))
    assert wrong.status == 400
    await _finish(browser, await browser.submit(wrong, "code-submit", code=f"{letter.code[:3]} {letter.code[3:]}"))
    row = await fetchrow("SELECT email_verified FROM users WHERE id = $1", alice.id)
    assert row is not None
    assert row["email_verified"]


async def test_sign_in_by_link(browser: Browser, client: RelyingParty, alice: User, mailbox: Mailbox) -> None:
    await _ask(browser, client, alice.email)
    letter = await mailbox.next(alice.email)
    page = as_page(await browser.get(letter.path))
    assert "link-submit" in page.ids
    await _finish(browser, await browser.submit(page, "link-submit"))


async def test_another_code_takes_the_place_of_the_first(
    browser: Browser, client: RelyingParty, alice: User, mailbox: Mailbox
) -> None:
    page = await _ask(browser, client, alice.email)
    first = await mailbox.next(alice.email)
    page = as_page(await browser.submit(page, "code-resend"))
    second = await mailbox.next(alice.email, 2)
    if first.code != second.code:
        page = as_page(await browser.submit(page, "code-submit", code=first.code))
        assert page.status == 400
    await _finish(browser, await browser.submit(page, "code-submit", code=second.code))


async def test_a_code_expires(browser: Browser, client: RelyingParty, alice: User, mailbox: Mailbox) -> None:
    page = await _ask(browser, client, alice.email)
    letter = await mailbox.next(alice.email)
    await execute("UPDATE email_proof SET expires_at = now() WHERE email = $1", alice.email)
    assert as_page(await browser.submit(page, "code-submit", code=letter.code)).status == 400


async def test_an_invalid_address(browser: Browser, client: RelyingParty) -> None:
    for text in ("", "nobody", "a@b@c"):
        page = await _ask(browser, client, text)
        assert page.status == 400
        assert 'role="alert"' in page.text


async def test_without_codes(start_server: Any, browser: Browser) -> None:
    """The operator can switch them off."""
    import asyncio

    server = await asyncio.to_thread(start_server, IDP_EMAIL_CODE_SIGN_IN="false")
    async with open_browser(server.issuer) as other:
        page = as_page(await other.get("/login"))
        assert "email-code-send" not in page.ids
        answer = as_page(await other.get(f"{page.path}/email_code"))
        assert "login-submit" in answer.ids


# A new account


async def _register(browser: Browser, client: RelyingParty, email: str, **fields: str) -> Page:
    page = as_page(await client.authorize(browser))
    page = as_page(await browser.get(f"{page.path}/registration"))
    given = {"username": email, "name": "New Comer", "password": NEW_PASSWORD}
    return as_page(await browser.submit(page, "register-submit", **given | fields))


async def test_an_account_by_code(browser: Browser, client: RelyingParty, newcomer: str, mailbox: Mailbox) -> None:
    page = await _register(browser, client, newcomer)
    letter = await mailbox.next(newcomer)
    assert await fetchrow("SELECT 1 FROM users WHERE email = $1", newcomer) is None
    answer = await _finish(browser, await browser.submit(page, "code-submit", code=letter.code))
    userinfo = (await client.userinfo((await client.redeem(answer.parameters["code"])).json()["access_token"])).json()
    assert (userinfo["email"], userinfo["email_verified"], userinfo["name"]) == (newcomer, True, "New Comer")
    assert "Welcome" in (await mailbox.next(newcomer, 2)).subject
    browser.cookies.clear()
    await client.sign_in(browser, newcomer, NEW_PASSWORD)


async def test_an_account_by_link(browser: Browser, client: RelyingParty, newcomer: str, mailbox: Mailbox) -> None:
    await _register(browser, client, newcomer)
    page = as_page(await browser.get((await mailbox.next(newcomer)).path))
    await _finish(browser, await browser.submit(page, "link-submit"))


async def test_another_address_after_all(
    browser: Browser, client: RelyingParty, newcomer: str, mailbox: Mailbox
) -> None:
    page = await _register(browser, client, f"x{newcomer}")
    page = as_page(await browser.submit(page, "registration-restart"))
    assert "register-submit" in page.ids
    page = as_page(await browser.submit(page, "register-submit", username=newcomer, password=NEW_PASSWORD))
    await _finish(browser, await browser.submit(page, "code-submit", code=(await mailbox.next(newcomer)).code))


@pytest.mark.parametrize("password", ["short", "password1", "", "x" * 1025])
async def test_a_password_that_is_not_good_enough(
    browser: Browser, client: RelyingParty, newcomer: str, password: str
) -> None:
    page = await _register(browser, client, newcomer, password=password)
    assert page.status == 400
    assert f'value="{newcomer}"' in page.text
    assert 'value="New Comer"' in page.text


async def test_an_existing_user_is_told_by_mail_only(
    browser: Browser, client: RelyingParty, alice: User, mailbox: Mailbox
) -> None:
    page = await _register(browser, client, alice.email)
    assert "code-submit" in page.ids
    letter = await mailbox.next(alice.email)
    assert "already" in letter.subject
    for code in ("000000", "123456"):
        assert as_page(await browser.submit(page, "code-submit", code=code)).status == 400


async def test_an_invitation(browser: Browser, newcomer: str, mailbox: Mailbox) -> None:
    await invitations.invite(newcomer, "Invited One")
    letter = await mailbox.next(newcomer)
    # The issuer of the command's process differs from that of the server.
    page = as_page(await browser.get(letter.path))
    assert newcomer in page.text
    page = as_page(await browser.submit(page, "invitation-accept"))
    assert f'value="{newcomer}"' in page.text
    home = as_page(await browser.submit(page, "register-submit", password=NEW_PASSWORD))
    assert newcomer in home.text
    again = as_page(await browser.get(letter.path))
    assert again.status == 400


# A forgotten password


async def _forgot(browser: Browser, client: RelyingParty, email: str) -> Page:
    page = as_page(await client.authorize(browser))
    page = as_page(await browser.get(f"{page.path}/forgot"))
    return as_page(await browser.submit(page, "forgot-submit", username=email))


async def test_a_new_password_by_code(browser: Browser, client: RelyingParty, alice: User, mailbox: Mailbox) -> None:
    """The sign-in continues afterwards."""
    page = await _forgot(browser, client, alice.email)
    code = (await mailbox.next(alice.email)).code
    weak = as_page(await browser.submit(page, "reset-submit", code=code, password="password"))
    assert weak.status == 400
    done = as_page(await browser.submit(weak, "reset-submit", code=code, password=NEW_PASSWORD))
    assert "to-login" in done.ids
    login = as_page(await browser.get(page.path.removesuffix("/forgot")))
    await _finish(browser, await browser.sign_in(login, alice.email, NEW_PASSWORD))
    assert "changed" in (await mailbox.next(alice.email, 2)).subject


async def test_a_new_password_by_link_in_any_browser(
    browser: Browser, client: RelyingParty, alice: User, mailbox: Mailbox
) -> None:
    """Users read mail on their phones. Sessions and tokens from the old password end."""
    tokens = await client.tokens(browser, alice.email)
    async with open_browser(client.issuer) as desktop:
        await _forgot(desktop, client, alice.email)
    letter = await mailbox.next(alice.email)
    async with open_browser(client.issuer) as phone:
        page = as_page(await phone.get(letter.path))
        assert alice.email in page.text
        weak = as_page(await phone.submit(page, "reset-submit", password="short"))
        assert weak.status == 400
        done = as_page(await phone.submit(weak, "reset-submit", password=NEW_PASSWORD))
        assert "to-login" in done.ids
        assert not any("session" in name for name in phone.cookies)
        assert as_page(await phone.get(letter.path)).status == 400
        wrong = as_page(await phone.get("/login"))
        assert as_page(await phone.sign_in(wrong, alice.email, PASSWORD)).status == 400
    assert (await client.refresh(tokens["refresh_token"])).status_code == 400
    answer = await client.authorize(browser, prompt="none")
    assert isinstance(answer, Redirect)
    assert answer.parameters["error"] == "login_required"


async def test_a_user_without_a_password_can_set_one(
    browser: Browser, client: RelyingParty, make_user: MakeUser, mailbox: Mailbox
) -> None:
    user = await make_user(password=None)
    page = await _forgot(browser, client, user.email)
    code = (await mailbox.next(user.email)).code
    await browser.submit(page, "reset-submit", code=code, password=NEW_PASSWORD)
    await client.sign_in(browser, user.email, NEW_PASSWORD)
