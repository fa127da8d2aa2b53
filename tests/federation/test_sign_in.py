"""Sign-in with an upstream provider: the first time, again, and the handling of the email address."""

import asyncio
import secrets
from collections.abc import Callable

import pytest

from idp.accounts.tables import User
from idp.accounts.users import create_user
from idp.infra.db.engine import execute, fetch, fetchrow
from idp.signin import limits
from idp.signin.transitions import Step
from tests.conftest import MakeClient
from tests.federation.conftest import Add, leave, sign_in
from tests.support.browser import Browser, Page, Redirect, as_page, open_browser
from tests.support.mailbox import Mailbox
from tests.support.oauth import PASSWORD, RelyingParty
from tests.support.person import equip
from tests.support.server import Server
from tests.support.stand_ins import GitHub, OpenIDProvider
from tests.support.tokens import claims_of


async def _user_of(provider: OpenIDProvider) -> User | None:
    row = await fetchrow("SELECT user_id FROM identity WHERE subject = $1", provider.person.sub)
    return await User.objects().where(User.id == row["user_id"]).first() if row else None


async def test_the_first_time_and_again(
    browser: Browser, make_client: MakeClient, provider: OpenIDProvider, add: Add, mailbox: Mailbox
) -> None:
    """A trusted provider's verified address makes an account; the next time it is found."""
    upstream = await add(issuer=provider.issuer, trust_email=True)
    provider.person.more = {"name": "Ada Lovelace", "picture": "https://example.com/a.png", "locale": "en-GB"}
    client = await make_client(skip_consent=True)
    subjects = set()
    for _ in range(2):
        browser.cookies.clear()
        answer = await sign_in(browser, upstream, as_page(await client.authorize(browser)))
        assert isinstance(answer, Redirect), answer.text
        tokens = (await client.redeem(answer.parameters["code"])).json()
        claims = claims_of(tokens["id_token"])
        assert (claims["acr"], claims["amr"]) == ("1", ["fed"])
        subjects.add(claims["sub"])
    assert len(subjects) == 1
    assert provider.person.sub not in subjects
    told = (await client.userinfo(tokens["access_token"])).json()
    assert (told["name"], told["picture"], told["email"], told["email_verified"]) == (
        "Ada Lovelace", "https://example.com/a.png", provider.person.email, True
    )  # fmt: skip
    assert "Welcome" in (await mailbox.next(str(provider.person.email))).subject
    row = await fetchrow("SELECT tokens FROM identity WHERE subject = $1", provider.person.sub)
    assert row is not None
    assert row["tokens"] is None


async def test_the_subject_identifies_the_user(browser: Browser, provider: OpenIDProvider, add: Add) -> None:
    """A user who changes the address there is still the same user here; another user with it is a different one."""
    upstream = await add(issuer=provider.issuer, trust_email=True)
    await sign_in(browser, upstream)
    user = await _user_of(provider)
    assert user is not None
    first, provider.person.email = provider.person.email, f"{secrets.token_hex(6)}@example.com"
    browser.cookies.clear()
    await sign_in(browser, upstream)
    assert browser.signed_in
    again = await _user_of(provider)
    assert again is not None
    assert (again.id, again.email) == (user.id, first)
    provider.person.sub, provider.person.email = "another", first
    browser.cookies.clear()
    page = as_page(await sign_in(browser, upstream))
    assert not browser.signed_in
    assert "login-submit" in page.ids


async def test_a_disabled_account(browser: Browser, provider: OpenIDProvider, add: Add) -> None:
    """Stays shut, and no second one is made beside it."""
    upstream = await add(issuer=provider.issuer, trust_email=True)
    await sign_in(browser, upstream)
    user = await _user_of(provider)
    assert user is not None
    await execute("UPDATE users SET disabled_at = now() WHERE id = $1", user.id)
    browser.cookies.clear()
    page = as_page(await sign_in(browser, upstream))
    assert page.status == 400
    assert "login-submit" in page.ids
    assert not browser.signed_in


async def test_an_account_with_the_address_is_proved_first(
    browser: Browser, provider: OpenIDProvider, add: Add, alice: User, mailbox: Mailbox
) -> None:
    """And then the two are one."""
    await execute("UPDATE users SET email_verified = true WHERE id = $1", alice.id)
    upstream = await add(issuer=provider.issuer, trust_email=True)
    provider.person.email = alice.email.upper()
    page = as_page(await sign_in(browser, upstream))
    assert alice.email in page.text
    assert f"upstream-{upstream.id}" not in page.ids
    assert not browser.signed_in
    wrong = as_page(await browser.sign_in(page, alice.email, "not it"))
    assert await _user_of(provider) is None
    await browser.sign_in(wrong, alice.email, PASSWORD)
    assert browser.signed_in
    user = await _user_of(provider)
    assert user is not None
    assert user.id == alice.id
    assert "connected" in (await mailbox.next(alice.email)).subject
    browser.cookies.clear()
    await sign_in(browser, upstream)
    assert browser.signed_in


async def test_another_user_who_signs_in_is_not_linked(
    browser: Browser, provider: OpenIDProvider, add: Add, alice: User
) -> None:
    await execute("UPDATE users SET email_verified = true WHERE id = $1", alice.id)
    bob = await create_user(f"{secrets.token_hex(6)}@example.com", PASSWORD)
    upstream = await add(issuer=provider.issuer, trust_email=True)
    provider.person.email = alice.email
    page = as_page(await sign_in(browser, upstream))
    await browser.sign_in(page, bob.email, PASSWORD)
    assert browser.signed_in
    assert await _user_of(provider) is None


async def test_an_unverified_address_is_proved_by_mail(
    browser: Browser, provider: OpenIDProvider, add: Add, mailbox: Mailbox
) -> None:
    """An address from a provider that is not trusted, or that calls it unverified, or no address at all."""
    upstream = await add(issuer=provider.issuer)
    page = as_page(await sign_in(browser, upstream))
    assert f'value="{provider.person.email}"' in page.text
    other = f"{secrets.token_hex(6)}@example.com"
    page = as_page(await browser.submit(page, "upstream-send", username=other))
    assert not browser.signed_in
    letter = await mailbox.next(other)
    page = as_page(await browser.submit(page, "code-submit", code="000000" if letter.code != "000000" else "111111"))
    assert page.status == 400
    await browser.submit(page, "code-submit", code=letter.code)
    assert browser.signed_in
    user = await _user_of(provider)
    assert user is not None
    assert (user.email, user.email_verified, user.password_hash) == (other, True, None)
    assert mailbox.to(str(provider.person.email)) == []


async def test_an_unverified_address_where_no_mail_is_sent(
    start_server: Callable[..., Server], provider: OpenIDProvider, add: Add
) -> None:
    """The page promises no mail. Who has an account here can still enter its password."""
    server = await asyncio.to_thread(start_server, IDP_SMTP_URL="")
    upstream = await add(server, issuer=provider.issuer)
    async with open_browser(server.issuer) as browser:
        page = as_page(await sign_in(browser, upstream))
        assert "cannot send email" in page.text
        assert "upstream-send" not in page.ids
        assert "Use your password" in page.text


@pytest.mark.parametrize("verified", [False, None, "false", 0, "yes"])
async def test_only_true_is_verified(browser: Browser, provider: OpenIDProvider, add: Add, verified: object) -> None:
    upstream = await add(issuer=provider.issuer, trust_email=True)
    provider.person.email_verified = verified
    page = as_page(await sign_in(browser, upstream))
    assert "upstream-send" in page.ids
    assert not browser.signed_in


@pytest.mark.fault(1)
async def test_the_proof_of_another_spelling_proves_nothing(
    browser: Browser, provider: OpenIDProvider, add: Add, mailbox: Mailbox
) -> None:
    """The full-width address may belong to another person at the provider."""
    upstream = await add(issuer=provider.issuer, trust_email=True)
    plain = f"victim-{secrets.token_hex(6)}@example.com"
    provider.person.email = f"\uff56{plain[1:]}"
    page = as_page(await sign_in(browser, upstream))
    assert not browser.signed_in
    assert f'value="{plain}"' in page.text
    assert await _user_of(provider) is None
    page = as_page(await browser.submit(page, "upstream-send", username=plain))
    await browser.submit(page, "code-submit", code=(await mailbox.next(plain)).code)
    assert browser.signed_in


async def test_proving_an_address_that_has_an_account(
    browser: Browser, provider: OpenIDProvider, add: Add, alice: User, mailbox: Mailbox
) -> None:
    """The code from the mail signs in as it would without the provider; so the two are connected."""
    await execute("UPDATE users SET email_verified = true WHERE id = $1", alice.id)
    upstream = await add(issuer=provider.issuer)
    page = as_page(await sign_in(browser, upstream))
    page = as_page(await browser.submit(page, "upstream-send", username=alice.email))
    await browser.submit(page, "code-submit", code=(await mailbox.next(alice.email)).code)
    assert browser.signed_in
    user = await _user_of(provider)
    assert user is not None
    assert user.id == alice.id


async def test_a_second_step_is_asked_for_all_the_same(
    browser: Browser, provider: OpenIDProvider, add: Add, server: Server
) -> None:
    """Before the second step nothing is linked, and no one is signed in."""
    upstream = await add(issuer=provider.issuer, trust_email=True)
    await sign_in(browser, upstream)
    user = await _user_of(provider)
    assert user is not None
    person = await equip(user, server.issuer, [Step.TOTP], two_step=True)
    browser.cookies.clear()
    page = as_page(await sign_in(browser, upstream))
    assert "totp-submit" in page.ids
    assert not browser.signed_in
    await browser.submit(page, "totp-submit", code=await person.otp())
    assert browser.signed_in


async def test_two_factors_elsewhere(
    browser: Browser, make_client: MakeClient, provider: OpenIDProvider, add: Add
) -> None:
    """Only if the operator trusts the provider's claim."""
    for mfa_acr, acr, expected in (("theirs", "theirs", "2"), ("theirs", "other", None), (None, "theirs", None)):
        provider.person.sub, provider.person.email = secrets.token_hex(8), f"{secrets.token_hex(6)}@example.com"
        provider.claims = {"acr": acr}
        upstream = await add(issuer=provider.issuer, trust_email=True, mfa_acr=mfa_acr)
        client = await make_client(skip_consent=True, default_acr_values=["2"])
        browser.cookies.clear()
        answer = await sign_in(browser, upstream, as_page(await client.authorize(browser)))
        asked = next(given for path, given in reversed(provider.requests) if path == "/authorize")
        assert asked.get("acr_values") == mfa_acr
        if expected is None:
            assert "enrol" in as_page(answer).text or "totp" in as_page(answer).text
            continue
        assert isinstance(answer, Redirect), answer.text
        claims = claims_of((await client.redeem(answer.parameters["code"])).json()["id_token"])
        assert (claims["acr"], claims["amr"]) == (expected, ["fed", "mfa"])


async def test_reauthentication(browser: Browser, client: RelyingParty, provider: OpenIDProvider, add: Add) -> None:
    """It is requested from the provider, and the response is checked."""
    upstream = await add(issuer=provider.issuer, trust_email=True)
    await sign_in(browser, upstream)
    page = as_page(await client.authorize(browser, prompt="login"))
    provider.claims = {"auth_time": 1_000_000_000}
    stale = as_page(await sign_in(browser, upstream, page))
    assert stale.status == 400
    assert upstream.name in stale.text
    provider.claims = {"auth_time": None}
    assert as_page(await sign_in(browser, upstream, page)).status == 400
    provider.claims = {}
    answer = await sign_in(browser, upstream, page)
    asked = [given for path, given in provider.requests if path == "/authorize"]
    assert "prompt" not in asked[0]
    assert (asked[-1]["prompt"], asked[-1]["max_age"]) == ("login", "0")
    if isinstance(answer, Page):
        answer = await browser.submit(answer, "consent-allow")
    assert isinstance(answer, Redirect)
    assert "code" in answer.parameters


async def test_the_authorization_request(
    browser: Browser, client: RelyingParty, provider: OpenIDProvider, add: Add
) -> None:
    upstream = await add(issuer=provider.issuer, trust_email=True)
    page = as_page(await client.authorize(browser, login_hint="ada@example.com"))
    await leave(browser, page, upstream)
    (asked,) = [given for path, given in provider.requests if path == "/authorize"]
    assert asked["login_hint"] == "ada@example.com"
    assert asked["redirect_uri"] == f"{browser.issuer}/upstreams/{upstream.id}/callback"
    assert asked["scope"] == "openid profile email"
    assert min(len(asked[name]) for name in ("state", "nonce", "code_challenge")) >= 43
    again = as_page(await client.authorize(browser))
    await leave(browser, again, upstream)
    other = [given for path, given in provider.requests if path == "/authorize"][-1]
    for name in ("state", "nonce", "code_challenge"):
        assert other[name] != asked[name]


async def test_an_application_may_leave_some_out(
    browser: Browser, make_client: MakeClient, provider: OpenIDProvider, add: Add
) -> None:
    one, other = await add(issuer=provider.issuer), await add(issuer=provider.issuer)
    client = await make_client(upstreams=[other.id])
    page = as_page(await client.authorize(browser))
    assert f"upstream-{one.id}" not in page.ids
    assert f"upstream-{other.id}" in page.ids
    refused = as_page(await browser.get(f"{page.path}/to/{one.id}"))
    assert "login-submit" in refused.ids
    location = await leave(browser, page, other)
    # The user must not return through the upstream that was left out either.
    assert as_page(await browser.get(location.replace(other.id, one.id))).status == 400
    away = await client.authorize(browser, idp_hint=other.id)
    assert isinstance(away, Redirect)
    assert away.location.startswith(provider.issuer)
    assert "login-submit" in as_page(await client.authorize(browser, idp_hint=one.id)).ids


@pytest.mark.parametrize(
    ("registration", "creates", "made"),
    [("closed", None, False), ("invitation", None, False), ("closed", True, True), ("open", False, False)],
)
async def test_the_settings_that_allow_a_new_account(
    start_server: Callable[..., Server],
    provider: OpenIDProvider,
    add: Add,
    registration: str,
    creates: bool | None,
    made: bool,
) -> None:
    server = await asyncio.to_thread(start_server, IDP_REGISTRATION=registration)
    upstream = await add(server, issuer=provider.issuer, trust_email=True, creates_accounts=creates)
    async with open_browser(server.issuer) as browser:
        answer = as_page(await sign_in(browser, upstream))
        assert browser.signed_in is made
        assert answer.status == (200 if made else 400)
    assert (await _user_of(provider) is not None) is made


async def test_requirements(browser: Browser, provider: OpenIDProvider, add: Add) -> None:
    """A user who does not meet them gets an error page."""
    required = {"hd": ("example.com",), "groups": ("staff", "admins")}
    upstream = await add(issuer=provider.issuer, trust_email=True, required_claims=required)
    for more, allowed in (
        ({}, False), ({"hd": "example.com"}, False), ({"hd": "example.com", "groups": ["guests"]}, False),
        ({"hd": "evil.example", "groups": ["staff"]}, False), ({"hd": "example.com", "groups": ["x", "staff"]}, True),
    ):  # fmt: skip
        browser.cookies.clear()
        provider.person.more = more
        page = as_page(await sign_in(browser, upstream))
        assert browser.signed_in is allowed
        assert allowed or (page.status == 400 and upstream.name in page.text)


async def test_claims_of_the_operators_own_mapping(
    browser: Browser, provider: OpenIDProvider, add: Add, mailbox: Mailbox
) -> None:
    """An address in another claim is proved by mail: email_verified does not speak of it."""
    mapping = {"given_name": "person.first", "email": "mail", "website": "w"}
    upstream = await add(issuer=provider.issuer, trust_email=True, claims=mapping)
    mail = f"{secrets.token_hex(6)}@example.com"
    provider.person.more = {"person": {"first": "Ada"}, "mail": mail, "w": "javascript:alert(1)", "name": "x" * 500}
    page = as_page(await sign_in(browser, upstream))
    page = as_page(await browser.submit(page, "upstream-send", username=mail))
    await browser.submit(page, "code-submit", code=(await mailbox.next(mail)).code)
    user = await _user_of(provider)
    assert user is not None
    assert (user.email, user.given_name, user.website, user.name) == (mail, "Ada", None, None)


async def test_tokens_are_kept_where_that_is_wanted(browser: Browser, provider: OpenIDProvider, add: Add) -> None:
    upstream = await add(issuer=provider.issuer, trust_email=True, keep_tokens=True)
    await sign_in(browser, upstream)
    row = await fetchrow("SELECT tokens FROM identity WHERE subject = $1", provider.person.sub)
    assert row is not None
    assert row["tokens"]
    assert b"theirs" not in bytes(row["tokens"])


async def test_a_lean_id_token(browser: Browser, provider: OpenIDProvider, add: Add) -> None:
    """The other claims are read from userinfo, which must have the same subject."""
    upstream = await add(issuer=provider.issuer, trust_email=True)
    provider.lean = True
    provider.faults.add("other_userinfo")
    assert as_page(await sign_in(browser, upstream)).status == 400
    provider.faults.clear()
    await sign_in(browser, upstream)
    assert browser.signed_in


# GitHub


async def test_github(browser: Browser, github: GitHub, add: Add) -> None:
    upstream = await add(kind="github", issuer=github.url)
    github.person.emails = [("other@example.com", False, True), (f"{secrets.token_hex(6)}@example.com", True, True)]
    for _ in range(2):
        browser.cookies.clear()
        await sign_in(browser, upstream)
        assert browser.signed_in
    (row,) = await fetch("SELECT user_id, subject FROM identity WHERE issuer = $1", github.url)
    assert row["subject"] == str(github.person.id)
    user = await User.objects().where(User.id == row["user_id"]).first()
    assert user is not None
    assert (user.email, user.name, user.preferred_username, user.picture) == (
        github.person.emails[1][0], "Mona Lisa Octocat", "octocat", f"{github.url}/octocat.png"
    )  # fmt: skip


async def test_an_address_that_github_has_not_verified(browser: Browser, github: GitHub, add: Add) -> None:
    upstream = await add(kind="github", issuer=github.url)
    github.person.emails = [("somebody@example.com", True, False)]
    page = as_page(await sign_in(browser, upstream))
    assert "upstream-send" in page.ids
    assert "somebody@example.com" not in page.text


async def test_an_organization_of_github(browser: Browser, github: GitHub, add: Add) -> None:
    upstream = await add(kind="github", issuer=github.url, organizations=("ours", "theirs"))
    for organizations, allowed in (({}, False), ({"others": "active"}, False), ({"ours": "pending"}, False),
                                   ({"theirs": "active"}, True)):  # fmt: skip
        browser.cookies.clear()
        github.person.organizations = organizations
        page = as_page(await sign_in(browser, upstream))
        assert browser.signed_in is allowed
        assert allowed or upstream.name in page.text
    asked = [given for path, given in github.requests if path.endswith("authorize")]
    assert asked[0]["scope"] == "read:user user:email read:org"


@pytest.mark.fault(14)
async def test_one_host_begins_a_bounded_number_of_trips(
    start_server: Callable[..., Server], provider: OpenIDProvider, add: Add
) -> None:
    """Each redirect to a provider is a row, and requires no sign-in."""
    upstream = await add(issuer=provider.issuer)
    server = await asyncio.to_thread(start_server, IDP_ADDRESS_LIMITS="true")
    try:
        async with open_browser(server.issuer) as browser:
            page = as_page(await browser.get("/login"))
            assert isinstance(await browser.get(f"{page.path}/to/{upstream.id}"), Redirect)
            await execute(
                "UPDATE throttle SET free_at = now() + interval '1 hour' WHERE rule = $1", limits.FLOWS_OF_HOST.name
            )
            for _ in range(3):
                assert as_page(await browser.get(f"{page.path}/to/{upstream.id}")).status == 429
        rows = await fetch("SELECT FROM upstream_attempt WHERE upstream_id = $1", upstream.id)
        assert len(rows) == 1
    finally:
        await execute("DELETE FROM throttle")
