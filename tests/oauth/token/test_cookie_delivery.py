"""A browser client's refresh token comes in a cookie, and only its own pages can use it."""

from http.cookies import Morsel, SimpleCookie

import httpx
import pytest

from idp.accounts.tables import User
from tests.conftest import MakeClient
from tests.support.browser import Browser
from tests.support.oauth import RelyingParty

ORIGIN = "https://app.example.com"
OWN = {"Origin": ORIGIN}
FOREIGN = [{}, {"Origin": "null"}, {"Origin": "https://evil.example.com"}, {"Origin": f"{ORIGIN}.evil.example"}]


@pytest.fixture
async def spa(make_client: MakeClient) -> RelyingParty:
    return await make_client(token_endpoint_auth_method="none", refresh_token_cookie=True)


def _cookie(response: httpx.Response) -> Morsel[str]:
    (header,) = response.headers.get_list("set-cookie")
    (morsel,) = SimpleCookie(header).values()
    return morsel


def _with(morsel: Morsel[str], **headers: str) -> dict[str, str]:
    return {"Cookie": f"{morsel.key}={morsel.value}"} | headers


async def _redeem(spa: RelyingParty, browser: Browser, user: User, headers: dict[str, str]) -> httpx.Response:
    code = await spa.sign_in(browser, user.email)
    return await spa.post(
        "/token",
        headers=headers,
        grant_type="authorization_code",
        code=code,
        redirect_uri=spa.redirect_uri,
        code_verifier=spa.verifier,
    )


async def test_it_is_in_the_cookie_and_nowhere_else(spa: RelyingParty, browser: Browser, alice: User) -> None:
    response = await _redeem(spa, browser, alice, OWN)
    assert "access_token" in response.json()
    assert "refresh_token" not in response.json()
    cookie = _cookie(response)
    assert cookie.key == f"__Host-refresh.{spa.client_id}"
    assert (cookie["httponly"], cookie["secure"]) == (True, True)
    assert (cookie["samesite"].lower(), cookie["path"], cookie["domain"]) == ("strict", "/", "")
    assert cookie.value not in response.text


async def test_refreshing_by_the_cookie_replaces_it(spa: RelyingParty, browser: Browser, alice: User) -> None:
    first = _cookie(await _redeem(spa, browser, alice, OWN))
    response = await spa.post("/token", headers=_with(first, **OWN), grant_type="refresh_token")
    assert response.status_code == 200
    assert "refresh_token" not in response.json()
    second = _cookie(response)
    assert second.value != first.value
    assert (await spa.post("/token", headers=_with(second, **OWN), grant_type="refresh_token")).status_code == 200


@pytest.mark.parametrize("headers", FOREIGN, ids=lambda headers: headers.get("Origin", "none"))
async def test_only_the_clients_own_pages(
    spa: RelyingParty, browser: Browser, alice: User, headers: dict[str, str]
) -> None:
    """A request from elsewhere is refused, and the token is as good as before."""
    cookie = _cookie(await _redeem(spa, browser, alice, OWN))
    refused = await spa.post("/token", headers=_with(cookie, **headers), grant_type="refresh_token")
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_request")
    assert "access-control-allow-credentials" not in refused.headers
    assert "set-cookie" not in refused.headers
    assert (await _redeem(spa, browser, alice, headers)).status_code == 400
    assert (await spa.post("/token", headers=_with(cookie, **OWN), grant_type="refresh_token")).status_code == 200


async def test_a_token_in_the_body_is_refused(spa: RelyingParty, browser: Browser, alice: User) -> None:
    cookie = _cookie(await _redeem(spa, browser, alice, OWN))
    response = await spa.post("/token", headers=OWN, grant_type="refresh_token", refresh_token=cookie.value)
    assert response.json()["error"] == "invalid_request"
    without = await spa.post("/token", headers=OWN, grant_type="refresh_token")
    assert without.json()["error"] == "invalid_request"


async def test_the_page_may_read_the_answer(spa: RelyingParty, browser: Browser, alice: User) -> None:
    cookie = _cookie(await _redeem(spa, browser, alice, OWN))
    response = await spa.post("/token", headers=_with(cookie, **OWN), grant_type="refresh_token")
    assert response.headers["access-control-allow-origin"] == ORIGIN
    assert response.headers["access-control-allow-credentials"] == "true"
    assert "Origin" in response.headers["vary"]


async def test_revoking_clears_the_cookie(spa: RelyingParty, browser: Browser, alice: User) -> None:
    cookie = _cookie(await _redeem(spa, browser, alice, OWN))
    response = await spa.post("/revoke", headers=_with(cookie, **OWN))
    assert response.status_code == 200
    cleared = _cookie(response)
    assert (cleared.key, cleared.value, cleared["max-age"]) == (cookie.key, "", "0")
    again = await spa.post("/token", headers=_with(cookie, **OWN), grant_type="refresh_token")
    assert again.json()["error"] == "invalid_grant"


async def test_revoking_without_a_cookie_is_no_error(spa: RelyingParty) -> None:
    assert (await spa.post("/revoke", headers=OWN)).status_code == 200
