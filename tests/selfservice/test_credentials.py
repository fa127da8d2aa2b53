"""Changes of what gives access to an account need a second factor if the user has one, however they signed in.

Otherwise who knows the password alone could add a factor of their own, or remove that of the owner.
"""

from contextvars import Context
from html import unescape

import pytest

from idp.accounts.tables import User
from idp.errors import SessionEndedError
from idp.infra.db.engine import execute, fetch, transaction
from idp.signin import sessions
from idp.signin.browser import Browser as AnyBrowser
from idp.signin.factors import service as factors
from idp.signin.transitions import CompletedStep, Step
from tests.support.authenticator import Authenticator
from tests.support.browser import Browser, Page, as_page
from tests.support.oauth import PASSWORD
from tests.support.person import Person, equip

#: Pages with a form that needs a recent sign-in, as they are opened.
PATHS = (
    "/account/passkeys",
    "/account/totp",
    "/account/totp/remove",
    "/account/recovery-codes",
    "/account/two-step",
    "/account/password",
    "/account/email",
)
#: A sign-in by the password.
BY_PASSWORD = (CompletedStep(Step.PASSWORD, ("pwd",)),)


@pytest.fixture
async def person(browser: Browser, alice: User) -> Person:
    """Has an app and a passkey, with two-step sign-in off, and signed in by the password."""
    person = await equip(alice, browser.issuer, [Step.TOTP, Step.PASSKEY, Step.RECOVERY_CODE], two_step=False)
    page = as_page(await browser.sign_in(as_page(await browser.get("/login")), alice.email, PASSWORD))
    assert page.path == "/"
    return person


async def _prove(browser: Browser, page: Page, person: Person) -> Page:
    """Enter a code of the app at the page that asks for a second factor."""
    if "totp-submit" not in page.ids:
        page = as_page(await browser.get(f"/login/{page.path.split('/')[2]}/totp"))
    return as_page(await browser.submit(page, "totp-submit", code=await person.otp()))


@pytest.mark.parametrize("path", PATHS)
async def test_the_second_factor_is_asked_for_once(browser: Browser, person: Person, path: str) -> None:
    """And no password: that was proved a moment ago."""
    asked = as_page(await browser.get(path))
    assert asked.path.startswith("/login/")
    assert "password" not in asked.path
    opened = await _prove(browser, asked, person)
    # There is an app already, so its page has nothing to set up.
    assert opened.path == ("/account/security" if path == "/account/totp" else path)
    assert as_page(await browser.get("/account/password")).path == "/account/password"


async def test_a_posted_form_changes_nothing(browser: Browser, person: Person) -> None:
    """The forms can be sent without their pages, with the token of another page."""
    fields = as_page(await browser.get("/account/security")).forms[-1].fields
    codes = "SELECT code_hash FROM recovery_code WHERE user_id = $1 ORDER BY 1"
    before, kept = await factors.factors_of(person.user.id), await fetch(codes, person.user.id)
    for path in ("/account/totp/remove", "/account/recovery-codes", "/account/two-step", "/account/passkeys"):
        assert as_page(await browser.post(path, fields | {"two_step": "on"})).path.startswith("/login/"), path
    assert await factors.factors_of(person.user.id) == before
    assert await fetch(codes, person.user.id) == kept


async def test_a_passkey_is_added_after_another(browser: Browser, person: Person) -> None:
    page = await _prove(browser, as_page(await browser.get("/account/passkeys")), person)
    options = unescape(page.text.partition('data-options="')[2].partition('"')[0])
    form = next(form for form in page.forms if form.action == "/account/passkeys")
    credential = Authenticator(origin=browser.issuer).create(options)
    assert as_page(await browser.post(form.action, form.fields | {"credential": credential})).path.startswith(
        "/account/security"
    )
    rows = await fetch("SELECT 1 FROM passkey WHERE user_id = $1", person.user.id)
    assert len(rows) == 2


async def test_a_factor_that_is_newer_than_the_sign_in_is_not_asked_for(browser: Browser, alice: User) -> None:
    """The sign-in could not ask for it, and whoever sets up an app then gets the recovery codes."""
    await browser.sign_in(as_page(await browser.get("/login")), alice.email, PASSWORD)
    await equip(alice, browser.issuer, [Step.TOTP], two_step=False)
    for path in ("/account/recovery-codes", "/account/totp/remove", "/account/password"):
        assert as_page(await browser.get(path)).path == path


async def test_recovery_codes_alone_are_no_factor(browser: Browser, alice: User) -> None:
    await equip(alice, browser.issuer, [Step.RECOVERY_CODE], two_step=False)
    await browser.sign_in(as_page(await browser.get("/login")), alice.email, PASSWORD)
    assert as_page(await browser.get("/account/passkeys")).path == "/account/passkeys"


async def test_an_old_sign_in_is_done_again_with_both_steps(browser: Browser, person: Person) -> None:
    await execute("UPDATE session SET auth_time = now() - interval '1 hour' WHERE user_id = $1", person.user.id)
    await execute("UPDATE passkey SET created_at = now() - interval '2 hours' WHERE user_id = $1", person.user.id)
    page = as_page(await browser.get("/account/email"))
    page = as_page(await browser.sign_in(page, person.user.email, PASSWORD))
    assert page.path.startswith("/login/")
    assert (await _prove(browser, page, person)).path == "/account/email"


async def test_the_transaction_of_the_change_looks_again(alice: User, browser: Browser) -> None:
    """A request that began before the session lost its level, or had it, changes nothing afterwards."""
    await equip(alice, browser.issuer, [Step.PASSKEY], two_step=False)

    async def change(*, credentials: bool) -> None:
        sessions.guard_changes(started.session, credentials=credentials)
        async with transaction():
            await execute("UPDATE users SET name = 'Changed' WHERE id = $1", alice.id)

    async with transaction():
        started = await sessions.start(AnyBrowser(), alice.id, BY_PASSWORD)
    with pytest.raises(SessionEndedError):
        await Context().run(lambda: change(credentials=True))
    await change(credentials=False)
