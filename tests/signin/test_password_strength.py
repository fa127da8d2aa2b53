"""The strength of a password while it is typed."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable

import httpx
import pytest

from idp.accounts import email_proofs, passwords, strength
from idp.accounts.email_proofs import Purpose
from idp.accounts.tables import User
from idp.errors import OverloadedError, TooManyRequestsError
from idp.infra import rate_limits
from idp.infra.db.engine import execute
from idp.infra.networks import subjects
from idp.signin import limits
from idp.signin.csrf import form_token
from tests.support.browser import Browser, as_page, open_browser
from tests.support.limits import keep_spent
from tests.support.oauth import PASSWORD
from tests.support.server import Server

PATH = "/password/strength"
STRONG = "seven tired otters nap"


async def _ask(
    browser: Browser, password: str, *, origin: str = "", language: str = "en", **sent: str
) -> httpx.Response:
    headers = {"origin": origin or browser.issuer, "accept-language": language}
    return await browser.client.post(browser.issuer + PATH, data={"password": password, **sent}, headers=headers)


async def _flow(browser: Browser) -> dict[str, str]:
    """Open the page of a registration. Returns what its script sends."""
    page = as_page(await browser.get("/login"))
    page = as_page(await browser.get(f"{page.path}/registration"))
    form = next(form for form in page.forms if "register-submit" in form.buttons)
    return {"csrf_token": form.fields["csrf_token"], "flow": form.action.split("/")[2]}


@pytest.fixture
async def proof(browser: Browser) -> dict[str, str]:
    return await _flow(browser)


@pytest.fixture
async def stranger(server: Server) -> AsyncIterator[Browser]:
    """A caller without cookies."""
    async with open_browser(server.issuer) as other:
        yield other


async def test_a_strong_password(browser: Browser, proof: dict[str, str]) -> None:
    answer = await _ask(browser, STRONG, **proof)
    assert answer.json() == {"score": 4, "accepted": True, "text": "This password is strong."}
    assert answer.headers["cache-control"] == "no-store"


async def test_a_weak_password(browser: Browser, proof: dict[str, str]) -> None:
    found = (await _ask(browser, "password1", **proof)).json()
    assert not found["accepted"]
    assert "very common" in found["text"]


async def test_the_language_of_the_browser(browser: Browser, proof: dict[str, str]) -> None:
    assert (await _ask(browser, "password1", language="de", **proof)).json()["text"].startswith("Das Passwort")


async def test_what_is_known_of_the_user(browser: Browser, proof: dict[str, str]) -> None:
    password = "quizzenberry"
    assert (await _ask(browser, password, **proof)).json()["accepted"]
    assert not (await _ask(browser, password, username=f"{password}@example.com", **proof)).json()["accepted"]


@pytest.mark.parametrize("password", ["", "short", "x" * 1025])
async def test_a_length_that_is_not_allowed(browser: Browser, proof: dict[str, str], password: str) -> None:
    assert (await _ask(browser, password, **proof)).json()["score"] == 0


async def test_another_site_may_not_ask(browser: Browser, proof: dict[str, str]) -> None:
    assert (await _ask(browser, STRONG, origin="https://evil.example", **proof)).status_code == 400


async def test_without_a_page_nothing_is_judged(browser: Browser, stranger: Browser, proof: dict[str, str]) -> None:
    """The flow must be of this browser, and the form of the flow."""
    flow, csrf_token = proof["flow"], proof["csrf_token"]
    for sent in (
        {},
        {"csrf_token": csrf_token},
        {"flow": flow},
        {"flow": flow, "csrf_token": "0" * 64},
        {"token": "x"},
    ):
        assert (await _ask(browser, STRONG, **sent)).status_code == 400, sent
    assert (await _ask(stranger, STRONG, **proof)).status_code == 400
    other = await _flow(stranger)
    assert (await _ask(stranger, STRONG, **other)).status_code == 200
    assert (await _ask(browser, STRONG, flow=flow, csrf_token=other["csrf_token"])).status_code == 400


async def test_the_page_of_the_account(browser: Browser, stranger: Browser, alice: User) -> None:
    page = as_page(await browser.get("/account/password"))
    page = as_page(await browser.sign_in(page, alice.email, PASSWORD))
    token = next(form for form in page.forms if "password-save" in form.buttons).fields["csrf_token"]
    assert (await _ask(browser, STRONG, csrf_token=token)).json()["accepted"]
    assert (await _ask(browser, STRONG)).status_code == 400
    assert (await _ask(stranger, STRONG, csrf_token=token)).status_code == 400
    # Without a session, a form of no session is no proof either.
    assert (await _ask(stranger, STRONG, csrf_token=form_token("", "account"))).status_code == 400


async def test_the_page_of_a_mailed_link(stranger: Browser, alice: User) -> None:
    sent = await email_proofs.create(Purpose.PASSWORD_RESET, alice.email, lifetime=60, user_id=alice.id)
    assert (await _ask(stranger, STRONG, token=sent.token)).json()["accepted"]
    await email_proofs.consume_token(sent.token, Purpose.PASSWORD_RESET)
    assert (await _ask(stranger, STRONG, token=sent.token)).status_code == 400


async def test_the_page_of_the_set_up(stranger: Browser) -> None:
    answer = await _ask(stranger, STRONG, token="secret", csrf_token=form_token("secret", "setup"))
    assert answer.json()["accepted"]


async def test_there_is_a_limit(start_server: Callable[..., Server]) -> None:
    server = await asyncio.to_thread(start_server, IDP_ADDRESS_LIMITS="true")
    host, _ = subjects("127.0.0.1")
    with contextlib.suppress(TooManyRequestsError):
        for _ in range(limits.STRENGTHS_OF_HOST.burst + 60):
            await rate_limits.spend((limits.STRENGTHS_OF_HOST, host))
    await keep_spent(limits.STRENGTHS_OF_HOST)
    async with open_browser(server.issuer) as browser:
        assert (await _ask(browser, STRONG)).status_code == 429
    await execute("DELETE FROM throttle")


def test_a_network_is_limited_as_a_few_people_who_type() -> None:
    assert limits.STRENGTHS_OF_NETWORK.burst <= 60
    assert limits.STRENGTHS_OF_NETWORK.interval >= 1


async def test_one_password_is_judged_at_a_time(db: str) -> None:
    """The others are refused, and no sign-in waits for them."""
    go_on = threading.Event()
    running = asyncio.create_task(passwords._assessing().run(go_on.wait, 30))
    await asyncio.sleep(0)
    with pytest.raises(OverloadedError):
        await passwords.assess(STRONG)
    await passwords.check_new_password(STRONG)
    go_on.set()
    assert await running


async def test_hashing_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "_pool", None)
    assert (await passwords.assess(STRONG)).accepted


async def test_the_first_characters_are_judged() -> None:
    password = "password" * 3 + "zq8!Kx2v"
    assert len(password) - 8 == passwords.ASSESSED_LENGTH
    assert (await passwords.assess(password)).score < strength.estimate(password).score
