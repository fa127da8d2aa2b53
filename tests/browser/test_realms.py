"""An address of an organization in a real browser: to another instance of this product, and back."""

import asyncio
import re
import secrets
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from idp.directory import organizations
from idp.federation import realms
from tests.browser.conftest import HOME
from tests.browser.test_upstreams import client_at, second_instance
from tests.support.directory import an_organization
from tests.support.nameserver import Nameserver
from tests.support.oauth import PASSWORD
from tests.support.postgres import Cluster
from tests.support.realms import a_domain, an_upstream, until_forgotten, until_leads
from tests.support.server import Server

pytestmark = pytest.mark.browser


async def test_an_address_leads_to_the_provider_of_its_organization(
    page: Page, server: Server, cluster: Cluster, template: str, nameserver: Nameserver, tmp_path: Path
) -> None:
    """Type an address, sign in at the provider, be a member; and with the domain enforced, a password does not help."""
    theirs, cli = await second_instance(cluster, template, tmp_path)
    organization = await an_organization()
    try:
        domain = await a_domain(organization, nameserver)
        email, name = f"{secrets.token_hex(6)}@{domain.domain}", f"up-{secrets.token_hex(4)}"
        await asyncio.to_thread(cli, "users", "create", email, "--email-verified", "--password-stdin", input=PASSWORD)
        created = await client_at(theirs, cli, "--redirect-uri", f"{server.issuer}/upstreams/{name}/callback")
        upstream = await an_upstream(
            organization, theirs.issuer, id=name, name="Acme", client_id=created.json["client_id"],
            client_secret=created.json.get("client_secret"), creates_accounts=True, adds_members=True,
        )  # fmt: skip
        await realms.enforce(domain.id)
        await until_leads(server, email, upstream)

        await page.goto("/login")
        await expect(page.locator("#password")).to_have_count(0)
        await page.click("#use-password")
        await page.fill("#username", email)
        await page.fill("#password", PASSWORD)
        await page.click("#login-submit")
        await expect(page.get_by_role("alert")).to_contain_text("with their organisation only")
        await expect(page.locator(f"#upstream-{name}")).to_be_visible()
        await expect(page.locator("#username")).to_have_value(email)
        await page.keyboard.press("Enter")
        await expect(page).to_have_url(re.compile(re.escape(theirs.issuer)))
        await expect(page.locator("#username")).to_have_value(email)
        await page.fill("#password", PASSWORD)
        await page.click("#login-submit")
        await page.click("#consent-allow")
        await expect(page).to_have_url(HOME)
        await expect(page.get_by_text(email)).to_be_visible()
    finally:
        await organizations.delete(organization.id)
        await until_forgotten(server)
        await asyncio.to_thread(theirs.stop)
