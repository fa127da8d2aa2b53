"""The refresh token of a browser client is in a cookie, which only the client's own pages can use."""

from http.cookies import Morsel, SimpleCookie

import httpx
import pytest

from idp.accounts.tables import User
from tests.conftest import MakeClient
from tests.support.browser import Browser
from tests.support.oauth import RelyingParty

ORIGIN = "https://app.example.com"
OWN = {"Origin": ORIGIN}
#: The last one is the origin of another client, registered by the fixture.
FOREIGN = [
    {},
    {"Origin": "null"},
    {"Origin": "https://evil.example.com"},
    {"Origin": f"{ORIGIN}.evil.example"},
    {"Origin": "https://other-app.example.com"},
]


@pytest.fixture
async def spa(make_client: MakeClient) -> RelyingParty:
    await make_client(redirect_uris=["https://other-app.example.com/callback"])
    return await make_client(token_endpoint_auth_method="none", refresh_token_cookie=True)


def _cookie(response: httpx.Response) -> Morsel[str]:
    (header,) = response.headers.get_list("set-cookie")
    (morsel,) = SimpleCookie(header).values()
    return morsel


def _with(morsel: Morsel[str], **headers: str) -> dict[str, str]:
    return {"Cookie": f"{morsel.key}={morsel.value}"} | headers


async def _redeem(spa: RelyingParty, code: str, headers: dict[str, str]) -> httpx.Response:
    return await spa.post(
        "/token",
        headers=headers,
        grant_type="authorization_code",
        code=code,
        redirect_uri=spa.redirect_uri,
        code_verifier=spa.verifier,
    )


async def _refresh(spa: RelyingParty, headers: dict[str, str], **form: str) -> httpx.Response:
    return await spa.post("/token", headers=headers, grant_type="refresh_token", **form)


@pytest.fixture
async def redeemed(spa: RelyingParty, browser: Browser, alice: User) -> httpx.Response:
    return await _redeem(spa, await spa.sign_in(browser, alice.email), OWN)


@pytest.fixture
def cookie(redeemed: httpx.Response) -> Morsel[str]:
    """The refresh token of a signed-in user."""
    return _cookie(redeemed)


def test_the_token_is_only_in_the_cookie(spa: RelyingParty, redeemed: httpx.Response, cookie: Morsel[str]) -> None:
    assert "access_token" in redeemed.json()
    assert "refresh_token" not in redeemed.json()
    assert cookie.value not in redeemed.text
    assert cookie.key == f"__Host-refresh.{spa.client_id}"
    assert (cookie["httponly"], cookie["secure"]) == (True, True)
    assert (cookie["samesite"].lower(), cookie["path"], cookie["domain"]) == ("strict", "/", "")
    assert int(cookie["max-age"]) == 14 * 86400


async def test_refreshing_by_the_cookie_replaces_it(spa: RelyingParty, cookie: Morsel[str]) -> None:
    response = await _refresh(spa, _with(cookie, **OWN))
    assert response.status_code == 200
    assert "refresh_token" not in response.json()
    second = _cookie(response)
    assert (second.key, second["httponly"], second["samesite"]) == (cookie.key, True, cookie["samesite"])
    assert second.value != cookie.value
    assert second.value not in response.text
    # Another tab that sent the same cookie at the same time gets the same token.
    assert _cookie(await _refresh(spa, _with(cookie, **OWN))).value == second.value
    assert (await _refresh(spa, _with(second, **OWN))).status_code == 200


@pytest.mark.parametrize("headers", FOREIGN, ids=lambda headers: headers.get("Origin", "none"))
async def test_only_the_clients_own_pages(
    spa: RelyingParty, browser: Browser, alice: User, cookie: Morsel[str], headers: dict[str, str]
) -> None:
    """A request from another origin is refused, and consumes neither token nor code."""
    for path in ("/token", "/revoke"):
        refused = await spa.post(path, headers=_with(cookie, **headers), grant_type="refresh_token")
        assert (refused.status_code, refused.json()["error"]) == (400, "invalid_request")
        assert "set-cookie" not in refused.headers
    assert (await _refresh(spa, _with(cookie, **OWN))).status_code == 200

    code = await spa.sign_in(browser, alice.email)
    refused = await _redeem(spa, code, headers)
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_request")
    assert (await _redeem(spa, code, OWN)).status_code == 200


async def test_a_token_in_the_body_is_refused(spa: RelyingParty, cookie: Morsel[str]) -> None:
    """A script that has stolen one cannot use it, and the refusal does not consume it."""
    for headers in (OWN, _with(cookie, **OWN)):
        response = await _refresh(spa, headers, refresh_token=cookie.value)
        assert (response.status_code, response.json()["error"]) == (400, "invalid_request")
    assert (await _refresh(spa, _with(cookie, **OWN))).status_code == 200


async def test_without_the_cookie_there_is_no_token(
    spa: RelyingParty, make_client: MakeClient, cookie: Morsel[str]
) -> None:
    """The cookie of another client, or with another name, is not accepted."""
    other = await make_client(token_endpoint_auth_method="none", refresh_token_cookie=True)
    for headers in (OWN, OWN | {"Cookie": f"refresh.{spa.client_id}={cookie.value}"}):
        response = await _refresh(spa, headers)
        assert (response.status_code, response.json()["error"]) == (400, "invalid_grant")
        assert "no cookie" in response.json()["error_description"]
    assert "no cookie" in (await _refresh(other, _with(cookie, **OWN))).json()["error_description"]
    moved = {"Cookie": f"__Host-refresh.{other.client_id}={cookie.value}"}
    assert (await _refresh(other, moved | OWN)).json()["error"] == "invalid_grant"


async def test_a_client_that_did_not_ask_for_it_gets_no_cookie(
    make_client: MakeClient, browser: Browser, alice: User
) -> None:
    plain = await make_client(token_endpoint_auth_method="none")
    response = await _redeem(plain, await plain.sign_in(browser, alice.email), OWN)
    assert "set-cookie" not in response.headers
    token = response.json()["refresh_token"]
    by_cookie = await _refresh(plain, OWN | {"Cookie": f"__Host-refresh.{plain.client_id}={token}"})
    assert by_cookie.json()["error"] == "invalid_request"


async def test_the_page_may_ask_and_read_the_answer(spa: RelyingParty, cookie: Morsel[str]) -> None:
    """Fetch standard: exactly this origin, and with credentials."""
    answers = [
        await _refresh(spa, _with(cookie, **OWN)),
        await _refresh(spa, OWN),
        await spa.http.options(f"{spa.issuer}/token", headers=OWN | {"Access-Control-Request-Method": "POST"}),
    ]
    assert [answer.status_code for answer in answers] == [200, 400, 204]
    for answer in answers:
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert answer.headers["access-control-allow-credentials"] == "true"
        assert "Origin" in answer.headers["vary"]
    from_elsewhere = await _refresh(spa, {"Origin": "https://evil.example.com"})
    assert "access-control-allow-origin" not in from_elsewhere.headers


async def test_revoking_clears_the_cookie(spa: RelyingParty, redeemed: httpx.Response, cookie: Morsel[str]) -> None:
    response = await spa.post("/revoke", headers=_with(cookie, **OWN))
    assert response.status_code == 200
    cleared = _cookie(response)
    assert (cleared.key, cleared.value, cleared["max-age"]) == (cookie.key, "", "0")
    assert (await _refresh(spa, _with(cookie, **OWN))).json()["error"] == "invalid_grant"
    assert (await spa.userinfo(redeemed.json()["access_token"])).status_code == 401


async def test_revoking_without_a_cookie_is_no_error(spa: RelyingParty) -> None:
    assert (await spa.post("/revoke", headers=OWN)).status_code == 200
