"""Row 27: the server decides where a code is sent, and a code proves the address that it was sent to."""

import secrets

import pytest

from idp.accounts.tables import User
from idp.infra.db.engine import fetchrow
from tests.conftest import MakeClient, MakeUser
from tests.support.browser import Browser, as_page, open_browser
from tests.support.mailbox import Mailbox
from tests.support.oauth import PASSWORD
from tests.support.server import Server

NEW_PASSWORD = "seven tired otters nap"
#: Fields that might name another recipient.
NAMES = ("username", "email", "to", "recipient", "user_id", "sub", "login_hint", "sent_to", "flow_id", "address")


@pytest.fixture
async def mallory(make_user: MakeUser) -> User:
    return await make_user(name="Mallory")


def _overrides(value: str) -> dict[str, str]:
    return dict.fromkeys(NAMES, value)


async def test_27_a_code_of_mine_is_no_code_of_hers(
    browser: Browser, alice: User, mallory: User, mailbox: Mailbox
) -> None:
    """With a valid code for one's own address, whatever other fields the form has."""
    page = as_page(await browser.ask_for_code(as_page(await browser.get("/login")), mallory.email))
    code = (await mailbox.next(mallory.email)).code
    form = next(form for form in page.forms if "code-submit" in form.buttons)
    await browser.post(page.path, form.fields | _overrides(alice.email) | {"user_id": str(alice.id), "code": code})
    assert browser.signed_in
    assert alice.email not in as_page(await browser.get("/account")).text
    assert mailbox.to(alice.email) == []


@pytest.mark.parametrize("separator", [",", ";", " ", "\n", "\r\nBcc: ", "%0a", "\0", ">,<"])
async def test_27_one_address_at_a_time(
    browser: Browser, alice: User, mallory: User, mailbox: Mailbox, separator: str
) -> None:
    for both in (f"{alice.email}{separator}{mallory.email}", f"{mallory.email}{separator}{alice.email}"):
        page = as_page(await browser.ask_for_code(as_page(await browser.get("/login")), both))
        assert page.status == 400
    assert mailbox.to(mallory.email) == mailbox.to(alice.email) == []


async def test_27_sending_it_again_goes_where_it_went(
    browser: Browser, alice: User, mallory: User, mailbox: Mailbox
) -> None:
    """Naming another address requests another code, and the first one is invalid."""
    page = as_page(await browser.ask_for_code(as_page(await browser.get("/login")), alice.email))
    hers = await mailbox.next(alice.email)
    form = next(form for form in page.forms if "code-resend" in form.buttons)
    await browser.post(page.path, form.fields | {"action": "send", "username": mallory.email})
    mine = await mailbox.next(mallory.email)
    if hers.code != mine.code:
        form = next(form for form in page.forms if "code-submit" in form.buttons)
        assert as_page(await browser.post(page.path, form.fields | {"code": hers.code})).status == 400
    await browser.post(page.path, form.fields | {"code": mine.code, "username": alice.email})
    assert browser.signed_in
    assert mallory.email in as_page(await browser.get("/account/security")).text


async def test_27_an_address_changed_after_the_mail(server: Server, alice: User, mailbox: Mailbox) -> None:
    """A code that was sent to the old address is not valid for the account any more."""
    new = f"{secrets.token_hex(6)}@example.com"
    async with open_browser(server.issuer) as browser:
        page = as_page(await browser.ask_for_code(as_page(await browser.get("/login")), alice.email))
        code = (await mailbox.next(alice.email)).code
        async with open_browser(server.issuer) as own:
            await own.sign_in(as_page(await own.get("/login")), alice.email, PASSWORD)
            change = as_page(await own.submit(as_page(await own.get("/account/email")), "email-send", email=new))
            await own.submit(change, "code-submit", code=(await mailbox.next(new)).code)
        answer = as_page(await browser.submit(page, "code-submit", code=code))
        assert answer.status == 400
        assert not browser.signed_in


async def test_27_a_new_password_is_for_whom_the_mail_went_to(
    browser: Browser, alice: User, mallory: User, mailbox: Mailbox
) -> None:
    page = as_page(await browser.get("/login"))
    page = as_page(await browser.get(f"{page.path}/forgot"))
    page = as_page(await browser.submit(page, "forgot-submit", username=mallory.email))
    letter = await mailbox.next(mallory.email)
    form = next(form for form in page.forms if "reset-submit" in form.buttons)
    fields = form.fields | _overrides(alice.email) | {"user_id": str(alice.id)}
    done = as_page(await browser.post(page.path, fields | {"code": letter.code, "password": NEW_PASSWORD}))
    assert "to-login" in done.ids
    for user, changed in ((mallory, True), (alice, False)):
        row = await fetchrow("SELECT password_hash FROM users WHERE id = $1", user.id)
        assert row is not None
        assert (row["password_hash"] != user.password_hash) == changed


async def test_27_the_challenge_endpoint(make_client: MakeClient, alice: User, mallory: User, mailbox: Mailbox) -> None:
    app = await make_client(authorization_challenge=True, skip_consent=True)
    parameters = app.parameters(redirect_uri=None, response_type=None, state=None)
    first = await app.post("/challenge", **parameters, step="email_code", action="send", username=mallory.email)
    code = (await mailbox.next(mallory.email)).code
    fields = _overrides(alice.email) | {"otp": code, "step": "email_code"}
    answer = await app.post("/challenge", auth_session=first.json()["auth_session"], **fields)
    redeemed = await app.post(
        "/token",
        grant_type="authorization_code",
        code=answer.json()["authorization_code"],
        code_verifier=app.verifier,
    )
    claims = (await app.userinfo(redeemed.json()["access_token"])).json()
    assert claims["sub"] == str(mallory.id)
    assert mailbox.to(alice.email) == []
