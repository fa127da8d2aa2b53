"""Row 53: nobody can use the server to flood a mailbox, and addresses without an account get no mail."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable

import pytest

from idp.accounts.tables import User
from idp.infra.db.engine import execute, fetch, fetchrow, transaction
from idp.mail import outbox
from idp.selfservice.security_mails import HOURLY_NOTICES
from idp.signin import limits
from idp.signin.transitions import Step
from tests.conftest import MakeUser
from tests.support.browser import Browser, Page, as_page, open_browser
from tests.support.mailbox import Mailbox
from tests.support.oauth import PASSWORD
from tests.support.person import equip
from tests.support.server import Server

_PENDING = "SELECT 1 FROM mail WHERE next_attempt_at IS NOT NULL AND recipient = ANY($1) LIMIT 1"

BURST = limits.MAILS_TO_ADDRESS.burst
Ask = Callable[[Browser, str], Awaitable[Page]]


def _stranger() -> str:
    return f"{secrets.token_hex(6)}@example.com"


async def _page(browser: Browser, path: str = "") -> Page:
    """A page of a new sign-in."""
    browser.cookies.clear()
    page = await browser.get("/login")
    assert isinstance(page, Page)
    if path:
        page = await browser.get(f"{page.path}/{path}")  # type: ignore[assignment]
    return page


async def _submit(browser: Browser, page: Page, button: str, **fields: str) -> Page:
    answer = await browser.submit(page, button, **fields)
    assert isinstance(answer, Page)
    return answer


async def _code(browser: Browser, email: str) -> Page:
    return as_page(await browser.ask_for_code(await _page(browser), email))


async def _reset(browser: Browser, email: str) -> Page:
    return await _submit(browser, await _page(browser, "forgot"), "forgot-submit", username=email)


async def _register(browser: Browser, email: str) -> Page:
    page = await _page(browser, "registration")
    return await _submit(
        browser, page, "register-submit", username=email, name="Mallory", password="seven tired otters nap"
    )


WAYS: dict[str, Ask] = {"a code": _code, "a new password": _reset, "an account": _register}


async def _settled(*recipients: str) -> None:
    """Wait until nothing more is on its way to them."""
    async with asyncio.timeout(20):
        while await fetchrow(_PENDING, list(recipients)) is not None:
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("ask", WAYS.values(), ids=WAYS)
async def test_53_an_address_gets_a_few_mails(browser: Browser, alice: User, mailbox: Mailbox, ask: Ask) -> None:
    """The number of requests and sign-ins does not matter."""
    answers = [await ask(browser, alice.email) for _ in range(BURST + 3)]
    assert [answer.status for answer in answers] == [200] * BURST + [429] * 3
    for refused in answers[BURST:]:
        # With the form, so that the user can continue once the time has passed.
        assert 'role="alert"' in refused.text
        assert 'name="username"' in refused.text
        assert 0 < int(refused.response.headers["retry-after"]) <= limits.MAILS_TO_ADDRESS.interval
    await _settled(alice.email)
    assert len(mailbox.to(alice.email)) == BURST


async def test_53_all_ways_have_one_budget(browser: Browser, alice: User, mailbox: Mailbox) -> None:
    """And all spellings of an address."""
    name, _, domain = alice.email.partition("@")
    spellings = [alice.email, alice.email.upper(), f" {name}@{domain.title()} ", alice.email]
    answers = [await ask(browser, spelling) for ask, spelling in zip([*WAYS.values(), _code], spellings, strict=True)]
    assert [answer.status for answer in answers] == [200] * BURST + [429]
    await _settled(alice.email)
    assert len(mailbox.to(alice.email)) == BURST


async def test_53_asked_for_at_once(server: Server, alice: User, mailbox: Mailbox) -> None:
    async def one() -> int:
        async with open_browser(server.issuer) as browser:
            return (await _code(browser, alice.email)).status

    statuses = await asyncio.gather(*(one() for _ in range(BURST + 9)))
    assert sorted(statuses) == [200] * BURST + [429] * 9
    await _settled(alice.email)
    assert len(mailbox.to(alice.email)) == BURST


@pytest.mark.parametrize("ask", [_code, _reset], ids=["a code", "a new password"])
async def test_53_no_mail_without_an_account(browser: Browser, mailbox: Mailbox, ask: Ask) -> None:
    """An address without an account is counted as any other, answered as any other, and not mailed."""
    stranger = _stranger()
    answers = [await ask(browser, stranger) for _ in range(BURST + 1)]
    assert [answer.status for answer in answers] == [200] * BURST + [429]
    await _settled(stranger)
    assert mailbox.to(stranger) == []


async def test_53_one_host_causes_a_few_mails(
    start_server: Callable[..., Server], mailbox: Mailbox, make_user: MakeUser
) -> None:
    """To any number of addresses, with any headers."""
    users = [await make_user() for _ in range(limits.MAILS_FROM_HOST.burst + 3)]
    server = await asyncio.to_thread(start_server, IDP_ADDRESS_LIMITS="true", IDP_SMTP_URL=mailbox.url)
    try:
        async with open_browser(server.issuer) as browser:
            page = await _page(browser)
            statuses = []
            for number, user in enumerate(users):
                browser.client.headers["x-forwarded-for"] = f"192.0.2.{number}"
                statuses.append(as_page(await browser.ask_for_code(page, user.email)).status)
        assert statuses == [200] * limits.MAILS_FROM_HOST.burst + [429] * 3
        await _settled(*(user.email for user in users))
        assert sum(len(mailbox.to(user.email)) for user in users) == limits.MAILS_FROM_HOST.burst
    finally:
        # All requests of these tests come from this address.
        await execute("DELETE FROM throttle")


async def test_53_notices_keep_no_other_mail_away(browser: Browser, alice: User, mailbox: Mailbox) -> None:
    """Whoever has the password makes new recovery codes until nothing else would be sent for an hour."""
    await browser.sign_in(as_page(await browser.get("/login")), alice.email, PASSWORD)
    await equip(alice, browser.issuer, [Step.TOTP], two_step=False)
    asked = as_page(await browser.get("/account/recovery-codes"))
    form = next(form for form in asked.forms if "ask-confirm" in form.buttons)
    for _ in range(outbox.HOURLY_BUDGET):
        await browser.client.post(
            f"{browser.issuer}{form.action}", data=form.fields, headers={"Origin": browser.issuer}
        )
    page = as_page(await browser.get("/account/password"))
    await browser.submit(page, "password-save", password="seven tired otters nap")
    async with open_browser(browser.issuer) as own:
        page = as_page(await own.get("/forgot"))
        form = next(form for form in page.forms if form.action.endswith("/forgot"))
        await own.post(form.action, form.fields | {"username": alice.email, "action": "send"})
    rows = await fetch(
        "SELECT template, count(*) FROM mail WHERE recipient = $1 AND state <> 'dead' GROUP BY 1", alice.email
    )
    assert {row["template"]: row["count"] for row in rows} == {
        "recovery_codes_made": HOURLY_NOTICES, "password_changed": 1, "reset_password": 1
    }  # fmt: skip


async def test_53_the_hourly_budget_of_the_outbox(server: Server, alice: User, mailbox: Mailbox) -> None:
    """The last limit: the outbox itself sends a limited number of mails per hour to one address."""
    for _ in range(outbox.HOURLY_BUDGET + 5):
        async with transaction():
            await outbox.queue(alice.email, "welcome")
    await _settled(alice.email)
    assert len(mailbox.to(alice.email)) == outbox.HOURLY_BUDGET
