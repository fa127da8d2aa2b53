"""Home-realm discovery: an address at the domain of an organization leads to the upstream of the organization."""

import asyncio
import re
import secrets

import pytest

from idp.accounts.tables import User
from idp.accounts.users import create_user
from idp.branding import service as branding
from idp.branding.models import Owner
from idp.directory import domains, organizations
from idp.directory.errors import UnknownOrganizationError
from idp.directory.sign_in_policy_changes import set_policy
from idp.federation import registry
from idp.federation.errors import InvalidUpstreamError
from idp.infra.db.engine import execute, fetch, fetchrow
from tests.conftest import MakeClient
from tests.federation.conftest import Add, sign_in, visit
from tests.support.browser import Browser, Redirect, as_page
from tests.support.oauth import PASSWORD
from tests.support.realms import MakeRealm, Realm, an_upstream, enter, until_leads
from tests.support.server import Server
from tests.support.stand_ins import OpenIDProvider


async def user_of(realm: Realm) -> User:
    row = await fetchrow("SELECT user_id FROM identity WHERE subject = $1", realm.provider.person.sub)
    assert row is not None
    user = await User.objects().where(User.id == row["user_id"]).first()
    assert user is not None
    return user


async def there_and_back(browser: Browser, realm: Realm, email: str | None = None) -> None:
    """Type an address, and come back from the upstream."""
    away = await enter(browser, email or str(realm.provider.person.email))
    assert isinstance(away, Redirect), away.text
    assert await browser.get(await visit(away.location))


async def members(realm: Realm) -> list[tuple[str, str]]:
    rows = await fetch(
        "SELECT u.email, m.origin FROM organization_member AS m JOIN users AS u ON u.id = m.user_id"
        " WHERE m.organization_id = $1",
        realm.organization.id,
    )
    return [(row["email"], row["origin"]) for row in rows]


async def test_an_address_leads_to_the_upstream(browser: Browser, make_realm: MakeRealm) -> None:
    realm = await make_realm(creates_accounts=True)
    first = as_page(await browser.get("/login"))
    assert f"upstream-{realm.upstream.id}" not in first.ids
    email = str(realm.provider.person.email)
    away = await enter(browser, f" {email.upper()} ", first)
    assert isinstance(away, Redirect)
    assert away.location.startswith(f"{realm.provider.issuer}/authorize?")
    assert away.parameters["login_hint"] == email
    await browser.get(await visit(away.location))
    assert browser.signed_in
    assert (await user_of(realm)).email == email
    assert await members(realm) == []


@pytest.mark.parametrize("email", ["ada@example.com", "ada@sub.{domain}", "ada@{domain}.example.com"])
async def test_other_addresses_lead_to_the_password(browser: Browser, make_realm: MakeRealm, email: str) -> None:
    realm = await make_realm()
    page = as_page(await enter(browser, email.format(domain=realm.domain.domain)))
    assert page.path.endswith("/password")
    assert f'value="{email.format(domain=realm.domain.domain)}"' in page.text
    assert f"upstream-{realm.upstream.id}" not in page.ids


async def test_what_is_no_address(browser: Browser, make_realm: MakeRealm) -> None:
    await make_realm()
    for entered in ("", "ada", "ada@", "a" * 400 + "@example.com"):
        page = as_page(await enter(browser, entered))
        assert (page.status, "address-submit" in page.ids) == (400, True), entered
        browser.cookies.clear()


async def test_a_password_is_still_possible(browser: Browser, make_realm: MakeRealm) -> None:
    realm = await make_realm()
    user = await create_user(realm.address(), PASSWORD)
    page = as_page(await browser.get("/login"))
    await browser.sign_in(as_page(await browser.get(f"{page.path}/password")), user.email, PASSWORD)
    assert browser.signed_in


async def test_several_upstreams_are_listed(browser: Browser, server: Server, make_realm: MakeRealm) -> None:
    realm = await make_realm()
    second = await an_upstream(realm.organization, realm.provider.issuer)
    await until_leads(server, realm.address(), second)
    page = as_page(await enter(browser, realm.address()))
    assert {f"upstream-{realm.upstream.id}", f"upstream-{second.id}"} <= page.ids
    away = await browser.get(f"{page.path}/to/{second.id}")
    assert isinstance(away, Redirect)
    assert second.id in away.parameters["redirect_uri"]


async def test_a_sign_in_for_the_organization_offers_it(
    browser: Browser, make_client: MakeClient, make_realm: MakeRealm
) -> None:
    realm, client = await make_realm(creates_accounts=True, adds_members=True), await make_client(skip_consent=True)
    for named in (realm.organization.slug, str(realm.organization.id)):
        browser.cookies.clear()
        page = as_page(await client.authorize(browser, organization=named))
        assert f"upstream-{realm.upstream.id}" in page.ids
        answer = await sign_in(browser, realm.upstream, page)
        assert isinstance(answer, Redirect), answer.text
        assert "code" in answer.parameters
    assert await members(realm) == [(realm.provider.person.email, f"upstream:{realm.upstream.id}")]
    browser.cookies.clear()
    other = as_page(await client.authorize(browser, organization="nobody-has-this"))
    assert f"upstream-{realm.upstream.id}" not in other.ids


async def test_hints_of_an_application(browser: Browser, make_client: MakeClient, make_realm: MakeRealm) -> None:
    """`idp_hint` leads to the upstream of an organization if the address or the organization does, and else nowhere."""
    realm, client = await make_realm(), await make_client()
    hint = {"idp_hint": realm.upstream.id}
    for more in ({"login_hint": realm.address().upper()}, {"organization": realm.organization.slug}):
        browser.cookies.clear()
        assert isinstance(await client.authorize(browser, **hint, **more), Redirect)
    browser.cookies.clear()
    page = as_page(await client.authorize(browser, **hint))
    assert "address-submit" in page.ids
    away = as_page(await browser.get(f"{page.path}/to/{realm.upstream.id}"))
    assert away.path == page.path


async def test_the_address_page_has_the_heading_of_the_brand(
    browser: Browser, make_client: MakeClient, make_realm: MakeRealm
) -> None:
    await make_realm()
    client = await make_client()
    await branding.save(Owner(client_id=client.client_id), {"title": "Welcome to the shop"})
    async with asyncio.timeout(30):
        page = as_page(await client.authorize(browser))
        while "Welcome to the shop" not in page.text:
            page = as_page(await client.authorize(browser))
    assert "address-submit" in page.ids
    assert re.search(r"<h1[^>]*>\s*Welcome to the shop\s*</h1>", page.text)


async def test_an_application_with_upstreams_of_its_own(
    browser: Browser, make_client: MakeClient, make_realm: MakeRealm, provider: OpenIDProvider, add: Add
) -> None:
    """One that names the upstream offers it to everybody; one that names others does not lead there."""
    realm, general = await make_realm(), await add(issuer=provider.issuer)
    named = await make_client(upstreams=(realm.upstream.id,))
    page = as_page(await named.authorize(browser))
    assert f"upstream-{realm.upstream.id}" in page.ids
    browser.cookies.clear()
    others = await make_client(upstreams=(general.id,))
    page = as_page(await enter(browser, realm.address(), as_page(await others.authorize(browser))))
    assert page.path.endswith("/password")


async def test_a_member_by_the_upstream(browser: Browser, make_realm: MakeRealm) -> None:
    """Each sign-in makes a member, also of one who was removed; unlinking takes the membership."""
    realm = await make_realm(creates_accounts=True, adds_members=True)
    await there_and_back(browser, realm)
    user = await user_of(realm)
    assert await members(realm) == [(user.email, f"upstream:{realm.upstream.id}")]
    (event,) = await fetch(
        "SELECT detail FROM audit_event WHERE user_id = $1 AND event = 'organization_member_added'", user.id
    )
    assert realm.organization.slug in str(event["detail"])
    await organizations.remove_members(realm.organization.id, [user.id])
    browser.cookies.clear()
    await there_and_back(browser, realm)
    assert len(await members(realm)) == 1
    page = as_page(await browser.get("/account/security"))
    found = re.search(r'href="(/account/upstreams/[^"]+/unlink)"', page.text)
    assert found
    await browser.submit(as_page(await browser.get(found[1])), "ask-confirm")
    assert await members(realm) == []


async def test_a_policy_leads_to_the_upstream_of_an_organization_that_no_request_names(
    browser: Browser, make_realm: MakeRealm, make_client: MakeClient, alice: User
) -> None:
    """In the browser, and in an app with its own screens."""
    realm = await make_realm()
    await organizations.add_members(realm.organization.id, [alice.id])
    await set_policy(realm.organization.id, ways=["upstream"])
    app = await make_client(scope="openid organization", authorization_challenge=True, skip_consent=True)
    fields = {name: value for name, value in app.parameters().items() if name not in ("redirect_uri", "response_type")}
    answer = (await app.post("/challenge", **fields, username=alice.email, password=PASSWORD)).json()
    assert (answer["error"], answer["steps"]) == ("insufficient_authorization", ["upstream"])
    assert answer["upstreams"] == [realm.upstream.id]
    away = await app.post(
        "/challenge", auth_session=answer["auth_session"], upstream=realm.upstream.id, step="upstream"
    )
    assert away.json()["error"] == "redirect_to_web"
    page = as_page(await enter(browser, alice.email, as_page(await app.authorize(browser))))
    again = as_page(await browser.sign_in(page, alice.email, PASSWORD))
    assert f"upstream-{realm.upstream.id}" in again.ids


async def test_the_last_administrator_stays_a_member(browser: Browser, make_realm: MakeRealm) -> None:
    """Unlinking does not leave an organization that nobody manages."""
    realm = await make_realm(creates_accounts=True, adds_members=True)
    await there_and_back(browser, realm)
    user = await user_of(realm)
    await organizations.set_admin(realm.organization.id, user.id, admin=True)
    await organizations.leave_of_origin(user.id, f"upstream:{realm.upstream.id}")
    assert len(await members(realm)) == 1
    other = await create_user(f"{secrets.token_hex(6)}@example.com", PASSWORD)
    await organizations.add_members(realm.organization.id, [other.id])
    await organizations.set_admin(realm.organization.id, other.id, admin=True)
    await organizations.leave_of_origin(user.id, f"upstream:{realm.upstream.id}")
    assert await members(realm) == [(other.email, "admin")]


async def test_a_member_by_an_administrator_stays(browser: Browser, make_realm: MakeRealm) -> None:
    realm = await make_realm(adds_members=True)
    user = await create_user(str(realm.provider.person.email), PASSWORD)
    await organizations.add_members(realm.organization.id, [user.id])
    await there_and_back(browser, realm)
    assert browser.signed_in
    assert await members(realm) == [(user.email, "admin")]


async def test_an_upstream_belongs_to_one_organization_for_ever(make_realm: MakeRealm, db: str) -> None:
    realm, other = await make_realm(), await organizations.create(f"o-{secrets.token_hex(6)}", "Other")
    for changed in (None, other.id):
        with pytest.raises(InvalidUpstreamError, match="organisation cannot be changed"):
            await registry.update(realm.upstream.id, organization_id=changed)
    with pytest.raises(InvalidUpstreamError, match="Only an upstream of an organisation"):
        registry.configure(name="X", issuer="https://x.example", client_id="x", adds_members=True)
    await organizations.delete(other.id)
    with pytest.raises(UnknownOrganizationError):
        await an_upstream(other, realm.provider.issuer)


async def test_an_organization_takes_its_upstreams_with_it(
    browser: Browser, server: Server, make_realm: MakeRealm
) -> None:
    realm = await make_realm()
    await organizations.delete(realm.organization.id)
    assert await fetchrow("SELECT FROM upstream WHERE id = $1", realm.upstream.id) is None
    await until_leads(server, realm.address(), realm.upstream, leads=False)
    assert f"upstream-{realm.upstream.id}" not in as_page(await browser.get("/login")).ids


async def test_a_disabled_organization_leads_nowhere(browser: Browser, server: Server, make_realm: MakeRealm) -> None:
    realm = await make_realm()
    page = as_page(await browser.get("/login"))
    away = await enter(browser, realm.address(), page)
    assert isinstance(away, Redirect)
    await organizations.disable(realm.organization.id)
    refused = as_page(await browser.get(await visit(away.location)))
    assert re.search("is (not|no longer) available", refused.text)
    assert not browser.signed_in
    await until_leads(server, realm.address(), realm.upstream, leads=False)
    assert "address-submit" not in as_page(await browser.get(page.path)).ids


async def test_a_lost_domain_leads_nowhere(browser: Browser, server: Server, make_realm: MakeRealm) -> None:
    realm = await make_realm()
    await execute(
        "UPDATE organization_domain SET verified_at = NULL, next_check_at = NULL WHERE id = $1", realm.domain.id
    )
    # This process has told nobody, so the server still has the domain in memory.
    page = as_page(await enter(browser, realm.address()))
    assert page.path.endswith("/password")
    await domains.remove(realm.domain.id)
