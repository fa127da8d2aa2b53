"""Sign-in with the password of a directory: new accounts, linked ones, and local ones that it must not touch."""

import asyncio
import secrets
from pathlib import Path
from uuid import UUID

import pytest

from idp.accounts.tables import User
from idp.directory import groups
from idp.federation import registry
from idp.infra.db.engine import execute, fetch, fetchrow
from idp.oauth import directory_checks
from idp.signin import limits
from tests.conftest import MakeClient, MakeUser
from tests.federation.conftest import until
from tests.federation.ldap.conftest import AddDirectory, Make, Person
from tests.support.browser import Browser, Page, Redirect, as_page, open_browser
from tests.support.limits import keep_waiting
from tests.support.mailbox import Mailbox
from tests.support.oauth import PASSWORD
from tests.support.server import Server
from tests.support.slapd import Slapd, group, needs_slapd
from tests.support.tokens import claims_of

pytestmark = needs_slapd


async def enter(browser: Browser, username: str, password: str) -> Page | Redirect:
    """Sign in from our own page, with no cookies of an earlier sign-in."""
    browser.cookies.clear()
    return await browser.sign_in(as_page(await browser.get("/login")), username, password)


async def user_of(email: str) -> User:
    user = await User.objects().where(User.email == email).first()
    assert user is not None
    return user


async def identities(user_id: UUID) -> list[str]:
    return [row["upstream_id"] for row in await fetch("SELECT upstream_id FROM identity WHERE user_id = $1", user_id)]


async def reasons(name: str, upstream_id: str) -> set[str]:
    rows = await fetch(
        "SELECT detail ->> 'reason' AS reason FROM audit_event WHERE event = $1 AND detail ->> 'upstream' = $2",
        name,
        upstream_id,
    )
    return {row["reason"] for row in rows}


async def test_the_first_time_and_again(
    browser: Browser, make_client: MakeClient, add_directory: AddDirectory, ada: Person
) -> None:
    """The account has no password here. Later the address is as good as the name."""
    upstream = await add_directory()
    client = await make_client(skip_consent=True)
    subjects = set()
    for username in (ada.uid, ada.email, ada.uid.upper()):
        browser.cookies.clear()
        page = as_page(await client.authorize(browser))
        answer = await browser.sign_in(page, username, ada.password)
        assert isinstance(answer, Redirect), answer.text
        claims = claims_of((await client.redeem(answer.parameters["code"])).json()["id_token"])
        assert (claims["acr"], claims["amr"]) == ("1", ["pwd", "fed"])
        subjects.add(claims["sub"])
    assert len(subjects) == 1
    user = await user_of(ada.email)
    assert (user.password_hash, user.name, user.email_verified) == (None, "Ada Example", True)
    assert await identities(user.id) == [upstream.id]


async def test_reauthentication(
    browser: Browser, make_client: MakeClient, add_directory: AddDirectory, ada: Person
) -> None:
    """A password that was entered now is fresh, unlike a sign-in elsewhere."""
    await add_directory()
    client = await make_client(skip_consent=True)
    await enter(browser, ada.uid, ada.password)
    page = as_page(await client.authorize(browser, prompt="login"))
    answer = await browser.sign_in(page, ada.uid, ada.password)
    assert isinstance(answer, Redirect), answer.text
    assert "auth_time" in claims_of((await client.redeem(answer.parameters["code"])).json()["id_token"])


@pytest.mark.parametrize("password", ["wrong", "", " "])
async def test_a_wrong_password(browser: Browser, add_directory: AddDirectory, ada: Person, password: str) -> None:
    await add_directory()
    for username in (ada.uid, ada.email, "u" + secrets.token_hex(6)):
        page = as_page(await enter(browser, username, password))
        assert page.status == 400
        assert "do not match" in page.text
    assert not browser.signed_in
    await enter(browser, ada.uid, ada.password)
    page = as_page(await enter(browser, ada.email, password))
    assert page.status == 400


async def test_an_address_without_trust_is_proved_by_mail(
    browser: Browser, add_directory: AddDirectory, make_person: Make, mailbox: Mailbox
) -> None:
    upstream = await add_directory()
    address = f"{secrets.token_hex(5)}@elsewhere.example"
    someone = make_person(mail=address)
    page = as_page(await enter(browser, someone.uid, someone.password))
    assert page.path.endswith("/upstream")
    assert not browser.signed_in
    page = as_page(await browser.submit(page, "upstream-send", username=address))
    await browser.submit(page, "code-submit", code=(await mailbox.next(address)).code)
    assert browser.signed_in
    user = await user_of(address)
    assert await identities(user.id) == [upstream.id]
    assert user.password_hash is None


async def test_an_account_with_the_address_is_proved_first(
    browser: Browser, add_directory: AddDirectory, make_user: MakeUser, make_person: Make, mailbox: Mailbox
) -> None:
    """The directory says that it is her address. Her account here is linked after she signed in to it once."""
    upstream = await add_directory()
    local = await make_user()
    someone = make_person(mail=local.email)
    page = as_page(await enter(browser, someone.uid, someone.password))
    assert "There is already an account for" in page.text
    assert not browser.signed_in
    await browser.sign_in(page, local.email, PASSWORD)
    assert browser.signed_in
    assert await identities(local.id) == [upstream.id]
    await mailbox.about(local.email, "connected")
    # By the name at the directory, by the address with the password of this server.
    await enter(browser, someone.uid, someone.password)
    assert browser.signed_in
    await enter(browser, local.email, PASSWORD)
    assert browser.signed_in
    await enter(browser, local.email, someone.password)
    assert not browser.signed_in


async def test_local_accounts_are_not_tried_there(
    browser: Browser, add_directory: AddDirectory, make_user: MakeUser, make_person: Make
) -> None:
    """Neither with a password here nor without one, although the directory would accept the password."""
    await add_directory()
    for password in (PASSWORD, None):
        local = await make_user(password)
        someone = make_person(mail=local.email)
        page = as_page(await enter(browser, local.email, someone.password))
        assert page.status == 400
        assert not browser.signed_in
        assert await identities(local.id) == []


async def test_a_disabled_account(browser: Browser, add_directory: AddDirectory, ada: Person) -> None:
    await add_directory()
    await enter(browser, ada.uid, ada.password)
    user = await user_of(ada.email)
    await execute("UPDATE users SET disabled_at = now() WHERE id = $1", user.id)
    for username in (ada.uid, ada.email):
        await enter(browser, username, ada.password)
        assert not browser.signed_in


async def test_groups_come_and_go(browser: Browser, add_directory: AddDirectory, ada: Person, slapd: Slapd) -> None:
    mine = await groups.create(f"Staff {secrets.token_hex(4)}")
    name = f"staff-{secrets.token_hex(4)}"
    slapd.modify(group(name, ada.uid))
    upstream = await add_directory(
        options={"group_name": "cn"}, rules=({"claim": "groups", "equals": name, "group": str(mine.id)},)
    )
    await enter(browser, ada.uid, ada.password)
    user = await user_of(ada.email)
    rows = await fetch("SELECT group_id, origin FROM group_member WHERE user_id = $1", user.id)
    assert [(row["group_id"], row["origin"]) for row in rows] == [(mine.id, upstream.origin)]
    slapd.modify(f"dn: cn={name},ou=groups,dc=example,dc=com\nchangetype: delete\n")
    await enter(browser, ada.uid, ada.password)
    assert await fetch("SELECT 1 FROM group_member WHERE user_id = $1", user.id) == []


async def test_an_application_that_leaves_it_out(
    browser: Browser, make_client: MakeClient, add_directory: AddDirectory, ada: Person
) -> None:
    await add_directory()
    client = await make_client(upstreams=["another"])
    page = as_page(await client.authorize(browser))
    assert 'type="email"' in page.text
    page = as_page(await browser.sign_in(page, ada.email, ada.password))
    assert page.status == 400
    assert not browser.signed_in


async def test_no_button_and_nothing_to_link(browser: Browser, add_directory: AddDirectory, alice: User) -> None:
    upstream = await add_directory()
    page = as_page(await browser.get("/login"))
    assert f"upstream-{upstream.id}" not in page.text
    assert as_page(await browser.get(f"{page.path}/to/{upstream.id}")).path == page.path
    await browser.sign_in(page, alice.email, PASSWORD)
    assert f"link-{upstream.id}" not in as_page(await browser.get("/account/security")).text


async def test_the_password_is_changed_there(
    browser: Browser, add_directory: AddDirectory, ada: Person, mailbox: Mailbox
) -> None:
    """Not on the account page, and not by a mail, which says where."""
    upstream = await add_directory()
    await enter(browser, ada.uid, ada.password)
    assert f"Managed by {upstream.name}" in as_page(await browser.get("/account/security")).text
    page = as_page(await browser.get("/account/password"))
    assert f"managed by {upstream.name}" in page.text
    assert "password-save" not in page.ids
    fields = as_page(await browser.get("/account/sessions")).forms[-1].fields
    assert (
        as_page(await browser.post("/account/password", fields | {"password": "a long new password 17"})).status == 400
    )
    assert (await user_of(ada.email)).password_hash is None
    browser.cookies.clear()
    page = as_page(await browser.get("/login"))
    page = as_page(await browser.get(f"{page.path}/forgot"))
    form = page.forms[0].fields | {"username": ada.email, "action": "send"}
    await browser.post(page.path, form)
    letter = await mailbox.about(ada.email, "Your password")
    assert upstream.name in letter.text
    assert "/reset?" not in letter.text


async def test_it_stays_linked(browser: Browser, add_directory: AddDirectory, ada: Person, db: str) -> None:
    """Otherwise a user could keep the account after leaving. With a password here it is one way among others."""
    await add_directory()
    await enter(browser, ada.uid, ada.password)
    user = await user_of(ada.email)
    row = await fetchrow("SELECT id FROM identity WHERE user_id = $1", user.id)
    assert row is not None
    path = f"/account/upstreams/{row['id']}/unlink"
    assert path not in as_page(await browser.get("/account/security")).text
    fields = as_page(await browser.get("/account/sessions")).forms[-1].fields
    await browser.post(path, fields)
    assert len(await identities(user.id)) == 1
    await execute("UPDATE users SET password_hash = 'x' WHERE id = $1", user.id)
    assert path in as_page(await browser.get("/account/security")).text
    await browser.post(path, fields)
    assert await identities(user.id) == []


@pytest.mark.parametrize("change", ["disable", "delete"])
async def test_no_password_is_chosen_while_the_directory_is_away(
    browser: Browser, add_directory: AddDirectory, ada: Person, server: Server, mailbox: Mailbox, change: str
) -> None:
    """Otherwise the check would pass over a user with a password here who leaves later."""
    upstream = await add_directory()
    await enter(browser, ada.uid, ada.password)
    await (registry.disable if change == "disable" else registry.delete)(upstream.id)
    await until(server.issuer, lambda page: 'name="username" type="email"' in page)
    (row,) = await fetch(
        "SELECT i.id FROM identity AS i JOIN users AS u ON u.id = user_id WHERE u.email = $1", ada.email
    )
    assert f"/account/upstreams/{row['id']}/unlink" not in as_page(await browser.get("/account/security")).text
    fields = as_page(await browser.get("/account/sessions")).forms[-1].fields
    answer = await browser.post("/account/password", fields | {"password": "a long new password 17"})
    assert f"managed by {upstream.id}" in as_page(answer).text
    browser.cookies.clear()
    page = as_page(await browser.get("/login"))
    page = as_page(await browser.get(f"{page.path}/forgot"))
    await browser.post(page.path, page.forms[0].fields | {"username": ada.email, "action": "send"})
    assert "/reset?" not in (await mailbox.about(ada.email, "Your password")).text
    assert (await user_of(ada.email)).password_hash is None


async def test_the_directory_is_down(
    browser: Browser, add_directory: AddDirectory, make_person: Make, make_user: MakeUser, tmp_path: Path
) -> None:
    """Its users get an honest answer, the same as all whose password is not right here. Others sign in."""
    own = Slapd(tmp_path / "slapd")
    try:
        upstream = await add_directory(own)
        someone, local = make_person(own), await make_user()
        await enter(browser, someone.uid, someone.password)
        assert browser.signed_in
        own.stop()
        texts = set()
        for username in (someone.uid, someone.email, "u" + secrets.token_hex(6), local.email):
            page = as_page(await enter(browser, username, someone.password))
            assert page.status == 503
            assert f"{upstream.name} is not responding" in page.text
            texts.add(page.text.partition('role="alert"')[2].partition("</")[0])
        assert len(texts) == 1
        await enter(browser, local.email, PASSWORD)
        assert browser.signed_in
        assert await reasons("upstream_failed", upstream.id) == {"unavailable"}
    finally:
        own.stop()


async def test_attempts_are_counted(browser: Browser, add_directory: AddDirectory, ada: Person) -> None:
    """In all spellings together, and also if the right password comes then."""
    await add_directory()
    spellings = (ada.uid, ada.uid.upper(), f" {ada.uid}", ada.uid.title())
    answers = []
    for spelling in spellings * 2:
        answers.append(as_page(await enter(browser, spelling, "wrong")).status)
        await keep_waiting(limits.PASSWORDS)
    assert 429 in answers
    assert as_page(await enter(browser, ada.uid, ada.password)).status == 429


async def test_attempts_are_forgotten(browser: Browser, add_directory: AddDirectory, ada: Person) -> None:
    """After the right password, by whatever name."""
    await add_directory()
    for _ in range(3):
        for name in (ada.uid, ada.email):
            for password in ("wrong", "wrong", ada.password):
                await enter(browser, name, password)
            assert browser.signed_in


async def test_many_sign_ins_at_once_make_one_account(
    browser: Browser, add_directory: AddDirectory, ada: Person
) -> None:
    await add_directory()

    async def once() -> bool:
        async with open_browser(browser.issuer) as other:
            await enter(other, ada.uid, ada.password)
            return other.signed_in

    assert any(await asyncio.gather(*(once() for _ in range(4))))
    rows = await fetch("SELECT 1 FROM users WHERE email = $1", ada.email)
    assert len(rows) == 1


async def test_without_new_accounts(browser: Browser, add_directory: AddDirectory, ada: Person) -> None:
    await add_directory(creates_accounts=False)
    page = as_page(await enter(browser, ada.uid, ada.password))
    assert "You do not have an account here" in page.text
    assert await fetchrow("SELECT 1 FROM users WHERE email = $1", ada.email) is None


async def test_who_is_gone_is_signed_out(
    browser: Browser,
    make_client: MakeClient,
    add_directory: AddDirectory,
    ada: Person,
    make_person: Make,
    slapd: Slapd,
) -> None:
    """Sessions and tokens end, and the account cannot be used in another way."""
    make_person()  # A directory without users is taken for a mistake.
    upstream = await add_directory(options={"user_filter": "(&(objectClass=inetOrgPerson)(!(employeeType=former)))"})
    client = await make_client(skip_consent=True, scope="openid offline_access")
    answer = await browser.sign_in(as_page(await client.authorize(browser)), ada.uid, ada.password)
    assert isinstance(answer, Redirect), answer.text
    tokens = (await client.redeem(answer.parameters["code"])).json()
    user = await user_of(ada.email)
    await execute("UPDATE identity SET last_used_at = now() - interval '1 hour' WHERE user_id = $1", user.id)
    slapd.modify(f"dn: {ada.dn}\nchangetype: modify\nreplace: employeeType\nemployeeType: former\n")
    assert (await directory_checks.check(upstream)).disabled == 1
    assert as_page(await browser.get("/account/security")).path.startswith("/login")
    refused = await client.post("/token", grant_type="refresh_token", refresh_token=tokens["refresh_token"])
    assert refused.json()["error"] == "invalid_grant"
    await enter(browser, ada.email, ada.password)
    assert not browser.signed_in


async def test_its_password_is_sealed(add_directory: AddDirectory) -> None:
    upstream = await add_directory()
    row = await fetchrow("SELECT config, client_secret FROM upstream WHERE id = $1", upstream.id)
    assert row is not None
    assert str(upstream.client_secret) not in str(row["config"])
    assert str(upstream.client_secret).encode() not in row["client_secret"]
    assert "client_secret" not in registry.without_secret(upstream)
