"""The console in a real browser: every screen by axe, on a phone, without JavaScript, and by keyboard."""

import re

import pytest
from playwright.async_api import Browser as Chromium
from playwright.async_api import Page, expect

from idp.accounts.tables import User
from idp.admin.roles import Role, grant
from idp.oauth.clients.registration import register_client, register_resource_server
from idp.oauth.token_hook import registration as token_hooks
from idp.provisioning import targets
from idp.signin.transitions import Step
from tests.admin.console.conftest import make_directory
from tests.browser.conftest import PHONE, WIDTHS, violations
from tests.conftest import MakeUser
from tests.support import references
from tests.support.browser import as_page, open_browser
from tests.support.chromium import arrived
from tests.support.oauth import PASSWORD
from tests.support.person import Person, equip
from tests.support.server import Server
from tests.support.tenants import make_tenant
from tests.support.traces import recorded

pytestmark = pytest.mark.browser

#: Ids in a path.
_IDS = re.compile(r"/[0-9a-f]{8}-?[0-9a-f-]{20,}")


@pytest.fixture
async def owner(make_user: MakeUser, server: Server) -> Person:
    user = await make_user(name="Olga Owner", email_verified=True)
    await grant(user.id, Role.OWNER)
    return await equip(user, server.issuer, [Step.TOTP], two_step=False)


async def enter(page: Page, owner: Person) -> None:
    await page.goto("/admin")
    await page.fill("#username", owner.user.email)
    await page.fill("#password", PASSWORD)
    await page.click("#login-submit")
    await page.fill("#code", await owner.otp())
    await page.click("#totp-submit")
    await expect(page.locator("h1")).to_have_text("Overview")


async def client_flow(server: Server) -> str:
    """The id of a recorded flow: a request that is refused."""
    async with open_browser(server.issuer) as browser:
        page = as_page(await browser.get("/authorize", client_id="no-such-client", redirect_uri="https://a.example/cb"))
    return (await recorded(page.response.headers["x-request-id"])).request_id


@pytest.fixture
async def paths(owner: Person, server: Server) -> list[str]:
    client, _ = await register_client(client_name="Shown", redirect_uris=["https://shown.example/callback"])
    await register_resource_server(f"https://{client.client_id}.example", "Shown")
    made = await make_directory(owner.user.id)
    tenant = await make_tenant()
    inside = f"/admin/organizations/{tenant.id}"
    hook, _ = await token_hooks.add(client.client_id, "https://hooks.example.com/a/rather/long/path/of/a/hook")
    target = await targets.create("Wiki", "https://wiki.example.com/scim/v2/with/a/long/path", "token")
    lists = (
        "users", "clients", "resource_servers", "authorization_details", "keys", "upstreams", "outbox", "audit",
        "mail_templates",
        "admins", "settings", "health", "groups", "roles", "workload_identities", "claim_mappings", "token_exchange",
        "trusted_issuers",
        "id_jag_policies", "organizations", "token_hooks", "scim_tokens", "provisioning", "webhooks",
        "traces",
    )  # fmt: skip
    flow = await client_flow(server)
    return [
        "/admin",
        f"/admin/search?q={client.client_id}",
        "/admin/users/new",
        "/admin/users/invite",
        "/admin/users/subject",
        f"/admin/users/{owner.user.id}/edit",
        *(f"/admin/{name}" for name in lists),
        f"/admin/traces/{flow}",
        f"/admin/users/{owner.user.id}",
        f"/admin/users/{owner.user.id}/disable",
        f"/admin/users/{owner.user.id}/role",
        f"/admin/clients/{client.client_id}",
        f"/admin/clients/{client.client_id}/change",
        f"/admin/clients/{client.client_id}/logo",
        f"/admin/clients/{client.client_id}/access",
        f"/admin/clients/{client.client_id}/access/change",
        "/admin/clients/new/web",
        f"/admin/clients/{client.client_id}/delete",
        "/admin/clients?q=none-such",
        "/admin/api_reference",
        "/admin/api_reference/create_client",
        "/admin/api_reference/list_clients?send=1&query.limit=1",
        "/admin/resource_servers/new",
        "/admin/authorization_details/new",
        "/admin/workload_identities/new",
        "/admin/claim_mappings/new",
        "/admin/token_exchange/new",
        "/admin/trusted_issuers/new",
        "/admin/id_jag_policies/new",
        f"/admin/groups/{made['group_id']}",
        f"/admin/groups/{made['group_id']}/add_members",
        f"/admin/groups/{made['group_id']}/delete",
        f"/admin/roles/{made['role_id']}",
        f"/admin/roles/{made['role_id']}/contain",
        "/admin/groups/new",
        "/admin/keys/rotate",
        "/admin/upstreams/new/oidc",
        inside,
        f"{inside}/members",
        f"{inside}/domains",
        f"{inside}/domains/{tenant.domain.id}",
        f"{inside}/domains/{tenant.domain.id}/enforce",
        f"{inside}/invitations",
        f"{inside}/invitations/{tenant.invitation_id}",
        f"{inside}/invitations/{tenant.invitation_id}/revoke",
        "/admin/branding",
        f"/admin/clients/{client.client_id}/branding",
        f"{inside}/branding",
        f"{inside}/branding/pictures/logo",
        f"{inside}/branding/history",
        f"{inside}/policy",
        f"{inside}/policy/change",
        f"/admin/token_hooks/{hook}",
        "/admin/token_hooks/new",
        f"/admin/scim_tokens/{tenant.token_id}",
        f"/admin/scim_tokens/{tenant.token_id}/delete",
        "/admin/scim_tokens/new",
        f"/admin/provisioning/{target}",
        "/admin/provisioning/new",
    ]


async def test_every_screen_is_accessible(chromium: Chromium, server: Server, owner: Person, paths: list[str]) -> None:
    """Light and dark, wide and narrow; none is wider than its window. Our policy would keep axe out."""
    context = await chromium.new_context(base_url=server.issuer, bypass_csp=True, locale="de-DE")
    page = await context.new_page()
    await page.goto("/login")
    await page.fill("#username", owner.user.email)
    await page.fill("#password", PASSWORD)
    await page.click("#login-submit")
    await arrived(page)
    await page.goto("/admin")
    await page.fill("#code", await owner.otp())
    await page.click("#totp-submit")
    await arrived(page)
    for path in paths:
        answer = await page.goto(path)
        assert answer is not None
        assert answer.status == 200, path
        assert await page.get_attribute("html", "lang") == "en"
        assert await violations(page) == [], path
        for width in WIDTHS:
            await page.set_viewport_size({"width": width, "height": 740})
            wide = await page.evaluate("document.documentElement.scrollWidth")
            assert wide <= width, f"{path}: {wide} pixels wide of {width}"
        # The rows of lists, and the charts of the overview, differ from run to run.
        if path.count("/") > 2 and "?" not in path:
            await references.keep_looks(page, "console", _IDS.sub("", path))
    await context.close()


async def test_a_group_is_asked_for_only_where_one_is_needed(page: Page, owner: Person) -> None:
    """Without a script too. On a phone, rows have no empty cells."""
    await enter(page, owner)
    for path in ("/admin/users", "/admin/jobs/new"):
        await page.goto(path)
        await expect(page.locator("#f-group")).to_be_hidden()
        await page.select_option("#f-kind", "add_to_group")
        await expect(page.locator("#f-group")).to_be_visible()
        await page.select_option("#f-kind", "disable")
        await expect(page.locator("#f-group")).to_be_hidden()
    await page.goto("/admin/audit")
    empty = page.locator("#results td.none").first
    await expect(empty).to_have_text("\u2013")
    await (expect(empty).to_be_hidden if page.viewport_size == PHONE else expect(empty).to_be_visible)()


async def test_search_as_one_types(page: Page, owner: Person) -> None:
    await enter(page, owner)
    await page.goto("/admin/users")
    await page.type("#f-q", owner.user.email[:10])
    await expect(page.locator("#results tbody tr")).to_have_count(1)
    await expect(page.locator("#results")).to_contain_text(owner.user.email)
    assert f"q={owner.user.email[:10]}" in page.url


async def test_without_javascript(script_free: Page, owner: Person, alice: User) -> None:
    page = script_free
    await enter(page, owner)
    if await page.is_visible(".menu-button"):
        await page.click(".menu-button")
    await page.click("#menu >> text=Users")
    await page.fill("#f-q", alice.email)
    await page.click("text=Show")
    await page.click(f"text={alice.email}")
    await page.click("a >> text=Disable")
    await page.click("#confirm")
    await expect(page.locator("[role=status]")).to_have_text("Disabled. All its sessions and tokens have ended.")


async def test_the_console_by_keyboard(page: Page, owner: Person) -> None:
    """Tab reaches the search, the menu and the results in reading order, with a visible focus.

    The menu of a narrow page is opened by its button and closed by Escape.
    """
    await enter(page, owner)
    await page.goto("/admin/keys")
    narrow, reached = await page.is_visible(".menu-button"), list[str]()
    for _ in range(40):
        await page.keyboard.press("Tab")
        if await page.evaluate("document.activeElement === document.body"):
            break
        reached.append(
            await page.evaluate(
                "[document.activeElement].map(e => e.textContent.trim() || e.getAttribute('aria-label'))[0]"
            )
        )
        outline = await page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        shadow = await page.evaluate("getComputedStyle(document.activeElement).boxShadow")
        assert outline != "none" or shadow != "none", reached[-1]
        if reached[-1] == "Menu":
            await page.keyboard.press("Enter")
            await expect(page.locator("#menu")).to_be_visible()
        elif reached[-1] == "Sign out" and narrow:
            await page.keyboard.press("Escape")
            await expect(page.locator("#menu")).to_be_hidden()
    order = ["Menu", "Users", "Settings", "Your account", "Search", "Rotate"]
    if not narrow:
        order = ["Search", "Your account", "Users", "Settings", "Rotate"]
    places = [reached.index(name) for name in ["Skip to content", *order]]
    assert places == sorted(places), reached
    await page.goto("/admin/keys")
    await page.focus("text=Rotate")
    await page.keyboard.press("Enter")
    await expect(page.locator("h1")).to_have_text("Rotate a key")


async def test_a_request_is_sent_without_javascript(script_free: Page, owner: Person) -> None:
    """From the menu to the response. Without a script no copy button is offered."""
    page = script_free
    await enter(page, owner)
    await page.goto("/admin/api_reference")
    await page.fill("#f-q", "register a client")
    await page.click("text=Show")
    await page.click("#results td a")
    await expect(page.locator(".copy").first).to_be_hidden()
    await page.fill("#f-body", '{"client_name": "Sent", "redirect_uris": ["https://sent.example/cb"]}')
    await page.click("#confirm")
    await expect(page.locator("#answer-status")).to_have_text("201 Created")
    await expect(page.locator("#answer-body")).to_contain_text('"client_secret"')
    await page.reload()
    await expect(page.locator("#answer")).to_have_count(0)


async def test_the_id_of_a_client_is_copied(page: Page, owner: Person) -> None:
    client, _ = await register_client(client_name="Copied", redirect_uris=["https://copied.example/cb"])
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await enter(page, owner)
    await page.goto(f"/admin/clients/{client.client_id}")
    await page.click('[data-copy="client-id"]')
    await expect(page.locator('[data-copy="client-id"]')).to_have_text("Copied")
    assert await page.evaluate("navigator.clipboard.readText()") == client.client_id
