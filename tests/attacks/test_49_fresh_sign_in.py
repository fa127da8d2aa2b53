"""Row 49: credentials can be changed only shortly after a sign-in, and the owner is notified."""

import secrets

import pytest

from idp.accounts.tables import User
from idp.infra.db.engine import execute, fetch, fetchrow
from idp.signin.csrf import form_token
from idp.signin.transitions import Step
from tests.attacks.test_29_passkeys import options_of
from tests.conftest import MakeUser
from tests.support.authenticator import Authenticator
from tests.support.browser import Browser, as_page
from tests.support.mailbox import Mailbox
from tests.support.oauth import PASSWORD
from tests.support.person import Person, equip
from tests.support.routes import Route, routes

NEW_PASSWORD = "seven tired otters nap"

#: Pages of the account that a stolen session may view or change.
HARMLESS = {
    "GET /account", "POST /account", "POST /account/attributes", "GET /account/apps",
    "POST /account/apps/{client_id:str}/revoke",
    "GET /account/security", "GET /account/sessions", "POST /account/sessions/end",
    "POST /account/sessions/{session_id:uuid}/end", "GET /account/data",
    # The questions before these acts, what happened, and the picture, which is a part of the profile.
    "GET /account/apps/{client_id:str}/revoke", "GET /account/sessions/end", "GET /account/activity",
    "GET /account/sessions/{session_id:uuid}/end", "POST /account/picture", "GET /account/picture/remove",
    "POST /account/picture/remove",
    # What it gives says nothing about the account, and the address was proved.
    "GET /account/organizations", "POST /account/organizations/invitations/{invitation_id:uuid}",
    # A request of a client has a level and an age of its own (tests/oauth/ciba/).
    "GET /account/requests", "GET /account/requests/{request_id:uuid}", "POST /account/requests/{request_id:uuid}",
}  # fmt: skip
PROTECTED = [route for route in routes() if route.path.startswith("/account") and str(route) not in HARMLESS]
TABLES = ("totp", "passkey", "recovery_code", "email_proof", "device")


@pytest.fixture
async def person(alice: User, browser: Browser) -> Person:
    """Alice, signed in by the password, with everything that can be taken off."""
    person = await equip(alice, browser.issuer, [Step.TOTP, Step.RECOVERY_CODE, Step.PASSKEY], two_step=False)
    await browser.sign_in(as_page(await browser.get("/login")), alice.email, PASSWORD)
    assert browser.signed_in
    return person


async def _all_of(user: User) -> list[object]:
    """Return the rows that protect an account."""
    statements = ["SELECT * FROM users WHERE id = $1", *(f"SELECT * FROM {t} WHERE user_id = $1" for t in TABLES)]
    return [sorted(map(str, await fetch(statement, user.id))) for statement in statements]


def test_49_there_is_something_to_protect() -> None:
    assert {route.path.split("/")[2] for route in PROTECTED} == {
        "data", "email", "organizations", "passkeys", "password", "recovery-codes", "totp", "two-step", "upstreams"
    }  # fmt: skip


@pytest.mark.parametrize("lacking", ["a recent sign-in", "a second factor"])
@pytest.mark.parametrize("route", PROTECTED, ids=str)
async def test_49_what_is_not_enough(
    browser: Browser, person: Person, mailbox: Mailbox, route: Route, lacking: str
) -> None:
    """For none of the changes, with any fields. The response leads to a sign-in."""
    changed = (
        "auth_time = now() - interval '1 hour', acr = '2', steps = ARRAY['password pwd', 'totp otp']"
        if lacking == "a recent sign-in"
        else "acr = '1', steps = ARRAY['password pwd']"
    )
    await execute(f"UPDATE session SET {changed} WHERE user_id = $1", person.user.id)
    (passkey,) = await fetch("SELECT id FROM passkey WHERE user_id = $1", person.user.id)
    session = next(value for name, value in browser.cookies.items() if name.endswith("session"))
    form = {
        "csrf_token": form_token(session, "account"), "password": NEW_PASSWORD, "email": person.user.email,
        "action": "remove", "two_step": "on", "code": await person.otp(),
    }  # fmt: skip
    before = await _all_of(person.user)
    for action in ("remove", "send", "rename", ""):
        answer = await browser.client.request(
            route.method,
            browser.issuer + route.url(passkey_id=str(passkey["id"]), identity_id=str(passkey["id"])),
            data=form | {"action": action} if route.method == "POST" else None,
            headers={"Origin": browser.issuer},
        )
        assert answer.status_code == 303
        assert answer.headers["location"].startswith("/login/")
    assert await _all_of(person.user) == before
    assert mailbox.to(person.user.email) == []


async def test_49_a_fresh_sign_in_is_the_same_person_s(browser: Browser, person: Person, make_user: MakeUser) -> None:
    """Another user who signs in there does not change this account."""
    await execute("UPDATE session SET auth_time = now() - interval '1 hour' WHERE user_id = $1", person.user.id)
    bob = await make_user()
    page = as_page(await browser.get("/account/password"))
    page = as_page(await browser.sign_in(page, bob.email, PASSWORD))
    await browser.submit(page, "password-save", password=NEW_PASSWORD)
    for user, changed in ((person.user, False), (bob, True)):
        row = await fetchrow("SELECT password_hash FROM users WHERE id = $1", user.id)
        assert row is not None
        assert (row["password_hash"] != user.password_hash) is changed


async def test_49_each_change_is_told(browser: Browser, person: Person, mailbox: Mailbox) -> None:
    """To the address that the account has; a change of address to the old one."""
    user, told = person.user, []

    async def sentence() -> str:
        told.append((await mailbox.next(user.email, len(told) + 1)).subject)
        return told[-1]

    page = as_page(await browser.get("/account/totp/remove"))
    page = as_page(await browser.get(f"/login/{page.path.split('/')[2]}/totp"))
    await browser.submit(as_page(await browser.submit(page, "totp-submit", code=await person.otp())), "ask-confirm")
    assert "authenticator" in await sentence()
    await browser.submit(as_page(await browser.get("/account/recovery-codes")), "ask-confirm")
    assert "ecovery codes" in await sentence()
    page = as_page(await browser.submit(as_page(await browser.get("/account/security")), "two-step"))
    assert "wo-step" in await sentence()
    form = next(form for form in page.forms if "/account/passkeys/" in form.action)
    await browser.submit(as_page(await browser.get(form.action)), "ask-confirm")
    assert "asskey" in await sentence()
    page = as_page(await browser.get("/account/passkeys"))
    credential = Authenticator(origin=browser.issuer).create(options_of(page))
    await browser.submit(page, "passkey-create", credential=credential)
    assert "asskey" in await sentence()
    await browser.submit(as_page(await browser.get("/account/password")), "password-save", password=NEW_PASSWORD)
    assert "password" in await sentence()
    new = f"{secrets.token_hex(6)}@example.com"
    page = as_page(await browser.submit(as_page(await browser.get("/account/email")), "email-send", email=new))
    await browser.submit(page, "code-submit", code=(await mailbox.next(new)).code)
    assert "address" in await sentence()
