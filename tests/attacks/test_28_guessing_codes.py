"""Row 28: codes of six digits cannot be guessed: attempts are limited per code and per account, and each code is valid
once.
"""

import asyncio
import time

import pytest

from idp.accounts.tables import User
from idp.infra.db.engine import execute, fetch, fetchrow
from idp.signin import limits
from idp.signin.transitions import Step
from tests.support.browser import Browser, Page, as_page, open_browser, sent_to
from tests.support.limits import keep_waiting, most_within
from tests.support.mailbox import Mailbox
from tests.support.oauth import PASSWORD
from tests.support.person import Person, equip
from tests.support.server import Server

TRIES = 5


def _wrong(code: str, number: int = 1) -> str:
    """Another code."""
    return f"{(int(code) + number) % 10**6:06}"


async def _ask(browser: Browser, email: str) -> Page:
    browser.cookies.clear()
    return as_page(await browser.ask_for_code(as_page(await browser.get("/login")), email))


async def test_28_five_tries_end_a_code(browser: Browser, alice: User, mailbox: Mailbox) -> None:
    page = await _ask(browser, alice.email)
    code = (await mailbox.next(alice.email)).code
    for number in range(1, TRIES + 1):
        answer = as_page(await browser.submit(page, "code-submit", code=_wrong(code, number)))
        assert answer.status == 400
    assert as_page(await browser.submit(page, "code-submit", code=code)).status == 400
    assert not browser.signed_in


async def test_28_the_fifth_try_may_be_right(browser: Browser, alice: User, mailbox: Mailbox) -> None:
    page = await _ask(browser, alice.email)
    code = (await mailbox.next(alice.email)).code
    for number in range(1, TRIES):
        await browser.submit(page, "code-submit", code=_wrong(code, number))
    await browser.submit(page, "code-submit", code=code)
    assert browser.signed_in


async def test_28_fifty_tries_at_once(browser: Browser, alice: User, mailbox: Mailbox) -> None:
    """No more than five attempts are counted."""
    page = await _ask(browser, alice.email)
    code = (await mailbox.next(alice.email)).code
    await asyncio.gather(*(browser.submit(page, "code-submit", code=_wrong(code, n)) for n in range(1, 51)))
    row = await fetchrow("SELECT tries FROM email_proof WHERE email = $1", alice.email)
    assert row is not None
    assert row["tries"] == TRIES
    assert as_page(await browser.submit(page, "code-submit", code=code)).status == 400


async def test_28_one_code_fifty_times_at_once(browser: Browser, alice: User, mailbox: Mailbox) -> None:
    """One sign-in, one session."""
    page = await _ask(browser, alice.email)
    code = (await mailbox.next(alice.email)).code
    form = next(form for form in page.forms if "code-submit" in form.buttons)
    # The requests were prepared before the first answer: each carries the cookie of the flow.
    headers = {"Origin": browser.issuer, "Cookie": "; ".join(f"{n}={v}" for n, v in browser.cookies.items())}
    async with open_browser(browser.issuer) as other:
        answers = await asyncio.gather(
            *(other.client.post(page.url, data=form.fields | {"code": code}, headers=headers) for _ in range(50))
        )
    assert sum(sent_to(answer) == "/" and "session=" in str(answer.headers) for answer in answers) == 1
    assert len(await fetch("SELECT 1 FROM session WHERE user_id = $1", alice.id)) == 1


async def test_28_more_sign_ins_are_no_more_codes(browser: Browser, alice: User, mailbox: Mailbox) -> None:
    """Each code costs a mail, and mails to an address are counted out: so are the tries that they give."""
    statuses = [(await _ask(browser, alice.email)).status for _ in range(limits.MAILS_TO_ADDRESS.burst + 1)]
    assert statuses == [200] * limits.MAILS_TO_ADDRESS.burst + [429]
    # Per day: the number of guesses, each with a chance of one in a million.
    assert limits.MAILS_TO_ADDRESS_A_DAY.burst * TRIES <= 100


@pytest.mark.parametrize("text", ["", "12345", "1234567", "12345x", "١٢٣٤٥٦", "1e5000", "-12345", "0x1234", "12345\0"])
async def test_28_only_six_digits(browser: Browser, alice: User, mailbox: Mailbox, text: str) -> None:
    page = await _ask(browser, alice.email)
    await mailbox.next(alice.email)
    assert as_page(await browser.submit(page, "code-submit", code=text)).status == 400


# The authenticator app


@pytest.fixture
async def person(alice: User, server: Server) -> Person:
    return await equip(alice, server.issuer, [Step.TOTP, Step.RECOVERY_CODE], two_step=True)


async def _second(browser: Browser, user: User) -> Page:
    """Reach the second step in a new browser. The limit of passwords is not tested here."""
    browser.cookies.clear()
    await limits.unlock(user.email)
    page = as_page(await browser.sign_in(as_page(await browser.get("/login")), user.email, PASSWORD))
    assert "totp-submit" in page.ids
    return page


async def test_28_tries_count_at_the_account(browser: Browser, person: Person) -> None:
    """Not at the sign-in: a new sign-in with the right password allows no further attempts. Both kinds of code share
    the limit.
    """
    statuses = []
    for number in range(limits.SECOND_STEPS.free + 3):
        page = await _second(browser, person.user)
        if number % 2:
            page = as_page(await browser.get(f"{page.path}/recovery_code"))
            answer = await browser.submit(page, "recovery-submit", code="aaaa-bbbb-cccc")
        else:
            answer = await browser.submit(page, "totp-submit", code=_wrong(await person.otp(), 1234))
        statuses.append(as_page(answer).status)
        await keep_waiting(limits.SECOND_STEPS)
    assert statuses == [400] * limits.SECOND_STEPS.free + [429] * 3
    page = await _second(browser, person.user)
    held = as_page(await browser.submit(page, "totp-submit", code=await person.otp()))
    assert held.status == 429
    assert not browser.signed_in
    assert int(held.response.headers["retry-after"]) > 0


async def test_28_fifty_guesses_at_once(server: Server, person: Person) -> None:
    """The guesses are for one account, each in its own sign-in."""
    async with open_browser(server.issuer) as browser:
        pages = [(await _second(browser, person.user), dict(browser.cookies)) for _ in range(10)]
    code = await person.otp()

    async def guess(number: int) -> int:
        page, cookies = pages[number % len(pages)]
        async with open_browser(server.issuer) as other:
            other.cookies.update(cookies)
            return as_page(await other.submit(page, "totp-submit", code=_wrong(code, 1000 + number))).status

    started = time.monotonic()
    statuses = await asyncio.gather(*map(guess, range(50)))
    assert set(statuses) == {400, 429}
    most = most_within(limits.SECOND_STEPS, time.monotonic() - started)
    assert limits.SECOND_STEPS.free <= statuses.count(400) <= most


async def test_28_a_time_step_counts_once(server: Server, person: Person) -> None:
    """A code that an attacker sees is already used, at once or a moment later."""
    async with open_browser(server.issuer) as first, open_browser(server.issuer) as second:
        pages = [await _second(browser, person.user) for browser in (first, second)]
        code = await person.otp()
        await asyncio.gather(
            first.submit(pages[0], "totp-submit", code=code), second.submit(pages[1], "totp-submit", code=code)
        )
        assert sorted([first.signed_in, second.signed_in]) == [False, True]
        late = first if second.signed_in else second
        answer = as_page(await late.submit(pages[0 if late is first else 1], "totp-submit", code=code))
        assert answer.status == 400
        assert not late.signed_in


async def test_28_passing_once_gives_the_tries_back(browser: Browser, person: Person) -> None:
    """Else a person who often mistypes would be locked out in the end."""
    for _ in range(2):
        for _ in range(limits.SECOND_STEPS.free - 1):
            page = await _second(browser, person.user)
            await browser.submit(page, "totp-submit", code=_wrong(await person.otp(), 1234))
        page = await _second(browser, person.user)
        await browser.submit(page, "totp-submit", code=await person.otp())
        assert browser.signed_in
    await execute("DELETE FROM session WHERE user_id = $1", person.user.id)
