"""Row 77: addresses of an enforced domain sign in at the upstream of the organization only."""

import secrets
from html import unescape
from pathlib import Path
from uuid import UUID

import pytest

from idp.accounts import email_proofs
from idp.accounts.email_proofs import Purpose
from idp.accounts.repository.admin_roles import grant_role
from idp.accounts.tables import User
from idp.accounts.users import create_user
from idp.directory import domains, organizations
from idp.federation import linking, realms, registry
from idp.infra.db.engine import execute, fetch, fetchrow, transaction
from idp.signin.transitions import Step
from tests.conftest import MakeClient
from tests.federation.conftest import Add, add, make_realm, provider, sign_in, visit
from tests.federation.ldap.conftest import added, configuration
from tests.oauth.test_challenge import app, begin, go_on
from tests.support.browser import Browser, Page, Redirect, as_page, open_browser
from tests.support.mailbox import Mailbox
from tests.support.oauth import PASSWORD, RelyingParty
from tests.support.person import equip
from tests.support.realms import MakeRealm, Realm, enter, until_leads
from tests.support.server import Server
from tests.support.slapd import Slapd, needs_slapd
from tests.support.stand_ins import OpenIDProvider

__all__ = ["add", "app", "make_realm", "provider"]

REFUSED = "sign in with their organisation only"


@pytest.fixture
async def realm(make_realm: MakeRealm) -> Realm:
    return await make_realm(enforced=True, creates_accounts=True)


async def account(email: str, *, admin: bool = False) -> User:
    user = await create_user(email, PASSWORD, email_verified=True)
    if admin:
        await grant_role(user.id, "auditor", "test")
    return user


async def password_page(browser: Browser) -> Page:
    page = as_page(await browser.get("/login"))
    return as_page(await browser.get(f"{page.path}/password"))


async def come_back(browser: Browser, realm: Realm) -> Page | Redirect:
    away = await enter(browser, realm.address())
    assert isinstance(away, Redirect), away.text
    return await browser.get(await visit(away.location))


async def sessions(user_id: UUID) -> int:
    return len(await fetch("SELECT FROM session WHERE user_id = $1", user_id))


@pytest.mark.parametrize("password", [PASSWORD, "another one"])
@pytest.mark.parametrize("known", [True, False])
async def test_77_by_a_password(browser: Browser, realm: Realm, known: bool, password: str) -> None:
    """Right or wrong, of an account or none: the answer is the same, and leads to the upstream."""
    email = (await account(realm.address())).email if known else realm.address()
    page = as_page(await browser.sign_in(await password_page(browser), email, password))
    assert page.status == 400
    assert REFUSED in page.text
    assert {"address-submit", f"upstream-{realm.upstream.id}"} <= page.ids
    assert not browser.signed_in


async def test_77_by_the_upstream(browser: Browser, realm: Realm) -> None:
    """Also to an account with a password, which is linked; and after that with a second step."""
    user = await account(realm.address())
    person = await equip(user, browser.issuer, [Step.TOTP], two_step=True)
    realm.provider.person.email = user.email
    page = as_page(await come_back(browser, realm))
    assert not browser.signed_in
    await browser.submit(page, "totp-submit", code=await person.otp())
    assert browser.signed_in
    assert await sessions(user.id) == 1


@pytest.mark.parametrize("known", [True, False])
async def test_77_by_a_code(browser: Browser, realm: Realm, mailbox: Mailbox, known: bool) -> None:
    email = (await account(realm.address())).email if known else realm.address()
    page = as_page(await browser.ask_for_code(await password_page(browser), email))
    assert REFUSED in page.text
    assert f"upstream-{realm.upstream.id}" in page.ids
    assert await fetch("SELECT FROM mail WHERE recipient = $1", email) == []


async def test_77_by_a_code_that_was_sent_before(
    browser: Browser, realm: Realm, mailbox: Mailbox, server: Server
) -> None:
    await domains.enforce(realm.domain.id, enforced=False)
    user = await account(realm.address())
    page = as_page(await browser.ask_for_code(await password_page(browser), user.email))
    code = (await mailbox.next(user.email)).code
    # The server decides by the database, whatever it has in memory.
    await realms.enforce(realm.domain.id)
    refused = as_page(await browser.submit(page, "code-submit", code=code))
    assert REFUSED in refused.text
    assert not browser.signed_in
    assert await sessions(user.id) == 0


async def test_77_by_a_passkey(browser: Browser, realm: Realm) -> None:
    user = await account(realm.address())
    person = await equip(user, browser.issuer, [Step.PASSKEY], two_step=False)
    assert person.device is not None
    page = await password_page(browser)
    options = page.text.partition('data-options="')[2].partition('"')[0]
    refused = as_page(await browser.submit(page, "passkey-get", credential=person.device.get(unescape(options))))
    assert REFUSED in refused.text
    assert not browser.signed_in


@pytest.mark.parametrize("known", [True, False])
async def test_77_by_another_upstream(
    browser: Browser, realm: Realm, provider: OpenIDProvider, add: Add, known: bool
) -> None:
    general = await add(issuer=provider.issuer, trust_email=True, creates_accounts=True)
    email = (await account(realm.address())).email if known else realm.address()
    provider.person.email = email
    page = as_page(await sign_in(browser, general))
    assert REFUSED in page.text
    assert not browser.signed_in
    assert await fetchrow("SELECT FROM identity WHERE subject = $1", provider.person.sub) is None
    # Nor by a mail that this server sends for it.
    provider.person.email_verified = False
    browser.cookies.clear()
    page = as_page(await sign_in(browser, general))
    refused = as_page(await browser.submit(page, "upstream-send", username=email))
    assert REFUSED in refused.text
    assert await fetch("SELECT FROM mail WHERE recipient = $1", email) == []


async def test_77_by_an_identity_that_was_linked_before(
    browser: Browser, realm: Realm, provider: OpenIDProvider, add: Add
) -> None:
    general = await add(issuer=provider.issuer, trust_email=True)
    user = await account(realm.address())
    await execute(
        "WITH s AS (INSERT INTO upstream_subject (issuer, subject, user_id) VALUES ($2, $3, $1))"
        " INSERT INTO identity (user_id, id, issuer, subject, upstream_id) VALUES ($1, gen_random_uuid(), $2, $3, $4)",
        user.id, provider.issuer, provider.person.sub, general.id,
    )  # fmt: skip
    assert REFUSED in as_page(await sign_in(browser, general)).text
    assert not browser.signed_in
    assert await sessions(user.id) == 0


@pytest.mark.parametrize("known", [True, False])
async def test_77_by_a_reset_password(browser: Browser, realm: Realm, known: bool) -> None:
    email = (await account(realm.address())).email if known else realm.address()
    page = await password_page(browser)
    forgot = as_page(await browser.get(f"{page.path.removesuffix('/password')}/forgot"))
    refused = as_page(await browser.submit(forgot, "forgot-submit", username=email))
    assert REFUSED in refused.text
    assert await fetch("SELECT FROM mail WHERE recipient = $1", email) == []


async def test_77_by_a_link_to_reset_that_was_sent_before(browser: Browser, realm: Realm) -> None:
    user = await account(realm.address())
    sent = await email_proofs.create(Purpose.PASSWORD_RESET, user.email, lifetime=600, user_id=user.id)
    page = as_page(await browser.get("/reset", token=sent.token))
    await browser.submit(page, "reset-submit", password="completely other words")
    row = await fetchrow("SELECT password_hash FROM users WHERE id = $1", user.id)
    assert row is not None
    assert row["password_hash"] == user.password_hash


@pytest.mark.parametrize("known", [True, False])
async def test_77_by_a_new_account(browser: Browser, realm: Realm, known: bool) -> None:
    email = (await account(realm.address())).email if known else realm.address()
    page = as_page(await browser.get("/login"))
    page = as_page(await browser.get(f"{page.path}/registration"))
    refused = as_page(await browser.submit(page, "register-submit", username=email, password="correct horse battery"))
    assert REFUSED in refused.text
    assert await fetch("SELECT FROM mail WHERE recipient = $1", email) == []
    assert len(await fetch("SELECT FROM users WHERE email = $1", email)) == known


@pytest.mark.parametrize("direction", ["away", "there"])
async def test_77_by_a_change_of_address(
    browser: Browser, realm: Realm, alice: User, mailbox: Mailbox, direction: str
) -> None:
    """Away from the domain, and to an address there: before the mail, and with the code of one that was sent before."""
    await domains.enforce(realm.domain.id, enforced=False)
    user = await account(realm.address()) if direction == "away" else alice
    target = f"{secrets.token_hex(6)}@example.com" if direction == "away" else realm.address()
    await browser.sign_in(await password_page(browser), user.email, PASSWORD)
    page = as_page(await browser.get("/account/email"))
    sent = as_page(await browser.submit(page, "email-send", email=target))
    code = (await mailbox.next(target)).code
    await realms.enforce(realm.domain.id)
    assert REFUSED in as_page(await browser.submit(sent, "code-submit", code=code)).text
    assert REFUSED in as_page(await browser.submit(page, "email-send", email=target)).text
    row = await fetchrow("SELECT email FROM users WHERE id = $1", user.id)
    assert row is not None
    assert row["email"] == user.email


async def test_77_by_linking_another_upstream(
    browser: Browser, realm: Realm, provider: OpenIDProvider, add: Add
) -> None:
    general = await add(issuer=provider.issuer, trust_email=True)
    await domains.enforce(realm.domain.id, enforced=False)
    user = await account(realm.address())
    await browser.sign_in(await password_page(browser), user.email, PASSWORD)
    page = as_page(await browser.get("/account/security"))
    href = page.text.partition(f'id="link-{general.id}"')[2].partition('href="')[2].partition('"')[0]
    away = await browser.get(href)
    assert isinstance(away, Redirect)
    await realms.enforce(realm.domain.id)
    assert REFUSED in as_page(await browser.get(await visit(away.location))).text
    assert f"link-{general.id}" not in as_page(await browser.get("/account/security")).ids
    assert await fetch("SELECT FROM identity WHERE user_id = $1", user.id) == []


async def test_77_by_a_step_of_a_session(browser: Browser, make_client: MakeClient, realm: Realm) -> None:
    """A session that began with a password goes on, and is not raised by a second factor."""
    await domains.enforce(realm.domain.id, enforced=False)
    user = await account(realm.address())
    person = await equip(user, browser.issuer, [Step.TOTP], two_step=False)
    await browser.sign_in(await password_page(browser), user.email, PASSWORD)
    await realms.enforce(realm.domain.id)
    assert user.email in as_page(await browser.get("/account")).text
    client = await make_client()
    page = as_page(await client.authorize(browser, acr_values="2"))
    refused = as_page(await browser.submit(page, "totp-submit", code=await person.otp()))
    assert REFUSED in refused.text


async def test_77_by_an_app(app: RelyingParty, realm: Realm, browser: Browser, mailbox: Mailbox) -> None:
    """Each way answers with the upstream, which a browser opens for the app."""
    user = await account(realm.address())
    for path, fields in (
        ("/challenge", {"password": PASSWORD}),
        ("/challenge", {"password": "wrong"}),
        ("/challenge", {"step": "email_code", "action": "send"}),
        ("/challenge/forgot", {}),
    ):
        first = await begin(app)
        answer = await go_on(app, first, path, username=user.email, **fields)
        assert answer.status_code == 400
        assert (answer.json()["error"], answer.json()["upstreams"]) == ("redirect_to_web", [realm.upstream.id])
    assert await fetch("SELECT FROM mail WHERE recipient = $1", user.email) == []
    realm.provider.person.email = user.email
    answer = await go_on(app, answer, step="upstream", upstream=realm.upstream.id)
    away = await browser.get(answer.json()["authorization_url"].removeprefix(app.issuer))
    assert isinstance(away, Redirect), away.text
    assert away.parameters["login_hint"] == user.email
    back = await browser.get(await visit(away.location))
    assert isinstance(back, Redirect), back.text
    assert "code" in back.parameters


async def test_77_an_administrator_is_not_locked_out(browser: Browser, realm: Realm) -> None:
    """By what proves the account, and not by mail."""
    admin = await account(realm.address(), admin=True)
    await browser.sign_in(await password_page(browser), admin.email, PASSWORD)
    assert browser.signed_in
    async with open_browser(browser.issuer) as other:
        assert REFUSED in as_page(await other.ask_for_code(await password_page(other), admin.email)).text


async def test_77_a_wrong_password_does_not_tell_an_administrator(browser: Browser, realm: Realm) -> None:
    admin, other = await account(realm.address(), admin=True), realm.address()
    answers = []
    for email in (admin.email, other):
        browser.cookies.clear()
        page = as_page(await browser.sign_in(await password_page(browser), email, "wrong"))
        answers.append((page.status, REFUSED in page.text, sorted(page.ids)))
    assert answers[0] == answers[1]


@needs_slapd
async def test_77_nor_does_it_with_a_directory(browser: Browser, server: Server, realm: Realm, tmp_path: Path) -> None:
    """Its answer, here that it is down, is for those whose password it has."""
    admin, other, linked = await account(realm.address(), admin=True), realm.address(), realm.address()
    slapd = Slapd(tmp_path / "slapd")
    try:
        directory = registry.configure(**configuration(slapd))
        async with added(server, directory):
            slapd.stop()
            user = await create_user(linked, None, email_verified=True)
            await grant_role(user.id, "auditor", "test")
            async with transaction():
                await linking.import_identity(user.id, directory.issuer, "1", directory.id)
            answers = []
            for email in (admin.email, other, linked):
                browser.cookies.clear()
                page = as_page(await browser.sign_in(await password_page(browser), email, "wrong"))
                answers.append((page.status, REFUSED in page.text, sorted(page.ids)))
            assert answers[0] == answers[1]
            assert answers[0][:2] == (400, True)
            assert answers[2][:2] == (503, False)
    finally:
        slapd.stop()


@pytest.mark.parametrize("change", ["disable upstream", "disable organization", "delete upstream"])
async def test_77_without_an_upstream_nobody_signs_in(
    browser: Browser, server: Server, realm: Realm, change: str
) -> None:
    user = await account(realm.address())
    match change:
        case "disable upstream":
            await registry.disable(realm.upstream.id)
        case "disable organization":
            await organizations.disable(realm.organization.id)
        case "delete upstream":
            await registry.delete(realm.upstream.id)
    await until_leads(server, user.email, realm.upstream, leads=False)
    for page in (
        as_page(await enter(browser, user.email)),
        as_page(await browser.sign_in(await password_page(browser), user.email, PASSWORD)),
    ):
        assert "not possible at the moment" in page.text
    assert not browser.signed_in


async def test_77_a_lost_domain_is_not_enforced(browser: Browser, realm: Realm) -> None:
    user = await account(realm.address())
    await execute(
        "UPDATE organization_domain SET verified_at = NULL, next_check_at = NULL WHERE id = $1", realm.domain.id
    )
    await browser.sign_in(await password_page(browser), user.email, PASSWORD)
    assert browser.signed_in


async def test_77_a_domain_of_an_organization_without_an_upstream_is_not_enforced(make_realm: MakeRealm) -> None:
    realm = await make_realm()
    await registry.disable(realm.upstream.id)
    with pytest.raises(realms.NoUpstreamError):
        await realms.enforce(realm.domain.id)
