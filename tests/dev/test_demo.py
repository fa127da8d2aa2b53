"""The demo client signs in like any other client, explains errors, and exists in development mode only."""

from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from idp.dev.demo import MAX_VISITORS
from idp.dev.seed import EMAIL
from tests.support.browser import Browser, Page, open_browser
from tests.support.server import Server


async def get(visitor: Browser, path: str, **query: str) -> Page:
    page = await visitor.get(path, **query)
    assert isinstance(page, Page)
    return page


async def submit(visitor: Browser, page: Page, button: str, **fields: str) -> Page:
    answer = await visitor.submit(page, button, **fields)
    assert isinstance(answer, Page)
    return answer


async def to_consent(visitor: Browser, password: str, **query: str) -> Page:
    page = await get(visitor, "/demo/login", **query)
    if "login-submit" in page.ids:
        page = await submit(visitor, page, "login-submit", username=EMAIL, password=password)
    return page


async def sign_in(visitor: Browser, password: str, **query: str) -> Page:
    page = await to_consent(visitor, password, **query)
    if "consent-allow" in page.ids:
        page = await submit(visitor, page, "consent-allow")
    assert page.path == "/demo"
    return page


def raw_token(page: Page, id: str) -> str:
    """Return the encoded token, which is the last element of its card."""
    card = page.text.partition(f'id="{id}"')[2].partition("</section>")[0]
    return card.rpartition("<pre")[2].partition(">")[2].partition("<")[0]


async def test_verified_tokens_and_sign_out(visitor: Browser, secrets_of_demo: dict[str, str]) -> None:
    page = await sign_in(visitor, secrets_of_demo["password"])
    assert {"demo-id-token", "demo-access-token", "demo-userinfo"} <= page.ids
    assert page.text.count("Verified") >= 2
    assert EMAIL in page.text

    out = await submit(visitor, page, "demo-logout")
    assert out.path == "/demo"
    assert "demo-login" in out.ids
    assert "login_required" in (await get(visitor, "/demo/login", prompt="none")).text


async def test_a_refresh_shows_the_new_tokens_and_the_old_ones(
    visitor: Browser, secrets_of_demo: dict[str, str]
) -> None:
    page = await sign_in(visitor, secrets_of_demo["password"])
    for count in (1, 2):
        refreshed = await submit(visitor, page, "demo-refresh")
        assert f'<span id="demo-refresh-count">{count}</span>' in refreshed.text
        for kind in ("access", "refresh"):
            old, new = raw_token(page, f"demo-{kind}-token"), raw_token(refreshed, f"demo-{kind}-token")
            assert new.count(".") == 2
            assert new != old
            assert raw_token(refreshed, f"demo-previous-{kind}-token") == old
        page = refreshed


async def test_a_refusal_is_explained_and_can_be_tried_again(visitor: Browser, secrets_of_demo: dict[str, str]) -> None:
    page = await to_consent(visitor, secrets_of_demo["password"], prompt="consent")
    denied = await submit(visitor, page, "consent-deny")
    assert denied.path == "/demo"
    assert denied.status == 200
    assert "access_denied" in denied.text
    assert "demo-login" in denied.ids
    # The message is shown once.
    assert "access_denied" not in (await get(visitor, "/demo")).text
    assert "demo-id-token" in (await sign_in(visitor, secrets_of_demo["password"])).ids


async def test_lost_secrets_are_explained(visitor: Browser, folder: Path, secrets_of_demo: dict[str, str]) -> None:
    kept = (folder / "data" / "demo.json").rename(folder / "away.json")
    try:
        page = await get(visitor, "/demo/login")
        assert page.path == "/demo"
        assert "Restart the server" in page.text
        assert (await get(visitor, "/")).status == 200
    finally:
        kept.rename(folder / "data" / "demo.json")


async def test_a_response_that_it_did_not_ask_for_is_refused(visitor: Browser, dev: Server) -> None:
    page = await get(visitor, "/demo/callback", code="stolen", state="made-up", iss=dev.issuer)
    assert "did not start that sign-in" in page.text
    assert "demo-login" in page.ids


async def test_a_response_that_another_browser_asked_for_is_refused(visitor: Browser, dev: Server) -> None:
    """Log-in CSRF: a code is not accepted from the address of another user."""
    async with open_browser(dev.issuer) as other:
        state = await begun(other, dev)
    page = await get(visitor, "/demo/callback", code="theirs", state=state, iss=dev.issuer)
    assert "did not start that sign-in" in page.text


async def begun(visitor: Browser, dev: Server) -> str:
    """Return the state of a sign-in that was just started."""
    response = await visitor.client.get(f"{dev.issuer}/demo/login")
    return parse_qs(urlsplit(response.headers["location"]).query)["state"][0]


async def test_a_response_of_another_issuer_is_refused(visitor: Browser, dev: Server) -> None:
    """The mix-up that RFC 9207 is about, seen from the client's side."""
    state = await begun(visitor, dev)
    page = await get(visitor, "/demo/callback", code="a-code", state=state, iss="https://elsewhere.example.com")
    assert "another issuer" in page.text


async def test_a_wrong_code_is_explained(visitor: Browser, dev: Server) -> None:
    page = await get(visitor, "/demo/callback", code="wrong", state=await begun(visitor, dev), iss=dev.issuer)
    assert "invalid_grant" in page.text
    assert "demo-login" in page.ids


@pytest.mark.parametrize("path", ["/demo/refresh", "/demo/logout"])
async def test_forms_need_their_token_and_our_origin(
    visitor: Browser, secrets_of_demo: dict[str, str], path: str
) -> None:
    page = await sign_in(visitor, secrets_of_demo["password"])
    token = page.forms[0].fields["csrf_token"]
    for fields, origin in (({"csrf_token": "guessed"}, "own"), ({"csrf_token": token}, "https://evil.example")):
        answer = await visitor.post(path, fields, origin=origin)
        assert isinstance(answer, Page)
        assert answer.status == 400
    assert "demo-id-token" in (await get(visitor, "/demo")).ids


async def test_the_number_of_browsers_is_limited(visitor: Browser, dev: Server, http: httpx.AsyncClient) -> None:
    state = await begun(visitor, dev)
    for _ in range(MAX_VISITORS):
        await http.get(f"{dev.issuer}/demo")
    page = await get(visitor, "/demo/callback", code="a-code", state=state, iss=dev.issuer)
    assert "did not start that sign-in" in page.text


@pytest.mark.parametrize(
    "path", ["/demo", "/demo/login", "/demo/callback", "/dev/mail", "/dev/mail/1", "/dev/mail/1/raw"]
)
async def test_none_of_it_exists_in_production(server: Server, http: httpx.AsyncClient, path: str) -> None:
    assert (await http.get(f"{server.issuer}{path}")).status_code == 404


@pytest.mark.parametrize("path", ["/demo/refresh", "/demo/logout"])
async def test_the_forms_do_not_exist_in_production(server: Server, http: httpx.AsyncClient, path: str) -> None:
    response = await http.post(f"{server.issuer}{path}", data={"a": "b"}, headers={"Origin": server.issuer})
    assert response.status_code == 404
