"""Row 50: a session's cookie is new at every sign-in, and worth nothing before and after."""

from http.cookies import SimpleCookie

from idp.accounts.tables import User
from idp.db.engine import fetchrow
from idp.ids import digest
from tests.conftest import MakeClient, MakeUser
from tests.support.browser import Browser, Page, Redirect, open_browser
from tests.support.oauth import RelyingParty
from tests.support.tour import tour

SESSION = "__Host-session"


async def _signed_in_as(browser: Browser) -> str:
    page = await browser.get("/")
    assert isinstance(page, Page)
    return page.text


async def test_50_a_preset_cookie_is_replaced(browser: Browser, client: RelyingParty, alice: User) -> None:
    browser.cookies[SESSION] = "set-by-an-attacker"
    await client.sign_in(browser, alice.email)
    assert browser.cookies[SESSION] != "set-by-an-attacker"
    async with open_browser(client.issuer) as attacker:
        attacker.cookies[SESSION] = "set-by-an-attacker"
        assert alice.email not in await _signed_in_as(attacker)


async def test_50_signing_in_again_makes_a_new_value(browser: Browser, client: RelyingParty, alice: User) -> None:
    """The session stays the same one, its old value ends."""
    await client.sign_in(browser, alice.email)
    old = browser.cookies[SESSION]
    before = await fetchrow("SELECT id FROM session WHERE token_hash = $1", digest(old))
    await client.sign_in(browser, alice.email, prompt="login")
    new = browser.cookies[SESSION]
    assert new != old
    after = await fetchrow("SELECT id FROM session WHERE token_hash = $1", digest(new))
    assert before == after
    async with open_browser(client.issuer) as attacker:
        attacker.cookies[SESSION] = old
        assert alice.email not in await _signed_in_as(attacker)
    assert alice.email in await _signed_in_as(browser)


async def test_50_another_user_gets_another_session(
    browser: Browser, client: RelyingParty, make_user: MakeUser, alice: User
) -> None:
    """An attacker's session planted in the victim's browser does not become the victim's."""
    attacker = await make_user()
    await client.sign_in(browser, attacker.email)
    planted = browser.cookies[SESSION]
    await client.sign_in(browser, alice.email, prompt="login")
    async with open_browser(client.issuer) as other:
        other.cookies[SESSION] = planted
        text = await _signed_in_as(other)
        assert alice.email not in text
        assert attacker.email not in text


async def test_50_a_stale_cookie_cannot_extend_a_session(browser: Browser, client: RelyingParty, alice: User) -> None:
    """A flow begun before does not bring an ended session back."""
    tokens = await client.tokens(browser, alice.email)
    stale = browser.cookies[SESSION]
    page = await client.authorize(browser, prompt="login")
    assert isinstance(page, Page)
    await browser.get("/logout", id_token_hint=tokens["id_token"])
    browser.cookies[SESSION] = stale
    answer = await client.authorize(browser, prompt="none")
    assert isinstance(answer, Redirect)
    assert answer.parameters["error"] == "login_required"


async def test_50_a_flow_of_another_browser(browser: Browser, client: RelyingParty, alice: User) -> None:
    """Login CSRF by a link: the victim cannot be sent into a flow that the attacker started, nor take part in it."""
    page = await client.authorize(browser)
    assert isinstance(page, Page)
    async with open_browser(client.issuer) as victim:
        answer = await victim.get(page.path)
        assert isinstance(answer, Page)
        assert answer.status == 400
        assert "login-submit" not in answer.ids


async def test_50_every_cookie_of_every_page(browser: Browser, make_client: MakeClient, alice: User) -> None:
    client = await make_client(post_logout_redirect_uris=["https://app.example.com/bye"])
    seen = await tour(browser, client, alice.email)
    headers = [header for response in seen.responses for header in response.headers.get_list("set-cookie")]
    assert len(headers) > 5
    for header in headers:
        ((name, cookie),) = SimpleCookie(header).items()
        assert name.startswith("__Host-")
        assert (cookie["secure"], cookie["httponly"], cookie["path"], cookie["domain"]) == (True, True, "/", "")
        assert cookie["samesite"].lower() in ("lax", "strict")
