"""Row 51: no other site's page can post to ours, to sign somebody in or otherwise."""

import pytest

from idp.accounts.tables import User
from tests.conftest import MakeClient
from tests.support.browser import Browser, Page, open_browser
from tests.support.oauth import PASSWORD, RelyingParty
from tests.support.routes import Route, posts_of_pages
from tests.support.server import Server

FOREIGN = [None, "null", "https://evil.example.com", "http://localhost", "http://localhost.evil.example", ""]


@pytest.mark.parametrize("route", posts_of_pages(), ids=str)
@pytest.mark.parametrize("origin", FOREIGN)
async def test_51_a_form_of_another_site(browser: Browser, server: Server, route: Route, origin: str | None) -> None:
    page = await browser.post(route.url(), {"action": "login", "csrf_token": "x"}, origin=origin)
    assert isinstance(page, Page)
    assert page.status == 400
    assert "another site" in page.text
    assert "set-cookie" not in page.response.headers


def test_51_there_are_routes_to_protect() -> None:
    assert {route.path for route in posts_of_pages()} >= {"/login/{flow_id:str}", "/logout/confirm"}


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("text/plain", '{"username":"a","password":"b","action":"login"}'),
        ("application/json", '{"username":"a","password":"b","action":"login"}'),
        (
            "multipart/form-data; boundary=x",
            '--x\r\nContent-Disposition: form-data; name="action"\r\n\r\nlogin\r\n--x--',
        ),
        ("", "action=login"),
    ],
)
async def test_51_another_content_type(browser: Browser, client: RelyingParty, content_type: str, body: str) -> None:
    page = await client.authorize(browser)
    assert isinstance(page, Page)
    headers = {"Origin": client.issuer} | ({"Content-Type": content_type} if content_type else {})
    response = await browser.client.post(page.url, content=body, headers=headers)
    assert response.status_code == 400
    assert "set-cookie" not in response.headers


async def test_51_the_forms_token(browser: Browser, client: RelyingParty, alice: User) -> None:
    """Missing, made up, of another flow, or of another browser."""
    page, other = await client.authorize(browser), await client.authorize(browser)
    async with open_browser(client.issuer) as attacker:
        foreign = await client.authorize(attacker)
    assert isinstance(page, Page)
    assert isinstance(other, Page)
    assert isinstance(foreign, Page)
    good = {"action": "login", "username": alice.email, "password": PASSWORD}
    tokens = [None, "", "0" * 64, other.forms[0].fields["csrf_token"], foreign.forms[0].fields["csrf_token"]]
    for token in tokens:
        answer = await browser.post(page.path, good | ({} if token is None else {"csrf_token": token}))
        assert isinstance(answer, Page)
        assert answer.status == 400
        assert "__Host-session" not in browser.cookies
    answer = await browser.post(page.path, good | {"csrf_token": page.forms[0].fields["csrf_token"]})
    assert isinstance(answer, Page)
    assert "consent-allow" in answer.ids


async def test_51_consent_shown_to_another_user(
    browser: Browser, make_client: MakeClient, alice: User, make_user: object
) -> None:
    """A consent form counts for the person that it was shown to."""
    client = await make_client()
    page = await client.authorize(browser)
    assert isinstance(page, Page)
    consent = await browser.sign_in(page, alice.email, PASSWORD)
    assert isinstance(consent, Page)
    form = next(form for form in consent.forms if "consent-allow" in form.buttons)
    bob = await make_user()  # type: ignore[operator]
    await browser.submit(consent, next(iter(b for f in consent.forms for b in f.buttons if "switch" in f.buttons[b])))
    other = await browser.get("/login")
    if isinstance(other, Page) and "login-submit" in other.ids:
        await browser.sign_in(other, bob.email, PASSWORD)
    else:
        relogin = await client.authorize(browser, prompt="login")
        assert isinstance(relogin, Page)
        await browser.sign_in(relogin, bob.email, PASSWORD)
    answer = await browser.post(consent.path, form.fields | {"action": "allow"})
    assert isinstance(answer, Page)
    assert answer.status == 400
