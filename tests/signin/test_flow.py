"""Sign-in flows: tabs do not interfere with each other, and finished flows lead somewhere."""

import asyncio
from collections.abc import Callable
from uuid import uuid4

import httpx
import pytest

from idp.accounts.tables import User
from idp.infra.db.engine import execute, fetchrow
from idp.oauth.clients.uris import origin_of
from idp.signin import limits
from idp.signin.browser import MAX_KEYS
from tests.conftest import MakeClient, MakeUser
from tests.support.bindings import waiting_of
from tests.support.browser import Browser, Page, Redirect, open_browser
from tests.support.oauth import PASSWORD, RelyingParty
from tests.support.server import Server

CLIENT_URI = "https://app.example.com/start"


def _page(answer: Page | Redirect) -> Page:
    assert isinstance(answer, Page), answer.location
    return answer


async def _finish(browser: Browser, page: Page, user: User) -> Redirect:
    answer = await browser.sign_in(page, user.email, PASSWORD)
    if isinstance(answer, Page) and "consent-allow" in answer.ids:
        answer = await browser.submit(answer, "consent-allow")
    assert isinstance(answer, Redirect), answer.text
    return answer


async def test_tabs_opened_at_the_same_time_in_a_fresh_browser(
    browser: Browser, client: RelyingParty, alice: User
) -> None:
    """The first requests carry no cookie yet; each tab can be finished, in any order, with its own state."""
    tabs = await asyncio.gather(*(client.authorize(browser, state=f"tab-{number}") for number in range(5)))
    for number, tab in reversed(list(enumerate(tabs))):
        answer = await _finish(browser, _page(tab), alice)
        assert answer.parameters["state"] == f"tab-{number}"
        assert "code" in answer.parameters


async def test_who_confirms_a_sign_in_is_offered_no_new_account(
    browser: Browser, client: RelyingParty, alice: User
) -> None:
    first = _page(await client.authorize(browser))
    assert "register" in first.ids
    await _finish(browser, first, alice)
    again = _page(await client.authorize(browser, prompt="login"))
    assert "Sign in again to continue" in again.text
    assert "register" not in again.ids


@pytest.mark.fault(20)
async def test_many_abandoned_tabs_have_one_cookie(browser: Browser, client: RelyingParty, alice: User) -> None:
    """The oldest one can still be finished."""
    first = _page(await client.authorize(browser, state="first"))
    for _ in range(40):
        await client.authorize(browser, prompt="login")
    assert len(browser.cookies) == 1
    assert (await _finish(browser, first, alice)).parameters["state"] == "first"
    # With the cookies of the session, its state and the device, and the new key of the next sign-in.
    assert _size(browser) < 350


@pytest.mark.fault(20)
async def test_forty_tabs_at_once_in_a_fresh_browser(browser: Browser, client: RelyingParty, alice: User) -> None:
    """The cookies of those that come first are kept to a bound; the newest tabs go on."""
    tabs = await asyncio.gather(*(client.authorize(browser, state=f"tab-{number}") for number in range(40)))
    assert len(browser.cookies) > MAX_KEYS
    newest = max(map(_page, tabs), key=lambda page: page.path)
    await client.authorize(browser)
    assert len(browser.cookies) == MAX_KEYS
    assert "code" in (await _finish(browser, newest, alice)).parameters
    assert _size(browser) < 1500


@pytest.mark.fault(20)
async def test_a_request_by_post_leaves_other_tabs_their_cookie(
    browser: Browser, client: RelyingParty, alice: User
) -> None:
    """It arrives without our cookies, as browsers send a POST of another site."""
    tab = _page(await client.authorize(browser, state="tab"))
    data = client.parameters(state="post", prompt="login")
    for _ in range(3):
        async with httpx.AsyncClient() as elsewhere:
            answer = await elsewhere.post(f"{client.issuer}/authorize", data=data)
        assert "set-cookie" not in answer.headers
        login = _page(await browser.get(answer.headers["location"]))
    assert len(browser.cookies) == 1
    async with open_browser(client.issuer) as other:
        assert _page(await other.get(answer.headers["location"])).status == 400
    assert (await _finish(browser, login, alice)).parameters["state"] == "post"
    assert (await _finish(browser, tab, alice)).parameters["state"] == "tab"


@pytest.mark.fault(11)
async def test_a_request_by_post_begins_where_a_browser_takes_it(
    browser: Browser, client: RelyingParty, alice: User
) -> None:
    """A sign-in between the POST and the GET does not count for it."""
    async with httpx.AsyncClient() as elsewhere:
        answer = await elsewhere.post(f"{client.issuer}/authorize", data=client.parameters(prompt="login"))
    await client.sign_in(browser, alice.email)
    assert "login-submit" in _page(await browser.get(answer.headers["location"])).ids


def _size(browser: Browser) -> int:
    return len("; ".join(f"{name}={value}" for name, value in browser.cookies.items()))


@pytest.mark.fault(14)
async def test_one_host_begins_a_bounded_number(
    start_server: Callable[..., Server], make_client: MakeClient, alice: User
) -> None:
    """Each request is two rows for an hour. A known device has its own limit."""
    server = await asyncio.to_thread(start_server, IDP_ADDRESS_LIMITS="true")
    client = await make_client(at=server)
    try:
        async with open_browser(server.issuer) as own, open_browser(server.issuer) as stranger:
            await client.sign_in(own, alice.email)
            _page(await client.authorize(stranger))
            await execute(
                "UPDATE throttle SET free_at = now() + interval '1 hour' WHERE rule = $1", limits.FLOWS_OF_HOST.name
            )
            before = await _rows()
            for attempt in (
                client.authorize(stranger),
                stranger.get("/login"),
                stranger.get("/account/security"),
                stranger.get("/admin"),
                stranger.post("/authorize", client.parameters(), origin="https://app.example.com"),
            ):
                refused = _page(await attempt)
                assert refused.status == 429
                assert int(refused.response.headers["retry-after"]) > 0
            assert await _rows() == before
            assert "login-submit" in _page(await client.authorize(own, prompt="login")).ids
            # A signed-in user needs no row.
            assert isinstance(await client.authorize(own), Redirect)
    finally:
        await execute("DELETE FROM throttle")


async def _rows() -> list[int]:
    row = await fetchrow("SELECT (SELECT count(*) FROM signin_flow), (SELECT count(*) FROM authorization_request)")
    assert row is not None
    return list(row)


@pytest.mark.fault(24)
async def test_a_tab_goes_on_with_the_session_of_another_one(
    browser: Browser, client: RelyingParty, alice: User
) -> None:
    tabs = [
        _page(await client.authorize(browser, state=f"tab-{number}", **changes))
        for number, changes in enumerate([{}, {"prompt": "login"}, {"max_age": "100"}])
    ]
    await _finish(browser, _page(await client.authorize(browser)), alice)
    for number, tab in enumerate(tabs):
        for path in (tab.path, f"{tab.path}/password") if number else (f"{tab.path}/email_code",):
            answer = await browser.get(path)
            if isinstance(answer, Redirect):
                assert answer.parameters["state"] == f"tab-{number}"
                assert "code" in answer.parameters
                break
        else:
            raise AssertionError("The tab asks for the password again.")


@pytest.mark.fault(24)
async def test_a_session_that_is_not_enough_does_not_go_round_in_circles(
    browser: Browser, client: RelyingParty, alice: User, make_user: MakeUser
) -> None:
    """An older session than required, that of another user, and one of a lower level."""
    tab = _page(await client.authorize(browser, claims=f'{{"id_token": {{"sub": {{"value": "{alice.id}"}}}}}}'))
    stepped = _page(await client.authorize(browser, acr_values="2"))
    await client.sign_in(browser, (await make_user()).email)
    other = await browser.get(tab.path)
    assert isinstance(other, Redirect)
    assert other.parameters["error"] == "login_required"
    assert isinstance(await browser.get(stepped.path), Redirect)
    for changes in ({"prompt": "login"}, {"max_age": "0"}):
        again = _page(await client.authorize(browser, **changes))
        assert "login-submit" in again.ids
        assert "login-submit" in _page(await browser.get(again.path)).ids


@pytest.mark.fault(24)
async def test_an_invitation_survives_a_sign_in_in_another_tab(
    browser: Browser, client: RelyingParty, alice: User
) -> None:
    """An invitation is not lost by a sign-in in another tab."""
    tab = _page(await client.authorize(browser))
    await execute(
        "UPDATE signin_flow SET registration = $2 WHERE id = $1",
        tab.path.split("/")[2], f'{{"invitation_id": "{uuid4()}"}}',
    )  # fmt: skip
    await client.sign_in(browser, alice.email)
    assert "login-submit" in _page(await browser.get(tab.path)).ids


@pytest.mark.fault(24)
async def test_blocked_cookies_are_told_apart(browser: Browser, client: RelyingParty, alice: User) -> None:
    page = _page(await client.authorize(browser))
    kept = dict(browser.cookies)
    browser.cookies.clear()
    for path in (page.path, f"/authorize/{await waiting_of(page.path.split('/')[2])}"):
        answer = _page(await browser.get(path))
        assert answer.status == 400
        assert "did not send our cookie" in answer.text
        assert answer.forms == []
    async with open_browser(client.issuer) as other:
        await other.get("/login")
        assert "in another browser" in _page(await other.get(page.path)).text
    browser.cookies.update(kept)
    await execute("UPDATE signin_flow SET expires_at = now() WHERE id = $1", page.path.split("/")[2])
    await execute("UPDATE authorization_request SET expires_at = now()")
    assert "expired" in _page(await browser.get(page.path)).text
    browser.cookies.clear()
    assert "expired" in _page(await browser.get(page.path)).text


async def test_a_wrong_password_keeps_the_flow(browser: Browser, client: RelyingParty, alice: User) -> None:
    page = _page(await client.authorize(browser))
    for _ in range(3):
        page = _page(await browser.sign_in(page, alice.email, "not her password"))
        assert f'value="{alice.email}"' in page.text
        assert 'role="alert"' in page.text
    assert "code" in (await _finish(browser, page, alice)).parameters


async def test_an_expired_request_shows_a_way_out(browser: Browser, client: RelyingParty, alice: User) -> None:
    page = _page(await client.authorize(browser))
    await execute("UPDATE authorization_request SET expires_at = now() WHERE finished_at IS NULL")
    answer = _page(await browser.sign_in(page, alice.email, PASSWORD))
    assert answer.status == 400
    assert "expired" in answer.text
    assert f'href="{origin_of(client.redirect_uri)}"' in answer.text


async def test_an_expired_sign_in_starts_again(browser: Browser, client: RelyingParty, alice: User) -> None:
    """While its request is live."""
    page = _page(await client.authorize(browser))
    await execute("UPDATE signin_flow SET expires_at = now() WHERE finished_at IS NULL")
    again = _page(await browser.sign_in(page, alice.email, PASSWORD))
    assert "login-submit" in again.ids
    assert again.path != page.path
    assert "code" in (await _finish(browser, again, alice)).parameters


@pytest.mark.fault(24)
async def test_the_back_button_after_the_end(browser: Browser, make_client: MakeClient, alice: User) -> None:
    """It leads to the application, which has the response."""
    client = await make_client(client_uri=CLIENT_URI)
    page = _page(await client.authorize(browser))
    cookies = dict(browser.cookies)
    await _finish(browser, page, alice)
    browser.cookies.update(cookies | browser.cookies)
    again = _page(await browser.get(page.path))
    assert "already finished" in again.text
    assert f'href="{CLIENT_URI}"' in again.text
    assert "Continue to Test client" in again.text
    # A second click of the button that signed in leads there too.
    again = _page(await browser.sign_in(page, alice.email, PASSWORD))
    assert again.status == 400
    assert f'href="{CLIENT_URI}"' in again.text


async def test_signing_in_for_its_own_sake(browser: Browser, alice: User) -> None:
    page = _page(await browser.get("/login"))
    assert "login-cancel" not in page.ids
    home = _page(await browser.sign_in(page, alice.email, PASSWORD))
    assert home.path == "/"
    assert alice.email in home.text
    assert _page(await browser.get("/login")).path == "/"


async def test_switching_the_user_on_the_consent_page(
    browser: Browser, client: RelyingParty, alice: User, make_user: object
) -> None:
    bob = await make_user()  # type: ignore[operator]
    page = _page(await client.authorize(browser))
    consent = _page(await browser.sign_in(page, alice.email, PASSWORD))
    form = next(form for form in consent.forms if ("action", "switch") in form.buttons.values())
    login = _page(await browser.post(form.action, form.fields | {"action": "switch"}))
    answer = await _finish(browser, login, bob)
    tokens = (await client.redeem(answer.parameters["code"])).json()
    assert (await client.userinfo(tokens["access_token"])).json()["sub"] == str(bob.id)
