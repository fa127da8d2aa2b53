"""The mail about a sign-in from a new browser, and its link "This wasn't me"."""

import asyncio
import secrets
import uuid
from collections.abc import AsyncIterator, Callable

import pyotp
import pytest

from idp.accounts import email_proofs
from idp.accounts.email_proofs import Purpose
from idp.accounts.tables import User
from idp.federation.repository import identities_of, insert_identity
from idp.infra.db.engine import execute, fetch, fetchrow, transaction
from idp.settings import settings
from idp.signin import devices, new_browser, sessions
from idp.signin.browser import Browser as AnyBrowser
from idp.signin.factors import recovery_codes, totp
from idp.signin.factors.passkeys import passkeys_of
from idp.signin.factors.repository import NewPasskey, find_factors, insert_passkey
from idp.signin.factors.service import set_two_step
from idp.signin.repository.subjects import subject_by_id
from idp.signin.tables import Passkey
from idp.signin.transitions import FEDERATED, CompletedStep, Step
from tests.conftest import MakeClient
from tests.support.browser import Browser, Redirect, as_page, open_browser
from tests.support.mailbox import Letter, Mailbox
from tests.support.oauth import PASSWORD
from tests.support.server import Server

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
WAITS = "SELECT FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid))"
ISSUER, DIRECTORY = "https://op.example.com", "ldap:staff"
#: The events of the removal of one of each.
REMOVED = ["passkey_removed", "totp_disabled", "identity_unlinked"]
LURE = "Call evil.example FooBot/1.0 (X)"


@pytest.fixture
async def telling(start_server: Callable[..., Server], mailbox: Mailbox) -> Server:
    return start_server(IDP_NEW_BROWSER_MAIL="true", IDP_SMTP_URL=mailbox.url)


@pytest.fixture
async def own(telling: Server) -> AsyncIterator[Browser]:
    async with open_browser(telling.issuer) as browser:
        yield browser


@pytest.fixture
async def other(telling: Server) -> AsyncIterator[Browser]:
    async with open_browser(telling.issuer) as browser:
        browser.client.headers["user-agent"] = FIREFOX
        yield browser


async def _sign_in(browser: Browser, user: User) -> None:
    assert as_page(await browser.sign_in(as_page(await browser.get("/login")), user.email, PASSWORD)).path == "/"


async def _mails(user: User) -> int:
    row = await fetchrow("SELECT count(*) FROM mail WHERE recipient = $1 AND template = 'new_browser'", user.email)
    assert row is not None
    return int(row["count"])


async def _told(own: Browser, other: Browser, user: User, mailbox: Mailbox) -> Letter:
    await _sign_in(own, user)
    await _sign_in(other, user)
    return await mailbox.next(user.email)


async def test_only_a_new_browser_is_told_of(own: Browser, other: Browser, alice: User, mailbox: Mailbox) -> None:
    await _sign_in(own, alice)
    assert await _mails(alice) == 0, "the first sign-in of a user"
    await _sign_in(other, alice)
    mail = await mailbox.next(alice.email)
    assert mail.subject.startswith("New sign-in to your ")
    assert "Firefox on Linux\n" in mail.text.replace("\r", "")
    assert "This computer" in mail.text
    for browser in (own, other):
        browser.cookies.pop("session", None)
        await execute("UPDATE session SET ended_at = now(), announced_at = now() WHERE user_id = $1", alice.id)
        await _sign_in(browser, alice)
    assert await _mails(alice) == 1, "both are known"


async def test_it_contains_no_text_of_the_browser(own: Browser, other: Browser, alice: User, mailbox: Mailbox) -> None:
    other.client.headers["user-agent"] = LURE
    mail = await _told(own, other, alice, mailbox)
    assert "evil" not in mail.text.lower()
    assert "An unknown browser" in mail.text


@pytest.mark.parametrize("opened", ["first", "last"])
async def test_a_further_sign_in_of_the_intruder_spares_nothing(
    own: Browser, other: Browser, telling: Server, alice: User, mailbox: Mailbox, make_client: MakeClient, opened: str
) -> None:
    """In the same session, without the cookie by which the browser is known. Both links work for their seven days."""
    app = await make_client(telling, skip_consent=True)
    kept = await insert_passkey(NewPasskey(alice.id, secrets.token_bytes(16), b"k", 0, [], uuid.uuid4(), True, "A"), 9)
    assert kept is not None
    await execute("UPDATE passkey SET created_at = now() - interval '9 days' WHERE user_id = $1", alice.id)
    first = await _told(own, other, alice, mailbox)
    await insert_passkey(NewPasskey(alice.id, secrets.token_bytes(16), b"k", 0, [], uuid.uuid4(), True, "B"), 9)
    await insert_identity(alice.id, ISSUER, f"theirs {alice.id}", upstream_id="acme")
    later = f"interval '{settings().flow_lifetime + 60} seconds'"
    for table in ("passkey", "identity", "email_proof", "session"):
        await execute(f"UPDATE {table} SET created_at = created_at - {later} WHERE user_id = $1", alice.id)
    for name in [name for name in other.cookies if "device" in name]:
        del other.cookies[name]
    page = as_page(await app.authorize(other, prompt="login"))
    assert isinstance(await other.sign_in(page, alice.email, PASSWORD), Redirect)
    last = await mailbox.next(alice.email, 2)
    async with open_browser(telling.issuer) as mailer:
        page = as_page(await mailer.get((first if opened == "first" else last).path))
        assert as_page(await mailer.submit(page, "not-me")).path.endswith("/forgot")
    assert [one.id for one in await passkeys_of(alice.id)] == [kept.id]
    assert await identities_of(alice.id) == []


async def test_there_is_a_bound(own: Browser, telling: Server, alice: User) -> None:
    await _sign_in(own, alice)
    for _ in range(5):
        async with open_browser(telling.issuer) as private:
            await _sign_in(private, alice)
    assert await _mails(alice) == 3


@pytest.mark.parametrize(
    ("browser", "step", "told"),
    [
        (AnyBrowser(), CompletedStep(Step.UPSTREAM, (FEDERATED,)), 0),
        (AnyBrowser(), CompletedStep(Step.PASSWORD, ("pwd", FEDERATED)), 1),
        (AnyBrowser(keeps_cookies=False), CompletedStep(Step.PASSWORD, ("pwd",)), 1),
    ],
    ids=["upstream", "directory", "app"],
)
async def test_of_which_sign_ins_it_tells(
    monkeypatch: pytest.MonkeyPatch, alice: User, browser: AnyBrowser, step: CompletedStep, told: int
) -> None:
    """A password of a directory is typed at our form, and an app's at the app's."""
    telling = settings().model_copy(update={"new_browser_mail": True, "smtp_url": "smtp://localhost"})
    monkeypatch.setattr(new_browser, "settings", lambda: telling)
    async with transaction():
        await devices.remember(AnyBrowser(), alice.id, trust=False, second_step=False)
    person = await subject_by_id(alice.id, browser)
    assert person is not None
    for _ in range(5):
        started = await sessions.start(browser, alice.id, (step,))
        await new_browser.tell_owner(browser, person, started.session, (step,))
    assert await _mails(alice) == 3 * told


async def test_it_can_be_switched_off(start_server: Callable[..., Server], mailbox: Mailbox, alice: User) -> None:
    server = start_server(IDP_NEW_BROWSER_MAIL="false", IDP_SMTP_URL=mailbox.url)
    for _ in range(2):
        async with open_browser(server.issuer) as browser:
            await _sign_in(browser, alice)
    assert await _mails(alice) == 0


async def test_this_was_not_me(
    own: Browser, other: Browser, telling: Server, make_client: MakeClient, alice: User, mailbox: Mailbox
) -> None:
    """The link works signed out, once. It ends all sessions and tokens."""
    mail = await _told(own, other, alice, mailbox)
    client = await make_client(at=telling, skip_consent=True)
    answer = await client.authorize(other)
    tokens = (await client.redeem(answer.parameters["code"])).json()  # type: ignore[union-attr]
    async with open_browser(telling.issuer) as mailer:
        page = as_page(await mailer.get(mail.path))
        assert "login-submit" not in as_page(await other.get("/account")).ids, "opening it changes nothing"
        forgot = as_page(await mailer.submit(page, "not-me"))
        assert forgot.path.endswith("/forgot")
        assert f'value="{alice.email}"' in forgot.text
        assert as_page(await mailer.submit(page, "not-me")).status == 400
    assert "login-submit" in as_page(await other.get("/account")).ids
    assert "login-submit" in as_page(await own.get("/account")).ids
    assert (await client.userinfo(tokens["access_token"])).status_code == 401
    # That browser is new again.
    await _sign_in(other, alice)
    assert await _mails(alice) == 2


async def test_an_old_link_offers_a_new_password(own: Browser, other: Browser, alice: User, mailbox: Mailbox) -> None:
    mail = await _told(own, other, alice, mailbox)
    await execute("UPDATE email_proof SET expires_at = now() WHERE purpose = 'new_browser' AND user_id = $1", alice.id)
    page = as_page(await other.get(mail.path))
    assert page.status == 400
    assert 'href="/forgot"' in page.text


async def test_a_link_outlives_what_the_intruder_changes(
    own: Browser, other: Browser, telling: Server, alice: User, mailbox: Mailbox
) -> None:
    mail = await _told(own, other, alice, mailbox)
    page = as_page(await other.get("/account/password"))
    await other.submit(page, "password-save", password="seven tired otters nap")
    assert "login-submit" not in as_page(await other.get("/account")).ids
    async with open_browser(telling.issuer) as mailer:
        assert as_page(await mailer.submit(as_page(await mailer.get(mail.path)), "not-me")).path.endswith("/forgot")
    assert "login-submit" in as_page(await other.get("/account")).ids


async def test_what_the_intruder_added_is_removed(
    own: Browser, other: Browser, telling: Server, alice: User, mailbox: Mailbox
) -> None:
    """Otherwise they come back with it. What was added during their sign-in is older than its mail."""
    kept, during = await _passkey(alice), await _passkey(alice)
    await insert_identity(alice.id, ISSUER, f"own {alice.id}", upstream_id="acme")
    await insert_identity(alice.id, DIRECTORY, f"own {alice.id}", upstream_id="staff")
    for table in ("passkey", "identity"):
        await execute(f"UPDATE {table} SET created_at = now() - interval '2 hours' WHERE user_id = $1", alice.id)
    await execute("UPDATE passkey SET created_at = now() - interval '10 minutes' WHERE id = $1", during.id)
    await execute("UPDATE identity SET created_at = now() WHERE user_id = $1 AND issuer = $2", alice.id, DIRECTORY)
    mail = await _told(own, other, alice, mailbox)
    await _app(alice)
    await recovery_codes.generate(alice.id)
    await insert_identity(alice.id, ISSUER, f"theirs {alice.id}", upstream_id="acme")
    await _not_me(telling, mail)
    assert [passkey.id for passkey in await passkeys_of(alice.id)] == [kept.id]
    assert {one.issuer: one.subject for one in await identities_of(alice.id)} == dict.fromkeys(
        (ISSUER, DIRECTORY), f"own {alice.id}"
    )
    factors = await find_factors(alice.id)
    assert factors is not None
    assert (factors.two_step, factors.has_totp, factors.has_recovery_code) == (True, False, False)
    for table, column in (("audit_event", "event"), ("mail", "template")):
        whose = "user_id = $1" if table == "audit_event" else "recipient = (SELECT email FROM users WHERE id = $1)"
        rows = await fetch(f"SELECT {column} AS kind FROM {table} WHERE {whose} ORDER BY id", alice.id)
        assert [row["kind"] for row in rows if row["kind"] in REMOVED] == REMOVED


@pytest.mark.parametrize("add", ["passkey", "app"])
async def test_mail_alone_never_removes_the_last_second_factor(
    own: Browser, other: Browser, telling: Server, alice: User, mailbox: Mailbox, add: str
) -> None:
    """Who reads the mailbox, and finds an old mail, would set up a second factor of their own."""
    mail = await _told(own, other, alice, mailbox)
    await (_passkey(alice) if add == "passkey" else _app(alice))
    await recovery_codes.generate(alice.id)
    before = await find_factors(alice.id)
    await _not_me(telling, mail)
    assert before is not None
    assert await find_factors(alice.id) == before


async def test_the_links_of_other_mails_end_too(
    own: Browser, other: Browser, telling: Server, alice: User, mailbox: Mailbox
) -> None:
    mail = await _told(own, other, alice, mailbox)
    async with open_browser(telling.issuer) as third:
        await _sign_in(third, alice)
    second = await mailbox.next(alice.email)
    await _not_me(telling, second)
    assert as_page(await own.get(mail.path)).status == 400


async def _not_me(telling: Server, mail: Letter) -> None:
    async with open_browser(telling.issuer) as mailer:
        assert as_page(await mailer.submit(as_page(await mailer.get(mail.path)), "not-me")).path.endswith("/forgot")


async def _app(user: User) -> None:
    async with transaction():
        await totp.import_secret(user.id, pyotp.random_base32())
        await set_two_step(user.id, True)


async def _passkey(user: User) -> Passkey:
    new = NewPasskey(user.id, secrets.token_bytes(16), b"key", 0, [], uuid.uuid4(), True, "Phone")
    made = await insert_passkey(new, 10)
    assert made is not None
    return made


async def test_it_locks_devices_before_sessions(own: Browser, telling: Server, alice: User) -> None:
    """As a sign-in does, which may have both of another user of the browser."""
    await _sign_in(own, alice)
    sent = await email_proofs.create(
        Purpose.NEW_BROWSER, alice.email, lifetime=600, flow_id=secrets.token_hex(8), user_id=alice.id
    )
    async with open_browser(telling.issuer) as mailer:
        page = as_page(await mailer.get(f"/not-me?token={sent.token}"))
        async with transaction():
            await fetch("SELECT FROM device WHERE user_id = $1 FOR UPDATE", alice.id)
            signing_out = asyncio.ensure_future(mailer.submit(page, "not-me"))
            async with asyncio.timeout(30):
                while not await fetch(WAITS):
                    assert not signing_out.done()
                    await asyncio.sleep(0.01)
            assert await fetch("SELECT FROM session WHERE user_id = $1 FOR UPDATE NOWAIT", alice.id)
        assert as_page(await signing_out).path.endswith("/forgot")
