"""Row 20: a proof of an address counts for what it was asked for, where it was asked for, and nowhere else.

Sign-in at other providers has a file of its own.
"""

import secrets
from collections.abc import Awaitable, Callable

import pytest

from idp.accounts.tables import User
from idp.infra.db.engine import fetch, fetchrow
from tests.conftest import MakeUser
from tests.support.browser import Browser, Page, as_page, open_browser
from tests.support.mailbox import Letter, Mailbox
from tests.support.oauth import PASSWORD
from tests.support.server import Server

NEW_PASSWORD = "seven tired otters nap"


async def _code(browser: Browser, email: str) -> Page:
    return as_page(await browser.ask_for_code(as_page(await browser.get("/login")), email))


async def _reset(browser: Browser, email: str) -> Page:
    page = as_page(await browser.get("/login"))
    page = as_page(await browser.get(f"{page.path}/forgot"))
    return as_page(await browser.submit(page, "forgot-submit", username=email))


async def _register(browser: Browser, email: str) -> Page:
    page = as_page(await browser.get("/login"))
    page = as_page(await browser.get(f"{page.path}/registration"))
    return as_page(await browser.submit(page, "register-submit", username=email, password=NEW_PASSWORD))


WAYS: dict[str, tuple[Callable[[Browser, str], Awaitable[Page]], dict[str, str]]] = {
    "sign_in": (_code, {}),
    "reset": (_reset, {"password": NEW_PASSWORD}),
    "registration": (_register, {}),
}
BUTTONS = {"sign_in": "code-submit", "reset": "reset-submit", "registration": "code-submit"}


async def _nothing_happened(browser: Browser, answer: Page, user: User) -> None:
    assert answer.status == 400
    assert not browser.signed_in
    row = await fetchrow("SELECT password_hash FROM users WHERE id = $1", user.id)
    assert row is not None
    assert row["password_hash"] == user.password_hash


@pytest.mark.parametrize("way", WAYS)
async def test_20_a_code_counts_in_its_own_browser(
    server: Server, alice: User, make_user: MakeUser, mailbox: Mailbox, way: str
) -> None:
    """A browser that requested a code for the same address, or for another one, cannot use it."""
    ask, more = WAYS[way]
    email = alice.email if way != "registration" else f"{secrets.token_hex(6)}@example.com"
    async with open_browser(server.issuer) as owner, open_browser(server.issuer) as thief:
        own = await ask(owner, email)
        letter = await mailbox.next(email)
        for theirs in (await ask(thief, email), await ask(thief, (await make_user()).email)):
            answer = as_page(await thief.submit(theirs, BUTTONS[way], code=letter.code, **more))
            if letter.code not in [found.code for found in mailbox.to(email)[1:]]:
                await _nothing_happened(thief, answer, alice)
        # The attempts of the others did not invalidate it.
        done = await owner.submit(own, BUTTONS[way], code=letter.code, **more)
        assert as_page(done).status == 200


@pytest.mark.parametrize("asked", WAYS)
@pytest.mark.parametrize("used", WAYS)
async def test_20_a_proof_has_one_purpose(
    browser: Browser, alice: User, mailbox: Mailbox, asked: str, used: str
) -> None:
    """A code for signing in cannot set a password, and so on: in one browser, in one flow."""
    if asked == used:
        return
    email = alice.email if asked != "registration" else f"{secrets.token_hex(6)}@example.com"
    page = await WAYS[asked][0](browser, email)
    letter = await mailbox.next(email)
    flow = "/".join(page.path.split("/")[:3])
    fields = page.forms[0].fields | {"code": letter.code, "token": _token(letter), "password": NEW_PASSWORD}
    path = {"sign_in": "email_code", "reset": "forgot", "registration": "registration"}[used]
    answer = as_page(await browser.post(f"{flow}/{path}", {**fields, "username": "", "action": ""}))
    await _nothing_happened(browser, answer, alice)
    if asked != "reset":
        await _nothing_happened(browser, as_page(await browser.post("/reset", fields)), alice)
    assert as_page(await browser.post("/unlock", fields)).status == 400
    assert as_page(await browser.post("/invitation", fields)).status == 400


def _token(letter: Letter) -> str:
    return letter.link.partition("token=")[2]


async def test_20_a_link_to_sign_in_counts_in_its_own_browser(server: Server, alice: User, mailbox: Mailbox) -> None:
    """Otherwise a user who is sent the link of another sign-in would confirm it."""
    async with open_browser(server.issuer) as owner, open_browser(server.issuer) as thief:
        await _code(owner, alice.email)
        letter = await mailbox.next(alice.email)
        # There it shows the code, for the user to type at the browser that asked, and does nothing.
        await thief.get(letter.path)
        assert not thief.signed_in
        assert not await fetch("SELECT FROM session WHERE user_id = $1", alice.id)
        own = await _code(thief, (f"{secrets.token_hex(6)}@example.com"))
        flow = "/".join(own.path.split("/")[:3])
        answer = as_page(await thief.post(f"{flow}/email_code", own.forms[0].fields | {"token": _token(letter)}))
        await _nothing_happened(thief, answer, alice)


async def test_20_a_new_address_is_for_the_session_that_asked(
    server: Server, alice: User, make_user: MakeUser, mailbox: Mailbox
) -> None:
    """Bob cannot use Alice's proof of a new address, nor can another session of hers."""
    bob, new = await make_user(), f"{secrets.token_hex(6)}@example.com"
    async with open_browser(server.issuer) as hers, open_browser(server.issuer) as other:
        await hers.sign_in(as_page(await hers.get("/login")), alice.email, PASSWORD)
        await hers.submit(as_page(await hers.get("/account/email")), "email-send", email=new)
        letter = await mailbox.next(new)
        for user in (bob, alice):
            other.cookies.clear()
            await other.sign_in(as_page(await other.get("/login")), user.email, PASSWORD)
            page = as_page(await other.get("/account/email"))
            for fields in ({"code": letter.code}, {"token": _token(letter)}):
                answer = as_page(await other.post("/account/email", page.forms[-1].fields | {"action": ""} | fields))
                assert answer.status == 400
        for user in (alice, bob):
            row = await fetchrow("SELECT email FROM users WHERE id = $1", user.id)
            assert row is not None
            assert row["email"] == user.email
