"""Upstream providers that respond wrongly, late or not at all, and users who cancel."""

import asyncio
from collections.abc import Callable

import pytest

from idp.accounts.tables import User
from idp.federation import credentials, discovery
from idp.federation.errors import UpstreamUnavailableError
from idp.federation.providers.base import oauth_client
from idp.infra.db.engine import fetch, fetchrow
from tests.federation.conftest import Add, leave, sign_in
from tests.support.browser import Browser, as_page, open_browser
from tests.support.oauth import PASSWORD, RelyingParty
from tests.support.server import Server
from tests.support.stand_ins import GitHub, OpenIDProvider


async def _events(upstream_id: str) -> list[str]:
    rows = await fetch(
        "SELECT detail ->> 'reason' AS reason FROM audit_event WHERE event = 'upstream_failed'"
        " AND detail ->> 'upstream' = $1 ORDER BY id", upstream_id,
    )  # fmt: skip
    return [row["reason"] for row in rows]


@pytest.mark.parametrize("fault", ["error_500", "html", "huge", "array", "nested", "elsewhere", "token_error"])
@pytest.mark.parametrize("kind", ["oidc", "github"])
async def test_nonsense(
    browser: Browser, provider: OpenIDProvider, github: GitHub, add: Add, alice: User, fault: str, kind: str
) -> None:
    """The page has a message and the other ways to sign in, an event is recorded, and the sign-in can continue."""
    if (kind, fault) == ("github", "token_error"):
        return
    stand_in = provider if kind == "oidc" else github
    issuer = provider.issuer if kind == "oidc" else github.url
    upstream = await add(kind=kind, issuer=issuer, trust_email=True)
    location = await leave(browser, as_page(await browser.get("/login")), upstream)
    stand_in.faults.add(fault)
    page = as_page(await browser.get(location))
    assert page.status == 400
    assert upstream.name in page.text
    assert 'role="alert"' in page.text
    assert not browser.signed_in
    assert await _events(upstream.id) == ["refused" if fault == "token_error" else "unavailable"]
    await browser.sign_in(page, alice.email, PASSWORD)
    assert browser.signed_in


async def test_one_that_is_slow(browser: Browser, provider: OpenIDProvider, add: Add, alice: User) -> None:
    """It times out within seconds, and does not delay other requests."""
    upstream = await add(issuer=provider.issuer, trust_email=True)
    location = await leave(browser, as_page(await browser.get("/login")), upstream)
    provider.faults.add("slow")
    waiting = asyncio.create_task(browser.get(location))
    async with open_browser(browser.issuer) as other:
        await other.sign_in(as_page(await other.get("/login")), alice.email, PASSWORD)
        assert other.signed_in
        assert not waiting.done()
    page = as_page(await waiting)
    assert page.status == 400
    assert upstream.name in page.text
    assert await _events(upstream.id) == ["unavailable"]


async def test_metadata_that_are_nested_too_deeply(browser: Browser, provider: OpenIDProvider, add: Add) -> None:
    provider.faults.add("nested")
    upstream = await add(issuer=provider.issuer)
    page = as_page(await browser.get("/login"))
    assert as_page(await browser.get(f"{page.path}/to/{upstream.id}")).status == 400
    with pytest.raises(UpstreamUnavailableError):
        await discovery.fetch_json(f"{provider.issuer}/jwks")


async def test_a_token_endpoint_that_is_tested(provider: OpenIDProvider, add: Add) -> None:
    """The check of the client secret refuses what a sign-in refuses."""
    upstream = await add(issuer=provider.issuer)
    provider.faults.add("nested")
    async with oauth_client(upstream, "secret", "client_secret_post") as client:
        with pytest.raises(UpstreamUnavailableError):
            await credentials.check(client, f"{provider.issuer}/token")


async def test_one_that_is_gone(browser: Browser, add: Add) -> None:
    """It fails before the user is redirected. The page keeps the other ways to sign in."""
    upstream = await add(issuer="http://127.0.0.1:9")
    page = as_page(await browser.get("/login"))
    shown = as_page(await browser.get(f"{page.path}/to/{upstream.id}"))
    assert shown.status == 400
    assert upstream.name in shown.text
    assert "login-submit" in shown.ids


async def test_a_user_who_cancels_at_the_provider(
    browser: Browser, provider: OpenIDProvider, add: Add, alice: User
) -> None:
    upstream = await add(issuer=provider.issuer)
    for error, reason in (("access_denied", "cancelled"), ("server_error", "refused"), ("x" * 5000, "refused")):
        provider.error = error
        page = as_page(await sign_in(browser, upstream))
        assert page.status == 400
        assert "login-submit" in page.ids
        assert error not in page.text
        assert (await _events(upstream.id))[-1] == reason
    await browser.sign_in(page, alice.email, PASSWORD)
    assert browser.signed_in


async def test_a_new_key(browser: Browser, provider: OpenIDProvider, add: Add) -> None:
    """A token that names an unknown key makes us fetch the keys again, but a stream of such does so once."""
    upstream = await add(issuer=provider.issuer, trust_email=True)
    for _ in range(2):
        browser.cookies.clear()
        await sign_in(browser, upstream)
        assert browser.signed_in
        provider.rotate()
    assert [path for path, _ in provider.requests].count("/jwks") == 2
    for _ in range(3):
        browser.cookies.clear()
        await sign_in(browser, upstream)
        assert not browser.signed_in
    assert [path for path, _ in provider.requests].count("/jwks") == 2


async def test_a_disabled_one(browser: Browser, provider: OpenIDProvider, add: Add) -> None:
    """The redirect to it and its callback fail."""
    from idp.federation import registry

    upstream = await add(issuer=provider.issuer, trust_email=True)
    page = as_page(await browser.get("/login"))
    location = await leave(browser, page, upstream)
    await registry.disable(upstream.id)
    async with asyncio.timeout(30):
        while f"upstream-{upstream.id}" in as_page(await browser.get("/login")).ids:
            await asyncio.sleep(0.02)
    await browser.get(location)
    assert not browser.signed_in
    assert await fetchrow("SELECT 1 FROM identity WHERE subject = $1", provider.person.sub) is None


async def test_the_client_is_notified(
    start_server: Callable[..., Server], client: RelyingParty, provider: OpenIDProvider, add: Add
) -> None:
    """A user who then leaves the sign-in returns to the application as usual."""
    upstream = await add(issuer=provider.issuer)
    async with open_browser(client.issuer) as browser:
        provider.error = "access_denied"
        page = as_page(await sign_in(browser, upstream, as_page(await client.authorize(browser))))
        answer = await browser.submit(page, "login-cancel")
    assert answer.parameters["error"] == "access_denied"  # type: ignore[union-attr]


ODD = {
    "half a pair in the nonce": {"nonce": "\ud800"},
    "half a pair in the hash": {"at_hash": "\ud800"},
    "half a pair in the issuer": {"iss": "\ud800"},
    "half a pair in the audience": {"aud": ["\ud800"]},
    "half a pair in the subject": {"sub": "\ud800"},
    "numbers without end": {"exp": 10**400},
    "not a number": {"exp": float("nan")},
    "audiences of audiences": {"aud": [[["x"]]]},
}


@pytest.mark.parametrize("claims", ODD.values(), ids=ODD)
async def test_odd_values(browser: Browser, provider: OpenIDProvider, add: Add, claims: dict[str, object]) -> None:
    upstream = await add(issuer=provider.issuer, trust_email=True)
    provider.claims = claims
    page = as_page(await sign_in(browser, upstream))
    assert page.status == 400
    assert not browser.signed_in


PROFILES = {
    "half a pair": {"name": "\ud800", "groups": ["\ud800"], "picture": "https://x/\ud800"},
    "other types": {"name": 7, "picture": {}, "locale": [], "email_verified": {}},
    "a NUL": {"name": "a\0b", "website": "https://x/\0"},
}


@pytest.mark.parametrize("more", PROFILES.values(), ids=PROFILES)
async def test_odd_profiles(browser: Browser, provider: OpenIDProvider, add: Add, more: dict[str, object]) -> None:
    """Invalid values are omitted, and the sign-in succeeds."""
    upstream = await add(issuer=provider.issuer, trust_email=True, keep_tokens=True)
    provider.person.more = more
    page = as_page(await sign_in(browser, upstream))
    assert page.status == 200
    assert browser.signed_in or "upstream-send" in page.ids


async def test_an_odd_access_token(browser: Browser, provider: OpenIDProvider, add: Add) -> None:
    upstream = await add(issuer=provider.issuer, trust_email=True, keep_tokens=True)
    provider.access_token = "t\u00f6ken \ud800"
    assert as_page(await sign_in(browser, upstream)).status == 400
    provider.claims = {"at_hash": None}
    browser.cookies.clear()
    assert as_page(await sign_in(browser, upstream)).status in (200, 400)


ENDPOINTS = [
    "https://[/", "https://", "javascript:alert(1)", "//evil.example", "https://x.example/\r\nSet-Cookie: a=b", "", 7,
    None, ["https://x.example"], "https://x.example:99999/", "https://x y.example/", "https://\u00fc.example/",
]  # fmt: skip


@pytest.mark.parametrize("name", ["authorization_endpoint", "token_endpoint", "jwks_uri"])
@pytest.mark.parametrize("value", ENDPOINTS, ids=repr)
async def test_metadata_that_name_nonsense(
    browser: Browser, provider: OpenIDProvider, add: Add, name: str, value: object
) -> None:
    provider.metadata = {name: value}
    upstream = await add(issuer=provider.issuer)
    page = as_page(await browser.get("/login"))
    shown = as_page(await browser.get(f"{page.path}/to/{upstream.id}"))
    assert shown.status == 400
    assert upstream.name in shown.text


async def test_a_userinfo_endpoint_that_is_nonsense(browser: Browser, provider: OpenIDProvider, add: Add) -> None:
    """It counts as absent."""
    provider.metadata = {"userinfo_endpoint": "https://[/", "end_session_endpoint": 7}
    provider.lean = True
    upstream = await add(issuer=provider.issuer, logout=True)
    page = as_page(await sign_in(browser, upstream))
    assert "upstream-send" in page.ids
