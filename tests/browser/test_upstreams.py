"""Sign-in with upstream providers in a real browser: at another instance of this product, and against attackers."""

import asyncio
import re
import secrets
from pathlib import Path

import httpx
import pytest
from playwright.async_api import Browser as Chromium
from playwright.async_api import Page, expect

from idp.accounts.tables import User
from idp.federation.models import Upstream
from idp.infra.db.engine import execute
from tests.browser.conftest import HOME, sign_in
from tests.cli.conftest import Cli
from tests.conftest import MASTER_KEY, MakeUser, until_known
from tests.federation.conftest import Add, add, provider
from tests.support.mailbox import Mailbox
from tests.support.oauth import PASSWORD, RelyingParty
from tests.support.postgres import Cluster
from tests.support.prefork import Ended
from tests.support.server import TLS, Server, free_port
from tests.support.stand_ins import OpenIDProvider

__all__ = ["add", "provider"]

pytestmark = pytest.mark.browser


async def second_instance(cluster: Cluster, template: str, folder: Path) -> tuple[Server, Cli]:
    """A server with its own database and users. Cookies ignore ports, so it has another host name."""
    port = free_port()
    settings = {
        "IDP_DATABASE_URL": await cluster.create_database(template),
        "IDP_MASTER_KEY": MASTER_KEY,
        "IDP_ISSUER": f"http://127.0.0.1:{port}",
        "IDP_PRODUCT_NAME": "Elsewhere",
    }
    server = await asyncio.to_thread(lambda: Server(folder, port=port, **settings))
    return server, Cli(folder, settings)


async def client_at(theirs: Server, cli: Cli, *options: str) -> Ended:
    """Create a native client at a second instance, which knows it afterwards."""
    created = await asyncio.to_thread(
        cli, "clients", "create", "--name", "Ours", "--scope", "openid profile email", "--type", "native", "--json",
        *options,
    )  # fmt: skip
    async with httpx.AsyncClient(timeout=30, verify=TLS) as http:
        await until_known(
            RelyingParty(theirs.issuer, http, created.json["client_id"], created.json.get("client_secret"))
        )
    return created


async def test_another_instance_of_this_product(
    page: Page, server: Server, cluster: Cluster, template: str, add: Add, tmp_path: Path
) -> None:
    """From our page to theirs and back, with consent there; again, silently; and out of both."""
    theirs, cli = await second_instance(cluster, template, tmp_path)
    try:
        email = f"{secrets.token_hex(6)}@example.com"
        await asyncio.to_thread(cli, "users", "create", email, "--email-verified", "--password-stdin", input=PASSWORD)
        name = f"up-{secrets.token_hex(4)}"
        created = await client_at(
            theirs, cli, "--redirect-uri", f"{server.issuer}/upstreams/{name}/callback",
            "--post-logout-redirect-uri", f"{server.issuer}/logout/return",
        )  # fmt: skip
        upstream = await add(
            id=name, name="Elsewhere", issuer=theirs.issuer, client_id=created.json["client_id"],
            client_secret=created.json.get("client_secret"), trust_email=True, logout=True,
        )  # fmt: skip
        await _there_and_back(page, upstream, theirs, email)
    finally:
        await asyncio.to_thread(theirs.stop)


async def _there_and_back(page: Page, upstream: Upstream, theirs: Server, email: str) -> None:
    await page.goto("/login")
    await page.click(f"#upstream-{upstream.id}")
    await expect(page).to_have_url(re.compile(re.escape(theirs.issuer)))
    await page.fill("#username", email)
    await page.fill("#password", PASSWORD)
    await page.click("#login-submit")
    await page.click("#consent-allow")
    await expect(page).to_have_url(HOME)
    await expect(page.get_by_text(email)).to_be_visible()
    await page.goto("/account/security")
    await expect(page.get_by_text("Elsewhere", exact=True)).to_be_visible()
    await page.goto("/logout")
    await page.click("#logout-confirm")
    await expect(page).to_have_url(re.compile(re.escape(f"{theirs.issuer}/logout")))
    await page.click("#logout-confirm")
    await expect(page.locator("#logout-done")).to_be_visible()
    await page.goto("/login")
    await page.click(f"#upstream-{upstream.id}")
    await expect(page.locator("#login-submit")).to_be_visible()
    assert page.url.startswith(theirs.issuer)
    await page.click("#login-cancel")
    await expect(page.get_by_role("alert")).to_be_visible()
    await expect(page.locator("#username")).to_be_visible()
    assert not page.url.startswith(theirs.issuer)


async def test_the_story_of_a_borrowed_address(
    page: Page, chromium: Chromium, server: Server, provider: OpenIDProvider, add: Add, alice: User, mailbox: Mailbox
) -> None:
    """An attacker has the victim's address at a provider. They get no further than the victim's password; the victim
    notices nothing, and later links the provider.
    """
    await execute("UPDATE users SET email_verified = true WHERE id = $1", alice.id)
    upstream = await add(issuer=provider.issuer, trust_email=True)
    provider.person.email = alice.email
    await page.goto("/login")
    await page.click(f"#upstream-{upstream.id}")
    await expect(page.locator("#username")).to_have_value(alice.email)
    await page.fill("#password", "a guess of the attacker's")
    await page.click("#login-submit")
    await expect(page.get_by_role("alert")).to_be_visible()
    await page.goto("/account")
    await expect(page.locator("#login-submit")).to_be_visible()

    context = await chromium.new_context(base_url=server.issuer)
    victim = await context.new_page()
    await sign_in(victim, alice)
    await victim.goto("/account/security")
    await expect(victim.get_by_role("button", name="Disconnect")).to_have_count(0)
    provider.person.sub, provider.person.email = "the victim", "another@example.com"
    await victim.click(f"#link-{upstream.id}")
    await expect(victim.get_by_role("status")).to_be_visible()
    await expect(victim.get_by_role("button", name="Disconnect")).to_have_count(1)
    await mailbox.about(alice.email, "connected")
    await context.close()

    # The attacker's own account there still leads nowhere.
    provider.person.sub, provider.person.email = "the attacker", alice.email
    await page.goto("/login")
    await page.click(f"#upstream-{upstream.id}")
    await expect(page.locator("#login-submit")).to_be_visible()


async def test_the_story_of_an_account_that_waited(
    page: Page, chromium: Chromium, server: Server, provider: OpenIDProvider, add: Add, make_user: MakeUser
) -> None:
    """An attacker is signed in to an unverified account with the victim's address. The victim signs in with a provider
    and gets a new account, and the attacker is signed out for good.
    """
    squatted = await make_user(name="Mallory")
    await execute("UPDATE users SET origin = 'registration' WHERE id = $1", squatted.id)
    upstream = await add(issuer=provider.issuer, trust_email=True)
    context = await chromium.new_context(base_url=server.issuer)
    attacker = await context.new_page()
    await sign_in(attacker, squatted)
    await expect(attacker.get_by_text("Mallory")).to_be_visible()

    provider.person.email = squatted.email
    await page.goto("/login")
    await page.click(f"#upstream-{upstream.id}")
    await expect(page).to_have_url(HOME)
    await page.goto("/account")
    await expect(page.get_by_text(squatted.email)).to_be_visible()
    await expect(page.locator("#name")).to_have_value("")

    await attacker.goto("/account")
    await expect(attacker.locator("#login-submit")).to_be_visible()
    await sign_in(attacker, squatted)
    await expect(attacker.get_by_role("alert").first).to_be_visible()
    await context.close()
