"""The pages of administrators of an organization: accessible, on desktop and phone, without JavaScript, by keyboard."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from playwright.async_api import BrowserContext, Page, expect

from idp.directory import invitations, roles
from idp.directory.sign_in_policy_changes import set_policy
from idp.infra.db.engine import execute
from idp.scim import tokens
from tests.browser.test_accessibility import Look, look, page
from tests.conftest import MakeClient
from tests.support.realms import an_enforced_domain
from tests.support.server import Server
from tests.support.tenants import Someone, Tenant, make_tenant, sign_in

__all__ = ["look", "page"]

pytestmark = pytest.mark.browser


class Acme:
    """An organization with much in it, and one who manages it."""

    def __init__(self, tenant: Tenant, admin: Someone, member: Someone) -> None:
        self.tenant, self.admin, self.member = tenant, admin, member
        self.path = f"/organization/{tenant.organization.slug}"

    async def enter(self, context: BrowserContext) -> None:
        """Give a browser the session of the administrator."""
        name = next(name for name in self.admin.browser.cookies if name.endswith("session"))
        # Of a page by https, because the name demands Secure; a browser sends it to http://localhost too.
        url = self.admin.browser.issuer.replace("http:", "https:")
        await context.add_cookies([{"name": name, "value": self.admin.session, "url": url, "secure": True}])


@pytest.fixture
async def acme(server: Server, make_client: MakeClient) -> AsyncIterator[Acme]:
    tenant, client = await make_tenant(), await make_client(skip_consent=True)
    async with AsyncExitStack() as stack:
        admin = await sign_in(server, stack, client, {tenant: True}, tenant.domain.domain, tokens=False)
        member = await sign_in(server, stack, client, {tenant: False}, tenant.domain.domain, tokens=False)
        await roles.give(tenant.role.id, [member.user.id])
        longest = f"{'a' * 50}@{'b' * 40}.example"
        await invitations.invite(tenant.id, longest, role_ids=[tenant.role.id], admin=True, invited_by=admin.user.id)
        await tokens.create("n" * 60, organization_id=tenant.id, writes=False)
        await execute("UPDATE scim_token SET last_used_at = now() WHERE id = $1", tenant.token_id)
        yield Acme(tenant, admin, member)


async def test_they_are_accessible(page: Page, look: Look, acme: Acme, server: Server) -> None:
    await acme.enter(page.context)
    member, role, domain = acme.member.user.id, acme.tenant.role.id, acme.tenant.domain.id
    marks = {
        "": "#member-add", f"/members/{member}": "#member-remove", f"/members/{member}/remove": "#confirm",
        "/invitations": "#invitation-add", f"/invitations/{acme.tenant.invitation_id}": "#invitation-revoke",
        "/roles": "#role-add", f"/roles/{role}": "#role-change", "/domains": "#domain-add",
        f"/domains/{domain}": "#domain-verify", "/scim": "#token-add",
        f"/scim/{acme.tenant.token_id}/rotate": "#overlap", "/name": "#confirm", "/events": "main li",
    }  # fmt: skip
    for path, mark in marks.items():
        await page.goto(f"{acme.path}{path}")
        await look(mark)
    await page.goto(f"{acme.path}/scim/add")
    await page.fill("#name", "Entra ID")
    await page.click("#confirm")
    await look("#token-value")
    await page.goto(f"{acme.path}/invitations/add")
    await page.fill("#emails", f"{acme.tenant.invited}\n{acme.member.user.email}")
    await page.click("#confirm")
    await look("#problems")
    async with an_enforced_domain(acme.tenant.organization, server):
        await page.goto(f"{acme.path}/policy")
        await page.check("#email_code")
        await page.click("#confirm")
        await look("#accept_lockout")


async def test_a_phone_without_javascript(script_free: Page, acme: Acme) -> None:
    """Inviting, a policy, and a token from its creation to its end."""
    page = script_free
    await acme.enter(page.context)
    await page.goto(f"{acme.path}/invitations/add")
    await page.fill("#emails", "carol@elsewhere.example")
    await page.check(f"#role_{acme.tenant.role.id}")
    await page.click("#confirm")
    await expect(page.locator("main [role=status]")).to_be_visible()
    await page.click("text=carol@elsewhere.example")
    await page.click("#invitation-revoke")
    await page.click("#confirm")
    await expect(page.locator("#invitation-revoke")).to_have_count(0)
    await page.goto(f"{acme.path}/policy")
    await page.select_option("#session_max_age", "28800")
    await page.check("#password")
    await page.click("#confirm")
    await expect(page.locator("#password")).to_be_checked()
    await set_policy(acme.tenant.id)
    await page.goto(f"{acme.path}/scim")
    await page.click("#token-add")
    await page.fill("#name", "Entra ID")
    await page.click("#confirm")
    await expect(page.locator("#token-value")).to_be_visible()
    await page.click("#token-revoke")
    await page.click("#confirm")
    await expect(page.locator("main [role=status]")).to_be_visible()


async def test_by_keyboard(page: Page, acme: Acme) -> None:
    """The first field has the focus; Enter in it sends the form."""
    await acme.enter(page.context)
    await page.goto(f"{acme.path}/roles/add")
    await page.keyboard.type("Editor")
    await page.keyboard.press("Enter")
    await expect(page.locator("main [role=status]")).to_be_visible()
    await page.goto(f"{acme.path}/invitations/add")
    await page.keyboard.type("dora@elsewhere.example")
    for _ in range(10):
        await page.keyboard.press("Tab")
        if await page.evaluate("document.activeElement.id") == "confirm":
            break
    await page.keyboard.press("Enter")
    await expect(page.locator("main [role=status]")).to_be_visible()
