"""The account pages."""

import json
import re
import secrets
from base64 import b64decode
from uuid import UUID, uuid4

import httpx
import pyotp
import pytest

from idp.accounts import pictures, profile
from idp.accounts.repository.users import user_by_id
from idp.accounts.tables import User
from idp.directory import groups, invitations, organizations, roles
from idp.infra.db.engine import execute, fetch, fetchrow
from idp.selfservice import notices
from idp.signin.factors import recovery_codes
from idp.signin.factors import service as factors
from idp.signin.transitions import Step
from tests.conftest import MakeClient, MakeUser
from tests.support.authenticator import NO_AAGUID, Authenticator
from tests.support.browser import Browser, Page, Redirect, as_page, open_browser, sent_to
from tests.support.mailbox import Mailbox
from tests.support.oauth import PASSWORD, RelyingParty
from tests.support.person import equip

FIREFOX = "Mozilla/5.0 (Windows NT 10.0; rv:140.0) Gecko/20100101 Firefox/140.0"
NEW_PASSWORD = "seven tired otters nap"


@pytest.fixture
async def home(browser: Browser, alice: User) -> Browser:
    """Alice's browser, where she has just signed in."""
    page = as_page(await browser.get("/login"))
    await browser.sign_in(page, alice.email, PASSWORD)
    return browser


async def _stale(user: User) -> None:
    await execute("UPDATE session SET auth_time = now() - interval '1 hour' WHERE user_id = $1", user.id)


async def _claims(browser: Browser, client: RelyingParty, user: User) -> dict[str, object]:
    tokens = await client.tokens(browser, user.email)
    answer: dict[str, object] = (await client.userinfo(tokens["access_token"])).json()
    return answer


# Profile


async def test_every_claim_of_the_profile(home: Browser, make_client: MakeClient, alice: User) -> None:
    values = {
        "name": "Ália  Exämple", "given_name": "Ália", "middle_name": "B.", "family_name": "Exämple", "nickname": "ali",
        "preferred_username": "alia", "profile": "https://example.com/alia", "picture": "https://example.com/a.png",
        "website": "http://example.com", "gender": "female", "birthdate": "0000-12-31", "zoneinfo": "Europe/Lisbon",
        "locale": "pt-PT", "phone_number": "+351 21 123 4567", "address.street_address": "Rua A 1\r\n2º",
        "address.locality": "Lisboa", "address.country": "Portugal",
    }  # fmt: skip
    page = as_page(await home.get("/account"))
    saved = as_page(await home.submit(page, "profile-save", **values))
    assert saved.status == 200
    assert 'role="status"' in saved.text
    client = await make_client(scope="openid profile email phone address")
    claims = await _claims(home, client, alice)
    expected = {name: value for name, value in values.items() if "." not in name}
    expected |= {"phone_number": "+351211234567"}
    assert claims | expected == claims
    assert claims["address"] == {"street_address": "Rua A 1\n2º", "locality": "Lisboa", "country": "Portugal"}
    emptied = as_page(await home.submit(saved, "profile-save", birth_year="", **dict.fromkeys(values, "")))
    assert emptied.status == 200
    assert "birthdate" not in await _claims(home, client, alice)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("birthdate", "31.12.1990"), ("birthdate", "1990-13-01"),
        ("birthdate", "1990-02-30"), ("zoneinfo", "Mars/Olympus"), ("locale", "x"),
        ("phone_number", "0123"), ("website", "javascript:alert(1)"), ("website", "//example.com"),
        ("picture", "data:image/png;base64,xx"), ("profile", "https://"), ("name", "x" * 201), ("nickname", "a\u202eb"),
        ("address.locality", "x" * 1001),
    ],
)  # fmt: skip
async def test_values_that_are_not_fit(home: Browser, alice: User, field: str, value: str) -> None:
    """The entered values are shown again."""
    page = as_page(await home.get("/account"))
    answer = as_page(await home.submit(page, "profile-save", **{"name": "Still here", field: value}))
    assert answer.status == 400
    assert 'role="alert"' in answer.text
    assert f'id="{field}-error"' in answer.text
    if field != "name":
        assert 'value="Still here"' in answer.text
    row = await fetchrow("SELECT name FROM users WHERE id = $1", alice.id)
    assert row is not None
    assert row["name"] == "Alice Example"


async def test_all_errors_are_told_at_once(home: Browser) -> None:
    """Each at its field; folded parts with an error are open."""
    page = as_page(await home.get("/account"))
    wrong = {"phone_number": "0123", "website": "//x", "address.locality": "x" * 1001}
    answer = as_page(await home.submit(page, "profile-save", **wrong))
    assert re.findall(r'id="([a-z_.]+)-error" class', answer.text) == ["phone_number", "address.locality", "website"]
    assert answer.text.count("autofocus") == 1
    assert (page.text.count("<details open"), answer.text.count("<details open")) == (0, 2)


@pytest.mark.parametrize("birthday", ["1990", "1990-12-31", "0000-12-31"])
async def test_a_birthday_without_a_day_or_a_year(home: Browser, alice: User, birthday: str) -> None:
    """The date picker cannot show it, so there is another field, and saving again keeps it."""
    saved = as_page(await home.submit(as_page(await home.get("/account")), "profile-save", birth_year=birthday))
    await home.submit(saved, "profile-save")
    row = await fetchrow("SELECT birthdate FROM users WHERE id = $1", alice.id)
    assert row is not None
    assert row["birthdate"] == birthday


async def test_languages_and_time_zones_to_choose(home: Browser, alice: User) -> None:
    """Only canonical zones. One that the profile has already stays, whatever it is."""
    await execute("UPDATE users SET zoneinfo = 'US/Pacific', locale = 'tlh' WHERE id = $1", alice.id)
    page = as_page(await home.get("/account"))
    assert '<option value="US/Pacific" selected>' in page.text
    assert '<option value="tlh" selected>' in page.text
    for unwanted in ("Factory", "localtime", "W-SU", "US/Eastern", "Etc/GMT+1"):
        assert f'value="{unwanted}"' not in page.text
    assert re.search(r'<option value="Europe/Lisbon">Lisbon \(UTC\+[01]\)</option>', page.text)
    assert '<option value="pt-BR">Portuguese (Brazil)</option>' in page.text
    # Only what is chosen is sent: the form of this client sends no selects.
    saved = as_page(await home.submit(page, "profile-save", zoneinfo="US/Pacific", locale="tlh"))
    assert saved.status == 200


PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)


async def _upload(home: Browser, page: Page, content: bytes) -> Page:
    form = next(form for form in page.forms if form.action == "/account/picture")
    answer = await home.client.post(
        f"{home.issuer}{form.action}", data=form.fields, files={"file": ("me.png", content)},
        headers={"Origin": home.issuer},
    )  # fmt: skip
    target = sent_to(answer)
    return as_page(await home.get(target)) if target else Page(answer)


async def test_a_picture(home: Browser, make_client: MakeClient, alice: User) -> None:
    """Applications get its URL, which ends with it."""
    client = await make_client(scope="openid profile")
    page = await _upload(home, as_page(await home.get("/account")), PNG)
    assert "Your picture is saved." in page.text
    url = str((await _claims(home, client, alice))["picture"])
    assert url.startswith(f"{home.issuer}/pictures/")
    assert str(alice.id) not in url
    async with httpx.AsyncClient() as stranger:
        served = await stranger.get(url)
        assert (served.status_code, served.content, served.headers["content-type"]) == (200, PNG, "image/png")
        assert served.headers["x-content-type-options"] == "nosniff"
        assert "sandbox" in served.headers["content-security-policy"]
        assert served.headers["cache-control"] == "private, max-age=300"
        for disabled_at, status in (("now()", 404), ("NULL", 200)):
            await execute(f"UPDATE users SET disabled_at = {disabled_at} WHERE id = $1", alice.id)
            assert (await stranger.get(url)).status_code == status
        # Saving the profile keeps it, and another upload replaces it.
        page = as_page(await home.submit(as_page(await home.get("/account")), "profile-save", nickname="ali"))
        assert (await stranger.get(url)).status_code == 200
        await _upload(home, page, PNG + b"2")
        assert (await stranger.get(url)).status_code == 404
        second = str((await _claims(home, client, alice))["picture"])
        exported = json.loads(
            as_page(await home.submit(as_page(await home.get("/account/data")), "data-download")).text
        )
        assert b64decode(exported["picture"]["content"]) == PNG + b"2"
        asked = as_page(await home.get("/account/picture/remove"))
        assert "Your picture is removed." in as_page(await home.submit(asked, "ask-confirm")).text
        assert (await stranger.get(second)).status_code == 404
        for token in ("x", "é", "A" * 86, "A" * 500, second.rpartition("/")[2][:-2]):
            assert (await stranger.get(f"{home.issuer}/pictures/{token}")).status_code == 404
    assert "picture" not in await _claims(home, client, alice)


async def test_a_picture_whose_claim_is_cleared(home: Browser, alice: User) -> None:
    """By an administrator, for example: it is deleted."""
    await _upload(home, as_page(await home.get("/account")), PNG)
    user = await user_by_id(alice.id)
    assert user is not None
    assert await pictures.of_user(alice.id)
    assert await profile.update_profile(user, {"name": "Alice"})
    assert await pictures.of_user(alice.id) is None


@pytest.mark.parametrize("content", [b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"", PNG + bytes(48 * 1024)])
async def test_a_picture_that_is_not_accepted(home: Browser, alice: User, content: bytes) -> None:
    page = await _upload(home, as_page(await home.get("/account")), content)
    assert page.status == 400
    assert "Choose a PNG, JPEG, GIF or WebP picture of up to 48 KiB." in page.text
    assert await pictures.of_user(alice.id) is None


async def test_groups_are_shown_and_exported(home: Browser, alice: User, make_client: MakeClient) -> None:
    """With those above them; the export says which roles follow."""
    assert 'id="groups"' not in as_page(await home.get("/account")).text
    top = await groups.create(f"{alice.id} <top>")
    low = await groups.create(f"{alice.id} low", parent_id=top.id)
    client_id = (await make_client()).client_id
    editor = await roles.create("editor", client_id)
    await groups.give_role(top.id, editor.id)
    await groups.add_members(low.id, [alice.id])
    organization = await organizations.create(f"o-{str(alice.id)[-12:]}", "Customer")
    await organizations.add_members(organization.id, [alice.id])
    await execute("UPDATE users SET email_verified = true WHERE id = $1", alice.id)
    other = await organizations.create(f"p-{str(alice.id)[-12:]}", "Other")
    await invitations.invite(other.id, alice.email)
    page = as_page(await home.get("/account"))
    shown = page.text.partition('id="groups"')[2].partition("</ul>")[0]
    assert re.findall(r"<li dir=\"auto\">(.*?)</li>", shown) == [f"{alice.id} &lt;top&gt;", f"{alice.id} low"]
    assert str(top.id) not in page.text
    data = as_page(await home.get("/account/data"))
    exported = json.loads(as_page(await home.submit(data, "data-download")).text)
    assert exported["groups"] == [{"name": top.name, "direct": False}, {"name": low.name, "direct": True}]
    assert exported["roles"] == [{"name": "editor", "client_id": client_id, "direct": False}]
    assert exported["organizations"] == [{"slug": organization.slug, "name": "Customer", "roles": []}]
    (invitation,) = exported["invitations"]
    assert (invitation["organization"], invitation["state"]) == (other.slug, "open")


# Security


async def test_a_new_password(home: Browser, client: RelyingParty, alice: User, mailbox: Mailbox) -> None:
    """This browser stays signed in, every other one does not."""
    async with open_browser(client.issuer) as other:
        tokens = await client.tokens(other, alice.email)
    page = as_page(await home.get("/account/password"))
    weak = as_page(await home.submit(page, "password-save", password=f"{alice.email}1"))
    assert weak.status == 400
    saved = as_page(await home.submit(weak, "password-save", password=NEW_PASSWORD))
    assert saved.path == "/account/security"
    assert "changed" in (await mailbox.next(alice.email)).subject
    assert (await client.refresh(tokens["refresh_token"])).status_code == 400
    async with open_browser(client.issuer) as fresh:
        await client.sign_in(fresh, alice.email, NEW_PASSWORD)


async def test_a_new_address(home: Browser, client: RelyingParty, alice: User, mailbox: Mailbox) -> None:
    new = f"{secrets.token_hex(6)}@example.com"
    page = as_page(await home.get("/account/email"))
    page = as_page(await home.submit(page, "email-send", email=new.upper()))
    letter = await mailbox.next(new)
    wrong = as_page(await home.submit(page, "code-submit", code="000000" if letter.code != "000000" else "111111"))
    assert wrong.status == 400
    done = as_page(await home.submit(wrong, "code-submit", code=letter.code))
    assert new in done.text
    told = await mailbox.next(alice.email)
    assert new not in told.text
    assert new[0] + "…" in told.text
    async with open_browser(client.issuer) as fresh:
        await client.sign_in(fresh, new)


async def test_a_new_address_by_link(home: Browser, alice: User, mailbox: Mailbox) -> None:
    new = f"{secrets.token_hex(6)}@example.com"
    await home.submit(as_page(await home.get("/account/email")), "email-send", email=new)
    page = as_page(await home.get((await mailbox.next(new)).path))
    done = as_page(await home.submit(page, "link-submit"))
    assert new in done.text


async def test_an_address_of_another_user(home: Browser, alice: User, make_user: MakeUser, mailbox: Mailbox) -> None:
    """The response does not reveal that another user has it."""
    bob = await make_user()
    page = as_page(await home.submit(as_page(await home.get("/account/email")), "email-send", email=bob.email))
    assert "code-submit" in page.ids
    assert as_page(await home.submit(page, "code-submit", code="123456")).status == 400
    assert mailbox.to(bob.email) == []


async def test_an_authenticator_app(home: Browser, alice: User, mailbox: Mailbox) -> None:
    page = as_page(await home.get("/account/totp"))
    secret = page.text.partition('id="totp-secret"')[2].partition(">")[2].partition("<")[0]
    again = as_page(await home.get("/account/totp"))
    assert secret in again.text
    wrong = as_page(await home.submit(again, "totp-confirm", code="12345"))
    assert wrong.status == 400
    codes = as_page(await home.submit(wrong, "totp-confirm", code=pyotp.TOTP(secret).now()))
    assert codes.text.count("<li><code>") == recovery_codes.COUNT
    found = await factors.factors_of(alice.id)
    assert found is not None
    assert found.two_step
    page = as_page(await home.get("/account/security"))
    page = as_page(await home.submit(as_page(await home.get("/account/totp/remove")), "ask-confirm"))
    assert "totp-add" in page.ids
    found = await factors.factors_of(alice.id)
    assert found is not None
    assert not found.two_step
    await mailbox.about(alice.email, "removed")


async def test_passkeys(home: Browser, alice: User, mailbox: Mailbox) -> None:
    authenticator = Authenticator(origin=home.issuer)
    page = as_page(await home.get("/account/passkeys"))
    options = _options(page)
    answer = authenticator.create(options)
    page = as_page(await home.submit(page, "passkey-create", credential=answer))
    assert "Passkey" in page.text
    (row,) = await fetch("SELECT id FROM passkey WHERE user_id = $1", alice.id)
    form = next(form for form in page.forms if str(row["id"]) in form.action)
    renamed = as_page(await home.post(form.action, form.fields | {"name": "My phone", "action": "rename"}))
    assert 'value="My phone"' in renamed.text
    form = next(form for form in renamed.forms if str(row["id"]) in form.action)
    asked = as_page(await home.get(form.action))
    assert "My phone" in asked.text
    removed = as_page(await home.submit(asked, "ask-confirm"))
    assert "The passkey “My phone” is removed." in removed.text
    assert "My phone" not in as_page(await home.get(removed.url)).text, "It is told once."
    await mailbox.about(alice.email, "passkey was removed")


def _options(page: Page) -> str:
    from html import unescape

    return unescape(page.text.partition('data-options="')[2].partition('"')[0])


async def test_a_notice_names_nothing_that_a_link_says(home: Browser, alice: User, make_user: MakeUser) -> None:
    """The name is in a cookie that only the server can make, for this user and this notice."""
    page = as_page(await home.get("/account/security?done=app&what=Evil"))
    assert "Evil" not in page.text
    sealed = notices.see_done("/account/apps", "app", alice.id, "Orchard").cookies[0].value
    for done, user, told in (("app", alice, True), ("session", alice, False), ("app", await make_user(), False)):
        value = sealed if user is alice else notices.see_done("/", "app", user.id, "Orchard").cookies[0].value
        home.cookies["__Host-notice"] = value or ""
        assert ("Orchard no longer" in as_page(await home.get(f"/account/apps?done={done}")).text) is told
        assert "__Host-notice" not in home.cookies


@pytest.mark.parametrize(
    ("user_agent", "aaguid", "name"),
    [
        (FIREFOX, NO_AAGUID, "Passkey from Firefox on Windows"),
        ("", NO_AAGUID, "Passkey"),
        ("", UUID("fbfc3007-154e-4ecc-8c0b-6e020557d7bd"), "iCloud Keychain"),
    ],
)  # fmt: skip
async def test_the_name_of_a_new_passkey(
    home: Browser, alice: User, mailbox: Mailbox, user_agent: str, aaguid: UUID, name: str
) -> None:
    """By its provider, or by the browser. A name that the browser sends is not used: the mail would carry it."""
    home.client.headers["user-agent"] = user_agent
    page = as_page(await home.get("/account/passkeys"))
    answer = Authenticator(origin=home.issuer, aaguid=aaguid).create(_options(page))
    page = as_page(await home.submit(page, "passkey-create", credential=answer, name="Call us"))
    assert f"Your passkey “{name}” is ready." in page.text
    assert f'value="{name}"' in page.text
    letter = await mailbox.about(alice.email, "passkey")
    assert ("iCloud Keychain" in letter.text) is (aaguid != NO_AAGUID)


async def test_a_passkey_signs_in(home: Browser, client: RelyingParty, alice: User) -> None:
    authenticator = Authenticator(origin=home.issuer)
    page = as_page(await home.get("/account/passkeys"))
    await home.submit(page, "passkey-create", credential=authenticator.create(_options(page)))
    home.cookies.clear()
    page = as_page(await client.authorize(home))
    answer = await home.submit(page, "passkey-get", credential=authenticator.get(_options(page)))
    if isinstance(answer, Page) and "consent-allow" in answer.ids:
        answer = await home.submit(answer, "consent-allow")
    assert isinstance(answer, Redirect), answer.text
    assert "code" in answer.parameters


async def test_turning_the_second_step_on_and_off(home: Browser, alice: User) -> None:
    authenticator = Authenticator(origin=home.issuer)
    page = as_page(await home.get("/account/passkeys"))
    page = as_page(await home.submit(page, "passkey-create", credential=authenticator.create(_options(page))))
    assert "two-step" in page.ids
    for expected in (True, False):
        page = page if expected else as_page(await home.get("/account/two-step"))
        page = as_page(await home.submit(page, "two-step" if expected else "ask-confirm"))
        found = await factors.factors_of(alice.id)
        assert found is not None
        assert found.two_step is expected
        assert f"The second step is {'on' if expected else 'off'}." in page.text


# Sessions, devices and applications


async def test_the_list_of_sessions(home: Browser, client: RelyingParty, alice: User) -> None:
    async with open_browser(client.issuer) as other:
        other.client.headers["user-agent"] = FIREFOX
        tokens = await client.tokens(other, alice.email)
        page = as_page(await home.get("/account/sessions"))
        assert "Firefox on Windows" in page.text
        assert page.text.count("This browser") == 1
        (asking,) = re.findall(r'href="(/account/sessions/[0-9a-f-]{36}/end)"', page.text)
        asked = as_page(await home.get(asking))
        assert "Sign out Firefox on Windows?" in asked.text
        assert len(await fetch("SELECT 1 FROM session WHERE user_id = $1 AND ended_at IS NULL", alice.id)) == 2
        after = as_page(await home.submit(asked, "ask-confirm"))
        assert "Firefox on Windows is signed out." in after.text
        after = as_page(await home.get("/account/sessions"))
        live, _, ended = after.text.partition("Where you signed out")
        assert "Firefox on Windows" not in live
        assert "Firefox on Windows" in ended
        assert "Test client cannot be told. If you are still signed in there, sign out there yourself." in ended
        assert re.search("ends <time .*>in [0-9]+ minutes</time> at the latest", ended)
        answer = await client.authorize(other, prompt="none")
        assert isinstance(answer, Redirect)
        assert answer.parameters["error"] == "login_required"
    assert (await client.refresh(tokens["refresh_token"])).status_code == 400


async def test_an_application_that_the_browser_told(home: Browser, make_client: MakeClient, alice: User) -> None:
    """By the page after the sign-out, which has a frame for it."""
    framed = await make_client(client_name="Framed", frontchannel_logout_uri="https://app.example.com/signed-out")
    await framed.tokens(home, alice.email)
    done = as_page(await home.submit(as_page(await home.get("/logout")), "logout-confirm"))
    assert "https://app.example.com/signed-out" in done.text
    await home.sign_in(as_page(await home.get("/login")), alice.email, PASSWORD)
    assert "Your browser told Framed, which cannot confirm it." in as_page(await home.get("/account/sessions")).text


async def test_sessions_of_another_user_cannot_be_ended(
    home: Browser, client: RelyingParty, make_user: MakeUser
) -> None:
    bob = await make_user()
    async with open_browser(client.issuer) as other:
        await client.sign_in(other, bob.email)
        (row,) = await fetch("SELECT id FROM session WHERE user_id = $1", bob.id)
        path = f"/account/sessions/{row['id']}/end"
        assert as_page(await home.get(path)).path == "/account/sessions"
        page = as_page(await home.get("/account/sessions/end"))
        await home.post(path, page.forms[-1].fields)
        assert "code" in (await client.authorize(other, prompt="none")).parameters


async def test_signing_out_everywhere_else(home: Browser, make_client: MakeClient, alice: User) -> None:
    client = await make_client(scope="openid offline_access")
    async with open_browser(client.issuer) as other:
        tokens = await client.tokens(other, alice.email, scope="openid offline_access")
    page = as_page(await home.submit(as_page(await home.get("/account/sessions/end")), "ask-confirm"))
    assert page.path == "/account/sessions"
    assert (await client.refresh(tokens["refresh_token"])).status_code == 400
    assert len(await fetch("SELECT 1 FROM session WHERE user_id = $1 AND ended_at IS NULL", alice.id)) == 1


async def test_signing_out_elsewhere_is_no_sign_in(home: Browser, alice: User) -> None:
    """It must not make an old sign-in a fresh one."""
    await _stale(alice)
    await home.submit(as_page(await home.get("/account/sessions/end")), "ask-confirm")
    assert "login-submit" in as_page(await home.get("/account/password")).ids


async def test_applications(home: Browser, make_client: MakeClient, alice: User) -> None:
    client = await make_client(client_name="Orchard")
    own = await make_client(client_name="In-house", skip_consent=True)
    tokens = [await party.tokens(home, alice.email) for party in (client, own)]
    page = as_page(await home.get("/account/apps"))
    assert "Orchard" in page.text
    assert "In-house" in page.text
    for party in (client, own):
        (asking,) = re.findall(rf'href="([^"]*{party.client_id}/revoke)"', page.text)
        asked = as_page(await home.get(asking))
        assert f"Remove the access of {'Orchard' if party is client else 'In-house'}?" in asked.text
        done = as_page(await home.submit(asked, "ask-confirm"))
        assert f"{'Orchard' if party is client else 'In-house'} no longer has access." in done.text
        page = as_page(await home.get("/account/apps"))
    assert "Orchard" not in page.text
    assert "In-house" not in page.text
    for party, given in zip((client, own), tokens, strict=True):
        assert (await party.refresh(given["refresh_token"])).status_code == 400
    asked = as_page(await client.authorize(home))
    assert "consent-allow" in asked.ids


# Export and deletion


async def test_my_data(home: Browser, client: RelyingParty, alice: User) -> None:
    await client.tokens(home, alice.email)
    page = as_page(await home.submit(as_page(await home.get("/account/data")), "data-download"))
    assert "attachment" in page.response.headers["content-disposition"]
    content = json.loads(page.text)
    assert content["claims"]["email"] == alice.email
    assert content["consents"][0]["client_id"] == client.client_id
    assert content["sessions"]
    assert "sign_in" in {event["event"] for event in content["events"]}
    assert "argon2" not in page.text


async def test_deleting_me(home: Browser, client: RelyingParty, alice: User, mailbox: Mailbox) -> None:
    tokens = await client.tokens(home, alice.email)
    page = as_page(await home.get("/account/data"))
    refused = as_page(await home.submit(page, "account-delete", email="somebody@else.example"))
    assert refused.status == 400
    gone = as_page(await home.submit(refused, "account-delete", email=alice.email.upper()))
    assert "deleted" in gone.text
    assert "deleted" in (await mailbox.next(alice.email)).subject
    assert await fetchrow("SELECT 1 FROM users WHERE id = $1", alice.id) is None
    assert (await client.refresh(tokens["refresh_token"])).status_code == 400
    assert (await client.userinfo(tokens["access_token"])).status_code == 401
    assert await client.introspect(tokens["access_token"]) == {"active": False}
    assert as_page(await home.get("/account")).path.startswith("/login/")
    assert as_page(await home.sign_in(as_page(await home.get("/login")), alice.email, PASSWORD)).status == 400


async def test_a_visit_comes_back_after_the_sign_in(browser: Browser, alice: User) -> None:
    page = as_page(await browser.get("/account/apps"))
    assert "login-submit" in page.ids
    assert as_page(await browser.sign_in(page, alice.email, PASSWORD)).path == "/account/apps"


async def test_a_fresh_sign_in_is_asked_for_once(home: Browser, alice: User) -> None:
    await _stale(alice)
    page = as_page(await home.get("/account/password"))
    assert "login-submit" in page.ids
    assert as_page(await home.sign_in(page, alice.email, PASSWORD)).path == "/account/password"
    assert as_page(await home.get("/account/email")).path == "/account/email"


# Removals ask for confirmation

ASKING = {
    "/account/totp/remove": "SELECT 1 FROM totp WHERE user_id = $1",
    "/account/two-step": "SELECT 1 FROM users WHERE id = $1 AND two_step",
    "/account/recovery-codes": "SELECT 1 FROM recovery_code WHERE user_id = $1 AND code_hash = $2",
    "passkey": "SELECT 1 FROM passkey WHERE user_id = $1",
}


@pytest.mark.fault(46)
@pytest.mark.parametrize("path", ASKING)
async def test_confirmation_before_a_removal(home: Browser, alice: User, path: str) -> None:
    """A separate page names what is removed and changes nothing; cancelling leads back."""
    await equip(alice, home.issuer, [Step.TOTP, Step.RECOVERY_CODE, Step.PASSKEY], two_step=True)
    statement, arguments = ASKING[path], [alice.id]
    if path == "passkey":
        (row,) = await fetch("SELECT id FROM passkey WHERE user_id = $1", alice.id)
        path = f"/account/passkeys/{row['id']}"
    if "$2" in statement:
        (row, *_) = await fetch("SELECT code_hash FROM recovery_code WHERE user_id = $1", alice.id)
        arguments.append(row["code_hash"])
    security = as_page(await home.get("/account/security"))
    assert f'href="{path}"' in security.text
    # No button of that page removes it directly: the remaining button renames.
    buttons = {button for form in security.forms if form.action == path for button in form.buttons.values()}
    assert buttons <= {("action", "rename")}
    asked = as_page(await home.get(path))
    assert asked.status == 200
    assert 'href="/account/security"' in asked.text
    assert len(await fetch(statement, *arguments)) == 1
    await home.submit(asked, "ask-confirm")
    assert await fetch(statement, *arguments) == []


async def test_new_recovery_codes_are_shown_once(home: Browser, alice: User) -> None:
    """After a redirect, so that a reload makes no others; and only to the session that made them."""
    person = await equip(alice, home.issuer, [Step.TOTP], two_step=False)
    page = as_page(await home.submit(as_page(await home.get("/account/recovery-codes")), "ask-confirm"))
    assert (page.path, page.status) == ("/account/recovery-codes/new", 200)
    codes = re.findall("<code>([0-9a-z]{5}-[0-9a-z]{5})</code>", page.text)
    assert len(codes) == recovery_codes.COUNT
    assert as_page(await home.get("/account/recovery-codes/new")).path == "/account/security"

    asked = as_page(await home.get("/account/recovery-codes"))
    form = next(form for form in asked.forms if "ask-confirm" in form.buttons)
    await home.client.post(f"{home.issuer}{form.action}", data=form.fields, headers={"origin": home.issuer})
    kept = {name: value for name, value in home.cookies.items() if "recovery-codes" in name}
    assert kept
    async with open_browser(home.issuer) as other:
        await other.sign_in(as_page(await other.get("/login")), alice.email, PASSWORD)
        other.cookies.update(kept)
        page = as_page(await other.get("/account/recovery-codes/new"))
        page = as_page(await other.submit(page, "totp-submit", code=await person.otp()))
        assert page.path == "/account/security"


@pytest.mark.fault(46)
async def test_no_confirmation_for_an_unknown_record(home: Browser, alice: User) -> None:
    for path in (f"/account/passkeys/{uuid4()}", f"/account/upstreams/{uuid4()}/unlink"):
        assert as_page(await home.get(path)).path == "/account/security"
