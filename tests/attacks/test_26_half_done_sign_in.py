"""Row 26: a sign-in without its second step gives no access, at any route."""

from collections.abc import AsyncIterator

import pytest

from idp.accounts.tables import User
from idp.http.access import Access
from idp.infra.db.engine import fetch
from idp.signin.csrf import form_token
from idp.signin.transitions import Step
from tests.support.bindings import binding_of
from tests.support.browser import Browser, Redirect, as_page
from tests.support.oauth import PASSWORD, RelyingParty
from tests.support.person import Person, equip
from tests.support.routes import Route, routes

BROWSERS = [route for route in routes() if route.access in (Access.PAGE, Access.ENTRY, Access.BEARER)]
UUID = "00000000-0000-7000-8000-000000000000"


@pytest.fixture
async def person(alice: User, browser: Browser) -> Person:
    return await equip(alice, browser.issuer, [Step.TOTP], two_step=True)


@pytest.fixture
async def half(browser: Browser, person: Person) -> AsyncIterator[Browser]:
    """Alice's browser after the password, before the second step."""
    page = as_page(await browser.sign_in(as_page(await browser.get("/login")), person.user.email, PASSWORD))
    assert "totp-submit" in page.ids
    yield browser
    assert not browser.signed_in
    assert not await fetch("SELECT 1 FROM session WHERE user_id = $1", person.user.id)


@pytest.mark.parametrize("route", BROWSERS, ids=str)
async def test_26_at_every_route(half: Browser, person: Person, route: Route) -> None:
    """The responses reveal nothing of the user, and redirect to a sign-in if one is required."""
    (row,) = await fetch("SELECT id FROM signin_flow WHERE user_id = $1", person.user.id)
    flow_id, secret = row["id"], binding_of(half, row["id"]).secret
    values = dict.fromkeys(("passkey_id", "session_id", "identity_id"), UUID)
    request_id = UUID if "{request_id:uuid}" in route.path else flow_id
    url = half.issuer + route.url(flow_id=flow_id, step="enrol", request_id=request_id, **values)
    data = {"csrf_token": form_token(secret, "login" if "/login/" in route.path else "account"), "action": "skip"}
    if route.path == "/login/{flow_id:str}" and route.method == "POST":
        data["csrf_token"] = ""  # It would only end the flow.
    answer = await half.client.request(
        route.method, url, data=data if route.method == "POST" else None, headers={"Origin": half.issuer}
    )
    assert answer.status_code < 500
    if route.path.startswith("/account"):
        assert answer.status_code == 303
        assert answer.headers["location"].startswith("/login/")
    if route.access is Access.BEARER:
        # Shared signals and SCIM are off.
        assert answer.status_code == (404 if route.path.startswith(("/ssf/", "/scim/")) else 401)
    assert person.user.email not in answer.text
    assert str(person.user.id) not in answer.text


async def test_26_no_code_for_a_client(half: Browser, client: RelyingParty) -> None:
    for changes in ({"prompt": "none"}, {"prompt": "none", "acr_values": "1"}, {"prompt": "none", "max_age": "9999"}):
        answer = await client.authorize(half, **changes)
        assert isinstance(answer, Redirect)
        assert answer.parameters["error"] == "login_required"


async def test_26_a_session_of_lower_level(browser: Browser, person: Person, client: RelyingParty) -> None:
    """A user whose session has a lower level gets no more before the missing step."""
    await equip(person.user, browser.issuer, [], two_step=False)
    await client.sign_in(browser, person.user.email)
    page = as_page(await client.authorize(browser, acr_values="2"))
    assert "totp-submit" in page.ids
    answer = await client.authorize(
        browser, prompt="none", claims='{"id_token": {"acr": {"essential": true, "values": ["2"]}}}'
    )
    assert isinstance(answer, Redirect)
    assert "error" in answer.parameters
    (session,) = await fetch("SELECT acr FROM session WHERE user_id = $1", person.user.id)
    assert session["acr"] == "1"
