"""Row 46: an invitation creates one account, for its own address; and no account is created where registration is
closed.
"""

import asyncio
import secrets
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest

from idp.accounts import invitations
from idp.accounts.repository.users import user_by_email
from idp.accounts.users import create_user
from idp.infra.db.engine import execute, fetch
from tests.conftest import MakeClient
from tests.support.browser import Browser, Page, open_browser
from tests.support.mailbox import Mailbox
from tests.support.oauth import RelyingParty
from tests.support.server import Server

PASSWORD = "seven tired otters nap"
PARALLEL = 50


@pytest.fixture
def newcomer() -> str:
    return f"{secrets.token_hex(6)}@example.com"


async def _users(email: str) -> int:
    return len(await fetch("SELECT 1 FROM users WHERE email = $1", email))


async def _mails(email: str) -> int:
    return len(await fetch("SELECT 1 FROM mail WHERE recipient = $1", email))


async def _link(email: str) -> str:
    """Invite a user. The path of the link."""
    parts = urlsplit(await invitations.invite(email, "Invited One"))
    return f"{parts.path}?{parts.query}"


async def _page(browser: Browser, path: str) -> Page:
    page = await browser.get(path)
    assert isinstance(page, Page)
    return page


async def _accept(browser: Browser, link: str) -> Page:
    """Go to the form that makes the account."""
    page = await browser.submit(await _page(browser, link), "invitation-accept")
    assert isinstance(page, Page)
    assert "register-submit" in page.ids
    return page


async def _register(browser: Browser, page: Page, **fields: str) -> Page:
    answer = await browser.submit(page, "register-submit", **{"password": PASSWORD} | fields)
    assert isinstance(answer, Page)
    return answer


def _signed_in(browser: Browser) -> bool:
    return any("session" in name for name in browser.cookies)


# The race


async def test_46_one_invitation_makes_one_account(server: Server, newcomer: str) -> None:
    """One account, for any number of concurrent requests with the link."""
    link = await _link(newcomer)
    ready = asyncio.Barrier(PARALLEL)

    async def one() -> bool:
        async with open_browser(server.issuer) as browser:
            page = await _accept(browser, link)
            await ready.wait()
            assert (await _register(browser, page)).status in (200, 400, 503)
            return _signed_in(browser)

    assert (await asyncio.gather(*(one() for _ in range(PARALLEL)))).count(True) == 1
    assert await _users(newcomer) == 1


async def test_46_one_sign_in_makes_one_account(browser: Browser, newcomer: str) -> None:
    """The same form sent many times."""
    page = await _accept(browser, await _link(newcomer))
    answers = await asyncio.gather(*(_register(browser, page) for _ in range(PARALLEL)))
    assert {answer.status for answer in answers} <= {200, 400, 503}
    assert await _users(newcomer) == 1
    sessions = await fetch("SELECT 1 FROM session s JOIN users u ON u.id = user_id WHERE email = $1", newcomer)
    assert len(sessions) == 1


# What an invitation permits


@pytest.mark.parametrize("mode", ["open", "invitation"])
async def test_46_only_for_its_own_address(
    start_server: Callable[..., Server], mailbox: Mailbox, newcomer: str, mode: str
) -> None:
    """Another address is treated as without an invitation."""
    server = await asyncio.to_thread(start_server, IDP_REGISTRATION=mode, IDP_SMTP_URL=mailbox.url)
    link, other = await _link(newcomer), f"other-{newcomer}"
    async with open_browser(server.issuer) as browser:
        answer = await _register(browser, await _accept(browser, link), username=other)
        assert not _signed_in(browser)
        if mode == "open" and "code-submit" in answer.ids:
            # The mail to the owner decides, as for everyone.
            assert await _users(other) == 0
        else:
            assert (answer.status, await _mails(other)) == (400, 0)
    assert await _users(newcomer) == 0
    async with open_browser(server.issuer) as browser:
        await _register(browser, await _accept(browser, link), username=newcomer.upper())
        assert _signed_in(browser)
    assert (await _users(newcomer), await _users(other)) == (1, 0)


async def test_46_the_form_cannot_say_whom_it_invites(browser: Browser, newcomer: str) -> None:
    page = await _page(browser, (await _page(browser, "/login")).path + "/registration")
    made_up = dict.fromkeys(["invited_email", "email", "invitation_id", "registration"], newcomer)
    answer = await _register(browser, page, username=newcomer, **made_up)
    assert "code-submit" in answer.ids
    assert await _users(newcomer) == 0
    assert not _signed_in(browser)


async def test_46_not_for_an_existing_account(browser: Browser, newcomer: str) -> None:
    """An account that was created in the meantime is unchanged, and no one is signed in."""
    page = await _accept(browser, await _link(newcomer))
    await create_user(newcomer, None, name="First")
    answer = await _register(browser, page)
    assert answer.status == 400
    assert not _signed_in(browser)
    user = await user_by_email(newcomer)
    assert user is not None
    assert (user.name, user.password_hash, user.email_verified) == ("First", None, False)


async def test_46_used_once(browser: Browser, server: Server, newcomer: str) -> None:
    link = await _link(newcomer)
    async with open_browser(server.issuer) as early:
        held = await _accept(early, link)
        await _register(browser, await _accept(browser, link))
        assert _signed_in(browser)
        await execute("DELETE FROM users WHERE email = $1", newcomer)
        assert (await _register(early, held)).status == 400
    browser.cookies.clear()
    assert (await _page(browser, link)).status == 400
    assert await _users(newcomer) == 0


async def test_46_not_after_its_expiry(browser: Browser, newcomer: str) -> None:
    """The link and the form behind it stop working."""
    link = await _link(newcomer)
    held = await _accept(browser, link)
    await execute("UPDATE invitation SET expires_at = now() WHERE email = $1", newcomer)
    assert (await _register(browser, held)).status == 400
    assert (await _page(browser, link)).status == 400
    assert await _users(newcomer) == 0


async def test_46_a_second_one_takes_the_place_of_the_first(browser: Browser, newcomer: str) -> None:
    first, second = await _link(newcomer), await _link(newcomer.upper())
    assert (await _page(browser, first)).status == 400
    await _register(browser, await _accept(browser, second))
    assert await _users(newcomer) == 1


async def test_46_a_link_cannot_be_made_up(browser: Browser, newcomer: str) -> None:
    """From known values, from the stored hash, or from a part of it."""
    link = await _link(newcomer)
    (row,) = await fetch("SELECT id, token_hash FROM invitation WHERE email = $1", newcomer)
    token = link.partition("=")[2]
    made_up = [
        "", "x", "%", "*", newcomer, str(row["id"]), row["token_hash"].hex(), token[:-1], f"{token}x", token.swapcase(),
        f"{token[:-1]}%25", secrets.token_urlsafe(32), "' OR '1'='1",
    ]  # fmt: skip
    for text in made_up:
        for answer in (
            await browser.get("/invitation", token=text),
            await browser.post("/invitation", {"token": text}),
        ):
            assert isinstance(answer, Page)
            assert answer.status == 400
    assert (await _page(browser, link)).status == 200


# Registration is closed


@pytest.mark.parametrize("mode", ["invitation", "closed"])
async def test_46_closed_to_pages_and_apps(
    start_server: Callable[..., Server], make_client: MakeClient, mailbox: Mailbox, newcomer: str, mode: str
) -> None:
    server = await asyncio.to_thread(start_server, IDP_REGISTRATION=mode, IDP_SMTP_URL=mailbox.url)
    await _refused_everywhere(server, make_client, newcomer)
    if mode == "closed":
        await _refused_to_invited(server, f"invited-{newcomer}")


async def _refused_to_invited(server: Server, email: str) -> None:
    """The latest setting of the operator applies, whatever was mailed before."""
    link = await _link(email)
    async with open_browser(server.issuer) as browser:
        page = await _page(browser, link)
        if "invitation-accept" in page.ids:
            answer = await browser.submit(page, "invitation-accept")
            assert isinstance(answer, Page)
            await _by_hand(browser, answer, email)
        assert not _signed_in(browser)
    assert await _users(email) == 0


async def _refused_everywhere(server: Server, make_client: MakeClient, email: str) -> None:
    async with open_browser(server.issuer) as browser:
        page = await _page(browser, "/login")
        assert "/registration" not in page.text
        shown = await _page(browser, f"{page.path}/registration")
        assert "register-submit" not in shown.ids
        await _by_hand(browser, page, email)
        assert not _signed_in(browser)
    await _by_challenge(await make_client(server, authorization_challenge=True, skip_consent=True), email)
    assert (await _users(email), await _mails(email)) == (0, 0)


async def _by_hand(browser: Browser, page: Page, email: str) -> None:
    """Send the form's fields with the hidden fields of the page."""
    form = next(form for form in page.forms if "csrf_token" in form.fields)
    path = "/".join(page.path.split("/")[:3])
    given = {"csrf_token": form.fields["csrf_token"], "username": email, "password": PASSWORD, "name": "Mallory"}
    for fields in (given, given | {"action": "send"}, given | {"code": "000000", "password": ""}):
        answer = await browser.post(f"{path}/registration", fields)
        assert isinstance(answer, Page)
        assert "code-submit" not in answer.ids


async def _by_challenge(app: RelyingParty, email: str) -> None:
    asked = app.parameters(redirect_uri=None, response_type=None, state=None)
    given = {"step": "registration", "username": email, "password": PASSWORD, "name": "Mallory"}
    answer = await app.post("/challenge", **asked | given)
    assert answer.status_code == 400
    assert "registration" not in answer.json()["steps"]
    session = answer.json()["auth_session"]
    for fields in (given, given | {"action": "send"}, {"step": "registration", "otp": "000000"}):
        answer = await app.post("/challenge", auth_session=session, **fields)
        assert answer.status_code == 400
        assert "authorization_code" not in answer.json()
