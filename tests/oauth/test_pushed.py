"""Pushed authorization requests: the endpoint, and what the authorization endpoint makes of them."""

import asyncio
import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from idp import ids
from idp.accounts.tables import User
from idp.admin import incidents
from idp.infra.db.engine import execute, fetch, fetchrow
from idp.oauth.authorize.pushed import PREFIX
from tests.conftest import MakeClient
from tests.support.browser import Browser, Page, Redirect, as_page, open_browser
from tests.support.conformance import check_error_redirect, entropy
from tests.support.oauth import PASSWORD, RelyingParty
from tests.support.server import Server


async def authorize(client: RelyingParty, browser: Browser, request_uri: str, **others: str) -> Page | Redirect:
    return await browser.get("/authorize", client_id=client.client_id, request_uri=request_uri, **others)


async def allow(browser: Browser, page: Page | Redirect, user: User) -> Page | Redirect:
    """Sign in and consent."""
    consent = await browser.sign_in(as_page(page), user.email, PASSWORD)
    return await browser.submit(as_page(consent), "consent-allow")


def assert_page(answer: Page | Redirect, error: str) -> None:
    page = as_page(answer)
    assert (page.status, page.error) == (400, error)


def code_of(answer: Page | Redirect) -> str:
    assert isinstance(answer, Redirect), answer.text
    return answer.parameters["code"]


async def test_the_response(client: RelyingParty) -> None:
    """RFC 9126 section 2.2. FAPI 2.0 Security Profile section 5.3.2.2: less than 600 seconds."""
    response = await client.post("/par", **client.parameters())
    assert response.status_code == 201
    assert response.headers["content-type"] == "application/json"
    assert response.headers["cache-control"] == "no-store"
    body = response.json()
    assert body.keys() == {"request_uri", "expires_in"}
    assert body["expires_in"] == 90
    name = body["request_uri"].removeprefix(PREFIX)
    assert len(name) == 43
    assert entropy(name) > 96
    # Only the hash is stored.
    rows = await fetch("SELECT pushed_request::text AS row FROM pushed_request")
    assert not [row for row in rows if name in row["row"]]


async def test_the_command_in_the_documents(client: RelyingParty) -> None:
    text = (Path(__file__).parents[2] / "docs" / "authorization-requests.md").read_text(encoding="utf-8")
    command = re.findall(r"```sh\n(curl .*?)```", text, re.DOTALL)[0]
    # Not every machine has curl.
    words = shlex.split(command)
    form = dict(words[at + 1].split("=", 1) for at, word in enumerate(words) if word == "-d")
    assert words[2:5] == ["https://id.example.com/par", "-u", "my-app:SECRET"]
    response = await client.post("/par", **form)
    assert response.json()["request_uri"].startswith(PREFIX)


async def test_a_sign_in(client: RelyingParty, browser: Browser, alice: User) -> None:
    """The parameters are those that were pushed, and nothing of the URL (section 4)."""
    request_uri = await client.push(state="pushed", nonce="pushed", scope="openid email")
    tampered = {
        "redirect_uri": "https://evil.example/cb", "state": "tampered", "nonce": "tampered", "scope": "openid profile",
        "response_type": "token", "response_mode": "fragment", "prompt": "none", "request": "x.y.z",
    }  # fmt: skip
    answer = await allow(browser, await authorize(client, browser, request_uri, **tampered), alice)
    assert isinstance(answer, Redirect)
    assert answer.location.startswith(f"{client.redirect_uri}?")
    assert answer.parameters.keys() == {"code", "state", "iss"}
    assert answer.parameters["state"] == "pushed"
    tokens = (await client.redeem(answer.parameters["code"])).json()
    assert tokens["scope"] == "openid email"


async def test_by_post(client: RelyingParty, browser: Browser, alice: User) -> None:
    form = {"client_id": client.client_id, "request_uri": await client.push()}
    answer = await browser.post("/authorize", form, origin="https://app.example.com")
    assert (await client.redeem(code_of(await allow(browser, answer, alice)))).status_code == 200


async def test_it_can_be_loaded_again_but_yields_one_code(client: RelyingParty, alice: User, server: Server) -> None:
    """A reload or a prefetch does no harm. Of several sign-ins one gets the code, though it took longer than the
    lifetime of the request_uri (FAPI 2.0 Security Profile section 5.3.2.2, note 3).
    """
    request_uri = await client.push()
    async with open_browser(server.issuer) as first, open_browser(server.issuer) as second:
        pages = [await authorize(client, browser, request_uri) for browser in (first, second, first)]
        await execute("UPDATE pushed_request SET expires_at = now() WHERE client_id = $1", client.client_id)
        assert "code" in (await allow(first, pages[0], alice)).parameters  # type: ignore[union-attr]
        answer = as_page(await second.sign_in(as_page(pages[1]), alice.email, PASSWORD))
        assert answer.error == ""
        assert "already finished" in answer.text
        # The other flow of the first browser.
        answer = as_page(await first.get(as_page(pages[2]).path))
        assert "already" in answer.text
    row = await fetchrow("SELECT count(*) AS n FROM authorization_code WHERE client_id = $1", client.client_id)
    assert row is not None
    assert row["n"] == 1


async def test_a_race(client: RelyingParty, browser: Browser, alice: User) -> None:
    await client.sign_in(browser, alice.email)
    request_uri = await client.push()
    answers = await asyncio.gather(*(authorize(client, browser, request_uri) for _ in range(10)))
    codes = [answer.parameters["code"] for answer in answers if isinstance(answer, Redirect)]
    assert len(codes) == 1


async def test_one_that_cannot_be_used(client: RelyingParty, make_client: MakeClient, browser: Browser) -> None:
    """Reused, expired, another client's, unknown: a page, because no redirect URI is known."""
    other = await make_client()
    request_uri = await client.push(prompt="none")
    assert_page(await authorize(other, browser, request_uri), "invalid_request_uri")
    # An error is an authorization response too.
    answer = await authorize(client, browser, request_uri)
    assert isinstance(answer, Redirect)
    check_error_redirect(answer.parameters, error="login_required", state="the-state", issuer=client.issuer)
    assert_page(await authorize(client, browser, request_uri), "invalid_request_uri")
    expired = await client.push()
    await execute("UPDATE pushed_request SET expires_at = now() WHERE request_uri_hash = $1", ids.digest(expired))
    assert_page(await authorize(client, browser, expired), "invalid_request_uri")
    for unknown in (f"{PREFIX}x", PREFIX, f"{PREFIX}{'x' * 3000}", request_uri.upper(), f"{request_uri} "):
        if unknown.startswith(PREFIX):
            assert_page(await authorize(client, browser, unknown), "invalid_request_uri")
    # It must name the client too (RFC 9126 section 4).
    assert_page(await browser.get("/authorize", request_uri=await client.push()), "invalid_request")


async def test_the_user_cancels(client: RelyingParty, browser: Browser) -> None:
    request_uri = await client.push()
    page = as_page(await authorize(client, browser, request_uri))
    answer = await browser.submit(page, "login-cancel")
    assert isinstance(answer, Redirect)
    check_error_redirect(answer.parameters, error="access_denied", state="the-state", issuer=client.issuer)
    assert_page(await authorize(client, browser, request_uri), "invalid_request_uri")


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"redirect_uri": None}, "invalid_request"),
        ({"redirect_uri": "https://app.example.com/callback/x"}, "invalid_request"),
        ({"response_type": None}, "invalid_request"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_mode": "pigeon"}, "invalid_request"),
        ({"scope": "nothing"}, "invalid_scope"),
        ({"code_challenge": None, "code_challenge_method": None}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"prompt": "none login"}, "invalid_request"),
        ({"resource": "https://api.example.com/unknown"}, "invalid_target"),
        ({"max_age": "soon"}, "invalid_request"),
        ({"claims": "{"}, "invalid_request"),
        ({"state": "x" * 3000}, "invalid_request"),
        ({"request_uri": f"{PREFIX}x"}, "invalid_request"),
        ({"request_uri": "https://app.example.com/object"}, "invalid_request"),
        ({"client_id": "another"}, "invalid_request"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else value,
)
async def test_what_is_refused(client: RelyingParty, changes: dict[str, str | None], error: str) -> None:
    """Section 2.3: as the authorization endpoint refuses it, as JSON, and nothing is stored."""
    response = await client.post("/par", **client.parameters(**changes))
    assert (response.status_code, response.json()["error"]) == (400, error)
    assert response.headers["cache-control"] == "no-store"
    assert not await fetch("SELECT FROM pushed_request WHERE client_id = $1", client.client_id)


async def test_client_authentication(client: RelyingParty, make_client: MakeClient, http: httpx.AsyncClient) -> None:
    """As at the token endpoint (section 2)."""
    url = f"{client.issuer}/par"
    for auth in (None, httpx.BasicAuth(client.client_id, "wrong")):
        response = await http.post(url, data=client.parameters(), auth=auth)
        assert (response.status_code, response.json()["error"]) == (401, "invalid_client")
    public = await make_client(token_endpoint_auth_method="none")
    assert (await public.push()).startswith(PREFIX)


async def test_other_requests(client: RelyingParty, http: httpx.AsyncClient) -> None:
    """Section 2.3: 405 for another method, 413 for a request that is too large."""
    url, auth = f"{client.issuer}/par", httpx.BasicAuth(client.client_id, client.client_secret or "")
    for method in ("GET", "PUT", "DELETE"):
        response = await http.request(method, url, auth=auth)
        assert response.status_code == 405
        assert response.headers["allow"] == "OPTIONS, POST"
    response = await http.post(url, data=client.parameters(extra="x" * 70_000), auth=auth)
    assert response.status_code == 413
    response = await http.post(url, content=json.dumps(client.parameters()), auth=auth)
    assert (response.status_code, response.json()["error"]) == (400, "invalid_request")


async def test_a_client_that_loses_its_redirect_uri(client: RelyingParty, browser: Browser) -> None:
    """What was registered when the request was pushed is checked again."""
    request_uri = await client.push()
    changed = "UPDATE pushed_request SET request = request || $2::jsonb WHERE request_uri_hash = $1"
    await execute(changed, ids.digest(request_uri), json.dumps({"redirect_uri": "https://app.example.com/removed"}))
    assert_page(await authorize(client, browser, request_uri), "invalid_client")


async def test_containment_ends_it(client: RelyingParty, browser: Browser) -> None:
    request_uri = await client.push()
    await incidents.contain_client(client.client_id, disable=False)
    assert_page(await authorize(client, browser, request_uri), "invalid_request_uri")


async def test_limits_for_public_and_self_registered_clients(
    make_client: MakeClient, start_server: Callable[..., Server], http: httpx.AsyncClient
) -> None:
    """Anybody can push for a public client, or register a client with a secret, and each request is a row."""
    public, confidential = await make_client(token_endpoint_auth_method="none"), await make_client()
    own = await make_client()
    await execute("UPDATE client SET origin = 'dynamic' WHERE client_id = $1", own.client_id)
    server = start_server(IDP_ADDRESS_LIMITS="true", IDP_REQUIRE_PUSHED_REQUESTS="true")
    public.issuer = confidential.issuer = own.issuer = server.issuer
    for limited in (public, own):
        # A slow machine may give some of the budget back meanwhile.
        for _ in range(6000):
            answer = await limited.post("/par", **limited.parameters())
            if answer.status_code != 201:
                break
        assert answer.status_code == 429
    assert (await confidential.post("/par", **confidential.parameters())).status_code == 201
    await _required(confidential, server, http)


async def _required(client: RelyingParty, server: Server, http: httpx.AsyncClient) -> None:
    """The setting for all clients (section 5), and what discovery says of it."""
    discovery = (await http.get(f"{server.issuer}/.well-known/openid-configuration")).json()
    assert discovery["require_pushed_authorization_requests"] is True
    assert discovery["pushed_authorization_request_endpoint"] == f"{server.issuer}/par"
    response = await http.get(f"{server.issuer}/authorize", params=client.parameters())
    assert response.status_code == 303
    parameters = Redirect(response.headers["location"]).parameters
    check_error_redirect(parameters, error="invalid_request", state="the-state", issuer=server.issuer)
