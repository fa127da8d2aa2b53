"""Sign-out at an upstream provider."""

from urllib.parse import parse_qs, urlsplit

from idp.infra.db.engine import execute
from tests.conftest import MakeClient
from tests.federation.conftest import Add, sign_in
from tests.support.browser import Browser, Redirect, as_page
from tests.support.stand_ins import CLIENT_ID, OpenIDProvider

BYE = "https://app.example.com/bye"


async def test_sign_out_at_the_provider_and_back(
    browser: Browser, make_client: MakeClient, provider: OpenIDProvider, add: Add
) -> None:
    upstream = await add(issuer=provider.issuer, trust_email=True, logout=True)
    client = await make_client(post_logout_redirect_uris=[BYE])
    await sign_in(browser, upstream)
    asked = {"client_id": client.client_id, "post_logout_redirect_uri": BYE, "state": "s"}
    page = as_page(await browser.get("/logout", **asked))
    away = await browser.submit(page, "logout-confirm")
    assert isinstance(away, Redirect)
    assert not browser.signed_in
    there = parse_qs(urlsplit(away.location).query)
    assert away.location.startswith(f"{provider.issuer}/end?")
    assert there == {"client_id": [CLIENT_ID], "post_logout_redirect_uri": [f"{browser.issuer}/logout/return"]}
    back = await browser.get("/logout/return")
    assert isinstance(back, Redirect)
    assert back.location == f"{BYE}?state=s"
    assert "logout-done" in as_page(await browser.get("/logout/return")).ids


async def test_the_page_that_asks_does_not_contact_the_provider(
    browser: Browser, provider: OpenIDProvider, add: Add
) -> None:
    """Any site can send a browser there."""
    upstream = await add(issuer=provider.issuer, trust_email=True)
    await sign_in(browser, upstream)
    other = OpenIDProvider()
    try:
        # The server has not cached anything of this one.
        unknown = await add(issuer=other.issuer, logout=True)
        await execute("UPDATE identity SET upstream_id = $1 WHERE upstream_id = $2", unknown.id, upstream.id)
        page = as_page(await browser.get("/logout"))
        assert other.requests == []
        away = await browser.submit(page, "logout-confirm")
        assert isinstance(away, Redirect)
        assert away.location.startswith(f"{other.issuer}/end?")
    finally:
        other.stop()


async def test_no_sign_out_at_the_provider_by_default(browser: Browser, provider: OpenIDProvider, add: Add) -> None:
    """If the provider is down, the sign-out here succeeds anyway."""
    upstream = await add(issuer=provider.issuer, trust_email=True)
    await sign_in(browser, upstream)
    page = as_page(await browser.submit(as_page(await browser.get("/logout")), "logout-confirm"))
    assert "logout-done" in page.ids


async def test_the_kept_logout_request_is_validated_again(browser: Browser, make_client: MakeClient) -> None:
    """The cookie may be forged: it redirects only to registered URIs."""
    client = await make_client(post_logout_redirect_uris=[BYE])
    for uri in ("https://evil.example", f"{BYE}/x"):
        browser.cookies["__Host-logout"] = f"client_id={client.client_id}&post_logout_redirect_uri={uri}"
        answer = as_page(await browser.get("/logout/return"))
        assert answer.status == 400
