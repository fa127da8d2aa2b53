"""What pages and mails show of the branding of organizations, clients and the server."""

import asyncio
import re
import secrets
from hashlib import sha256
from typing import Any

import httpx
import msgspec
import pytest

from idp.accounts.tables import User
from idp.branding import service
from idp.branding.models import SERVER, Owner
from idp.branding.registry import brands, current
from idp.directory import organizations
from idp.directory.branding import mail_of
from idp.directory.models import Organization
from idp.directory.sign_in_policy_changes import set_policy
from idp.http import static
from idp.infra.db.engine import execute, fetch
from idp.keys import vault
from idp.mail import outbox
from idp.mail.brand import for_mail
from idp.mail.messages import compose
from idp.oauth.clients.registration import disable_client, enable_client, register_client
from idp.oauth.clients.service import update_client
from idp.settings import settings
from tests.branding.test_validation import url
from tests.conftest import MakeClient
from tests.support.attributes import Declare, declare, shown_on
from tests.support.browser import Browser, Page, Redirect, as_page, open_browser
from tests.support.ciba import CIBA, asked, open_request, page_path
from tests.support.directory import an_organization
from tests.support.isolated import own_database
from tests.support.mailbox import Mailbox
from tests.support.oauth import PASSWORD, RelyingParty
from tests.support.server import Server

__all__ = ["declare", "own_database"]

PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)
WHOLE = {
    "display_name": "Acme & Söhne",
    "color": "#8a1c4a",
    "logo_uri": "https://acme.example/logo.png",
    "help_uri": "https://acme.example/help",
    "terms_uri": "https://acme.example/terms",
    "privacy_uri": "https://acme.example/privacy",
}


@pytest.fixture
async def acme(alice: User) -> Organization:
    return await an_organization(alice)


@pytest.fixture
async def app(make_client: MakeClient) -> RelyingParty:
    return await make_client(scope="openid organization")


async def test_the_pictures_and_the_style_sheet_are_served(
    acme: Organization, server: Server, http: httpx.AsyncClient
) -> None:
    owner = Owner(organization_id=acme.id)
    await service.save_picture(owner, "logo", PNG)
    url = f"{server.issuer}/branding/pictures/{(await service.branding_of(owner)).logo}"
    answer = await http.get(url)
    assert (answer.content, answer.headers["content-type"]) == (PNG, "image/png")
    assert answer.headers["content-security-policy"] == "sandbox; default-src 'none'"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert (await http.get(url, headers={"If-None-Match": answer.headers["etag"]})).status_code == 304
    await service.remove_picture(owner, "logo")
    async with asyncio.timeout(30):
        while (await http.get(url)).status_code != 404:
            await asyncio.sleep(0.02)
    for wrong in ("pictures/x", f"pictures/{'a' * 64}", "styles/xyz.css", "styles/c-8a1c4a_.js", "styles/r-huge_.css"):
        assert (await http.get(f"{server.issuer}/branding/{wrong}")).status_code == 404
    answer = await http.get(f"{server.issuer}/branding/styles/c-8a1c4a_.css")
    assert answer.headers["content-type"] == "text/css; charset=utf-8"
    assert "immutable" in answer.headers["cache-control"]
    assert "--accent: #8a1c4a;" in answer.text


async def test_pictures_of_disabled_owners_are_not_served(server: Server, http: httpx.AsyncClient) -> None:
    """While an owner that is enabled shows the same picture, it is."""
    content = PNG + secrets.token_bytes(8)
    organization = await an_organization()
    client, _ = await register_client(client_name="Shop", redirect_uris=["https://shop.example/callback"])
    for owner in (Owner(organization_id=organization.id), Owner(client_id=client.client_id)):
        await service.save_picture(owner, "logo", content)
    path = f"{server.issuer}/branding/pictures/{sha256(content).hexdigest()}"
    await organizations.disable(organization.id)
    assert (await http.get(path)).status_code == 200
    await disable_client(client.client_id)
    assert (await http.get(path)).status_code == 404
    await organizations.enable(organization.id)
    assert (await http.get(path)).status_code == 200
    await organizations.disable(organization.id)
    await enable_client(client.client_id)
    assert (await http.get(path)).status_code == 200


async def test_a_picture_that_the_browser_has_is_not_read(server: Server, http: httpx.AsyncClient) -> None:
    """The validator follows from the address, so that it is the same with another content."""
    content = PNG + secrets.token_bytes(8)
    await service.save_picture(Owner(organization_id=(await an_organization()).id), "logo", content)
    digest = sha256(content).hexdigest()
    path = f"{server.issuer}/branding/pictures/{digest}"
    answer = await http.get(path)
    assert answer.headers["cache-control"] == "public, max-age=86400"
    await execute("UPDATE branding_picture SET content = $2 WHERE sha256 = $1", digest, PNG)
    assert (await http.get(path, headers={"If-None-Match": answer.headers["etag"]})).status_code == 304


async def test_links_of_a_client_are_shown_once(app: RelyingParty, browser: Browser, acme: Organization) -> None:
    """The links of its branding, in place of those of its metadata; those of another owner do not replace them."""
    await update_client(app.client_id, policy_uri="https://app.example.com/p", tos_uri="https://app.example.com/t")
    await service.save(Owner(organization_id=acme.id), {"terms_uri": "https://acme.example/terms"})
    await service.save(Owner(client_id=app.client_id), {"privacy_uri": "https://app.example.com/privacy"})
    async with asyncio.timeout(30):
        text = as_page(await app.authorize(browser, organization=acme.slug)).text
        while not all(f'https://app.example.com/{each}"' in text for each in ("privacy", "t")):
            text = as_page(await app.authorize(browser, organization=acme.slug)).text
    assert "https://acme.example/terms" in text
    assert 'https://app.example.com/p"' not in text


async def test_a_scheme_is_light_or_dark(server: Server, http: httpx.AsyncClient) -> None:
    for path in ("static/idp.css", "branding/styles/c-8a1c4a_.css"):
        plain, dark, other = [
            await http.get(f"{server.issuer}/{path}{query}") for query in ("", "?scheme=dark", "?scheme=sepia")
        ]
        assert (other.content, other.headers["cache-control"]) == (plain.content, plain.headers["cache-control"])
        assert dark.content != plain.content
    first, second = [static._in_scheme(b"@media (prefers-color-scheme: dark) {}", "dark") for _ in range(2)]
    assert first is second


def without_secrets(page: Page) -> str:
    return re.sub(r"""/login/[^/"]+|value="[^"]+"|data-options=(?:'[^']+'|"[^"]+")""", "", page.text)


async def test_the_first_page_of_a_request_that_names_it(
    app: RelyingParty, browser: Browser, acme: Organization
) -> None:
    """By slug or id. Without branding it looks like one that does not exist."""
    unknown = as_page(await app.authorize(browser, organization=f"none-{secrets.token_hex(6)}"))
    for name in (acme.slug, str(acme.id)):
        assert without_secrets(as_page(await app.authorize(browser, organization=name))) == without_secrets(unknown)
    await service.save(Owner(organization_id=acme.id), WHOLE)
    for name in (acme.slug, str(acme.id)):
        page = as_page(await app.authorize(browser, organization=name))
        assert {"organization-brand", "brand-links"} <= set(page.ids)
        for shown in (
            "Acme &amp; Söhne",
            '"https://acme.example/logo.png"',
            "/branding/styles/c-8a1c4a_.css",
            "/help",
            settings().product_name,
        ):
            assert shown in page.text
    assert "organization-brand" not in as_page(await app.authorize(browser)).ids
    await organizations.disable(acme.id)
    page = as_page(await app.authorize(browser, organization=acme.slug))
    assert without_secrets(page) == without_secrets(unknown)


async def test_the_operator_shows_it_to_members_only(
    db: str, start_server: Any, make_client: MakeClient, alice: User, acme: Organization
) -> None:
    await service.save(Owner(organization_id=acme.id), WHOLE)
    at = start_server(IDP_ORGANIZATION_BRANDING_BEFORE_SIGN_IN="false")
    client = await make_client(at, scope="openid organization")
    async with open_browser(at.issuer) as browser:
        page = as_page(await client.authorize(browser, organization=acme.slug))
        assert "organization-brand" not in page.ids
        page = as_page(await browser.sign_in(page, alice.email, PASSWORD))
        assert {"organization-brand", "consent-allow"} <= set(page.ids)


@pytest.mark.parametrize("how", ["only", "named", "chosen"])
async def test_consent_and_later_steps(
    how: str, app: RelyingParty, browser: Browser, alice: User, acme: Organization
) -> None:
    await service.save(Owner(organization_id=acme.id), WHOLE)
    if how != "only":
        await an_organization(alice)
    changes = {"organization": acme.slug} if how == "named" else {}
    page = as_page(await app.authorize(browser, **changes))
    page = as_page(await browser.sign_in(page, alice.email, PASSWORD))
    if how == "chosen":
        assert "organization-brand" not in page.ids
        page = as_page(await browser.submit(page, f"organization-{acme.slug}"))
    assert {"organization-brand", "consent-allow"} <= set(page.ids)
    assert isinstance(await browser.submit(page, "consent-allow"), Redirect)
    await set_policy(acme.id, second_factor=True)
    page = as_page(await app.authorize(browser, organization=acme.slug))
    assert {"organization-brand", "totp-confirm"} <= set(page.ids)


async def test_when_only_attributes_are_asked_for(
    browser: Browser, make_client: MakeClient, declare: Declare, alice: User, acme: Organization
) -> None:
    """Members see the branding there as well, whether or not the request names the organization."""
    app = await make_client(skip_consent=True, scope="openid organization")
    await service.save(Owner(organization_id=acme.id), WHOLE)
    await browser.sign_in(as_page(await browser.get("/login")), alice.email, PASSWORD)
    one = await declare(editable_by=["person"], required_for=[app.client_id])
    await shown_on(browser, "/account", f"attributes.{one.name}")
    for changes in ({"organization": acme.slug}, {}):
        page = as_page(await app.authorize(browser, **changes))
        assert {"organization-brand", "attributes-submit"} <= set(page.ids)


async def test_when_another_user_signs_in(app: RelyingParty, browser: Browser, alice: User, acme: Organization) -> None:
    await service.save(Owner(organization_id=acme.id), WHOLE)
    page = as_page(await app.authorize(browser, organization=acme.slug))
    page = as_page(await browser.sign_in(page, alice.email, PASSWORD))
    page = as_page(await browser.submit(page, "consent-switch"))
    assert {"organization-brand", "username"} <= set(page.ids)


async def test_the_sign_in_for_a_backchannel_request(
    make_client: MakeClient, mailbox: Mailbox, browser: Browser, alice: User, acme: Organization
) -> None:
    """The policy of the organization asks for a second factor."""
    client = await make_client(**CIBA | {"scope": "openid organization"})
    await service.save(Owner(organization_id=acme.id), WHOLE)
    await set_policy(acme.id, second_factor=True)
    await asked(client, alice.email, scope="openid organization", organization=acme.slug)
    page = await open_request(browser, page_path(await mailbox.next(alice.email)), alice.email)
    assert {"organization-brand", "totp-confirm"} <= set(page.ids)


async def test_a_mail_of_a_sign_in_in_an_app(
    make_client: MakeClient, mailbox: Mailbox, alice: User, acme: Organization
) -> None:
    app = await make_client(authorization_challenge=True)
    await service.save(Owner(organization_id=acme.id), WHOLE)
    begun = app.parameters(redirect_uri=None, response_type=None, organization=acme.slug)
    await app.post("/challenge", **begun, step="email_code", action="send", username=alice.email)
    letter = await mailbox.next(alice.email)
    body = letter.message.get_body(("html",))
    assert body is not None
    assert "https://acme.example/logo.png" in body.get_content()


async def test_another_organization_is_not_shown(app: RelyingParty, browser: Browser, alice: User) -> None:
    """A user signs in for their own organization, and not for the branded one."""
    other = await an_organization()
    await service.save(Owner(organization_id=other.id), WHOLE)
    await an_organization(alice)
    page = as_page(await app.authorize(browser))
    page = as_page(await browser.sign_in(page, alice.email, PASSWORD))
    assert "consent-allow" in page.ids
    assert "organization-brand" not in page.ids


async def test_a_mail(db: str, acme: Organization) -> None:
    assert (await mail_of(acme.id))["brand"]["name"] == settings().product_name
    await service.save(Owner(organization_id=acme.id), WHOLE)
    values = await mail_of(acme.id)
    assert values["brand"] == {
        "name": "Acme & Söhne",
        "logo_uri": "https://acme.example/logo.png",
        "color": "#8a1c4a",
        "dark_color": None,
        "help_uri": "https://acme.example/help",
        "privacy_uri": "https://acme.example/privacy",
        "terms_uri": "https://acme.example/terms",
    }
    body = compose("alice@example.com", "welcome", **values).get_body(("html",))
    assert body is not None
    html = body.get_content()
    # The color in the dark is made of the one that is set.
    assert all(shown in html for shown in ("Acme &amp; Söhne", "#8a1c4a", "#ca99ae"))
    assert 'src="https://acme.example/logo.png"' in html
    plain = compose("alice@example.com", "welcome").get_body(("html",))
    assert plain is not None
    assert "Acme" not in plain.get_content()


async def test_a_client_has_its_own(start_server: Any, make_client: MakeClient, alice: User) -> None:
    """On every page of its sign-in, and in the mails of it; with the name of the server. Others look as before."""
    at = start_server()
    shop, other = await make_client(at), await make_client(at)
    ways = ["email_code", "password"]
    own = {"display_name": "The shop", "title": "Welcome to the shop", "corners": "square", "ways": ways}
    await service.save(Owner(client_id=shop.client_id), own)
    async with open_browser(at.issuer) as browser:
        page = as_page(await shop.authorize(browser))
        async with asyncio.timeout(30):
            while "client-brand" not in page.ids:
                page = as_page(await shop.authorize(browser))
        assert "/branding/styles/r-square_.css" in page.text
        assert settings().product_name in page.text
        # A code by mail comes first.
        assert "email-code-send" in page.ids
        password = as_page(await browser.get(f"{page.path}/password"))
        assert "Welcome to the shop" in password.text
        assert "client-brand" in as_page(await browser.get(f"{page.path}/forgot")).ids
        assert "client-brand" not in as_page(await other.authorize(browser)).ids
        signed_in = as_page(await browser.sign_in(password, alice.email, PASSWORD))
        assert {"client-brand", "consent-allow"} <= set(signed_in.ids)


async def test_the_server_has_its_own(start_server: Any, own_database: str) -> None:
    at = await asyncio.to_thread(start_server, IDP_DATABASE_URL=own_database, IDP_THEME_COLOR="#8a1c4a")
    await service.save(SERVER, {"display_name": "Zorgbank", "favicon": url(PNG), "imprint_uri": "https://z.example/"})
    async with open_browser(at.issuer) as browser, asyncio.timeout(30):
        page = as_page(await browser.get("/login"))
        while "Zorgbank" not in page.text:
            page = as_page(await browser.get("/login"))
        assert "/branding/styles/c-8a1c4a_.css" in page.text
        assert re.search(r'<link rel="icon" href="/branding/pictures/[0-9a-f]{64}">', page.text)
        assert "with your Zorgbank account" in page.text
        assert "brand-links" in page.ids
        assert "organization-brand" not in page.ids


async def test_a_mail_has_the_brand_of_its_sign_in(db: str) -> None:
    client, _ = await register_client(client_name="Shop", redirect_uris=["https://shop.example/callback"])
    await service.save(Owner(client_id=client.client_id), {"display_name": "The shop", "color": "#8a1c4a"})
    await brands.load()
    token = current.set(brands.brand(client.client_id))
    to = f"{secrets.token_hex(6)}@example.com"
    try:
        await outbox.queue(to, "welcome", name=None)
    finally:
        current.reset(token)
    (row,) = await fetch("SELECT id, content FROM mail WHERE recipient = $1", to)
    content = msgspec.json.decode(vault.decrypt(row["content"], f"mail.content:{row['id']}"))
    assert content["context"]["brand"] == for_mail(brands.brand(client.client_id))
    assert content["context"]["brand"]["name"] == "The shop"
