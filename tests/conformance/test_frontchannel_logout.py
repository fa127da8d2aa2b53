"""OpenID Connect Front-Channel Logout 1.0, as its test plan requires.

What a browser does with the page is tested in `tests/browser/test_frontchannel_logout.py`.
"""

import re
from collections.abc import Awaitable, Callable
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from idp.accounts.tables import User
from idp.keys import jose
from tests.conftest import MakeClient
from tests.support.browser import Browser, Page, Redirect, as_page
from tests.support.oauth import RelyingParty

ORIGIN = "https://app.example.com"
BYE = f"{ORIGIN}/bye"
Register = Callable[..., Awaitable[RelyingParty]]


@pytest.fixture
def register(make_client: MakeClient) -> Register:
    """Register clients with a front-channel logout URI."""

    async def make(origin: str = ORIGIN, **metadata: Any) -> RelyingParty:
        values = {
            "redirect_uris": [f"{origin}/callback"],
            "post_logout_redirect_uris": [f"{origin}/bye"],
            "frontchannel_logout_uri": f"{origin}/out",
            "frontchannel_logout_session_required": True,
        }
        return await make_client(**(values | metadata))

    return make


def _frames(page: Page) -> list[str]:
    return [unescape(url) for url in re.findall(r'<iframe src="([^"]*)"', page.text)]


def _policy(page: Page) -> dict[str, str]:
    directives = page.response.headers["content-security-policy"].split("; ")
    return {name: sources for name, _, sources in (directive.partition(" ") for directive in directives)}


def _onward(page: Page) -> str | None:
    link = re.search(r'id="continue" role="button" href="([^"]*)"', page.text)
    return unescape(link[1]) if link else None


async def test_discovery(rp: RelyingParty) -> None:
    """oidcc-frontchannel-logout-discovery-endpoint-verification"""
    document = (await rp.http.get(f"{rp.issuer}/.well-known/openid-configuration")).json()
    assert document["frontchannel_logout_supported"] is True
    assert document["frontchannel_logout_session_supported"] is True


async def test_rp_initiated_logout(browser: Browser, register: Register, person: User) -> None:
    """oidcc-frontchannel-rp-initiated-logout: a frame with iss and the sid of the ID token, then the redirect"""
    client = await register()
    hint = (await client.tokens(browser, person.email))["id_token"]
    answer = await browser.get("/logout", id_token_hint=hint, post_logout_redirect_uri=BYE, state="s")
    page = as_page(answer)
    assert (page.status, "logout-done" in page.ids) == (200, True)
    (frame,) = _frames(page)
    assert frame.partition("?")[0] == f"{ORIGIN}/out"
    sid = jose.unverified_claims(hint)["sid"]
    assert parse_qs(urlsplit(frame).query) == {"iss": [client.issuer], "sid": [sid]}
    assert _policy(page)["frame-src"] == ORIGIN
    assert _onward(page) == f"{BYE}?state=s"
    assert f'content="2; url={BYE}?state=s"' in page.text
    assert isinstance(await client.authorize(browser, prompt="none"), Redirect)
    # The session has ended, so there is nobody to tell any more.
    again = await browser.get("/logout", id_token_hint=hint, post_logout_redirect_uri=BYE)
    assert isinstance(again, Redirect)


async def test_iss_and_sid_only_if_required(browser: Browser, register: Register, person: User) -> None:
    client = await register(
        frontchannel_logout_session_required=False, frontchannel_logout_uri=f"{ORIGIN}/out?tenant=1&x=a'b"
    )
    hint = (await client.tokens(browser, person.email))["id_token"]
    page = as_page(await browser.get("/logout", id_token_hint=hint, post_logout_redirect_uri=BYE))
    assert _frames(page) == [f"{ORIGIN}/out?tenant=1&x=a'b"]


async def test_every_client_of_the_session_and_no_other(
    browser: Browser, register: Register, make_client: MakeClient, person: User
) -> None:
    """After the confirmation too, without a client that asks for it. The page stays, because there is nowhere to go."""
    first, second = await register(), await register("https://shop.example.com")
    without, stranger = await make_client(), await register("https://stranger.example.com")
    for client in (first, second, without):
        await client.sign_in(browser, person.email)
    page = as_page(await browser.submit(as_page(await browser.get("/logout")), "logout-confirm"))
    assert "logout-done" in page.ids
    assert [urlsplit(frame).netloc for frame in _frames(page)] == ["app.example.com", "shop.example.com"]
    assert _policy(page)["frame-src"] == f"{ORIGIN} https://shop.example.com"
    assert stranger.redirect_uri.partition("/callback")[0] not in page.text
    assert _onward(page) is None
    assert "script-src" not in _policy(page)


async def test_without_front_channel_clients_nothing_changes(
    browser: Browser, make_client: MakeClient, person: User
) -> None:
    client = await make_client(post_logout_redirect_uris=[BYE])
    hint = (await client.tokens(browser, person.email))["id_token"]
    answer = await browser.get("/logout", id_token_hint=hint, post_logout_redirect_uri=BYE)
    assert isinstance(answer, Redirect)
    page = as_page(await browser.get("/logout"))
    assert "frame-src" not in _policy(page)
