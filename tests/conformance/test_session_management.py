"""OpenID Connect Session Management 1.0, as its test plan requires.

The frame itself is tested in a browser: `tests/browser/test_session_management.py`.
"""

import asyncio
import re
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import httpx
import pytest

from idp.accounts.tables import User
from idp.oauth.logout.session_management import salted
from idp.signin.session_tokens import browser_state
from tests.conftest import MakeClient
from tests.support.browser import Browser, Redirect
from tests.support.oauth import RelyingParty
from tests.support.server import Server, free_port

ORIGIN = "https://app.example.com"


def _cookie(browser: Browser) -> str:
    """The browser state that scripts of the server read."""
    return browser.cookies.get("__Host-browser_state", "")


def _expected(browser: Browser, rp: RelyingParty, session_state: str) -> str:
    return salted(rp.client_id, ORIGIN, _cookie(browser), session_state.partition(".")[2])


async def _silent(rp: RelyingParty, browser: Browser, **changes: str) -> dict[str, str]:
    answer = await rp.authorize(browser, prompt="none", **changes)
    assert isinstance(answer, Redirect)
    state = {} if answer.session_state is None else {"session_state": answer.session_state}
    return answer.parameters | answer.fragment | state


async def test_discovery(rp: RelyingParty) -> None:
    """oidcc-session-management-discovery-endpoint-verification"""
    document: dict[str, Any] = (await rp.http.get(f"{rp.issuer}/.well-known/openid-configuration")).json()
    assert document["check_session_iframe"] == f"{rp.issuer}/session/check"
    assert (await rp.http.get(document["check_session_iframe"])).status_code == 200


async def test_rp_initiated_logout(browser: Browser, rp: RelyingParty, person: User) -> None:
    """oidcc-session-management-rp-initiated-logout: the state is that of the browser until the user signs out"""
    await rp.tokens(browser, person.email)
    state = (await _silent(rp, browser))["session_state"]
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}\.[A-Za-z0-9_-]{22}", state)
    assert state == _expected(browser, rp, state)
    page = await browser.get("/logout")
    await browser.submit(page, "logout-confirm")  # type: ignore[arg-type]
    assert _cookie(browser) == ""
    assert state != _expected(browser, rp, state)
    refused = await _silent(rp, browser)
    assert refused["error"] == "login_required"
    assert refused["session_state"] == _expected(browser, rp, refused["session_state"]) != state


async def test_the_state_is_salted_for_each_client(
    browser: Browser, rp: RelyingParty, make_client: MakeClient, person: User
) -> None:
    """Section 2: two clients cannot see from the values that they have the same browser."""
    other = await make_client()
    await rp.tokens(browser, person.email)
    await other.tokens(browser, person.email)
    first, second, foreign = [(await _silent(party, browser))["session_state"] for party in (rp, rp, other)]
    assert len({first, second, foreign}) == 3
    assert first == _expected(browser, rp, first)


async def test_a_new_sign_in_changes_the_state(browser: Browser, rp: RelyingParty, person: User) -> None:
    await rp.tokens(browser, person.email)
    before = _cookie(browser)
    session = browser.cookies["__Host-session"]
    assert before == browser_state(session)
    # Neither the cookie's value nor what the database holds of it.
    assert before not in session
    assert before not in (sha256(session.encode()).hexdigest(), session.partition(".")[0])
    await rp.sign_in(browser, person.email, prompt="login")
    assert _cookie(browser) == browser_state(browser.cookies["__Host-session"]) != before


async def test_a_lost_cookie_is_set_again(browser: Browser, rp: RelyingParty, person: User) -> None:
    """After a setting was changed, or when a browser has deleted it."""
    await rp.tokens(browser, person.email)
    for wrong in ("", "guessed"):
        browser.cookies["__Host-browser_state"] = wrong
        state = (await _silent(rp, browser))["session_state"]
        assert _cookie(browser) == browser_state(browser.cookies["__Host-session"])
        assert state == _expected(browser, rp, state)


async def test_a_frame_of_another_site_changes_nothing(browser: Browser, rp: RelyingParty, person: User) -> None:
    """Browsers send it the cookie of the state, and not that of the session."""
    await rp.tokens(browser, person.email)
    before, session = _cookie(browser), browser.cookies.pop("__Host-session")
    refused = await _silent(rp, browser)
    assert refused["error"] == "login_required"
    assert refused["session_state"] == _expected(browser, rp, refused["session_state"])
    browser.cookies["__Host-session"] = session
    assert _cookie(browser) == before


async def test_a_session_that_ended_elsewhere(browser: Browser, rp: RelyingParty, person: User) -> None:
    await rp.tokens(browser, person.email)
    state = (await _silent(rp, browser))["session_state"]
    browser.cookies["__Host-session"] = browser.cookies["__Host-session"][:-4] + "AAAA"
    refused = await _silent(rp, browser)
    assert refused["error"] == "login_required"
    assert "__Host-session" not in browser.cookies
    assert state != _expected(browser, rp, state)
    # Nobody can know the state of a browser in which nobody is signed in, and ask the frame whether it is that.
    assert len(_cookie(browser)) == 22
    assert refused["session_state"] == _expected(browser, rp, refused["session_state"])
    again = await _silent(rp, browser)
    assert again["session_state"] == _expected(browser, rp, again["session_state"])


@pytest.mark.parametrize("mode", ["query", "fragment", "jwt"])
async def test_every_response_mode(browser: Browser, rp: RelyingParty, person: User, mode: str) -> None:
    await rp.tokens(browser, person.email)
    answer = await _silent(rp, browser, response_mode=mode)
    # In a signed response it is a claim, like every parameter (JARM section 2.1).
    assert ("session_state" in answer) == (mode != "jwt")


async def test_only_for_openid_and_for_web_origins(browser: Browser, make_client: MakeClient, person: User) -> None:
    native = await make_client(
        redirect_uris=["com.example.app:/callback"], application_type="native", token_endpoint_auth_method="none"
    )
    await native.sign_in(browser, person.email)
    for changes in ({}, {"scope": "profile"}):
        assert "session_state" not in await _silent(native, browser, **changes)


async def test_without_session_management(start_server: Callable[..., Server], http: httpx.AsyncClient) -> None:
    server = await asyncio.to_thread(start_server, IDP_SESSION_MANAGEMENT="false")
    assert "check_session_iframe" not in (await http.get(f"{server.issuer}/.well-known/openid-configuration")).json()
    assert (await http.get(f"{server.issuer}/session/check")).status_code == 404
    assert "browser_state" not in str((await http.get(f"{server.issuer}/logout")).headers)


def _policy(answer: httpx.Response) -> set[str]:
    return set(answer.headers["content-security-policy"].split("; "))


async def test_the_policy_of_the_frame(rp: RelyingParty) -> None:
    """Any site may frame it, it runs one script, and it is the same for everybody."""
    answer = await rp.http.get(f"{rp.issuer}/session/check", headers={"Accept-Language": "de"})
    assert "x-frame-options" not in answer.headers
    assert "set-cookie" not in answer.headers
    assert answer.headers["cache-control"] == "public, max-age=3600"
    assert _policy(answer) == {
        *("default-src 'none'", "base-uri 'none'", "form-action 'none'", "frame-ancestors *"),
        f"script-src {rp.issuer}/static/check_session.js",
    }
    assert re.findall(r"<script [^>]*>", answer.text) == re.findall(r"<[a-z]+ [^>]*src=[^>]*>", answer.text)
    other = await rp.http.get(f"{rp.issuer}/login", follow_redirects=True)
    assert other.headers["x-frame-options"] == "DENY"
    assert "frame-ancestors 'none'" in _policy(other)


async def test_an_issuer_with_a_path(start_server: Callable[..., Server], http: httpx.AsyncClient) -> None:
    """Cookie and script have the path, so that two servers on one host are told apart."""
    port = free_port()
    issuer = f"http://localhost:{port}/tenants/one"
    await asyncio.to_thread(start_server, port=port, IDP_ISSUER=issuer)
    page = await http.get(f"{issuer}/session/check")
    assert 'data-cookie="__Host-tenants~one~browser_state"' in page.text
    (script,) = re.findall(r'src="([^"]*)"', page.text)
    assert f"script-src {issuer}/static/check_session.js" in _policy(page)
    assert f"http://localhost:{port}{script}".startswith(f"{issuer}/static/check_session.js?v=")
    assert (await http.get(f"http://localhost:{port}{script}")).status_code == 200
