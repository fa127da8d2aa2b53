"""No page breaks a rule of axe, of WCAG or of good practice, in any colour scheme. None is wider than its window."""

import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import product
from urllib.parse import urlencode

import httpx
import pytest
from playwright.async_api import Browser as Chromium
from playwright.async_api import Page, expect

from idp.accounts import email_proofs, invitations
from idp.accounts.email_proofs import Purpose
from idp.accounts.tables import User
from idp.branding import service
from idp.branding.models import Owner
from idp.directory.sign_in_policy_changes import set_policy
from idp.ids import uuid7
from idp.infra import rate_limits
from idp.infra.db.engine import execute
from idp.signin import limits
from idp.signin.transitions import Step
from tests.branding.test_validation import PNG, url
from tests.browser.conftest import HOME, WIDTHS, sign_in, violations
from tests.conftest import MakeClient, MakeUser
from tests.federation.conftest import Add, add, make_realm, provider
from tests.support import references
from tests.support.authenticator import virtual_authenticator
from tests.support.authorization_details import detail, registering
from tests.support.devices import start_device
from tests.support.directory import an_organization
from tests.support.mailbox import Mailbox
from tests.support.oauth import PASSWORD
from tests.support.person import equip
from tests.support.realms import MakeRealm
from tests.support.server import Server
from tests.support.stand_ins import OpenIDProvider

__all__ = ["add", "make_realm", "provider"]

pytestmark = pytest.mark.browser

ERROR = "#form-error"
NEW_PASSWORD = "seven tired otters nap"
Look = Callable[[str], Awaitable[None]]


@pytest.fixture(params=["en-GB", "de-DE"], ids=["English", "German"])
async def page(request: pytest.FixtureRequest, chromium: Chromium, server: Server) -> AsyncIterator[Page]:
    """A browser in English, and one in a language of long words. Our policy would keep axe out of its pages."""
    context = await chromium.new_context(base_url=server.issuer, locale=request.param, bypass_csp=True)
    context.set_default_timeout(30_000)
    yield await context.new_page()
    await context.close()


@pytest.fixture
def look(page: Page, request: pytest.FixtureRequest) -> Look:
    """Looks at the page as it is now: light and dark, wide and narrow, from left to right and from right to left.

    Its argument selects something that only the page in question has.
    """

    seen = 0

    async def at(mark: str) -> None:
        nonlocal seen
        seen += 1
        await expect(page.locator(mark).first).to_be_attached()
        name = f"{page.url}: {await page.title()}"
        language = (await page.evaluate("navigator.language"))[:2]
        assert await page.get_attribute("html", "lang") == language, name
        # The results of axe do not depend on the language.
        if language == "en":
            assert await violations(page) == [], name
        for width, direction in product(WIDTHS, ("ltr", "rtl")):
            await page.set_viewport_size({"width": width, "height": 740})
            await page.evaluate("direction => { document.documentElement.dir = direction; }", direction)
            wide = await page.evaluate("document.documentElement.scrollWidth")
            assert wide <= width, f"{name}, {direction}, {width}: {wide} pixels wide"
        await page.evaluate("document.documentElement.dir = 'ltr'")
        if language == "en":
            names = (request.node.path.stem, request.node.originalname)
            title = (await page.title()).partition(" · ")[0]
            await references.keep_looks(page, *(name.removeprefix("test_") for name in names), f"{seen:02}", title)

    return at


async def _send(page: Page, submit: str, **fields: str) -> None:
    for name, value in fields.items():
        await page.fill(f"[name={name}]", value)
    await page.click(submit)


async def test_before_the_sign_in(page: Page, look: Look, mailbox: Mailbox) -> None:
    newcomer = f"{secrets.token_hex(6)}@example.com"
    await page.goto("/")
    await look("a[href='/login']")
    await page.goto("/login")
    await look("#login-submit")
    flow = page.url
    await _send(page, "#login-submit", username=newcomer, password="not it at all")
    await look(ERROR)
    await page.goto(f"{flow}/registration")
    await look("#register-submit")
    await page.fill("#new-password", "password1")
    await page.click("#reveal-new-password")
    await look("#password-strength[data-score]")
    await _send(page, "#register-submit", username=newcomer, password="password")
    await look(ERROR)
    await _send(page, "#register-submit", password=NEW_PASSWORD)
    await look("#code-submit")
    await _send(page, "#code-submit", code="1234")
    await look(ERROR)
    await page.goto((await mailbox.next(newcomer)).path)
    await look("#link-submit")


async def test_an_address_of_an_organization(page: Page, look: Look, make_realm: MakeRealm) -> None:
    realm = await make_realm(enforced=True)
    await page.goto("/login")
    await look("#address-submit")
    await page.click("#use-password")
    await _send(page, "#login-submit", username=realm.address(), password="not it at all")
    await look(f"{ERROR}, #upstream-{realm.upstream.id}")


async def test_sign_in_by_mail(page: Page, look: Look, alice: User, mailbox: Mailbox) -> None:
    await page.goto("/login")
    await page.goto(f"{page.url}/email_code")
    await look("#email-code-send")
    await _send(page, "#email-code-send", username=alice.email)
    await look("#code-submit")
    await _send(page, "#code-submit", code="1234")
    await look(ERROR)
    await page.goto((await mailbox.next(alice.email)).path)
    await look("#link-submit")


async def test_links_of_mails_in_another_browser(page: Page, look: Look, alice: User) -> None:
    flow_id = secrets.token_hex(16)
    sent = await email_proofs.create(Purpose.REGISTRATION, alice.email, lifetime=600, flow_id=flow_id)
    await page.goto(f"/login/{flow_id}/registration?token={sent.token}")
    await look("#mail-code")
    sent = await email_proofs.create(
        Purpose.NEW_BROWSER, alice.email, lifetime=600, flow_id=str(uuid7()), user_id=alice.id
    )
    await page.goto(f"/not-me?token={sent.token}")
    await look("#not-me")
    await page.click("#not-me")
    await look("#forgot-submit")
    await page.goto(f"/not-me?token={sent.token}")
    await look(".symbol")


async def test_a_forgotten_password(page: Page, look: Look, alice: User, mailbox: Mailbox) -> None:
    await page.goto("/login")
    await page.click("#forgot")
    await look("#forgot-submit")
    await _send(page, "#forgot-submit", username=alice.email)
    await look("#reset-submit")
    await _send(page, "#reset-submit", code="1234", password=NEW_PASSWORD)
    await look(ERROR)
    await page.goto((await mailbox.next(alice.email)).path)
    await look("#reset-submit")
    await _send(page, "#reset-submit", password="password")
    await look(ERROR)
    await _send(page, "#reset-submit", password=NEW_PASSWORD)
    await look("#to-login")


async def test_a_lock(page: Page, look: Look, alice: User, mailbox: Mailbox) -> None:
    await sign_in(page, alice, "not it at all")
    await execute(
        "UPDATE throttle SET number = $2, free_at = now() - interval '1 second' WHERE key = $1",
        rate_limits.key(limits.PASSWORDS, alice.email), limits.LOCK_AFTER - 1,
    )  # fmt: skip
    await sign_in(page, alice, "nor this")
    link = (await mailbox.next(alice.email)).path
    await sign_in(page, alice, "nor that")
    await look(ERROR)
    await page.goto(link)
    await look("#unlock-submit")
    await page.click("#unlock-submit")
    await look(".symbol.good")


async def test_an_invitation(page: Page, look: Look, mailbox: Mailbox) -> None:
    email = f"{secrets.token_hex(6)}@example.com"
    await invitations.invite(email, None)
    await page.goto((await mailbox.next(email)).path)
    await look("#invitation-accept")
    await page.click("#invitation-accept")
    await look("#register-submit")


async def test_second_steps(page: Page, look: Look, server: Server, make_user: MakeUser) -> None:
    person = await equip(await make_user(), server.issuer, [Step.TOTP, Step.RECOVERY_CODE, Step.PASSKEY], two_step=True)
    await sign_in(page, person.user)
    flow = page.url
    await page.goto(f"{flow}/passkey")
    await look("#passkey-get")
    for step, submit in (("totp", "#totp-submit"), ("recovery_code", "#recovery-submit")):
        await page.goto(f"{flow}/{step}")
        await look(submit)
        await _send(page, submit, code="1234")
        await look(ERROR)


async def test_on_the_way_to_an_application(
    page: Page, look: Look, make_client: MakeClient, make_user: MakeUser
) -> None:
    strict = await make_client(default_acr_values=["2"], client_name="An application with quite a long name")
    shop = await make_client(
        client_name="Shop", policy_uri="https://app.example.com/policy", tos_uri="https://app.example.com/terms",
        scope="openid profile email phone address offline_access",
    )  # fmt: skip
    user = await make_user(name="Alice Example", nickname="Ali")
    await page.goto(f"/authorize?{urlencode(strict.parameters())}")
    await look("#login-submit")
    await _send(page, "#login-submit", username=user.email, password=PASSWORD)
    await look("#totp-confirm")
    await _send(page, "#totp-confirm", code="1234")
    await look(ERROR)
    await page.context.clear_cookies()
    await sign_in(page, user)
    await page.goto(f"/authorize?{urlencode(shop.parameters(scope=shop.scope))}")
    await page.click(".grants summary")
    await look("#consent-allow")
    await page.goto("/logout")
    await look("#logout-confirm")
    await page.click("#logout-confirm")
    await look("#logout-done")


async def test_the_branding_of_an_organization(page: Page, look: Look, make_client: MakeClient, alice: User) -> None:
    """In the lightest colour that is accepted, which the texts of the pages must still have enough contrast with."""
    acme = await an_organization(alice)
    values = {
        "display_name": "Acme Ltd", "color": "#6b6b6b", "dark_color": "#8e8e8e", "background": url(PNG),
        "corners": "square", "font": "serif", "title": "Welcome to Acme",
        "help_uri": "https://acme.example/help", "terms_uri": "https://acme.example/terms",
    }  # fmt: skip
    await service.save(Owner(organization_id=acme.id), values)
    client = await make_client(scope="openid organization")
    await page.goto(f"/authorize?{urlencode(client.parameters(organization=acme.slug))}")
    await look("#organization-brand")
    await _send(page, "#login-submit", username=alice.email, password=PASSWORD)
    await look("#consent-allow")
    await set_policy(acme.id, second_factor=True)
    await page.goto(f"/authorize?{urlencode(client.parameters(organization=acme.slug))}")
    await look("#totp-confirm")


async def test_a_device(page: Page, look: Look, make_client: MakeClient, alice: User) -> None:
    device, denied = [await start_device(make_client) for _ in range(2)]
    await page.goto(device.codes["verification_uri_complete"])
    await _send(page, "#login-submit", username=alice.email, password=PASSWORD)
    await look("#device-compare")
    await _send(page, "#device-submit", user_code="BCDF-GHJK")
    await look(ERROR)
    await _send(page, "#device-submit", user_code=device.user_code)
    await look("#device-confirm")
    await page.click("#device-confirm")
    await look("#consent-allow")
    await page.click("#consent-allow")
    await look("#device-approved")
    await page.goto("/device")
    await _send(page, "#device-submit", user_code=denied.user_code)
    await page.click("#device-deny")
    await look("#device-denied")


async def test_errors(page: Page, look: Look) -> None:
    await page.goto("/authorize?client_id=nobody")
    await look("#oidc-error")
    for path in ("/no-such-page", "/login/none", "/reset?token=x", "/unlock?token=x"):
        await page.goto(path)
        await look(".symbol")


async def test_the_account(page: Page, look: Look, make_user: MakeUser) -> None:
    """The account of a new user."""
    await sign_in(page, await make_user(name="Alice Example"))
    await look("#to-account")
    marks = {
        "": "#profile-save", "/security": "#totp-add", "/password": "#password-save", "/email": "#email-send",
        "/passkeys": "#passkey-create", "/totp": "#totp-confirm", "/sessions": "#end-others", "/apps": "nav + h1",
        "/data": "#account-delete", "/activity": "#to-security",
    }  # fmt: skip
    for path, mark in marks.items():
        await page.goto(f"/account{path}")
        await look(mark)


async def test_a_full_account(
    page: Page, look: Look, server: Server, make_user: MakeUser, make_client: MakeClient
) -> None:
    user = await make_user(name="Alice Example")
    native = {"application_type": "native", "redirect_uris": [f"{server.issuer}/callback"]}
    shop = await make_client(client_name="Shop", **native)
    await sign_in(page, user)
    await page.goto(f"/authorize?{urlencode(shop.parameters())}")
    await page.click("#consent-allow")
    await page.wait_for_url("**/callback?**")
    await equip(user, server.issuer, [Step.TOTP, Step.RECOVERY_CODE, Step.PASSKEY], two_step=True)
    await page.goto("/account/security")
    await look("#totp-remove")
    await page.click("#recovery-replace")
    await look("#ask-confirm")
    await page.click("#ask-confirm")
    await look("#recovery-codes")
    await page.goto("/account/apps")
    await look("a[href$='/revoke']")
    await page.click("a[href$='/revoke']")
    await look("#ask-confirm")
    await page.goto("/account/data")
    await _send(page, "#account-delete", email=user.email)
    await look(".symbol.good")


async def test_errors_of_the_account(page: Page, look: Look, make_user: MakeUser) -> None:
    await sign_in(page, await make_user())
    for path, fields, submit in (
        ("", {"phone_number": "yesterday"}, "#profile-save"),
        ("/password", {"password": "password"}, "#password-save"),
        ("/totp", {"code": "1234"}, "#totp-confirm"),
        ("/data", {"email": "somebody@example.com"}, "#account-delete"),
    ):
        await page.goto(f"/account{path}")
        await _send(page, submit, **fields)
        await look(ERROR)
    await virtual_authenticator(page, isUserVerified=False)
    await page.goto("/account/passkeys")
    await page.click("#passkey-create")
    await look("#passkey-message:not([hidden])")


async def test_another_address(page: Page, look: Look, alice: User, mailbox: Mailbox) -> None:
    new = f"{secrets.token_hex(6)}@example.com"
    await sign_in(page, alice)
    await page.goto("/account/email")
    await _send(page, "#email-send", email=new)
    await look("#code-submit")
    await _send(page, "#code-submit", code="1234")
    await look(ERROR)
    await page.goto((await mailbox.next(new)).path)
    await look("#link-submit")
    await page.click("#link-submit")
    await look(".notice.good")


async def test_accounts_elsewhere(page: Page, look: Look, provider: OpenIDProvider, add: Add, mailbox: Mailbox) -> None:
    upstream = await add(issuer=provider.issuer, name="A provider with a name that is rather long")
    await page.goto("/login")
    await look(f"#upstream-{upstream.id}")
    provider.error = "access_denied"
    await page.click(f"#upstream-{upstream.id}")
    await look(ERROR)
    provider.error = None
    await page.click(f"#upstream-{upstream.id}")
    await look("#upstream-send")
    email = await page.input_value("#username")
    await page.click("#upstream-send")
    await look("#code-submit")
    await page.goto((await mailbox.next(email)).path)
    await look("#link-submit")
    await page.click("#link-submit")
    await expect(page).to_have_url(HOME)
    await page.goto("/account/security")
    await look("[id^=identity-]")


async def test_consent_to_details(
    page: Page, look: Look, make_client: MakeClient, server: Server, http: httpx.AsyncClient, alice: User
) -> None:
    """Closed and open."""
    async with registering(server, http) as register:
        kind = await register()
        client = await make_client(authorization_details_types=[kind.type])
        asked = [detail(kind), detail(kind, creditor="x" * 200, locations=[f"{kind.resource}/accounts/DE0123456789"])]
        parameters = client.parameters(authorization_details=json.dumps(asked))
        await page.goto(f"/authorize?{urlencode(parameters)}")
        await _send(page, "#login-submit", username=alice.email, password=PASSWORD)
        await look("#consent-allow")
        for summary in await page.locator(".grants summary").all():
            await summary.click()
        await look("#consent-allow")
