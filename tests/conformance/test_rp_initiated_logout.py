"""RP-initiated logout, as its test plan requires."""

import secrets
from base64 import urlsafe_b64encode
from typing import Any

import pytest

from idp.accounts.tables import User
from idp.keys import jose
from idp.keys.key_set import key_set
from tests.support.browser import Browser, Page, Redirect
from tests.support.oauth import RelyingParty

URI = "https://app.example.com/signed-out"
STATE = secrets.token_urlsafe(96)


@pytest.fixture
async def hint(browser: Browser, rp: RelyingParty, person: User) -> str:
    """The ID token of a signed-in user."""
    token: str = (await rp.tokens(browser, person.email))["id_token"]
    return token


async def _is_signed_in(browser: Browser, rp: RelyingParty) -> bool:
    answer = await rp.authorize(browser, prompt="none")
    assert isinstance(answer, Redirect)
    return "code" in answer.parameters


async def _confirm(browser: Browser, page: Page | Redirect) -> Page | Redirect:
    assert isinstance(page, Page)
    assert "logout-confirm" in page.ids
    return await browser.submit(page, "logout-confirm")


@pytest.mark.parametrize("state", [STATE, None])
async def test_valid_hint_uri_and_state(browser: Browser, rp: RelyingParty, hint: str, state: str | None) -> None:
    """oidcc-rp-initiated-logout, -no-state: back with the state and nothing else, and signed out"""
    parameters = {"id_token_hint": hint, "post_logout_redirect_uri": URI} | ({"state": state} if state else {})
    answer = await browser.get("/logout", **parameters)
    assert isinstance(answer, Redirect)
    assert answer.location.partition("?")[0] == URI
    assert answer.parameters == ({"state": state} if state else {})
    assert not await _is_signed_in(browser, rp)


async def test_logout_by_post(browser: Browser, rp: RelyingParty, hint: str) -> None:
    parameters = {"id_token_hint": hint, "post_logout_redirect_uri": URI, "state": STATE}
    answer = await browser.post("/logout", parameters, origin="https://rp.example.com")
    assert isinstance(answer, Redirect)
    assert answer.parameters == {"state": STATE}
    assert not await _is_signed_in(browser, rp)


@pytest.mark.parametrize("uri", [f"{URI}/other", f"{URI}?added=1", "https://evil.example.com/", "javascript:alert(1)"])
async def test_unregistered_uri(browser: Browser, rp: RelyingParty, hint: str, uri: str) -> None:
    """oidcc-rp-initiated-logout-bad-post-logout-redirect-uri, -query-added-…: a page, never a redirect"""
    page = await browser.get("/logout", id_token_hint=hint, post_logout_redirect_uri=uri, state=STATE)
    assert isinstance(page, Page)
    assert (page.status, page.error) == (400, "invalid_request")
    assert await _is_signed_in(browser, rp)


def _segment(value: bytes) -> str:
    return urlsafe_b64encode(value).rstrip(b"=").decode()


async def test_modified_or_foreign_hint(browser: Browser, rp: RelyingParty, hint: str) -> None:
    """oidcc-rp-initiated-logout-modified-id-token-hint, -bad-id-token-hint: the question, and never a redirect"""
    header = _segment(b'{"alg":"none","typ":"JWT"}')
    unsigned = f"{header}.{hint.split('.')[1]}."
    foreign = jose.sign(jose.generate("RS256"), "JWT", {"iss": rp.client_id, "aud": rp.issuer, "sub": "x"})
    for bad in (unsigned, foreign, hint[:-4] + "AAAA", "nonsense"):
        page = await browser.get("/logout", id_token_hint=bad, post_logout_redirect_uri=URI, state=STATE)
        assert isinstance(page, Page)
        assert (page.status, "logout-confirm" in page.ids) == (200, True)
        assert await _is_signed_in(browser, rp)
    done = await browser.submit(page, "logout-confirm")
    assert isinstance(done, Page)
    assert not await _is_signed_in(browser, rp)


@pytest.mark.fault(32)
async def test_without_a_hint(browser: Browser, rp: RelyingParty, hint: str) -> None:
    """oidcc-rp-initiated-logout-no-id-token-hint: a page that names the missing parameter, never a redirect."""
    page = await browser.get("/logout", post_logout_redirect_uri=URI, state=STATE)
    assert isinstance(page, Page)
    assert page.status == 400
    assert "did not say who it is" in page.text
    other = await browser.get("/logout", post_logout_redirect_uri=f"{URI}/other", client_id=rp.client_id)
    assert isinstance(other, Page)
    assert "not registered for it" in other.text


async def test_without_a_hint_but_with_client_id(browser: Browser, rp: RelyingParty, hint: str) -> None:
    """The user is asked for confirmation; then the browser is redirected to the registered URI."""
    page = await browser.get("/logout", client_id=rp.client_id, post_logout_redirect_uri=URI, state=STATE)
    answer = await _confirm(browser, page)
    assert isinstance(answer, Redirect)
    assert answer.parameters == {"state": STATE}
    assert not await _is_signed_in(browser, rp)


@pytest.mark.parametrize("parameters", [{}, {"state": STATE}], ids=["no-params", "only-state"])
async def test_nothing_that_identifies(
    browser: Browser, rp: RelyingParty, hint: str, parameters: dict[str, Any]
) -> None:
    """oidcc-rp-initiated-logout-no-params, -only-state: signed out, a page that says so, no redirect"""
    done = await _confirm(browser, await browser.get("/logout", **parameters))
    assert isinstance(done, Page)
    assert (done.status, "logout-done" in done.ids) == (200, True)
    assert not await _is_signed_in(browser, rp)


async def test_hint_alone(browser: Browser, rp: RelyingParty, hint: str) -> None:
    """oidcc-rp-initiated-logout-no-post-logout-redirect-uri"""
    done = await browser.get("/logout", id_token_hint=hint)
    assert isinstance(done, Page)
    assert "logout-done" in done.ids
    assert not await _is_signed_in(browser, rp)


async def test_changing_ones_mind(browser: Browser, rp: RelyingParty, hint: str) -> None:
    page = await browser.get("/logout")
    assert isinstance(page, Page)
    await browser.submit(page, "logout-cancel")
    assert await _is_signed_in(browser, rp)


async def test_the_confirmation_cannot_be_forged(browser: Browser, rp: RelyingParty, hint: str) -> None:
    page = await browser.post("/logout/confirm", {"csrf_token": "guessed", "action": "logout"})
    assert isinstance(page, Page)
    assert page.status == 400
    assert await _is_signed_in(browser, rp)


async def test_an_expired_hint_is_as_good(browser: Browser, rp: RelyingParty, hint: str) -> None:
    """Section 2: the server should accept ID tokens whose time has passed."""
    claims = jose.verify(hint, key_set.verification(), typ="JWT")
    old = jose.sign(key_set.signing("RS256"), "JWT", claims | {"exp": claims["iat"] - 10, "iat": claims["iat"] - 20})
    answer = await browser.get("/logout", id_token_hint=old, post_logout_redirect_uri=URI)
    assert isinstance(answer, Redirect)
