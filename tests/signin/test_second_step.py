"""The second step: required by the user, the application or the client; and what an unfinished sign-in must not do."""

import asyncio
import re
from collections.abc import Callable

import pyotp
import pytest

from idp import clock
from idp.accounts.tables import User
from idp.accounts.users import set_password
from idp.infra.db.engine import execute
from idp.oauth.sign_out import sign_out_user
from idp.signin.factors import recovery_codes, totp
from idp.signin.factors import service as factors
from tests.conftest import MakeClient
from tests.support.browser import Browser, Page, Redirect, as_page, open_browser
from tests.support.oauth import PASSWORD, RelyingParty
from tests.support.server import Server
from tests.support.tokens import claims_of


@pytest.fixture
async def app(alice: User) -> pyotp.TOTP:
    """Alice's authenticator app."""
    setup = await totp.start_setup(alice.id, "test", alice.email)
    app = pyotp.TOTP(setup.secret)
    assert await totp.confirm(alice.id, "test", app.now())
    await factors.set_two_step(alice.id, True)
    await execute("UPDATE totp SET last_step = 0 WHERE user_id = $1", alice.id)
    return app


async def _password(browser: Browser, client: RelyingParty, user: User, **changes: str) -> Page:
    page = await client.authorize(browser, **changes)
    assert isinstance(page, Page)
    page = await browser.sign_in(page, user.email, PASSWORD)
    assert isinstance(page, Page), page.location
    return page


async def _finish(browser: Browser, answer: Page | Redirect) -> Redirect:
    if isinstance(answer, Page) and "consent-allow" in answer.ids:
        answer = await browser.submit(answer, "consent-allow")
    assert isinstance(answer, Redirect), answer.text
    assert "code" in answer.parameters
    return answer


async def _claims(client: RelyingParty, answer: Redirect) -> dict[str, object]:
    tokens = (await client.redeem(answer.parameters["code"])).json()
    return claims_of(tokens["id_token"])


async def test_a_user_who_wants_it_is_asked(
    browser: Browser, client: RelyingParty, alice: User, app: pyotp.TOTP
) -> None:
    page = await _password(browser, client, alice)
    assert "totp-submit" in page.ids
    again = await browser.submit(page, "totp-submit", code="000000" if app.now() != "000000" else "000001")
    assert isinstance(again, Page)
    assert again.status == 400
    claims = await _claims(client, await _finish(browser, await browser.submit(again, "totp-submit", code=app.now())))
    assert (claims["acr"], claims["amr"]) == ("2", ["pwd", "otp", "mfa"])


async def test_a_recovery_code_stands_in(browser: Browser, client: RelyingParty, alice: User, app: pyotp.TOTP) -> None:
    codes = await recovery_codes.generate(alice.id)
    page = await _password(browser, client, alice)
    other = await browser.get(f"{page.path.rpartition('/password')[0] or page.path}/recovery_code")
    assert isinstance(other, Page)
    await _finish(browser, await browser.submit(other, "recovery-submit", code=codes[0]))
    assert await recovery_codes.count_unused(alice.id) == len(codes) - 1


async def test_a_half_done_sign_in_is_none(
    browser: Browser, client: RelyingParty, alice: User, app: pyotp.TOTP
) -> None:
    await _password(browser, client, alice)
    answer = await client.authorize(browser, prompt="none")
    assert isinstance(answer, Redirect)
    assert answer.parameters["error"] == "login_required"
    for path in ("/account", "/account/security", "/account/data"):
        page = await browser.get(path)
        assert isinstance(page, Page)
        assert page.path.startswith("/login/")
    assert not any("session" in name for name in browser.cookies)


async def test_an_application_that_asks_for_more_steps_up(
    browser: Browser, client: RelyingParty, alice: User, app: pyotp.TOTP
) -> None:
    """Only the missing factor is requested, and the response is never an error."""
    await factors.set_two_step(alice.id, False)
    await client.sign_in(browser, alice.email)
    page = await client.authorize(browser, acr_values="2")
    assert isinstance(page, Page)
    assert "totp-submit" in page.ids
    assert "login-submit" not in page.ids
    claims = await _claims(client, await _finish(browser, await browser.submit(page, "totp-submit", code=app.now())))
    assert claims["acr"] == "2"


async def test_a_client_that_requires_it(
    browser: Browser, make_client: MakeClient, alice: User, app: pyotp.TOTP
) -> None:
    """A request cannot lower it."""
    await factors.set_two_step(alice.id, False)
    strict = await make_client(default_acr_values=["2"])
    page = await _password(browser, strict, alice, acr_values="1")
    assert "totp-submit" in page.ids
    assert "enrol-skip" not in page.ids
    await _finish(browser, await browser.submit(page, "totp-submit", code=app.now()))


@pytest.mark.fault(46)
async def test_a_user_without_a_second_factor_sets_one_up(
    browser: Browser, make_client: MakeClient, alice: User
) -> None:
    strict = await make_client(default_acr_values=["2"])
    page = await _password(browser, strict, alice)
    assert "totp-confirm" in page.ids
    secret = page.text.partition('id="totp-secret"')[2].partition(">")[2].partition("<")[0]
    shown = as_page(await browser.submit(page, "totp-confirm", code=pyotp.TOTP(secret).now()))
    codes = re.findall(r"<li><code>([\w-]+)</code>", shown.text)
    assert len(set(codes)) == recovery_codes.COUNT
    onward = re.search(r'id="codes-kept"[^>]*href="([^"]+)"', shown.text)
    assert onward
    claims = await _claims(strict, await _finish(browser, await browser.get(onward[1])))
    assert claims["acr"] == "2"
    assert await recovery_codes.consume(alice.id, codes[0])
    found = await factors.factors_of(alice.id)
    assert found is not None
    assert found.two_step


async def test_a_voluntary_factor_can_be_postponed(browser: Browser, client: RelyingParty, alice: User) -> None:
    page = await _password(browser, client, alice, acr_values="2")
    claims = await _claims(client, await _finish(browser, await browser.submit(page, "enrol-skip")))
    assert (claims["acr"], claims["amr"]) == ("1", ["pwd"])


async def test_prompt_none_is_told_that_more_is_needed(
    browser: Browser, client: RelyingParty, make_client: MakeClient, alice: User
) -> None:
    strict = await make_client(default_acr_values=["2"])
    await client.sign_in(browser, alice.email)
    answer = await strict.authorize(browser, prompt="none")
    assert isinstance(answer, Redirect)
    assert answer.parameters["error"] == "interaction_required"


async def test_a_step_up_dies_with_its_session(
    browser: Browser, client: RelyingParty, alice: User, app: pyotp.TOTP
) -> None:
    """It depends on the password of the session: after a sign-out the password is required again."""
    await factors.set_two_step(alice.id, False)
    await client.sign_in(browser, alice.email)
    page = await client.authorize(browser, acr_values="2")
    assert isinstance(page, Page)
    await execute("UPDATE session SET ended_at = now() WHERE user_id = $1", alice.id)
    answer = await browser.submit(page, "totp-submit", code=app.now())
    assert isinstance(answer, Page)
    assert answer.status == 400
    assert "expired" in answer.text


async def test_a_code_of_the_same_half_minute_counts_once(
    browser: Browser, client: RelyingParty, alice: User, app: pyotp.TOTP
) -> None:
    page = await _password(browser, client, alice)
    code = app.at(clock.now())
    await _finish(browser, await browser.submit(page, "totp-submit", code=code))
    browser.cookies.clear()
    page = await _password(browser, client, alice)
    again = await browser.submit(page, "totp-submit", code=code)
    assert isinstance(again, Page)
    assert again.status == 400


async def test_a_trusted_browser(
    start_server: Callable[..., Server], make_client: MakeClient, alice: User, app: pyotp.TOTP
) -> None:
    """It skips the user's own second step if the operator allows that, but not one that a client requires."""
    server = await asyncio.to_thread(start_server, IDP_TRUSTED_DEVICE_LIFETIME="3600")
    client, strict = await make_client(at=server), await make_client(at=server, default_acr_values=["2"])
    async with open_browser(server.issuer) as browser:
        page = await _password(browser, client, alice)
        answer = await browser.submit(page, "totp-submit", code=app.now(), trust_device="on")
        assert (await _claims(client, await _finish(browser, answer)))["acr"] == "2"
        _forget_session(browser)

        answer = await client.authorize(browser)
        assert isinstance(answer, Page)
        answer = await browser.sign_in(answer, alice.email, PASSWORD)
        assert (await _claims(client, await _finish(browser, answer)))["acr"] == "1"

        page = await strict.authorize(browser)  # type: ignore[assignment]
        assert isinstance(page, Page)
        assert "totp-submit" in page.ids

        _forget_session(browser)
        await execute("UPDATE device SET trusted_until = now() WHERE user_id = $1", alice.id)
        assert "totp-submit" in (await _password(browser, client, alice)).ids


async def test_a_changed_password_ends_the_trust(
    start_server: Callable[..., Server], make_client: MakeClient, alice: User, app: pyotp.TOTP
) -> None:
    server = await asyncio.to_thread(start_server, IDP_TRUSTED_DEVICE_LIFETIME="3600")
    client = await make_client(at=server)
    async with open_browser(server.issuer) as browser:
        page = await _password(browser, client, alice)
        await browser.submit(page, "totp-submit", code=app.now(), trust_device="on")
        await set_password(alice.id, PASSWORD, sign_out_user)
        assert "totp-submit" in (await _password(browser, client, alice)).ids


async def test_no_browser_is_trusted_without_the_setting(
    browser: Browser, client: RelyingParty, alice: User, app: pyotp.TOTP
) -> None:
    page = await _password(browser, client, alice)
    assert 'name="trust_device"' not in page.text
    await browser.submit(page, "totp-submit", code=app.now(), trust_device="on")
    _forget_session(browser)
    assert "totp-submit" in (await _password(browser, client, alice)).ids


def _forget_session(browser: Browser) -> None:
    for name in [name for name in browser.cookies if "session" in name]:
        del browser.cookies[name]
