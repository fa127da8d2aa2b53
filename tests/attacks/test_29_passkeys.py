"""Row 29: passkeys over HTTP: user verification is required, and each challenge is valid once, in its flow and at our
origin.
"""

import json
from html import unescape
from typing import Any

import pytest

from idp.accounts.tables import User
from idp.infra.db.engine import execute, fetch
from idp.signin.transitions import Step
from tests.conftest import MakeClient, MakeUser
from tests.support.authenticator import Authenticator, encode
from tests.support.browser import Browser, Page, as_page, open_browser
from tests.support.oauth import PASSWORD
from tests.support.person import Person, equip


@pytest.fixture
async def person(alice: User, browser: Browser) -> Person:
    return await equip(alice, browser.issuer, [Step.PASSKEY], two_step=False)


def options_of(page: Page) -> str:
    """Return the options that the page's script passes to the browser."""
    return unescape(page.text.partition('data-options="')[2].partition('"')[0])


async def _login(browser: Browser) -> Page:
    browser.cookies.clear()
    return as_page(await browser.get("/login"))


async def _answer(browser: Browser, page: Page, credential: str) -> Page:
    return as_page(await browser.submit(page, "passkey-get", credential=credential))


async def test_29_the_control_is_accepted(browser: Browser, person: Person) -> None:
    assert person.device is not None
    page = await _login(browser)
    assert json.loads(options_of(page))["userVerification"] == "required"
    await _answer(browser, page, person.device.get(options_of(page)))
    assert browser.signed_in


WRONG: dict[str, dict[str, Any]] = {
    "nobody verified": {"user_verified": False},
    "nobody present": {"user_present": False},
    "a phisher's origin": {"origin": "https://id.example.net"},
    "another port": {"origin": "http://localhost:1"},
    "another rp id": {"rp_id": "example.net"},
    "another ceremony": {"type": "webauthn.create"},
    "in a frame": {"client_data": {"crossOrigin": True}},
    "a challenge of one's own": {"challenge": b"x" * 32},
    "another user": {"user_handle": b"\0" * 16},
    "another key": {"key": Authenticator().key},
}


@pytest.mark.parametrize("claims", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("second", [False, True], ids=["first", "second"])
async def test_29_wrong_answers(browser: Browser, person: Person, claims: dict[str, Any], second: bool) -> None:
    assert person.device is not None
    page = await _login(browser)
    if second:
        await execute("UPDATE users SET two_step = true WHERE id = $1", person.user.id)
        page = as_page(await browser.sign_in(page, person.user.email, PASSWORD))
    answer = await _answer(browser, page, person.device.but(**claims).get(options_of(page)))
    assert answer.status == 400
    assert not browser.signed_in


async def test_29_a_challenge_counts_in_its_own_sign_in(browser: Browser, person: Person) -> None:
    """And not to another browser that saw the response."""
    assert person.device is not None
    async with open_browser(browser.issuer) as other:
        theirs = options_of(await _login(other))
        page = await _login(browser)
        assert (await _answer(browser, page, person.device.get(theirs))).status == 400
        assert not browser.signed_in


async def test_29_an_answer_counts_once(browser: Browser, person: Person) -> None:
    assert person.device is not None
    page = await _login(browser)
    credential = person.device.get(options_of(page))
    cookies = dict(browser.cookies)
    await _answer(browser, page, credential)
    assert browser.signed_in
    async with open_browser(browser.issuer) as replay:
        replay.cookies.update(cookies)
        await _answer(replay, page, credential)
        assert not replay.signed_in
    assert len(await fetch("SELECT 1 FROM session WHERE user_id = $1", person.user.id)) == 1


async def test_29_a_step_changes_the_challenge(browser: Browser, person: Person) -> None:
    """A response signed before the password step is not valid after it."""
    assert person.device is not None
    await execute("UPDATE users SET two_step = true WHERE id = $1", person.user.id)
    page = await _login(browser)
    early = person.device.get(options_of(page))
    page = as_page(await browser.sign_in(page, person.user.email, PASSWORD))
    assert (await _answer(browser, page, early)).status == 400
    assert not browser.signed_in
    await _answer(browser, page, person.device.get(options_of(page)))
    assert browser.signed_in


async def test_29_a_second_step_of_another_user(browser: Browser, person: Person, make_user: MakeUser) -> None:
    """Bob's passkey does not stand in for Alice's."""
    await execute("UPDATE users SET two_step = true WHERE id = $1", person.user.id)
    bob = await equip(await make_user(), browser.issuer, [Step.PASSKEY], two_step=False)
    assert bob.device is not None
    page = as_page(await browser.sign_in(await _login(browser), person.user.email, PASSWORD))
    for device in (bob.device, bob.device.but(user_handle=person.user.id.bytes), bob.device.but(user_handle=None)):
        assert (await _answer(browser, page, device.get(options_of(page)))).status == 400
    assert not browser.signed_in


async def test_29_a_copied_key_is_noticed(browser: Browser, alice: User) -> None:
    """A counter that decreases means that two devices have a key that only one should have."""
    person = await equip(alice, browser.issuer, [Step.PASSKEY], two_step=False)
    assert person.device is not None
    await execute("UPDATE passkey SET backup_eligible = false WHERE user_id = $1", alice.id)
    person.device = person.device.but(backup_eligible=False, backed_up=False)
    for count, accepted in ((9, True), (9, False), (3, False), (10, True)):
        page = await _login(browser)
        await _answer(browser, page, person.device.but(count=count).get(options_of(page)))
        assert browser.signed_in is accepted


# Registering a passkey


@pytest.fixture
async def home(browser: Browser, alice: User) -> Browser:
    """Alice's browser, where she has just signed in."""
    await browser.sign_in(as_page(await browser.get("/login")), alice.email, PASSWORD)
    return browser


async def _count(user: User) -> int:
    return len(await fetch("SELECT 1 FROM passkey WHERE user_id = $1", user.id))


async def test_29_making_one_needs_a_fresh_sign_in(home: Browser, alice: User) -> None:
    page = as_page(await home.get("/account/passkeys"))
    credential = Authenticator(origin=home.issuer).create(options_of(page))
    await execute("UPDATE session SET auth_time = now() - interval '1 hour' WHERE user_id = $1", alice.id)
    for answer in (
        await home.get("/account/passkeys"),
        await home.submit(page, "passkey-create", credential=credential),
    ):
        assert as_page(answer).path.startswith("/login/")
    assert await _count(alice) == 0


async def test_29_a_challenge_makes_one(home: Browser, alice: User) -> None:
    page = as_page(await home.get("/account/passkeys"))
    first, second = (Authenticator(origin=home.issuer).create(options_of(page)) for _ in range(2))
    await home.submit(page, "passkey-create", credential=first)
    assert await _count(alice) == 1
    assert as_page(await home.submit(page, "passkey-create", credential=second)).status == 400
    assert await _count(alice) == 1


WRONG_NEW = {name: claims for name, claims in WRONG.items() if name not in ("another user", "another key")} | {
    "another ceremony": {"type": "webauthn.get"},
}


@pytest.mark.parametrize("claims", WRONG_NEW.values(), ids=WRONG_NEW)
async def test_29_wrong_new_ones(home: Browser, alice: User, claims: dict[str, Any]) -> None:
    page = as_page(await home.get("/account/passkeys"))
    credential = Authenticator(origin=home.issuer).but(**claims).create(options_of(page))
    assert as_page(await home.submit(page, "passkey-create", credential=credential)).status == 400
    assert await _count(alice) == 0


async def test_29_a_credential_of_another_user(home: Browser, alice: User, make_user: MakeUser) -> None:
    """Its id is taken: else Alice would be signed in as Bob, or Bob as Alice."""
    bob = await equip(await make_user(), home.issuer, [Step.PASSKEY], two_step=False)
    assert bob.device is not None
    page = as_page(await home.get("/account/passkeys"))
    credential = Authenticator(origin=home.issuer, credential_id=bob.device.credential_id).create(options_of(page))
    assert as_page(await home.submit(page, "passkey-create", credential=credential)).status == 400
    assert (await _count(alice), await _count(bob.user)) == (0, 1)


async def test_29_a_password_alone_adds_none(browser: Browser, make_client: MakeClient, alice: User) -> None:
    """A client that requires a passkey does not let users skip their existing second factor."""
    person = await equip(alice, browser.issuer, [Step.TOTP], two_step=False)
    client = await make_client(default_acr_values=["phr"])
    page = as_page(await client.authorize(browser))
    page = as_page(await browser.sign_in(page, alice.email, PASSWORD))
    assert "totp-submit" in page.ids
    options = {"challenge": encode(b"x" * 32), "user": {"id": encode(alice.id.bytes)}}
    credential = Authenticator(origin=browser.issuer).create(json.dumps(options))
    fields = page.forms[0].fields | {"action": "passkey", "credential": credential}
    for step in ("enrol", "passkey"):
        answer = as_page(await browser.post(f"{'/'.join(page.path.split('/')[:3])}/{step}", fields))
        assert "totp-submit" in answer.ids
    assert await _count(alice) == 0
    page = as_page(await browser.submit(page, "totp-submit", code=await person.otp()))
    assert "passkey-create" in page.ids
