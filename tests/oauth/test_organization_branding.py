"""The branding of organizations: what is valid, and what a sign-in for one shows."""

import re
import secrets
from typing import Any
from uuid import uuid4

import httpx
import pytest

from idp.accounts.tables import User
from idp.directory import branding, organizations
from idp.directory.branding import InvalidBrandingError, NoBrandingError
from idp.directory.errors import UnknownOrganizationError
from idp.directory.models import Organization
from idp.directory.names import InvalidNameError
from idp.directory.sign_in_policy_changes import set_policy
from idp.errors import VersionConflictError
from idp.infra.db.engine import fetch
from idp.infra.pictures import MAX_BYTES, InvalidPictureError
from idp.mail.messages import compose
from idp.settings import settings
from tests.conftest import MakeClient
from tests.support.browser import Browser, Page, Redirect, as_page, open_browser
from tests.support.directory import an_organization
from tests.support.oauth import PASSWORD, RelyingParty
from tests.support.server import Server

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


async def test_it_is_set_read_and_recorded(acme: Organization) -> None:
    assert await branding.branding_of(acme.id) is None
    saved = await branding.set_branding(acme.id, None, **WHOLE)
    assert {name: getattr(saved, name) for name in WHOLE} == WHOLE
    for expected in (None, acme.updated_at):
        with pytest.raises(VersionConflictError):
            await branding.set_branding(acme.id, expected)
    assert (await branding.set_branding(acme.id, saved.updated_at, **WHOLE)).updated_at == saved.updated_at
    await branding.save_logo(acme.id, PNG)
    shown = await branding.set_branding(acme.id, color="#0F5568")
    assert (shown.color, shown.logo_uri, shown.display_name) == ("#0f5568", None, None)
    assert f"/organization-logos/{acme.id}?v=" in (branding.logo_uri(shown) or "")
    await branding.remove_logo(acme.id)
    with pytest.raises(NoBrandingError):
        await branding.remove_logo(acme.id)
    await branding.remove_branding(acme.id)
    with pytest.raises(NoBrandingError):
        await branding.remove_branding(acme.id)
    query = "SELECT FROM audit_event WHERE event = 'organization_branding_set' AND detail ->> 'slug' = $1"
    assert len(await fetch(query, acme.slug)) == 5
    for call in (branding.set_branding, branding.remove_branding, branding.remove_logo):
        with pytest.raises(UnknownOrganizationError):
            await call(uuid4())


@pytest.mark.parametrize(
    "values",
    [
        {"color": "#ffcc00"},
        {"color": "red"},
        {"color": "#12345"},
        {"color": '#000000"}'},
        {"logo_uri": "http://acme.example/logo.png"},
        {"logo_uri": "https://"},
        {"logo_uri": "https://user@acme.example/"},
        {"help_uri": "javascript:alert(1)"},
        {"help_uri": "https://acme.example/\x00"},
        {"terms_uri": "https://acme.example/ x"},
        {"terms_uri": "https://\u0430cme.example/"},
        {"privacy_uri": f"https://acme.example/{'x' * 2048}"},
        {"privacy_uri": "https://acme.example:99999/"},
        {"other": "x"},
        {"display_name": "x" * 101},
        {"display_name": "\u202e"},
        {"display_name": "A\x00"},
        {"display_name": "G\u043eogle"},
    ],
)
async def test_what_is_refused(values: dict[str, Any], acme: Organization) -> None:
    with pytest.raises((InvalidBrandingError, InvalidNameError)):
        await branding.set_branding(acme.id, **values)
    assert await branding.branding_of(acme.id) is None


async def test_the_refusal_of_a_color_says_what_is_wrong(acme: Organization) -> None:
    with pytest.raises(InvalidBrandingError, match=r"#ffcc00 are hard to read: their contrast is 1\.\d to 1.*darker"):
        await branding.set_branding(acme.id, color="#ffcc00")


@pytest.mark.parametrize("content", [b"", b"<svg xmlns='http://www.w3.org/2000/svg'/>", PNG + bytes(MAX_BYTES)])
async def test_a_logo_that_is_refused(content: bytes, acme: Organization) -> None:
    with pytest.raises(InvalidPictureError):
        await branding.save_logo(acme.id, content)


async def test_the_logo_and_the_color_are_served(acme: Organization, server: Server, http: httpx.AsyncClient) -> None:
    await branding.save_logo(acme.id, PNG)
    url = f"{server.issuer}/organization-logos/{acme.id}"
    answer = await http.get(url)
    assert (answer.content, answer.headers["content-type"]) == (PNG, "image/png")
    assert answer.headers["content-security-policy"] == "sandbox; default-src 'none'"
    assert (await http.get(url, headers={"If-None-Match": answer.headers["etag"]})).status_code == 304
    for wrong in (f"/organization-logos/{uuid4()}", "/organization-logos/x", "/colors/xyz.css", "/colors/8a1c4a.js"):
        assert (await http.get(f"{server.issuer}{wrong}")).status_code == 404
    answer = await http.get(f"{server.issuer}/colors/8a1c4a.css")
    assert answer.headers["content-type"] == "text/css; charset=utf-8"
    assert "--accent: #8a1c4a;" in answer.text
    await organizations.disable(acme.id)
    assert (await http.get(url)).status_code == 404


def without_secrets(page: Page) -> str:
    return re.sub(r"""/login/[^/"]+|value="[^"]+"|data-options=(?:'[^']+'|"[^"]+")""", "", page.text)


async def test_the_first_page_of_a_request_that_names_it(
    app: RelyingParty, browser: Browser, acme: Organization
) -> None:
    """By slug or id. Without branding it looks like one that does not exist."""
    unknown = as_page(await app.authorize(browser, organization=f"none-{secrets.token_hex(6)}"))
    for name in (acme.slug, str(acme.id)):
        assert without_secrets(as_page(await app.authorize(browser, organization=name))) == without_secrets(unknown)
    await branding.set_branding(acme.id, **WHOLE)
    for name in (acme.slug, str(acme.id)):
        page = as_page(await app.authorize(browser, organization=name))
        assert {"organization-brand", "organization-links"} <= set(page.ids)
        for shown in (
            "Acme &amp; Söhne",
            '"https://acme.example/logo.png"',
            "/colors/8a1c4a.css",
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
    await branding.set_branding(acme.id, **WHOLE)
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
    await branding.set_branding(acme.id, **WHOLE)
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


async def test_another_organization_is_not_shown(app: RelyingParty, browser: Browser, alice: User) -> None:
    """A user signs in for their own organization, and not for the branded one."""
    other = await an_organization()
    await branding.set_branding(other.id, **WHOLE)
    await an_organization(alice)
    page = as_page(await app.authorize(browser))
    page = as_page(await browser.sign_in(page, alice.email, PASSWORD))
    assert "consent-allow" in page.ids
    assert "organization-brand" not in page.ids


async def test_a_mail(db: str, acme: Organization) -> None:
    assert await branding.for_mail(acme.id) == {}
    await branding.set_branding(acme.id, **WHOLE)
    values = await branding.for_mail(acme.id)
    body = compose("alice@example.com", "welcome", **values).get_body(("html",))
    assert body is not None
    html = body.get_content()
    assert all(shown in html for shown in ("Acme &amp; Söhne", "#8a1c4a", 'src="https://acme.example/logo.png"'))
    plain = compose("alice@example.com", "welcome").get_body(("html",))
    assert plain is not None
    assert "Acme" not in plain.get_content()
