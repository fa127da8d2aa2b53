"""Row 77: the upstream of an organization speaks for the domains of this organization only."""

import re
import secrets
from uuid import UUID

import pytest

from idp.accounts.repository.admin_roles import grant_role
from idp.accounts.repository.users import change_email
from idp.accounts.tables import User
from idp.accounts.users import create_user
from idp.directory import organizations
from idp.federation import registry
from idp.infra.db.engine import execute, fetch, fetchrow
from tests.federation.conftest import Add, add, leave, make_realm, provider, sign_in, visit
from tests.support.browser import Browser, Page, Redirect, as_page, open_browser
from tests.support.mailbox import Mailbox
from tests.support.nameserver import Nameserver
from tests.support.oauth import PASSWORD
from tests.support.realms import MakeRealm, Realm, a_domain, enter, until_leads
from tests.support.server import Server
from tests.support.stand_ins import OpenIDProvider

__all__ = ["add", "make_realm", "provider"]


async def account(email: str) -> User:
    return await create_user(email, PASSWORD, email_verified=True)


async def identities(user_id: UUID) -> int:
    return len(await fetch("SELECT FROM identity WHERE user_id = $1", user_id))


async def of_subject(realm: Realm) -> UUID | None:
    row = await fetchrow("SELECT user_id FROM identity WHERE subject = $1", realm.provider.person.sub)
    return row["user_id"] if row is not None else None


async def come_back(browser: Browser, realm: Realm) -> Page | Redirect:
    """Go to the upstream with an address of the domain, and come back as ``person``."""
    away = await enter(browser, realm.address())
    assert isinstance(away, Redirect), away.text
    return await browser.get(await visit(away.location))


async def sessions_at(realm: Realm) -> int:
    rows = await fetch(
        "SELECT FROM session AS s JOIN users AS u ON u.id = s.user_id WHERE u.email LIKE '%@' || $1",
        realm.domain.domain,
    )
    return len(rows)


@pytest.fixture
async def realm(make_realm: MakeRealm) -> Realm:
    return await make_realm(creates_accounts=True, adds_members=True)


@pytest.mark.parametrize("verified", [True, False])
@pytest.mark.parametrize("known", [True, False])
async def test_77_an_address_elsewhere(browser: Browser, realm: Realm, verified: bool, known: bool) -> None:
    """With an account or without, it is refused, and nothing is created or linked."""
    email = f"{secrets.token_hex(6)}@example.com"
    user = await account(email) if known else None
    realm.provider.person.email, realm.provider.person.email_verified = email, verified
    page = as_page(await come_back(browser, realm))
    assert "Only people with an address of their organisation" in page.text
    assert not browser.signed_in
    assert await of_subject(realm) is None
    if user is not None:
        assert await identities(user.id) == 0
    else:
        assert await fetchrow("SELECT FROM users WHERE email = $1", email) is None


async def test_77_an_address_of_another_organization(browser: Browser, realm: Realm, make_realm: MakeRealm) -> None:
    other = await make_realm()
    victim = await account(other.address())
    realm.provider.person.email = victim.email
    assert "Only people with an address of their organisation" in as_page(await come_back(browser, realm)).text
    assert not browser.signed_in
    assert await identities(victim.id) == 0


@pytest.mark.parametrize("spelling", ["{0}.example.com", "sub.{0}", "{0}.", "x@{0}"])
async def test_77_domains_that_look_like_it(browser: Browser, realm: Realm, spelling: str) -> None:
    realm.provider.person.email = f"ada@{spelling.format(realm.domain.domain)}"
    await come_back(browser, realm)
    assert not browser.signed_in
    assert await of_subject(realm) is None


async def test_77_an_account_of_the_domain(browser: Browser, realm: Realm, mailbox: Mailbox) -> None:
    """The organization has its domain, and so the mail: the account is linked, and its user told."""
    user = await account(realm.address())
    realm.provider.person.email = user.email
    await come_back(browser, realm)
    assert browser.signed_in
    assert await of_subject(realm) == user.id
    assert "connected" in (await mailbox.next(user.email)).subject


async def test_77_an_administrators_address(browser: Browser, realm: Realm) -> None:
    """An administrator signs in to the account in another way, and it is not linked."""
    admin = await account(realm.address())
    await grant_role(admin.id, "support", "test")
    realm.provider.person.email = admin.email
    page = as_page(await come_back(browser, realm))
    assert not browser.signed_in
    assert await identities(admin.id) == 0
    await browser.sign_in(page, admin.email, PASSWORD)
    assert browser.signed_in
    assert await of_subject(realm) is None
    assert f"link-{realm.upstream.id}" not in as_page(await browser.get("/account/security")).ids


async def test_77_an_account_that_becomes_an_administrators(browser: Browser, realm: Realm) -> None:
    """The identity that was linked before no longer signs in."""
    await come_back(browser, realm)
    user_id = await of_subject(realm)
    assert user_id is not None
    browser.cookies.clear()
    before = await sessions_at(realm)
    await grant_role(user_id, "auditor", "test")
    page = as_page(await come_back(browser, realm))
    assert "Administrators of this service cannot sign in" in page.text
    assert not browser.signed_in
    assert await sessions_at(realm) == before


@pytest.mark.parametrize("change", ["address elsewhere", "domain lost", "domain of another"])
async def test_77_an_account_that_is_no_longer_of_the_organization(
    browser: Browser, realm: Realm, make_realm: MakeRealm, change: str
) -> None:
    """The provider goes on to say the subject that it linked, with an address of its domain."""
    await come_back(browser, realm)
    user_id = await of_subject(realm)
    assert user_id is not None
    browser.cookies.clear()
    await execute("DELETE FROM organization_member WHERE user_id = $1", user_id)
    email = realm.provider.person.email
    match change:
        case "address elsewhere":
            email = f"{secrets.token_hex(6)}@example.com"
        case "domain of another":
            email = (await make_realm()).address()
    assert await change_email(user_id, email)
    away = await enter(browser, realm.address())
    assert isinstance(away, Redirect)
    if change == "domain lost":
        # Without a notice, so that the server has it in memory.
        await execute(
            "UPDATE organization_domain SET verified_at = NULL, next_check_at = NULL WHERE id = $1", realm.domain.id
        )
    page = as_page(await browser.get(await visit(away.location)))
    assert "Only people with an address of their organisation" in page.text
    assert not browser.signed_in
    assert len(await fetch("SELECT FROM session WHERE user_id = $1", user_id)) == 1
    assert await fetch("SELECT FROM organization_member WHERE user_id = $1", user_id) == []


async def test_77_an_identity_of_another_upstream(browser: Browser, realm: Realm, add: Add) -> None:
    """An upstream of the whole server at the same issuer linked it to an account elsewhere."""
    general = await add(issuer=realm.provider.issuer, trust_email=True, creates_accounts=True)
    realm.provider.person.email = f"{secrets.token_hex(6)}@example.com"
    await browser.get(await leave(browser, as_page(await browser.get("/login")), general))
    assert browser.signed_in
    user_id = await of_subject(realm)
    browser.cookies.clear()
    page = as_page(await come_back(browser, realm))
    assert "Only people with an address of their organisation" in page.text
    assert not browser.signed_in
    assert await of_subject(realm) == user_id


async def test_77_its_own_identity_with_another_address(browser: Browser, realm: Realm) -> None:
    """It is the same user, whose address here stays."""
    await come_back(browser, realm)
    user_id, email = await of_subject(realm), realm.provider.person.email
    realm.provider.person.email = f"{secrets.token_hex(6)}@example.com"
    browser.cookies.clear()
    await come_back(browser, realm)
    assert browser.signed_in
    assert email in as_page(await browser.get("/account")).text
    assert await of_subject(realm) == user_id


async def test_77_an_address_that_is_typed_later(browser: Browser, realm: Realm, mailbox: Mailbox) -> None:
    """An upstream without addresses: the user proves one by mail, and only one of the organization."""
    realm.provider.person.email = None
    page = as_page(await come_back(browser, realm))
    elsewhere = f"{secrets.token_hex(6)}@example.com"
    refused = as_page(await browser.submit(page, "upstream-send", username=elsewhere))
    assert "Only people with an address of their organisation" in refused.text
    own = realm.address()
    page = as_page(await browser.submit(refused, "upstream-send", username=own))
    await browser.submit(page, "code-submit", code=(await mailbox.next(own)).code)
    assert browser.signed_in
    assert await of_subject(realm) is not None


async def test_77_a_domain_that_is_lost_while_signing_in(browser: Browser, realm: Realm) -> None:
    away = await enter(browser, realm.address())
    assert isinstance(away, Redirect)
    # Without a notice, so that the server has it in memory.
    await execute(
        "UPDATE organization_domain SET verified_at = NULL, next_check_at = NULL WHERE id = $1", realm.domain.id
    )
    page = as_page(await browser.get(await visit(away.location)))
    assert "Only people with an address of their organisation" in page.text
    assert not browser.signed_in
    assert await of_subject(realm) is None


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("change", ["delete", "disable", "disable upstream", "delete upstream", "delete unseen"])
async def test_77_an_organization_that_ends_while_its_people_sign_in(
    browser: Browser, server: Server, realm: Realm, change: str, known: bool
) -> None:
    """Neither one who has an account nor one who has none gets in, and nothing is half done."""
    if known:
        await come_back(browser, realm)
        browser.cookies.clear()
    else:
        realm.provider.person.sub = secrets.token_hex(8)
    before = await sessions_at(realm)
    away = await enter(browser, realm.address())
    assert isinstance(away, Redirect)
    back = await visit(away.location)
    match change:
        case "delete":
            await organizations.delete(realm.organization.id)
        case "disable":
            await organizations.disable(realm.organization.id)
        case "disable upstream":
            await registry.disable(realm.upstream.id)
        case "delete upstream":
            await registry.delete(realm.upstream.id)
        case "delete unseen":
            # Without a notice, so that the server has it in memory.
            await execute("DELETE FROM organization WHERE id = $1", realm.organization.id)
    if change in ("disable upstream", "delete upstream"):
        # What is in memory decides about upstreams, as for those of the whole server.
        await until_leads(server, realm.address(), realm.upstream, leads=False)
    answer = as_page(await browser.get(back))
    assert re.search("is (not|no longer) available", answer.text)
    assert not browser.signed_in
    assert before == await sessions_at(realm) == known
    assert (await of_subject(realm) is not None) is known


async def test_77_linking_on_the_account_page(
    browser: Browser, realm: Realm, alice: User, nameserver: Nameserver
) -> None:
    """An account with an address elsewhere is not offered the upstream, and its link is not accepted."""
    page = as_page(await browser.get("/login"))
    await browser.sign_in(as_page(await browser.get(f"{page.path}/password")), alice.email, PASSWORD)
    page = as_page(await browser.get("/account/security"))
    assert f"link-{realm.upstream.id}" not in page.ids
    assert as_page(await browser.get(f"/account/upstreams/{realm.upstream.id}/link")).path == "/account/security"
    # Of the domain when it starts, and no longer when it ends.
    await execute("UPDATE users SET email = $2 WHERE id = $1", alice.id, alice.email)
    own = await account(realm.address())
    async with open_browser(browser.issuer) as theirs:
        page = as_page(await theirs.get("/login"))
        await theirs.sign_in(as_page(await theirs.get(f"{page.path}/password")), own.email, PASSWORD)
        page = as_page(await theirs.get("/account/security"))
        href = page.text.partition(f'id="link-{realm.upstream.id}"')[2].partition('href="')[2].partition('"')[0]
        away = await theirs.get(href)
        assert isinstance(away, Redirect)
        await execute(
            "UPDATE organization_domain SET verified_at = NULL, next_check_at = NULL WHERE id = $1", realm.domain.id
        )
        refused = as_page(await theirs.get(await visit(away.location)))
        assert "Only people with an address of their organisation" in refused.text
    assert await identities(own.id) == 0


async def test_77_a_domain_that_moves(
    browser: Browser, server: Server, realm: Realm, make_realm: MakeRealm, nameserver: Nameserver
) -> None:
    """The upstream of the former organization no longer speaks for new people of the domain."""
    other = await make_realm()
    second = await a_domain(other.organization, nameserver)
    await until_leads(server, f"ada@{second.domain}", other.upstream)
    realm.provider.person.email = f"ada@{second.domain}"
    assert "Only people with an address of their organisation" in as_page(await come_back(browser, realm)).text


async def test_77_the_upstreams_of_the_whole_server_stay_as_they_are(
    browser: Browser, realm: Realm, provider: OpenIDProvider, add: Add
) -> None:
    """They say any address, also at a verified domain that is not enforced; no account is taken over by it."""
    general = await add(issuer=provider.issuer, trust_email=True, creates_accounts=True)
    user = await account(realm.address())
    provider.person.email = user.email
    page = as_page(await sign_in(browser, general))
    assert "login-submit" in page.ids
    assert not browser.signed_in
    assert await identities(user.id) == 0
