"""Organizations with a verified domain and an upstream, at the shared server."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from idp.directory import domains, organizations
from idp.directory.effective import DOMAINS_TOPIC
from idp.directory.models import Domain, Organization
from idp.federation import realms, registry
from idp.federation.models import Upstream
from idp.infra.db.cache_invalidation import exclusive_change
from idp.infra.db.engine import execute
from tests.support.browser import Browser, Page, Redirect, as_page, open_browser
from tests.support.directory import an_organization
from tests.support.nameserver import Nameserver
from tests.support.oauth import until_settled
from tests.support.server import Server
from tests.support.stand_ins import CLIENT_ID, CLIENT_SECRET, OpenIDProvider


@dataclass
class Realm:
    """An organization, a domain that belongs to it, and an upstream, at which ``provider.person`` is signed in."""

    organization: Organization
    domain: Domain
    upstream: Upstream
    provider: OpenIDProvider
    names: list[str] = field(default_factory=list)

    def address(self, name: str = "") -> str:
        """Return an address at the domain, by default one that nobody has."""
        return f"{name or secrets.token_hex(6)}@{self.domain.domain}"


MakeRealm = Callable[..., Awaitable[Realm]]


@asynccontextmanager
async def making_realms(server: Server, nameserver: Nameserver) -> AsyncIterator[MakeRealm]:
    """Make realms that the server knows when the function returns. At the end the server forgets them."""
    made: list[Realm] = []

    async def make(*, enforced: bool = False, **values: Any) -> Realm:
        provider = OpenIDProvider()
        organization = await an_organization()
        domain = await a_domain(organization, nameserver)
        upstream = await an_upstream(organization, provider.issuer, **values)
        if enforced:
            await realms.enforce(domain.id)
        realm = Realm(organization, domain, upstream, provider, [upstream.id])
        provider.person.email = realm.address()
        made.append(realm)
        await until_leads(server, realm.address(), upstream)
        # It may lead there before it has loaded the rest.
        await until_settled(server.issuer)
        return realm

    try:
        yield make
    finally:
        for realm in made:
            realm.provider.stop()
            await execute("DELETE FROM upstream WHERE organization_id = $1", realm.organization.id)
            if await execute("SELECT FROM organization WHERE id = $1", realm.organization.id):
                await organizations.delete(realm.organization.id)
        if made:
            # A test may have changed rows without a notice.
            async with exclusive_change(DOMAINS_TOPIC):
                pass
            await until_forgotten(server)


async def a_domain(organization: Organization, nameserver: Nameserver) -> Domain:
    """Verify a domain that nobody has."""
    claimed = await domains.claim(organization.id, f"{secrets.token_hex(8)}.example")
    nameserver.records[domains.record_name(claimed.domain)] = [domains.record_value(claimed.token)]
    return await domains.verify(claimed.id)


@asynccontextmanager
async def an_enforced_domain(organization: Organization, server: Server) -> AsyncIterator[str]:
    """Give an organization an enforced domain, without telling servers. At the end it is gone, and the server knows it.

    A server that reloads its domains for another reason gets to know it all the same.
    """
    name = f"{secrets.token_hex(6)}.example"
    await execute(
        "INSERT INTO organization_domain"
        " (id, organization_id, domain, token, created_at, verified_at, checked_at, next_check_at, enforced)"
        " VALUES (gen_random_uuid(), $1, $2, 'x', now(), now(), now(), now() + interval '1 day', true)",
        organization.id,
        name,
    )
    try:
        yield name
    finally:
        async with exclusive_change(DOMAINS_TOPIC):
            await execute("DELETE FROM organization_domain WHERE domain = $1", name)
        await until_forgotten(server)


async def an_upstream(organization: Organization, issuer: str, **values: Any) -> Upstream:
    name = f"up-{secrets.token_hex(4)}"
    given = {
        "id": name, "name": f"Upstream {name}", "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET,
        "issuer": issuer, "trust_email": True, "organization_id": organization.id,
    }  # fmt: skip
    upstream = registry.configure(**(given | values))
    assert await registry.add(upstream)
    return upstream


async def enter(browser: Browser, email: str, page: Page | None = None) -> Page | Redirect:
    """Type an address on the first page of a sign-in."""
    page = page or as_page(await browser.get("/login"))
    return await browser.submit(page, "address-submit", username=email)


async def until_leads(server: Server, email: str, upstream: Upstream, *, leads: bool = True) -> None:
    """Wait until the server leads an address to an upstream, or no longer."""
    async with open_browser(server.issuer) as browser, asyncio.timeout(30):
        while True:
            browser.cookies.clear()
            page = as_page(await browser.get("/login"))
            if "address-submit" in page.ids:
                answer = await enter(browser, email, page)
                # Several may have one issuer: the redirect URI has the id.
                found = upstream.id in (answer.location if isinstance(answer, Redirect) else answer.text)
                if found is leads:
                    return
            elif not leads:
                return
            await asyncio.sleep(0.02)


async def until_forgotten(server: Server) -> None:
    """Wait until no domain leads anywhere, so that the first page is the usual one."""
    async with open_browser(server.issuer) as browser, asyncio.timeout(30):
        while "address-submit" in as_page(await browser.get("/login")).ids:
            browser.cookies.clear()
            await asyncio.sleep(0.02)
