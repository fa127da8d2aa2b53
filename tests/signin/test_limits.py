"""Rate limits of sign-ins: what is counted, for which account, and how a lock is lifted."""

import asyncio
import contextlib
import secrets
import time
from collections.abc import Callable
from functools import partial

import pytest

from idp.accounts.tables import User
from idp.errors import TooManyRequestsError
from idp.infra import rate_limits
from idp.infra.db.engine import execute, fetch, fetchrow
from idp.signin import limits
from tests.conftest import MakeClient
from tests.support.browser import Browser, Page, as_page, open_browser
from tests.support.limits import keep_spent, keep_waiting, most_within
from tests.support.mailbox import Mailbox
from tests.support.oauth import PASSWORD, RelyingParty
from tests.support.server import Server


def subject() -> str:
    return secrets.token_hex(8)


async def _later(rule: rate_limits.Rate | rate_limits.Escalation, subject: str, seconds: float) -> None:
    """Move the stored times, because the clock of the database cannot be moved."""
    await execute(
        "UPDATE throttle SET free_at = free_at - make_interval(secs => $2) WHERE key = $1",
        rate_limits.key(rule, subject), float(seconds),
    )  # fmt: skip


async def test_a_rate(db: str) -> None:
    """A burst, then one per interval; a refusal does not lengthen the wait."""
    rate, who = rate_limits.Rate("test", burst=3, interval=60), subject()
    for _ in range(3):
        await rate_limits.spend((rate, who))
    for _ in range(5):
        with pytest.raises(TooManyRequestsError) as refused:
            await rate_limits.spend((rate, who))
        assert 55 <= refused.value.retry_after <= 60
    await _later(rate, who, 60)
    await rate_limits.spend((rate, who))
    with pytest.raises(TooManyRequestsError):
        await rate_limits.spend((rate, who))


async def test_two_hundred_at_once(db: str) -> None:
    rate, who, other = rate_limits.Rate("test", burst=7, interval=600), subject(), subject()

    async def one(number: int) -> bool:
        events = [(rate, who), (rate_limits.Rate("wide", 10_000, 1), other)]
        try:
            # In either order: they must not wait for each other forever.
            await rate_limits.spend(*(events if number % 2 else reversed(events)))
        except TooManyRequestsError:
            return False
        return True

    assert sum(await asyncio.gather(*map(one, range(200)))) == 7


async def _wait(rule: rate_limits.Escalation, subject: str) -> float:
    """Count an event. Returns the reported wait, or 0."""
    try:
        await rate_limits.spend((rule, subject))
    except TooManyRequestsError as error:
        return error.retry_after
    return 0


@pytest.mark.fault(4)
async def test_a_refused_event_is_not_counted_by_any_rule(db: str) -> None:
    """Rates and escalations, whichever of them refuses, in any order of their keys."""
    narrow, wide, who = rate_limits.Rate("narrow", 1, 60), rate_limits.Rate("wide", 3, 60), subject()
    escalation, other = rate_limits.Escalation("test", free=3, longest=600), subject()
    assert await rate_limits.spend((narrow, who), (wide, who), (escalation, who)) == 1
    before = await fetch("SELECT * FROM throttle ORDER BY key")
    for _ in range(10):
        with pytest.raises(TooManyRequestsError):
            await rate_limits.spend((wide, who), (escalation, who), (narrow, who), (wide, other))
    assert await fetch("SELECT * FROM throttle ORDER BY key") == before
    assert await rate_limits.spend((wide, who), (escalation, who)) == 2
    assert await rate_limits.spend((escalation, who)) == 3
    with pytest.raises(TooManyRequestsError):
        await rate_limits.spend((wide, who), (escalation, who))
    await rate_limits.spend((wide, who))
    with pytest.raises(TooManyRequestsError):
        await rate_limits.spend((wide, who))


@pytest.mark.fault(4)
async def test_together_also_at_once(db: str) -> None:
    """Two hundred requests share one limit and have a second one each: refused requests are not counted anywhere."""
    shared, own, who = rate_limits.Rate("shared", 7, 600), rate_limits.Rate("own", 1, 600), subject()
    subjects = [subject() for _ in range(200)]

    async def one(whose: str) -> bool:
        try:
            await rate_limits.spend((shared, who), (own, whose))
        except TooManyRequestsError:
            return False
        return True

    allowed = await asyncio.gather(*map(one, subjects))
    assert sum(allowed) == 7
    for counted, whose in zip(allowed, subjects, strict=True):
        row = await fetchrow("SELECT 1 FROM throttle WHERE key = $1", rate_limits.key(own, whose))
        assert (row is not None) == counted


async def test_an_escalation(db: str) -> None:
    rule, who = rate_limits.Escalation("test", free=3, longest=10), subject()
    assert [await _wait(rule, who) for _ in range(3)] == [0, 0, 0]
    waits = []
    for _ in range(4):
        wait = await _wait(rule, who)
        waits.append(wait)
        await _later(rule, who, wait)
        assert await _wait(rule, who) == 0
    assert waits == [2, 4, 8, 10]
    await rate_limits.forget((rule, who))
    assert await rate_limits.spend((rule, who)) == 1


async def test_an_escalation_is_forgotten_in_time(db: str) -> None:
    rule, who = rate_limits.Escalation("test", free=1, longest=10), subject()
    await rate_limits.spend((rule, who))
    await _later(rule, who, 25)
    assert await rate_limits.spend((rule, who)) == 1


async def test_fifty_tries_at_once_count(db: str) -> None:
    rule, who = rate_limits.Escalation("test", free=5, longest=600), subject()
    started = time.monotonic()
    waits = await asyncio.gather(*(_wait(rule, who) for _ in range(50)))
    assert 5 <= waits.count(0) <= most_within(rule, time.monotonic() - started)


# During the sign-in


async def _wrong(browser: Browser, email: str, times: int) -> Page:
    page = await browser.get("/login")
    for _ in range(times):
        assert isinstance(page, Page)
        page = await browser.sign_in(page, email, "not it at all")
        await keep_waiting(limits.PASSWORDS)
    assert isinstance(page, Page)
    return page


async def test_wrong_passwords(browser: Browser, alice: User) -> None:
    page = await _wrong(browser, alice.email, limits.PASSWORDS.free)
    assert page.status == 400
    page = await _wrong(browser, alice.email, 1)
    assert page.status == 429
    assert int(page.response.headers["retry-after"]) >= 1
    assert 'role="alert"' in page.text
    # The right one is not accepted now either, but the page offers other methods.
    again = await browser.sign_in(page, alice.email, PASSWORD)
    assert isinstance(again, Page)
    assert again.status == 429
    assert "email-code-send" in again.ids


async def test_an_unknown_account_is_counted_too(browser: Browser) -> None:
    page = await _wrong(browser, f"{subject()}@example.com", limits.PASSWORDS.free + 1)
    assert page.status == 429


async def test_a_known_browser_is_not_held_up_by_strangers(browser: Browser, client: RelyingParty, alice: User) -> None:
    await client.sign_in(browser, alice.email)
    async with open_browser(client.issuer) as stranger:
        assert (await _wrong(stranger, alice.email, limits.PASSWORDS.free + 1)).status == 429
    for name in list(browser.cookies):
        if "session" in name:
            del browser.cookies[name]
    await client.sign_in(browser, alice.email)


async def test_another_way_in_lifts_it(browser: Browser, client: RelyingParty, alice: User, mailbox: Mailbox) -> None:
    page = await _wrong(browser, alice.email, limits.PASSWORDS.free + 1)
    assert page.status == 429
    page = await browser.submit(page, "email-code-send", username=alice.email, password="")  # type: ignore[assignment]
    form = next(form for form in page.forms if "email-code-send" in form.buttons or "code-submit" in form.buttons)
    path = form.action.rpartition("/")[0]
    sent = await browser.post(f"{path}/email_code", form.fields | {"username": alice.email, "action": "send"})
    assert isinstance(sent, Page)
    letter = await mailbox.next(alice.email)
    await browser.submit(sent, "code-submit", code=letter.code)
    async with open_browser(client.issuer) as fresh:
        await client.sign_in(fresh, alice.email)


async def test_the_owner_is_told_and_can_lift_it(
    browser: Browser, client: RelyingParty, alice: User, mailbox: Mailbox
) -> None:
    key = rate_limits.key(limits.PASSWORDS, alice.email)
    page = await _wrong(browser, alice.email, 1)
    await execute(
        "UPDATE throttle SET number = $2, free_at = now() - interval '1 second' WHERE key = $1",
        key, limits.LOCK_AFTER - 1,
    )  # fmt: skip
    page = await _wrong(browser, alice.email, 1)
    letter = await mailbox.next(alice.email)
    page = await _wrong(browser, alice.email, 1)
    assert page.status == 429
    assert int(page.response.headers["retry-after"]) > 1000
    async with open_browser(client.issuer) as elsewhere:
        shown = await elsewhere.get(letter.path)
        assert isinstance(shown, Page)
        assert await fetchrow("SELECT 1 FROM throttle WHERE key = $1", key) is not None
        await elsewhere.submit(shown, "unlock-submit")
        again = await elsewhere.submit(shown, "unlock-submit")
        assert isinstance(again, Page)
        assert again.status == 400
    await client.sign_in(browser, alice.email)


async def test_mails_to_one_address(browser: Browser, client: RelyingParty, alice: User) -> None:
    page = await client.authorize(browser)
    assert isinstance(page, Page)
    form = page.forms[0]
    path = form.action.rpartition("/")[0]
    answers = [
        await browser.post(f"{path}/email_code", form.fields | {"username": alice.email, "action": "send"})
        for _ in range(limits.MAILS_TO_ADDRESS.burst + 1)
    ]
    assert [answer.status for answer in answers if isinstance(answer, Page)] == [200, 200, 200, 429]


async def test_the_limit_by_address(start_server: Callable[..., Server], make_client: MakeClient) -> None:
    """From one host, with any account and any headers."""
    server = await asyncio.to_thread(start_server, IDP_ADDRESS_LIMITS="true")
    async with open_browser(server.issuer) as browser:
        page = await browser.get("/login")
        statuses = []
        while 429 not in statuses:
            assert isinstance(page, Page)
            browser.client.headers["x-forwarded-for"] = f"192.0.2.{len(statuses)}"
            page = await browser.sign_in(page, f"{subject()}@example.com", "not it at all")
            assert isinstance(page, Page)
            statuses.append(page.status)
            # A slow machine gives some of the budget back meanwhile.
            assert len(statuses) < limits.STEPS_OF_HOST.burst + 180
        assert statuses[: limits.STEPS_OF_HOST.burst] == [400] * limits.STEPS_OF_HOST.burst
    await execute("DELETE FROM throttle")


@pytest.mark.fault(8)
async def test_a_new_password_is_a_step(start_server: Callable[..., Server], alice: User) -> None:
    """It is counted before it is judged and hashed."""
    server = await asyncio.to_thread(start_server, IDP_ADDRESS_LIMITS="true")
    async with open_browser(server.issuer) as browser:
        await browser.sign_in(as_page(await browser.get("/login")), alice.email, PASSWORD)
        page = as_page(await browser.get("/account/password"))
        assert as_page(await browser.submit(page, "password-save", password=alice.email)).status == 400
        with contextlib.suppress(TooManyRequestsError):
            for _ in range(limits.STEPS_OF_PERSON.burst + 60):
                await rate_limits.spend((limits.STEPS_OF_PERSON, alice.email))
        await keep_spent(limits.STEPS_OF_PERSON)
        refused = as_page(await browser.submit(page, "password-save", password="seven tired otters nap"))
        assert refused.status == 429
        assert int(refused.response.headers["retry-after"]) > 0
        row = await fetchrow("SELECT password_changed_at > created_at AS changed FROM users WHERE id = $1", alice.id)
        assert row is not None
        assert not row["changed"]
    await execute("DELETE FROM throttle")


async def test_a_refusal_by_load_is_not_counted(start_server: Callable[..., Server], alice: User) -> None:
    """It is refused at once, with the time to wait."""
    server = start_server(
        IDP_HASHING_THREADS="1", IDP_HASHING_QUEUE="0", IDP_ARGON2_MEMORY_COST="65536", IDP_ARGON2_TIME_COST="40"
    )
    async with open_browser(server.issuer) as one, open_browser(server.issuer) as other:
        pages = [await browser.get("/login") for browser in (one, other)]
        assert isinstance(pages[0], Page)
        assert isinstance(pages[1], Page)
        # The password of an unknown user is verified with the costs from the settings.
        nobody = f"{subject()}@example.com"
        busy = asyncio.create_task(one.sign_in(pages[0], nobody, PASSWORD))
        # The attempt is counted just before the password is verified.
        while await fetchrow("SELECT FROM throttle WHERE key = $1", rate_limits.key(limits.PASSWORDS, nobody)) is None:
            await asyncio.sleep(0.02)
        # Before anything is read: the refusal does not depend on whether the sign-in exists.
        unread = partial(other.client.post, f"{server.issuer}/login/none/password", headers={"Origin": server.issuer})
        while (await unread()).status_code != 503:
            assert not busy.done()
        refused = await other.sign_in(pages[1], alice.email, PASSWORD)
        assert not busy.done()
        assert isinstance(refused, Page)
        assert (refused.response.status_code, refused.response.headers["retry-after"]) == (503, "2")
        key = rate_limits.key(limits.PASSWORDS, alice.email)
        assert await fetchrow("SELECT FROM throttle WHERE key = $1", key) is None
        await busy


async def test_every_try_is_attributed_to_its_account(browser: Browser, alice: User) -> None:
    """Also one that came too often. The browser is not told whether there is such an account."""
    page = as_page(await browser.get("/login"))
    for _ in range(7):
        answer = as_page(await browser.sign_in(page, alice.email, "not her password"))
        await keep_waiting(limits.PASSWORDS)
    assert answer.status == 429
    events = await fetch("SELECT outcome FROM audit_event WHERE user_id = $1 AND event = 'sign_in'", alice.id)
    assert {event["outcome"] for event in events} == {"failure", "denied"}
    assert len(events) == 7
