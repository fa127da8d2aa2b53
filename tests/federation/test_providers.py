"""The kinds of providers with deviations."""

import json
import secrets
from typing import Any
from urllib.parse import urlencode

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from idp.federation import registry
from idp.federation.models import Upstream
from idp.federation.providers import KINDS
from idp.infra.db.engine import fetchrow
from tests.federation.conftest import Add, sign_in
from tests.support.browser import Browser, Redirect, as_page
from tests.support.oauth import RelyingParty
from tests.support.stand_ins import CLIENT_ID, OpenIDProvider


async def _email_verified(provider: OpenIDProvider) -> bool | None:
    row = await fetchrow(
        "SELECT u.email_verified FROM users AS u JOIN identity AS i ON i.user_id = u.id WHERE i.subject = $1",
        provider.person.sub,
    )
    return row["email_verified"] if row else None


def test_the_kinds_of_the_documentation_exist() -> None:
    assert set(KINDS) == {"apple", "github", "google", "ldap", "microsoft", "oidc"}


# Google


@pytest.mark.parametrize(
    ("email", "more", "vouched"),
    [
        ("{}@gmail.com", {}, True),
        ("{}@example.com", {"hd": "example.com"}, True),
        # Google once verified the address by mail; it does not know who reads that mailbox now.
        ("{}@example.com", {}, False),
        ("{}@notgmail.com", {}, False),
    ],
)
async def test_google_vouches_for_its_own_addresses(
    browser: Browser, provider: OpenIDProvider, add: Add, email: str, more: dict[str, Any], vouched: bool
) -> None:
    upstream = await add(kind="google", issuer=provider.issuer)
    provider.person.email, provider.person.more = email.format(secrets.token_hex(6)), more
    await sign_in(browser, upstream)
    assert browser.signed_in is vouched
    assert await _email_verified(provider) is (True if vouched else None)


async def test_a_workspace_of_google(browser: Browser, provider: OpenIDProvider, add: Add) -> None:
    """The parameter is a hint for Google's page. The claim is what is checked."""
    upstream = await add(kind="google", issuer=provider.issuer, required_claims={"hd": ("example.com",)})
    for hd, allowed in ((None, False), ("example.org", False), ("example.com", True)):
        provider.person.more = {"hd": hd} if hd else {}
        page = as_page(await sign_in(browser, upstream))
        assert browser.signed_in is allowed
        assert allowed or "not allowed to sign in" in page.text
    assert [given.get("hd") for path, given in provider.requests if path == "/authorize"] == ["example.com"] * 3


async def test_google_lets_people_choose_an_account(
    browser: Browser, client: RelyingParty, provider: OpenIDProvider, add: Add
) -> None:
    """If the user is already signed in there. Google cannot be asked to reauthenticate, so it does not make a sign-in
    recent.
    """
    upstream = await add(kind="google", issuer=provider.issuer)
    provider.person.more = {"hd": "example.com"}
    provider.claims = {"auth_time": None}
    await sign_in(browser, upstream)
    page = as_page(await browser.get("/account/password"))
    assert f"upstream-{upstream.id}" not in page.ids
    await sign_in(browser, upstream, as_page(await client.authorize(browser, prompt="select_account")))
    assert [given.get("prompt") for path, given in provider.requests if path == "/authorize"] == [
        None,
        "select_account",
    ]


# Apple


@pytest.fixture
def apple_key() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


async def test_apple(browser: Browser, provider: OpenIDProvider, add: Add, apple_key: str) -> None:
    """A signed assertion is the secret, the answer is posted, and the name comes beside the ID token."""
    upstream = await add(
        kind="apple", issuer=provider.issuer, client_secret=apple_key, options={"team_id": "TEAM", "key_id": "KEY"}
    )
    given: list[str | None] = []
    provider.knows = lambda client_id, secret: given.append(secret) is None  # type: ignore[method-assign]
    provider.person.email_verified = "true"
    provider.person.more = {"user": {"name": {"firstName": "Ada", "lastName": "Lovelace"}}}
    page = as_page(await browser.get("/login"))
    away = await browser.get(f"{page.path}/to/{upstream.id}")
    assert isinstance(away, Redirect)
    async with httpx.AsyncClient() as client:
        form = (await client.get(away.location)).json()
    # As a browser does: the form comes from another site, so our cookies are not sent.
    async with httpx.AsyncClient() as client:
        answer = await client.post(form["action"], data=form["fields"], headers={"Origin": provider.issuer})
    assert answer.status_code == 303
    assert "set-cookie" not in answer.headers
    await browser.get(answer.headers["location"])
    assert browser.signed_in
    assert "Ada Lovelace" in as_page(await browser.get("/")).text
    assertion = jwt.decode(str(given[0]), options={"verify_signature": False})
    assert (assertion["iss"], assertion["sub"], assertion["aud"]) == ("TEAM", CLIENT_ID, "https://appleid.apple.com")
    assert jwt.get_unverified_header(str(given[0])) == {"alg": "ES256", "kid": "KEY"}


@pytest.mark.parametrize("user", ["", "x", "[]", '{"name": 7}', '{"name": {"firstName": null}}', "{" * 5000])
async def test_the_user_parameter_of_apple_may_be_anything(
    browser: Browser, provider: OpenIDProvider, add: Add, apple_key: str, user: str
) -> None:
    """It is not signed, and nothing rests on it."""
    upstream = await add(
        kind="apple", issuer=provider.issuer, client_secret=apple_key, options={"team_id": "T", "key_id": "K"}
    )
    provider.knows = lambda client_id, secret: True  # type: ignore[method-assign]
    page = as_page(await browser.get("/login"))
    away = await browser.get(f"{page.path}/to/{upstream.id}")
    assert isinstance(away, Redirect)
    async with httpx.AsyncClient() as client:
        fields = (await client.get(away.location)).json()["fields"]
    sent = {name: value for name, value in (fields | {"user": user}).items() if value}
    await browser.get(f"/upstreams/{upstream.id}/callback?{urlencode(sent)}")
    assert browser.signed_in


# Microsoft

TENANT = "72f988bf-86f1-41af-91ab-2d7cd011db47"


def _microsoft(issuer: str) -> Upstream:
    return registry.configure(kind="microsoft", client_id="x", client_secret="y", issuer=issuer)


@pytest.mark.parametrize(
    ("issuer", "tid", "expected"),
    [
        ("https://login.microsoftonline.com/common/v2.0", TENANT, f"https://login.microsoftonline.com/{TENANT}/v2.0"),
        ("https://login.microsoftonline.com/organizations/v2.0", TENANT, f"https://login.microsoftonline.com/{TENANT}/v2.0"),
        ("https://login.microsoftonline.com/common/v2.0", None, "https://login.microsoftonline.com/common/v2.0"),
        ("https://login.microsoftonline.com/common/v2.0", "../evil", "https://login.microsoftonline.com/common/v2.0"),
        (f"https://login.microsoftonline.com/{TENANT}/v2.0", "x", f"https://login.microsoftonline.com/{TENANT}/v2.0"),
    ],
)  # fmt: skip
def test_the_tenants_of_microsoft(issuer: str, tid: str | None, expected: str) -> None:
    """Each tenant has its own issuer, so the same subject at another tenant is another user."""
    provider: Any = KINDS["microsoft"]
    assert provider.expected_issuer(_microsoft(issuer), {"tid": tid}) == expected


def test_the_issuers_of_microsoft() -> None:
    provider: Any = KINDS["microsoft"]
    base = "https://login.microsoftonline.com"
    assert provider.published_issuer(_microsoft(f"{base}/common/v2.0")) == f"{base}/{{tenantid}}/v2.0"
    assert provider.published_issuer(_microsoft(f"{base}/{TENANT}/v2.0")) == f"{base}/{TENANT}/v2.0"


def test_nothing_of_a_secret_is_shown() -> None:
    upstream = _microsoft("https://login.microsoftonline.com/common/v2.0")
    assert "y" not in json.dumps(registry.without_secret(upstream)["client_id"])
    assert "client_secret" not in registry.without_secret(upstream)
