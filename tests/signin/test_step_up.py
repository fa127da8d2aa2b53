"""A step-up continues a session: it requires the missing steps only, and does not make old proofs fresh."""

import re
import time

import pyotp
import pytest

from idp.accounts.tables import User
from idp.infra.db.engine import execute, fetch
from idp.infra.rate_limits import Escalation, key
from idp.signin import limits
from idp.signin.browser import Browser as AnyBrowser
from idp.signin.factors import service as factors
from idp.signin.transitions import Step
from tests.conftest import MakeClient, MakeUser
from tests.support.authenticator import Authenticator
from tests.support.browser import Browser, Page, Redirect, as_page, open_browser
from tests.support.oauth import PASSWORD, RelyingParty
from tests.support.person import Person, equip
from tests.support.server import Server
from tests.support.tokens import claims_of

MINUTE, HOUR = 60, 3600


@pytest.fixture
async def client(make_client: MakeClient) -> RelyingParty:
    return await make_client(skip_consent=True)


async def _signed_in(browser: Browser, user: User, ago: int) -> None:
    """With a password, some seconds ago."""
    await browser.sign_in(as_page(await browser.get("/login")), user.email, PASSWORD)
    assert browser.signed_in
    await execute("UPDATE session SET auth_time = now() - make_interval(secs => $2) WHERE user_id = $1", user.id, ago)


async def _claims(client: RelyingParty, answer: Page | Redirect) -> dict[str, object]:
    assert isinstance(answer, Redirect), answer.text
    return claims_of((await client.redeem(answer.parameters["code"])).json()["id_token"])


async def _take(browser: Browser, page: Page, person: Person, step: Step) -> Page | Redirect:
    """A second step that the person has."""
    match step:
        case Step.TOTP:
            return await browser.submit(page, "totp-submit", code=await person.otp())
        case Step.RECOVERY_CODE:
            return await browser.submit(page, "recovery-submit", code=person.codes.pop())
    raise AssertionError(step)


async def _assert_age(browser: Browser, client: RelyingParty, ago: int) -> None:
    """Check everything that depends on the age of the sign-in."""
    answer = await client.authorize(browser, max_age=str(ago - MINUTE), prompt="none")
    assert isinstance(answer, Redirect)
    assert answer.parameters.get("error") == "login_required"
    claims = await _claims(client, await client.authorize(browser, prompt="none"))
    assert abs(int(str(claims["auth_time"])) - (time.time() - ago)) < MINUTE / 2


@pytest.mark.fault(11)
@pytest.mark.parametrize("step", [Step.TOTP, Step.RECOVERY_CODE])
async def test_a_second_step_makes_no_old_sign_in_fresh(
    browser: Browser, client: RelyingParty, server: Server, alice: User, step: Step
) -> None:
    """The level rises, the time stays: of the account's pages, of max_age, and of a prompt=login that waits."""
    person = await equip(alice, server.issuer, [Step.TOTP, step], two_step=False)
    await _signed_in(browser, alice, 20 * HOUR)
    waiting = as_page(await client.authorize(browser, prompt="login"))
    page = as_page(await client.authorize(browser, acr_values="2"))
    assert "login-submit" not in page.ids
    if step is not Step.TOTP:
        page = as_page(await browser.get(f"/login/{page.path.split('/')[2]}/{step}"))
    assert (await _claims(client, await _take(browser, page, person, step)))["acr"] == "2"
    await _assert_age(browser, client, 20 * HOUR)
    assert as_page(await browser.get("/account/email")).path.startswith("/login/")
    assert "login-submit" in as_page(await browser.get(waiting.path)).ids


@pytest.mark.fault(11)
@pytest.mark.parametrize("action", ["skip", "totp"])
async def test_a_new_or_skipped_factor_is_not_fresh(
    browser: Browser, client: RelyingParty, alice: User, action: str
) -> None:
    """The session is recent enough to add one."""
    await _signed_in(browser, alice, 8 * MINUTE)
    page = as_page(await client.authorize(browser, acr_values="2"))
    if action == "skip":
        await _claims(client, await browser.submit(page, "enrol-skip"))
    else:
        secret = page.text.partition('id="totp-secret"')[2].partition(">")[2].partition("<")[0]
        shown = as_page(await browser.submit(page, "totp-confirm", code=pyotp.TOTP(secret).now()))
        onward = re.search(r'id="codes-kept"[^>]*href="([^"]+)"', shown.text)
        assert onward
        assert (await _claims(client, await browser.get(onward[1])))["acr"] == "2"
    await _assert_age(browser, client, 8 * MINUTE)


@pytest.mark.fault(10)
@pytest.mark.parametrize(("has", "acr"), [([], "2"), ([], "phr"), ([Step.TOTP], "phr")])
async def test_an_old_session_is_not_enough_to_add_a_factor(
    browser: Browser, client: RelyingParty, server: Server, alice: User, has: list[Step], acr: str
) -> None:
    """A second step is not enough either: the user signs in again completely."""
    await equip(alice, server.issuer, has, two_step=False)
    await _signed_in(browser, alice, 20 * HOUR)
    page = as_page(await client.authorize(browser, acr_values=acr))
    assert "login-submit" in page.ids
    for action in ("skip", "passkey", "totp"):
        await browser.post(f"/login/{page.path.split('/')[2]}/enrol", page.forms[0].fields | {"action": action})
    answer = await browser.sign_in(page, alice.email, PASSWORD)
    assert ("totp-submit" if has else "enrol-skip") in as_page(answer).ids


@pytest.mark.fault(10)
@pytest.mark.parametrize("acr", ["2", "phr"])
async def test_a_session_that_becomes_old_during_the_enrolment(
    browser: Browser, client: RelyingParty, alice: User, server: Server, acr: str
) -> None:
    """With right answers, on the page that was opened in time. Putting it off is still possible, and proves nothing."""
    await _signed_in(browser, alice, 8 * MINUTE)
    page = as_page(await client.authorize(browser, acr_values=acr))
    flow_id = page.path.split("/")[2]
    then = int(time.time()) - 20 * HOUR
    await execute("UPDATE signin_flow SET done = $2 WHERE id = $1", flow_id, [f"password pwd @{then}"])
    if acr == "2":
        secret = page.text.partition('id="totp-secret"')[2].partition(">")[2].partition("<")[0]
        answer = as_page(await browser.submit(page, "totp-confirm", code=pyotp.TOTP(secret).now()))
    else:
        options = re.search(r"data-options='([^']+)'", page.text) or re.search(r'data-options="([^"]+)"', page.text)
        assert options
        credential = Authenticator(origin=server.issuer).create(options[1].replace("&#34;", '"').replace("&quot;", '"'))
        fields = page.forms[0].fields | {"action": "passkey", "name": "mine", "credential": credential}
        answer = as_page(await browser.post(f"/login/{flow_id}/enrol", fields))
    assert answer.status == 400
    assert "expired" in answer.text
    found = await factors.factors_of(alice.id)
    assert found is not None
    assert not found.has
    await _claims(client, await browser.submit(page, "enrol-skip"))
    await _assert_age(browser, client, 20 * HOUR)


async def _tries(rule: Escalation, whose: object, user: User) -> list[int]:
    """Return the counted attempts of a user, in all browsers together and in each known one."""
    known = await fetch("SELECT id FROM device WHERE user_id = $1", user.id)
    keys = [key(rule, subject) for subject in (str(whose), *(f"{whose} {row['id']}" for row in known))]
    return [row["number"] for row in await fetch("SELECT number FROM throttle WHERE key = ANY($1)", keys)]


async def _asked_for_a_code(browser: Browser, client: RelyingParty, user: User) -> Page:
    await _signed_in(browser, user, 0)
    page = as_page(await client.authorize(browser, acr_values="2"))
    assert "totp-submit" in page.ids
    return page


async def _wrong(browser: Browser, page: Page, person: Person) -> None:
    wrong = f"{(int(await person.otp()) + 1234) % 10**6:06}"
    assert as_page(await browser.submit(page, "totp-submit", code=wrong)).status == 400


@pytest.mark.fault(4)
async def test_a_password_gives_no_tries_of_codes_back(server: Server, client: RelyingParty, alice: User) -> None:
    """An attacker who knows the password signs in with it between the attempts, in a new browser each time."""
    person = await equip(alice, server.issuer, [Step.TOTP], two_step=False)
    for number in range(1, 4):
        async with open_browser(server.issuer) as browser:
            await _wrong(browser, await _asked_for_a_code(browser, client, alice), person)
        async with open_browser(server.issuer) as browser:
            await _signed_in(browser, alice, 0)
        assert await _tries(limits.SECOND_STEPS, alice.id, alice) == [number]


@pytest.mark.fault(4)
async def test_a_browser_with_a_second_factor_has_its_own_limit(
    browser: Browser, server: Server, client: RelyingParty, alice: User
) -> None:
    """Attempts of others do not use it up."""
    person = await equip(alice, server.issuer, [Step.TOTP], two_step=False)
    page = await _asked_for_a_code(browser, client, alice)
    await _claims(client, await browser.submit(page, "totp-submit", code=await person.otp()))
    await execute("UPDATE session SET ended_at = now() WHERE user_id = $1", alice.id)
    async with open_browser(server.issuer) as other:
        page = await _asked_for_a_code(other, client, alice)
        await _wrong(other, page, person)
        locked = "UPDATE throttle SET number = 20, free_at = now() + interval '1 hour' WHERE key = $1"
        await execute(locked, key(limits.SECOND_STEPS, str(alice.id)))
        held = as_page(await other.submit(page, "totp-submit", code=await person.otp()))
        assert held.status == 429
    page = await _asked_for_a_code(browser, client, alice)
    await _claims(client, await browser.submit(page, "totp-submit", code=await person.otp()))


@pytest.mark.fault(4)
async def test_putting_it_off_gives_no_tries_of_passwords_back(
    browser: Browser, client: RelyingParty, alice: User
) -> None:
    """An attacker who has a session guesses the password."""
    await _signed_in(browser, alice, 0)
    for _ in range(3):
        await limits.count_password(alice.email, alice.email, AnyBrowser())
    page = as_page(await client.authorize(browser, acr_values="2"))
    await _claims(client, await browser.submit(page, "enrol-skip"))
    assert await _tries(limits.PASSWORDS, alice.email, alice) == [3]


@pytest.mark.fault(4)
async def test_a_new_cookie_gives_a_known_browser_no_new_tries(
    browser: Browser, alice: User, make_user: MakeUser
) -> None:
    """Another user who signs in there gets a new cookie for the browser; its counted attempts stay."""
    await _signed_in(browser, alice, 0)
    for number in range(1, 4):
        _forget_session(browser)
        page = as_page(await browser.get("/login"))
        assert as_page(await browser.sign_in(page, alice.email, "wrong horse battery")).status == 400
        assert await _tries(limits.PASSWORDS, alice.email, alice) == [number]
        await _signed_in(browser, await make_user(), 0)


def _forget_session(browser: Browser) -> None:
    for name in [name for name in browser.cookies if "session" in name]:
        del browser.cookies[name]


@pytest.mark.fault(7)
async def test_a_postponed_factor_can_be_postponed_again(browser: Browser, client: RelyingParty, alice: User) -> None:
    await _signed_in(browser, alice, 0)
    for _ in range(3):
        page = as_page(await client.authorize(browser, acr_values="2"))
        assert (await _claims(client, await browser.submit(page, "enrol-skip")))["acr"] == "1"
    (row,) = await fetch("SELECT steps FROM session WHERE user_id = $1", alice.id)
    assert [text.split()[0] for text in row["steps"]] == ["password"]


@pytest.mark.fault(7)
async def test_nothing_is_missing_any_more(browser: Browser, client: RelyingParty, server: Server, alice: User) -> None:
    """The user switched the second step off in another tab, so the waiting page starts another sign-in."""
    await equip(alice, server.issuer, [Step.TOTP], two_step=True)
    page = as_page(await client.authorize(browser))
    page = as_page(await browser.sign_in(page, alice.email, PASSWORD))
    assert "totp-submit" in page.ids
    await factors.set_two_step(alice.id, False)
    again = as_page(await browser.get(page.path))
    assert again.status == 200
    assert "login-submit" in again.ids
    assert isinstance(await browser.sign_in(again, alice.email, PASSWORD), Redirect)
