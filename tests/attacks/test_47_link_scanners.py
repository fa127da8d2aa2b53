"""Row 47: whatever opens the links of our mails before their reader does, uses nothing up and gets nothing.

Scanners of mail send GET and HEAD, from anywhere or, inside the person's browser, with their cookies.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import httpx
import pytest

from idp.accounts import invitations
from idp.accounts.tables import User
from idp.directory import invitations as organization_invitations
from idp.infra.db.engine import execute, fetch, fetchrow
from idp.signin import limits
from tests.support.browser import Browser, Page
from tests.support.directory import an_organization
from tests.support.mailbox import Mailbox
from tests.support.oauth import PASSWORD
from tests.support.server import Server

NEW_PASSWORD = "seven tired otters nap"
TIMES = 10
MAILS = Path(__file__).parents[2] / "templates" / "mail"


class Sent(NamedTuple):
    """A mail's link: its recipient, the button that it leads to, and what the user enters there."""

    path: str
    address: str
    button: str = "link-submit"
    typed: Mapping[str, str] = MappingProxyType({})


async def _page(browser: Browser, path: str) -> Page:
    page = await browser.get(path)
    assert isinstance(page, Page)
    return page


async def _submit(browser: Browser, page: Page, button: str, **fields: str) -> Page:
    answer = await browser.submit(page, button, **fields)
    assert isinstance(answer, Page)
    assert answer.status == 200
    return answer


async def _path(mailbox: Mailbox, recipient: str) -> str:
    return httpx.URL((await mailbox.next(recipient)).link).raw_path.decode()


async def _sign_in_link(browser: Browser, mailbox: Mailbox, alice: User) -> Sent:
    page = await _page(browser, (await _page(browser, "/login")).path + "/email_code")
    await _submit(browser, page, "email-code-send", username=alice.email)
    return Sent(await _path(mailbox, alice.email), alice.email)


async def _registration(browser: Browser, mailbox: Mailbox, alice: User) -> Sent:
    page = await _page(browser, (await _page(browser, "/login")).path + "/registration")
    email = f"new-{alice.email}"
    await _submit(browser, page, "register-submit", username=email, password=NEW_PASSWORD)
    return Sent(await _path(mailbox, email), email)


async def _reset(browser: Browser, mailbox: Mailbox, alice: User) -> Sent:
    page = await _page(browser, (await _page(browser, "/login")).path + "/forgot")
    await _submit(browser, page, "forgot-submit", username=alice.email)
    return Sent(await _path(mailbox, alice.email), alice.email, "reset-submit", {"password": NEW_PASSWORD})


async def _email_change(browser: Browser, mailbox: Mailbox, alice: User) -> Sent:
    await browser.sign_in(await _page(browser, "/login"), alice.email, PASSWORD)
    email = f"new-{alice.email}"
    await _submit(browser, await _page(browser, "/account/email"), "email-send", email=email)
    return Sent(await _path(mailbox, email), email)


async def _invitation(browser: Browser, mailbox: Mailbox, alice: User) -> Sent:
    email = f"new-{alice.email}"
    await invitations.invite(email, None)
    return Sent(await _path(mailbox, email), email, "invitation-accept")


async def _organization_invitation(browser: Browser, mailbox: Mailbox, alice: User) -> Sent:
    email = f"new-{alice.email}"
    await organization_invitations.invite((await an_organization()).id, email)
    return Sent(await _path(mailbox, email), email, "invitation-decline")


async def _unlock(browser: Browser, mailbox: Mailbox, alice: User) -> Sent:
    """Waits between the attempts are skipped, so that the lock comes at once."""
    page = await _page(browser, "/login")
    for _ in range(limits.LOCK_AFTER):
        await execute("UPDATE throttle SET free_at = now() WHERE rule = $1", limits.PASSWORDS.name)
        await browser.sign_in(page, alice.email, secrets.token_hex(8))
    return Sent(await _path(mailbox, alice.email), alice.email, "unlock-submit")


WAYS: dict[str, Callable[[Browser, Mailbox, User], Awaitable[Sent]]] = {
    "sign_in_code": _sign_in_link,
    "verify_email": _registration,
    "reset_password": _reset,
    "email_change_confirm": _email_change,
    "invitation": _invitation,
    "organization_invitation": _organization_invitation,
    "account_locked": _unlock,
}


def test_47_no_mail_with_a_link_is_left_out() -> None:
    linking = {path.stem for path in MAILS.glob("*.txt") if "{{ link" in path.read_text(encoding="utf-8")}
    # That of an approval leads to a page of the account, where only a signed-in user decides (tests/oauth/ciba/).
    # That about a new browser: tests/selfservice/test_not_me.py.
    assert linking == WAYS.keys() | {"approval_request", "new_browser"}


# Effects that a visit must not have


_PENDING = """
    SELECT FROM mail WHERE next_attempt_at IS NOT NULL
        AND (recipient = ANY($1) OR next_attempt_at < now() + interval '5 seconds')
    UNION ALL SELECT FROM session WHERE ended_at IS NOT NULL AND announced_at IS NULL
    LIMIT 1
"""


async def _settled(*recipients: str) -> None:
    """Wait until the outbox has nothing more to do, and every session that ended is announced.

    Messages leased by a killed server of another test are ignored.
    """
    async with asyncio.timeout(20):
        while await fetchrow(_PENDING, list(recipients)) is not None:
            await asyncio.sleep(0.02)


class _Moment(NamedTuple):
    """A transaction, and when it was."""

    transaction: int
    at: datetime


async def _now() -> _Moment:
    row = await fetchrow("SELECT pg_current_xact_id()::text::bigint AS id, now() AS at")
    assert row is not None
    return _Moment(row["id"], row["at"])


#: Tables that the server writes by itself, regardless of visits.
OF_ITSELF = {
    "activity",
    "audit_checkpoint",
    "database_mark",
    "jwks_fetch",
    "revision",
    "signing_key",
    "trace",
    "transaction_lock",
}
#: A new event. Events of earlier requests may be written later, and a checkpoint updates the rows that it numbers: both
#: are left out.
_EVENT = """
    SELECT 1 FROM audit_event WHERE xmin::text::bigint > $1 AND at > $2 AND seq IS NULL
    AND event NOT IN ('token_issued', 'token_refused') LIMIT 1
"""


_MAIL = "SELECT 1 FROM mail WHERE xmin::text::bigint > $1 AND recipient = ANY($2) LIMIT 1"


async def _written_since(moment: _Moment, *recipients: str) -> set[str]:
    """The tables of which a row was written since a moment. Of mails, those to these addresses are looked at."""
    # A partition is compared with its table.
    tables = await fetch(
        "SELECT relname AS name FROM pg_class"
        " WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition"
    )
    names = [row["name"] for row in tables if row["name"] not in OF_ITSELF]
    assert {"users", "session", "email_proof", "invitation", "audit_event", "mail", "throttle"} <= set(names)
    written = "SELECT 1 FROM {} WHERE xmin::text::bigint > $1 LIMIT 1"
    found = {
        name
        for name in names
        if name not in ("mail", "audit_event") and await fetchrow(written.format(name), moment.transaction) is not None
    }
    if await fetchrow(_EVENT, *moment) is not None:
        found.add("audit_event")
    if await fetchrow(_MAIL, moment.transaction, list(recipients)) is not None:
        found.add("mail")
    return found


async def _rows(sent: Sent, alice: User) -> list[str]:
    """Return the rows that the link refers to, and all that depend on them: none may be deleted, either."""
    found = await fetch(
        "SELECT p::text AS row FROM email_proof p WHERE email = $1 UNION SELECT i::text FROM invitation i"
        " WHERE email = $1 UNION SELECT o::text FROM organization_invitation o WHERE email = $1"
        " UNION SELECT u::text FROM users u WHERE email = ANY(ARRAY[$1, $2]) UNION SELECT s::text"
        " FROM session s WHERE user_id = $3 UNION SELECT t::text FROM throttle t WHERE rule = $4 ORDER BY 1",
        sent.address, alice.email, alice.id, limits.PASSWORDS.name,
    )  # fmt: skip
    return [row["row"] for row in found]


async def _scan(client: httpx.AsyncClient, url: str) -> None:
    for _ in range(TIMES):
        answers = [
            await client.head(url),
            await client.get(url, headers={"Sec-Purpose": "prefetch", "User-Agent": "LinkScanner/1.0"}),
        ]
        assert answers[0].status_code == answers[1].status_code < 500
        assert answers[0].content == b""
        for answer in answers:
            cookies = [header.partition("=")[0] for header in answer.headers.get_list("set-cookie")]
            assert not [name for name in cookies if "session" in name or "device" in name]


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
async def test_47_opening_a_link_changes_nothing(
    server: Server,
    browser: Browser,
    http: httpx.AsyncClient,
    alice: User,
    mailbox: Mailbox,
    way: Callable[[Browser, Mailbox, User], Awaitable[Sent]],
) -> None:
    """And then the person's own click works, once."""
    sent = await way(browser, mailbox, alice)
    await _settled(sent.address, alice.email)
    before, rows, cookies = await _now(), await _rows(sent, alice), dict(browser.cookies)
    await _scan(http, f"{server.issuer}{sent.path}")
    # A browser without a session is sent to sign in before it changes an address.
    assert await _written_since(before, sent.address, alice.email) <= (
        {"signin_flow"} if way is _email_change else set()
    )
    before = await _now()
    await _scan(browser.client, f"{server.issuer}{sent.path}")
    assert await _written_since(before, sent.address, alice.email) == set()
    assert await _rows(sent, alice) == rows
    assert browser.cookies == cookies

    before = await _now()
    page = await _page(browser, sent.path)
    assert await _written_since(before, sent.address, alice.email) == set()
    # A form sent in the name of another site is not a click of the user.
    form = next(form for form in page.forms if sent.button in form.buttons)
    forged = await browser.post(form.action, form.fields | dict(sent.typed), origin="https://evil.example")
    assert isinstance(forged, Page)
    assert forged.status >= 400
    assert await _rows(sent, alice) == rows
    done = await _submit(browser, page, sent.button, **sent.typed)
    if way is _invitation:
        assert await _rows(sent, alice) == rows
        await _submit(browser, done, "register-submit", password=NEW_PASSWORD)
    await _settled()
    after = await _rows(sent, alice)
    assert after != rows

    again = await browser.submit(page, sent.button, **sent.typed)
    assert isinstance(again, Page)
    # A sign-in that is over leads on, if it signed this browser in.
    assert again.status == (200 if way in (_sign_in_link, _registration) else 400)
    assert await _rows(sent, alice) == after
