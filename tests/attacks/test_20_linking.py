"""Row 20: only a user's own action links an external identity to their account, never its email address."""

import secrets

import pytest

from idp.accounts.tables import User
from idp.infra.db.engine import execute, fetch, fetchrow
from tests.conftest import MakeUser
from tests.federation.conftest import Add, add, github, leave, provider, sign_in
from tests.support.browser import Browser, as_page, open_browser
from tests.support.mailbox import Mailbox
from tests.support.oauth import PASSWORD
from tests.support.stand_ins import GitHub, OpenIDProvider

__all__ = ["add", "github", "provider"]


@pytest.fixture
async def victim(make_user: MakeUser) -> User:
    user = await make_user(name="Victim")
    await execute("UPDATE users SET email_verified = true WHERE id = $1", user.id)
    return user


async def _nothing(browser: Browser, victim: User) -> None:
    """Check that no one is signed in as the victim, and that nothing was linked to their account."""
    assert not browser.signed_in or victim.email not in as_page(await browser.get("/account")).text
    assert await fetch("SELECT 1 FROM identity WHERE user_id = $1", victim.id) == []
    assert await fetch("SELECT 1 FROM session WHERE user_id = $1", victim.id) == []


@pytest.mark.parametrize("trusted", [True, False])
@pytest.mark.parametrize("verified", [True, False, "true", "false", None])
async def test_20_the_victims_address_at_a_provider(
    browser: Browser, provider: OpenIDProvider, add: Add, victim: User, trusted: bool, verified: object
) -> None:
    """The claims of the provider about it do not matter."""
    upstream = await add(issuer=provider.issuer, trust_email=trusted)
    provider.person.email, provider.person.email_verified = victim.email, verified
    await sign_in(browser, upstream)
    await _nothing(browser, victim)


#: The last one contains a full-width letter, which NFKC maps to the same letter.
SPELLINGS = [str.upper, str.title, lambda text: f" {text}", lambda text: text.replace("e", "\uff45", 1)]


@pytest.mark.parametrize("spelling", SPELLINGS, ids=["upper", "title", "space", "wide"])
async def test_20_spellings_of_it(
    browser: Browser, provider: OpenIDProvider, add: Add, victim: User, spelling: object
) -> None:
    """They find the victim's account, to which the attacker has no key, and make no second one beside it."""
    upstream = await add(issuer=provider.issuer, trust_email=True)
    provider.person.email = spelling(victim.email)  # type: ignore[operator]
    page = as_page(await sign_in(browser, upstream))
    # If more than the case differs, the provider proved another spelling, and the address must still be proved.
    same = provider.person.email.lower() == victim.email
    assert ("login-submit" if same else "upstream-send") in page.ids
    await _nothing(browser, victim)


async def test_20_the_same_subject_at_another_provider(
    browser: Browser, provider: OpenIDProvider, add: Add, mailbox: Mailbox
) -> None:
    """It is another user, also if the provider is configured twice, or at another path."""
    first = await add(issuer=provider.issuer, trust_email=True)
    await sign_in(browser, first)
    row = await fetchrow("SELECT user_id FROM identity WHERE subject = $1", provider.person.sub)
    assert row is not None
    other = OpenIDProvider()
    try:
        other.person.sub, other.person.email = provider.person.sub, f"{secrets.token_hex(6)}@example.com"
        browser.cookies.clear()
        await sign_in(browser, await add(issuer=other.issuer, trust_email=True))
    finally:
        other.stop()
    rows = await fetch("SELECT user_id FROM identity WHERE subject = $1", provider.person.sub)
    assert len({found["user_id"] for found in rows}) == len(rows) == 2


async def test_20_a_github_id_of_another_user(
    browser: Browser, github: GitHub, provider: OpenIDProvider, add: Add
) -> None:
    """A subject is valid only with its issuer, and a login name, which can be taken over, identifies no one."""
    upstream = await add(kind="github", issuer=github.url)
    await sign_in(browser, upstream)
    (first,) = await fetch("SELECT user_id FROM identity WHERE issuer = $1", github.url)
    github.person.id += 1
    github.person.emails = [(f"{secrets.token_hex(6)}@example.com", True, True)]
    browser.cookies.clear()
    await sign_in(browser, upstream)
    rows = await fetch("SELECT user_id FROM identity WHERE issuer = $1", github.url)
    assert len({row["user_id"] for row in rows}) == 2
    provider.person.sub, provider.person.email = str(github.person.id), f"{secrets.token_hex(6)}@example.com"
    browser.cookies.clear()
    await sign_in(browser, await add(issuer=provider.issuer, trust_email=True))
    row = await fetchrow("SELECT user_id FROM identity WHERE issuer = $1", provider.issuer)
    assert row is not None
    assert row["user_id"] not in {found["user_id"] for found in rows}
    assert first["user_id"] in {found["user_id"] for found in rows}


async def test_20_a_proof_of_another_address(
    browser: Browser, provider: OpenIDProvider, add: Add, victim: User, mailbox: Mailbox
) -> None:
    """The attacker proves their own address, and names the victim's in addition."""
    upstream = await add(issuer=provider.issuer)
    own = f"{secrets.token_hex(6)}@example.com"
    page = as_page(await sign_in(browser, upstream))
    page = as_page(await browser.submit(page, "upstream-send", username=own))
    form = next(form for form in page.forms if "code-submit" in form.buttons)
    named = dict.fromkeys(("username", "email", "upstream", "user_id"), victim.email)
    await browser.post(page.path, form.fields | named | {"code": (await mailbox.next(own)).code})
    await _nothing(browser, victim)
    row = await fetchrow("SELECT email FROM users WHERE email = $1", own)
    assert row is not None


async def test_20_an_identity_that_waits_is_for_its_own_sign_in(
    browser: Browser, provider: OpenIDProvider, add: Add, victim: User
) -> None:
    """The attacker comes back with the victim's address, and the victim signs in elsewhere: nothing is joined."""
    upstream = await add(issuer=provider.issuer, trust_email=True)
    provider.person.email = victim.email
    waiting = as_page(await sign_in(browser, upstream))
    assert victim.email in waiting.text
    async with open_browser(browser.issuer) as own:
        await own.sign_in(as_page(await own.get("/login")), victim.email, PASSWORD)
        assert own.signed_in
    assert await fetch("SELECT 1 FROM identity WHERE user_id = $1", victim.id) == []
    # The browser cannot claim that a link is pending either.
    async with open_browser(browser.issuer) as other:
        page = as_page(await other.get("/login"))
        form = page.forms[0]
        await other.post(
            form.action,
            form.fields | {"username": victim.email, "password": PASSWORD, "identity": "x", "upstream": upstream.id},
        )
    assert await fetch("SELECT 1 FROM identity WHERE user_id = $1", victim.id) == []


async def test_20_a_callback_in_another_tab(browser: Browser, provider: OpenIDProvider, add: Add, victim: User) -> None:
    """A callback of one sign-in is not accepted in another sign-in of the same browser."""
    upstream = await add(issuer=provider.issuer, trust_email=True)
    first, second = as_page(await browser.get("/login")), as_page(await browser.get("/account/apps"))
    location = await leave(browser, first, upstream)
    for page in (first, second):
        answer = await browser.post(
            f"{page.path}/upstream", page.forms[0].fields | {"state": location.partition("state=")[2].partition("&")[0]}
        )
        assert as_page(answer).status == 400
    await _nothing(browser, victim)
