"""No page breaks a rule of WCAG 2.2 AA that a program can find, in any look; and none is wider than a phone."""

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import product
from typing import Any
from urllib.parse import urlencode

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser as Chromium
from playwright.async_api import Page

from idp.accounts import invitations
from idp.accounts.tables import User
from idp.signin import factors
from idp.signin.machine import Step
from tests.browser.conftest import DESKTOP, PHONE, sign_in
from tests.conftest import MakeClient, MakeUser
from tests.federation.conftest import Add, add, provider
from tests.support.mailbox import Mailbox
from tests.support.person import equip
from tests.support.server import Server
from tests.support.stand_ins import OpenIDProvider

__all__ = ["add", "provider"]

pytestmark = pytest.mark.browser

RULES = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}}
Look = Callable[[], Awaitable[None]]


@pytest.fixture(params=["en-GB", "de-DE"], ids=["English", "German"])
async def page(request: pytest.FixtureRequest, chromium: Chromium, server: Server) -> AsyncIterator[Page]:
    """A browser in English, and one in a language of long words. Our policy would keep axe out of its pages."""
    context = await chromium.new_context(base_url=server.issuer, locale=request.param, bypass_csp=True)
    context.set_default_timeout(10_000)
    yield await context.new_page()
    await context.close()


@pytest.fixture
def look(request: pytest.FixtureRequest, page: Page) -> Look:
    """Looks at the page as it is now: light and dark, wide and narrow, from left to right and from right to left."""

    async def at() -> None:
        name = f"{page.url}: {await page.title()}"
        # What axe looks at is not in the words.
        looks = product(("light", "dark"), (DESKTOP, PHONE)) if "English" in request.node.name else ()
        for scheme, viewport in looks:
            await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
            await page.set_viewport_size(viewport)  # type: ignore[arg-type]
            found = (await Axe().run(page, options=RULES)).response["violations"]
            assert _told(found) == [], f"{name}, {scheme}, {viewport['width']} px"
        await page.set_viewport_size(PHONE)  # type: ignore[arg-type]
        for direction in ("ltr", "rtl"):
            await page.evaluate("direction => { document.documentElement.dir = direction; }", direction)
            width = await page.evaluate("document.documentElement.scrollWidth")
            assert width <= PHONE["width"], f"{name}, {direction}: {width} pixels wide"
        await page.evaluate("document.documentElement.dir = 'ltr'")

    return at


def _told(violations: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(found["id"], str(found["nodes"][0]["target"])) for found in violations]


async def test_before_the_sign_in(page: Page, look: Look, mailbox: Mailbox) -> None:
    newcomer = f"{secrets.token_hex(6)}@example.com"
    await page.goto("/")
    await look()
    await page.goto("/login")
    await look()
    await page.fill("#username", newcomer)
    await page.fill("#password", "not it at all")
    await page.click("#login-submit")
    await look()
    login = page.url
    await page.goto(f"{'/'.join(login.split('/')[:5])}/registration")
    await look()
    await page.fill("#username", newcomer)
    await page.fill("#new-password", "password")
    await page.click("#register-submit")
    await look()
    await page.fill("#new-password", "seven tired otters nap")
    await page.click("#register-submit")
    await look()
    await page.goto((await mailbox.next(newcomer)).path)
    await look()


async def test_by_mail(page: Page, look: Look, alice: User, mailbox: Mailbox) -> None:
    await page.goto("/login")
    await page.fill("#username", alice.email)
    await page.click("#email-code-send")
    await look()
    await page.goto((await mailbox.next(alice.email)).path)
    await look()
    await page.goto("/login")
    await page.click("#forgot")
    await look()
    await page.fill("#username", alice.email)
    await page.click("#forgot-submit")
    await look()
    await page.goto((await mailbox.next(alice.email, 2)).path)
    await look()
    await page.fill("#new-password", "seven tired otters nap")
    await page.click("#reset-submit")
    await look()


async def test_an_invitation(page: Page, look: Look, mailbox: Mailbox) -> None:
    email = f"{secrets.token_hex(6)}@example.com"
    await invitations.invite(email, None)
    await page.goto((await mailbox.next(email)).path)
    await look()
    await page.click("#invitation-accept")
    await look()


async def test_second_steps(page: Page, look: Look, server: Server, make_user: MakeUser) -> None:
    person = await equip(await make_user(), server.issuer, [Step.TOTP, Step.RECOVERY_CODE, Step.PASSKEY], two_step=True)
    await sign_in(page, person.user)
    flow = page.url
    for step in ("passkey", "totp", "recovery_code"):
        await page.goto(f"{flow}/{step}")
        await look()


async def test_on_the_way_to_an_application(
    page: Page, look: Look, make_client: MakeClient, make_user: MakeUser
) -> None:
    strict = await make_client(default_acr_values=["2"], client_name="An application with quite a long name")
    shop = await make_client(
        client_name="Shop", policy_uri="https://app.example.com/policy", tos_uri="https://app.example.com/terms",
        scope="openid profile email phone address offline_access",
    )  # fmt: skip
    user = await make_user()
    await page.goto(f"/authorize?{urlencode(strict.parameters())}")
    await look()
    await page.fill("#username", user.email)
    await page.fill("#password", "correct horse battery staple")
    await page.click("#login-submit")
    await look()
    page.context.set_default_timeout(10_000)
    await page.context.clear_cookies()
    await sign_in(page, user)
    await page.goto(f"/authorize?{urlencode(shop.parameters(scope=shop.scope))}")
    await look()
    for path in ("/authorize?client_id=nobody", "/no-such-page", "/login/none", "/reset?token=x", "/unlock?token=x"):
        await page.goto(path)
        await look()
    await page.goto("/logout")
    await look()
    await page.click("#logout-confirm")
    await look()


async def test_the_account(
    page: Page, look: Look, server: Server, make_user: MakeUser, make_client: MakeClient
) -> None:
    user = await make_user(name="Alice Example")
    await sign_in(page, user)
    await page.goto("/")
    await look()
    pages = ["", "/security", "/password", "/email", "/passkeys", "/totp", "/sessions", "/apps", "/data"]
    for path in pages:
        await page.goto(f"/account{path}")
        await look()
    await equip(user, server.issuer, [Step.TOTP, Step.RECOVERY_CODE, Step.PASSKEY], two_step=True)
    assert await factors.factors_of(user.id)
    shop = await make_client(client_name="Shop", skip_consent=True)
    await page.request.get(f"/authorize?{urlencode(shop.parameters())}", max_redirects=0)
    for path in ("/security", "/apps"):
        await page.goto(f"/account{path}")
        await look()
    await page.goto("/account")
    await page.fill("#birthdate", "yesterday")
    await page.click("#profile-save")
    await look()
    await page.goto("/account/password")
    await page.fill("#new-password", "password")
    await page.click("#password-save")
    await look()
    await page.goto("/account/security")
    await page.click("#recovery-make")
    await look()
    await page.goto("/account/data")
    await page.fill("#email", user.email)
    await page.click("#account-delete")
    await look()


async def test_accounts_elsewhere(page: Page, look: Look, provider: OpenIDProvider, add: Add, mailbox: Mailbox) -> None:
    upstream = await add(issuer=provider.issuer, name="A provider with a name that is rather long")
    await page.goto("/login")
    await look()
    provider.error = "access_denied"
    await page.click(f"#upstream-{upstream.id}")
    await look()
    provider.error = None
    await page.click(f"#upstream-{upstream.id}")
    await look()
    email = await page.input_value("#username")
    await page.click("#upstream-send")
    await look()
    await page.goto((await mailbox.next(email)).path)
    await look()
    await page.click("#link-submit")
    await page.goto("/account/security")
    await look()
