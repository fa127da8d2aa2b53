"""Attributes that an application requires: asked for at the end of a sign-in, and once."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from idp.accounts.attributes import declaration, service
from idp.accounts.attributes.models import StoredAttribute
from idp.accounts.tables import User
from idp.infra.db.engine import execute, fetch, fetchrow
from idp.signin.transitions import Step
from tests.conftest import MakeClient, MakeUser
from tests.support.attributes import Declare, shown_on
from tests.support.browser import Browser, Page, Redirect, as_page
from tests.support.mailbox import Mailbox
from tests.support.oauth import PASSWORD, RelyingParty
from tests.support.person import equip
from tests.support.tokens import claims_of

OWN: dict[str, Any] = {"editable_by": ["person"]}
Require = Callable[..., Awaitable[StoredAttribute]]


@pytest.fixture
async def client(make_client: MakeClient) -> RelyingParty:
    return await make_client(skip_consent=True)


@pytest.fixture
def require(declare: Declare, client: RelyingParty, browser: Browser, make_user: MakeUser) -> Require:
    """Declare an attribute that the client requires, and wait until the server knows it."""

    async def make(type: str = "string", **declared: Any) -> StoredAttribute:
        one = await declare(type, **(OWN | {"required_for": [client.client_id]} | declared))
        user = await make_user()
        await browser.sign_in(as_page(await browser.get("/login")), user.email, PASSWORD)
        await shown_on(browser, "/account", f"attributes.{one.name}")
        browser.cookies.clear()
        return one

    return make


def code_of(answer: Page | Redirect) -> str:
    assert isinstance(answer, Redirect), answer.text
    return answer.parameters["code"]


async def test_they_are_asked_for_once(require: Require, client: RelyingParty, browser: Browser, alice: User) -> None:
    badge = await require("integer", label={"default": "Badge", "de": "Ausweis"}, minimum=1)
    team = await require("choice", choices=["red", "blue"], multivalued=True, label={"default": "Team"})
    page = as_page(await browser.sign_in(as_page(await client.authorize(browser)), alice.email, PASSWORD))
    assert page.path.startswith("/login/")
    assert "attributes-submit" in page.ids
    assert "Badge" in page.text
    assert f'name="attributes.{badge.name}"' in page.text
    # Nobody is signed in before, and nothing else may be taken.
    assert not browser.signed_in
    assert as_page(await browser.get(f"{page.path}/totp")).path == page.path
    token = next(form for form in page.forms if "attributes-submit" in form.buttons).fields["csrf_token"]
    form = {"csrf_token": token, "attributes": f"{badge.name} {team.name}", f"attributes.{badge.name}": "7"}
    path = f"{page.path}/attributes"
    for wrong, said in (
        ({}, "Team: Enter a value."),
        ({f"attributes.{badge.name}": "0"}, "Badge: This must be 1 or more."),
        ({"attributes": ""}, "Enter a value."),
    ):
        refused = as_page(await browser.post(path, form | wrong))
        assert refused.status == 400
        assert said in refused.text
        assert not browser.signed_in
    assert await service.values(alice.id) == {}
    in_german = await browser.client.get(f"{browser.issuer}{page.path}", headers={"Accept-Language": "de"})
    assert "Ausweis" in in_german.text
    answer = await browser.post(path, form | {f"attributes.{team.name}.1": "on"})
    tokens = (await client.redeem(code_of(answer))).json()
    claims = claims_of(tokens["id_token"])
    assert (claims["amr"], claims["acr"]) == (["pwd"], "1")
    assert await service.values(alice.id) == {badge.name: 7, team.name: ["blue"]}
    (session,) = await fetch("SELECT steps FROM session WHERE user_id = $1", alice.id)
    assert session["steps"] == ["password pwd"]
    events = await fetch("SELECT event FROM audit_event WHERE user_id = $1 ORDER BY id", alice.id)
    assert [row["event"] for row in events].count("attributes_changed") == 1
    # From now on nothing is asked.
    code_of(await client.authorize(browser))
    browser.cookies.clear()
    code_of(await browser.sign_in(as_page(await client.authorize(browser)), alice.email, PASSWORD))


async def test_a_session_that_is_there_continues(
    require: Require, client: RelyingParty, browser: Browser, alice: User, make_client: MakeClient
) -> None:
    """A new client requires it, or it is required since the sign-in. That is no new authentication."""
    one = await require()
    other = await make_client(skip_consent=True)
    await other.sign_in(browser, alice.email)
    await execute("UPDATE session SET auth_time = now() - interval '1 hour' WHERE user_id = $1", alice.id)
    (before,) = await fetch("SELECT id, expires_at FROM session WHERE user_id = $1", alice.id)
    silent = await client.authorize(browser, prompt="none")
    assert isinstance(silent, Redirect)
    assert silent.parameters["error"] == "interaction_required"
    page = as_page(await client.authorize(browser))
    assert "attributes-submit" in page.ids
    assert "login-submit" not in page.ids
    code = code_of(await browser.submit(page, "attributes-submit", **{f"attributes.{one.name}": "x"}))
    claims = claims_of((await client.redeem(code)).json()["id_token"])
    row = await fetchrow("SELECT extract(epoch FROM now())::bigint AS now")
    assert row is not None
    assert 3500 < row["now"] - claims["auth_time"] < 3700
    (after,) = await fetch("SELECT id, expires_at FROM session WHERE user_id = $1 AND ended_at IS NULL", alice.id)
    assert dict(after) == dict(before)
    # The form is no proof: a request for a new sign-in still gets one.
    assert "login-submit" in as_page(await client.authorize(browser, prompt="login")).ids
    assert "login-submit" in as_page(await client.authorize(browser, max_age="60")).ids
    code_of(await client.authorize(browser, prompt="none"))


async def test_the_user_may_go_back(require: Require, client: RelyingParty, browser: Browser, alice: User) -> None:
    await require()
    page = as_page(await browser.sign_in(as_page(await client.authorize(browser)), alice.email, PASSWORD))
    answer = await browser.submit(page, "login-cancel")
    assert isinstance(answer, Redirect)
    assert answer.parameters["error"] == "access_denied"
    assert not browser.signed_in


async def test_the_second_factor_comes_first(
    require: Require, client: RelyingParty, browser: Browser, alice: User
) -> None:
    one = await require()
    person = await equip(alice, browser.issuer, [Step.TOTP], two_step=True)
    step = as_page(await browser.sign_in(as_page(await client.authorize(browser)), alice.email, PASSWORD))
    assert "totp-submit" in step.ids
    # The attributes of somebody else cannot be set with a password alone.
    token = next(form for form in step.forms if "totp-submit" in form.buttons).fields["csrf_token"]
    form = {"csrf_token": token, "attributes": one.name, f"attributes.{one.name}": "stolen"}
    await browser.post(f"{step.path}/attributes", form)
    assert await service.values(alice.id) == {}
    page = as_page(await browser.submit(step, "totp-submit", code=await person.otp()))
    assert "attributes-submit" in page.ids
    code = code_of(await browser.submit(page, "attributes-submit", **{f"attributes.{one.name}": "x"}))
    assert claims_of((await client.redeem(code)).json()["id_token"])["amr"] == ["pwd", "otp", "mfa"]


async def test_only_what_people_may_enter_is_asked(
    require: Require, client: RelyingParty, browser: Browser, alice: User
) -> None:
    one = await require()
    page = as_page(await browser.sign_in(as_page(await client.authorize(browser)), alice.email, PASSWORD))
    assert "attributes-submit" in page.ids
    await declaration.update(one.name, required_for=[], editable_by=[])
    # There is nothing to ask for any more: the request begins anew.
    again = as_page(await browser.get(page.path))
    assert "login-submit" in again.ids
    code_of(await browser.sign_in(again, alice.email, PASSWORD))


async def test_an_app_sends_the_user_to_a_browser(
    require: Require, declare: Declare, make_client: MakeClient, alice: User
) -> None:
    await require(required_for=["*"])
    app = await make_client(authorization_challenge=True, skip_consent=True)
    asked = {name: value for name, value in app.parameters().items() if name not in ("redirect_uri", "response_type")}
    answer = await app.post("/challenge", **(asked | {"username": alice.email, "password": PASSWORD}))
    assert answer.status_code == 400
    assert (answer.json()["error"], answer.json()["steps"]) == ("redirect_to_web", ["attributes"])


async def _form(browser: Browser) -> Page:
    return as_page(await browser.get(f"{as_page(await browser.get('/login')).path}/registration"))


def _asked(page: Page) -> list[str]:
    """Return the attributes that a form asks for."""
    return [name for form in page.forms for name in form.fields.get("attributes", "").split()]


@pytest.fixture
async def registered(declare: Declare, browser: Browser) -> AsyncIterator[Require]:
    """Declare an attribute that the registration page asks for. The server has forgotten it after the test."""
    names: list[str] = []

    async def make(type: str = "string", **declared: Any) -> StoredAttribute:
        one = await declare(type, **(OWN | declared))
        names.append(one.name)
        async with asyncio.timeout(20):
            while one.name not in _asked(await _form(browser)):
                await asyncio.sleep(0.02)
        return one

    yield make
    for name in names:
        await declaration.delete(name)
    async with asyncio.timeout(20):
        while not set(names).isdisjoint(_asked(await _form(browser))):
            await asyncio.sleep(0.02)


async def test_registration_asks_for_them(registered: Require, browser: Browser, mailbox: Mailbox) -> None:
    size = await registered("integer", registration="required", label={"default": "Shoe size"}, maximum=60)
    team = await registered("choice", multivalued=True, choices=["red", "blue"], registration="optional")
    email = f"{secrets.token_hex(6)}@example.com"
    page = await _form(browser)
    assert f'<label for="attributes.{size.name}">Shoe size</label>' in page.text
    assert f'{team.name} <span class="soft">(optional)</span></legend>' in page.text
    form = next(form for form in page.forms if "register-submit" in form.buttons)
    assert set(_asked(page)) == {size.name, team.name}
    entered = {"csrf_token": form.fields["csrf_token"], "attributes": form.fields["attributes"], "username": email,
               "name": "New", "password": PASSWORD, f"attributes.{team.name}.1": "on"}  # fmt: skip
    for wrong in ({}, {f"attributes.{size.name}": "99"}, {f"attributes.{size.name}": "7", "attributes": "x"}):
        refused = as_page(await browser.post(form.action, entered | wrong))
        assert refused.status == 400
        assert "Shoe size: " in refused.text
        assert f'value="{email}"' in refused.text
    assert 'value="99"' in as_page(await browser.post(form.action, entered | {f"attributes.{size.name}": "99"})).text
    sent = as_page(await browser.post(form.action, entered | {f"attributes.{size.name}": "42"}))
    assert "code-submit" in sent.ids
    assert not await fetch("SELECT FROM users WHERE email = $1", email)
    await browser.submit(sent, "code-submit", code=(await mailbox.next(email)).code)
    assert browser.signed_in
    row = await fetchrow("SELECT id FROM users WHERE email = $1", email)
    assert row is not None
    assert await service.values(row["id"]) == {size.name: 42, team.name: ["blue"]}
    assert await fetch("SELECT FROM audit_event WHERE user_id = $1 AND event = 'attributes_changed'", row["id"])


async def test_a_declaration_that_changes_meanwhile_does_not_prevent_the_account(
    registered: Require, browser: Browser, mailbox: Mailbox
) -> None:
    one = await registered(registration="optional")
    email = f"{secrets.token_hex(6)}@example.com"
    fields = {"username": email, "password": PASSWORD, f"attributes.{one.name}": "x" * 100}
    sent = as_page(await browser.submit(await _form(browser), "register-submit", **fields))
    await declaration.update(one.name, max_length=5)
    await browser.submit(sent, "code-submit", code=(await mailbox.next(email)).code)
    assert browser.signed_in
    row = await fetchrow("SELECT id FROM users WHERE email = $1", email)
    assert row is not None
    assert await service.values(row["id"]) == {}
