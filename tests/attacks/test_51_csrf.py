"""Row 51: forms are accepted only from our own pages, from the browser and user that they were shown to."""

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from html import unescape
from urllib.parse import urlencode

import httpx
import pyotp
import pytest

from idp.accounts import pictures
from idp.accounts.repository.users import user_by_email
from idp.accounts.tables import User
from idp.directory import invitations
from idp.infra.db.engine import execute
from idp.oauth.clients.registration import register_client
from tests.conftest import MakeClient, MakeUser, until_known
from tests.support.access_policies import set_policy
from tests.support.authenticator import Authenticator
from tests.support.browser import Browser, Page, Redirect, open_browser
from tests.support.devices import METADATA, Device
from tests.support.directory import an_organization
from tests.support.oauth import PASSWORD, RelyingParty
from tests.support.routes import posts_of_pages

EVIL = "https://evil.example"
FORM = "application/x-www-form-urlencoded"
#: The routes under test: all routes of the application.
ALL_PATHS = [route.path for route in posts_of_pages()]


@dataclass
class Filled:
    """One of our forms, filled in, in the browser that it was shown to."""

    browser: Browser
    path: str
    fields: dict[str, str]

    async def send(
        self, *, browser: Browser | None = None, origin: str | None = "own", **changes: str | None
    ) -> httpx.Response:
        """Send it; a change to None leaves a field out."""
        fields = {name: value for name, value in (self.fields | changes).items() if value is not None}
        return await self.send_as(urlencode(fields), FORM, browser=browser, origin=origin)

    async def send_as(
        self,
        body: str,
        content_type: str,
        *,
        browser: Browser | None = None,
        origin: str | None = "own",
        **headers: str,
    ) -> httpx.Response:
        if origin is not None:
            headers["Origin"] = self.browser.issuer if origin == "own" else origin
        if content_type:
            headers["Content-Type"] = content_type
        client = (browser or self.browser).client
        return await client.post(f"{self.browser.issuer}{self.path}", content=body, headers=headers)


Way = Callable[[Browser, RelyingParty, str], Awaitable[Filled]]


def _filled(browser: Browser, page: Page | Redirect, button: str, **fields: str) -> Filled:
    assert isinstance(page, Page)
    form = next(form for form in page.forms if button in form.buttons)
    name, value = form.buttons[button]
    return Filled(browser, form.action, form.fields | fields | ({name: value} if name else {}))


async def _login(browser: Browser, client: RelyingParty, email: str) -> Filled:
    page = await client.authorize(browser, prompt="login")
    return _filled(browser, page, "login-submit", username=email, password=PASSWORD)


async def _consent(browser: Browser, client: RelyingParty, email: str) -> Filled:
    page = await client.authorize(browser, prompt="consent")
    if isinstance(page, Page) and "login-submit" in page.ids:
        page = await browser.sign_in(page, email, PASSWORD)
    return _filled(browser, page, "consent-allow")


async def _organization(browser: Browser, client: RelyingParty, email: str) -> Filled:
    page = await client.authorize(browser, organization="nobody-is-in-it")
    if isinstance(page, Page) and "login-submit" in page.ids:
        page = await browser.sign_in(page, email, PASSWORD)
    return _filled(browser, page, "organization-switch")


async def _device(browser: Browser, client: RelyingParty, email: str) -> Filled:
    await client.sign_in(browser, email)
    registered, _ = await register_client(**METADATA)
    party = RelyingParty(client.issuer, client.http, registered.client_id)
    await until_known(party)
    device = await Device.start(party)
    return _filled(browser, await browser.get("/device"), "device-submit", user_code=device.user_code)


async def _address(browser: Browser, client: RelyingParty, email: str) -> Filled:
    form = await _login(browser, client, email)
    fields = {name: value for name, value in form.fields.items() if name != "password"}
    return Filled(browser, form.path.replace("/password", "/address"), fields)


async def _way(browser: Browser, client: RelyingParty, email: str) -> Filled:
    form = await _login(browser, client, email)
    return Filled(browser, form.path.replace("/password", "/way"), form.fields | {"way": "forgot"})


async def _device_confirm(browser: Browser, client: RelyingParty, email: str) -> Filled:
    return _filled(browser, Page(await (await _device(browser, client, email)).send()), "device-confirm")


async def _logout(browser: Browser, client: RelyingParty, email: str) -> Filled:
    await (await _login(browser, client, email)).send()
    return _filled(browser, await browser.get("/logout"), "logout-confirm")


async def _cancel(browser: Browser, client: RelyingParty, email: str) -> Filled:
    return _filled(browser, await client.authorize(browser, prompt="login"), "login-cancel")


async def _denied(browser: Browser, client: RelyingParty, email: str) -> Filled:
    """The page for a user whom the access policy of the client does not allow."""
    registered, secret = await register_client(client_name="Payroll", redirect_uris=[client.redirect_uri])
    party = RelyingParty(client.issuer, client.http, registered.client_id, secret)
    await set_policy(party, networks=["192.0.2.0/24"])
    page = await party.authorize(browser)
    if isinstance(page, Page) and "login-submit" in page.ids:
        page = await browser.sign_in(page, email, PASSWORD)
    return _filled(browser, page, "access-back")


async def _forgot(browser: Browser, client: RelyingParty, email: str) -> Filled:
    page = await client.authorize(browser, prompt="login")
    assert isinstance(page, Page)
    return _filled(browser, await browser.get(f"{page.path}/forgot"), "forgot-submit", username=email)


def _account(path: str, button: str, **fields: str) -> Way:
    """A form on a page of the account."""

    async def way(browser: Browser, client: RelyingParty, email: str) -> Filled:
        await client.sign_in(browser, email)
        own = {name: value.replace("EMAIL", email) for name, value in fields.items()}
        return _filled(browser, await browser.get(path), button, **own)

    return way


def _any_account_form(path: str, **fields: str) -> Way:
    """A form of the account that is shown only sometimes. All of them carry the same token."""

    async def way(browser: Browser, client: RelyingParty, email: str) -> Filled:
        await client.sign_in(browser, email)
        form = _filled(browser, await browser.get("/account"), "profile-save")
        token = {"csrf_token": form.fields["csrf_token"]}
        return Filled(browser, path.replace("CLIENT", client.client_id), token | fields)

    return way


async def _totp(browser: Browser, client: RelyingParty, email: str) -> Filled:
    await client.sign_in(browser, email)
    page = await browser.get("/account/totp")
    assert isinstance(page, Page)
    secret = page.text.partition('id="totp-secret"')[2].partition(">")[2].partition("<")[0]
    return _filled(browser, page, "totp-confirm", code=pyotp.TOTP(secret).now())


async def _own_invitation(browser: Browser, client: RelyingParty, email: str) -> Filled:
    await client.sign_in(browser, email)
    await execute("UPDATE users SET email_verified = true WHERE email = $1", email)
    organization = await an_organization()
    await invitations.invite(organization.id, email)
    return _filled(browser, await browser.get("/account/organizations"), f"join-{organization.slug}")


async def _leave(browser: Browser, client: RelyingParty, email: str) -> Filled:
    await client.sign_in(browser, email)
    user = await user_by_email(email)
    assert user is not None
    organization = await an_organization(user)
    return _filled(browser, await browser.get(f"/account/organizations/{organization.id}/leave"), "ask-confirm")


async def _passkey(browser: Browser, client: RelyingParty, email: str) -> Filled:
    await client.sign_in(browser, email)
    page = await browser.get("/account/passkeys")
    assert isinstance(page, Page)
    options = unescape(page.text.partition('data-options="')[2].partition('"')[0])
    credential = Authenticator(origin=browser.issuer).create(options)
    return _filled(browser, page, "passkey-create", credential=credential)


NEW_PASSWORD = {"password": "seven tired otters nap"}
NOBODY = "0198c1d2-7a40-7c3e-9d2f-52b2b4a1e0aa"

#: How to reach each form. A new one must be added here.
WAYS: dict[str, Way] = {
    "/access/{request_id:str}": _denied,
    "/account": _account("/account", "profile-save"),
    "/account/attributes": _any_account_form("/account/attributes", attributes="x"),
    "/account/apps/{client_id:str}/revoke": _any_account_form("/account/apps/CLIENT/revoke"),
    "/account/data/delete": _account("/account/data", "account-delete", email="EMAIL"),
    "/account/data/download": _account("/account/data", "data-download"),
    "/account/email": _account("/account/email", "email-send", email="new-EMAIL"),
    "/account/organizations/invitations/{invitation_id:uuid}": _own_invitation,
    "/account/organizations/{organization_id:uuid}/leave": _leave,
    "/account/passkeys": _passkey,
    "/account/passkeys/{passkey_id:uuid}": _any_account_form(f"/account/passkeys/{NOBODY}", action="remove"),
    "/account/password": _account("/account/password", "password-save", **NEW_PASSWORD),
    "/account/picture/remove": _account("/account/picture/remove", "ask-confirm"),
    "/account/recovery-codes": _any_account_form("/account/recovery-codes"),
    "/account/sessions/end": _account("/account/sessions/end", "ask-confirm"),
    "/account/sessions/{session_id:uuid}/end": _any_account_form(f"/account/sessions/{NOBODY}/end"),
    "/account/totp": _totp,
    "/account/totp/remove": _any_account_form("/account/totp/remove"),
    "/account/upstreams/{identity_id:uuid}/unlink": _any_account_form(f"/account/upstreams/{NOBODY}/unlink"),
    "/account/two-step": _any_account_form("/account/two-step", two_step="on"),
    "/authorize/{request_id:str}/organization": _organization,
    "/consent/{request_id:str}": _consent,
    "/device": _device,
    "/device/confirm": _device_confirm,
    "/login/{flow_id:str}": _cancel,
    "/login/{flow_id:str}/address": _address,
    "/login/{flow_id:str}/forgot": _forgot,
    "/login/{flow_id:str}/way": _way,
    "/login/{flow_id:str}/{step:str}": _login,
    "/logout/confirm": _logout,
    "/password/strength": _any_account_form("/password/strength", **NEW_PASSWORD),
}
#: The link from a mail is the proof, in any browser: only the origin of the request is checked. A session accepts an
#: invitation into an organization by its own form: test_46_organization_invitations.py.
LINKS = {"/invitation", "/invitation/organization", "/not-me", "/reset", "/unlock"}
#: It takes a file, and so another type of body.
PICTURE = "/account/picture"
PATHS = list(WAYS)


def assert_refused(response: httpx.Response, says: str) -> None:
    """Check that the page explains the refusal, and sets no cookie."""
    assert response.status_code == 400, response.text
    assert says in response.text
    assert "set-cookie" not in response.headers
    assert "location" not in response.headers


async def assert_still_works(form: Filled) -> None:
    """The refusals used nothing up, and it was not something else that was refused."""
    response = await form.send()
    assert response.status_code in (200, 303), response.text
    assert "alert" not in response.text


def test_51_every_form_is_under_test() -> None:
    # The decision about a request of a client: tests/oauth/ciba/test_decision.py.
    assert set(ALL_PATHS) == set(WAYS) | LINKS | {PICTURE, "/account/requests/{request_id:uuid}"}


@pytest.mark.parametrize("path", sorted(LINKS))
async def test_51_links_change_nothing(path: str, browser: Browser) -> None:
    for origin in _foreign(browser.issuer):
        assert_refused(await Filled(browser, path, {"token": "x"}).send(origin=origin), "another site")
    json = Filled(browser, path, {})
    assert_refused(await json.send_as('{"token":"x"}', "application/json"), "application/x-www-form-urlencoded")


FOREIGN = (None, "", "null", EVIL, "http://localhost", "https://localhost", "http://localhost.evil.example", "*")


def _foreign(issuer: str) -> Iterator[str | None]:
    """Return no origin, other origins, and those that a careless comparison accepts."""
    yield from FOREIGN
    yield from (f"{issuer}/", f"{issuer}.evil.example", f"{issuer}0", issuer.upper(), issuer[:-1], f"{issuer}, {EVIL}")
    yield from (issuer.replace("http", "https"), issuer.replace("//", "//evil."), issuer.replace("//", "//user@"))


@pytest.mark.parametrize("path", PATHS)
async def test_51_a_form_of_another_site(path: str, browser: Browser, client: RelyingParty, alice: User) -> None:
    """Even with the right token and the right cookies, which it could only have from a hole elsewhere."""
    form = await WAYS[path](browser, client, alice.email)
    for origin in _foreign(browser.issuer):
        assert_refused(await form.send(origin=origin), "another site")
    refused = await form.send_as(urlencode(form.fields), FORM, origin=None, Referer=f"{browser.issuer}{form.path}")
    assert_refused(refused, "another site")
    await assert_still_works(form)


async def test_51_a_picture_of_another_site(browser: Browser, client: RelyingParty, alice: User) -> None:
    """A multipart form needs no preflight either."""
    form = await _any_account_form(PICTURE)(browser, client, alice.email)
    files = {"file": ("me.png", b"\x89PNG\r\n\x1a\n" + bytes(100))}

    async def send(token: str | None, **headers: str) -> httpx.Response:
        data = {} if token is None else {"csrf_token": token}
        return await browser.client.post(f"{browser.issuer}{PICTURE}", data=data, files=files, headers=headers)

    right, own = form.fields["csrf_token"], {"Origin": browser.issuer}
    for origin in _foreign(browser.issuer):
        assert_refused(await send(right, **({} if origin is None else {"Origin": origin})), "another site")
    for token in (None, "", right[:-1], right + "0", right.upper()):
        assert_refused(await send(token, **own), "form has expired")
    async with open_browser(browser.issuer) as victim:
        url = f"{browser.issuer}{PICTURE}"
        response = await victim.client.post(url, data=form.fields, files=files, headers=own)
        assert response.headers["location"].startswith("/login/")
    user = await user_by_email(alice.email)
    assert user is not None
    assert await pictures.of_user(user.id) is None
    assert (await send(right, **own)).status_code == 303
    assert await pictures.of_user(user.id) is not None


@pytest.mark.parametrize("path", PATHS)
async def test_51_bodies_of_another_kind(path: str, browser: Browser, client: RelyingParty, alice: User) -> None:
    """Types that a form can send without a preflight, and JSON in them."""
    form = await WAYS[path](browser, client, alice.email)
    text, part = urlencode(form.fields), 'Content-Disposition: form-data; name="%s"\r\n\r\n%s'
    multipart = "".join(f"--x\r\n{part % field}\r\n" for field in form.fields.items()) + "--x--\r\n"
    json = "{" + ",".join(f'"{name}":"{value}"' for name, value in form.fields.items()) + "}"
    for body, kind in (
        (json, "text/plain"), (json, "application/json"), (json, "text/plain;charset=UTF-8"), (json, FORM + "-x"),
        (text, "text/plain"), (text, ""), (text, "application/json"), (multipart, "multipart/form-data; boundary=x"),
    ):  # fmt: skip
        assert_refused(await form.send_as(body, kind), "application/x-www-form-urlencoded")
    # As the name of one field, which is how text/plain forms are built.
    assert_refused(await form.send_as(f"{json}=", FORM), "form has expired")
    await assert_still_works(form)


@pytest.mark.parametrize("path", PATHS)
async def test_51_tokens_that_are_none(path: str, browser: Browser, client: RelyingParty, alice: User) -> None:
    form = await WAYS[path](browser, client, alice.email)
    right = form.fields["csrf_token"]
    for token in (
        None,
        "",
        "0" * 64,
        right[:-1],
        right + "0",
        right.upper(),
        right[::-1],
        f" {right}",
        "é",
        right[:32],
    ):
        assert_refused(await form.send(csrf_token=token), "form has expired")
    twice = urlencode([*form.fields.items(), ("csrf_token", right)])
    assert_refused(await form.send_as(twice, FORM), "repeated")
    await assert_still_works(form)


@pytest.mark.parametrize("path", PATHS)
async def test_51_tokens_of_other_forms(
    path: str, browser: Browser, client: RelyingParty, alice: User, make_user: MakeUser
) -> None:
    """Tokens of another tab, of every other form, and of the same form in the attacker's browser."""
    form = await WAYS[path](browser, client, alice.email)
    mallory = await make_user()
    async with open_browser(browser.issuer) as attacker:
        some = (_login, _cancel, _consent, _logout, WAYS["/account"])
        theirs = [(await way(attacker, client, mallory.email)).fields["csrf_token"] for way in some]
    async with open_browser(browser.issuer) as other:
        tab = (await _login(other, client, alice.email)).fields["csrf_token"]
    for token in (*theirs, tab):
        assert_refused(await form.send(csrf_token=token), "form has expired")
    await assert_still_works(form)


@pytest.mark.parametrize("path", PATHS)
async def test_51_another_browser(path: str, browser: Browser, client: RelyingParty, alice: User) -> None:
    """The attacker's own form with its token, sent by the victim's browser, signs no one in or out."""
    form = await WAYS[path](browser, client, alice.email)
    async with open_browser(browser.issuer) as victim:
        response = await form.send(browser=victim)
        if path.startswith(("/account", "/device")):
            # A user without a session is asked to sign in.
            assert response.headers["location"].startswith("/login/")
        else:
            # There is no session, so no user is signed out.
            assert response.status_code == (200 if path == "/logout/confirm" else 400)
        assert "__Host-session" not in victim.cookies
    await assert_still_works(form)


@pytest.mark.parametrize("path", PATHS)
async def test_51_reading_changes_nothing(path: str, browser: Browser, client: RelyingParty, alice: User) -> None:
    """The fields in a link, and the ways in which some frameworks let a GET stand for a POST."""
    form = await WAYS[path](browser, client, alice.email)
    before = dict(browser.cookies)
    url = f"{browser.issuer}{form.path}?{urlencode(form.fields | {'_method': 'POST'})}"
    for headers in ({}, {"X-HTTP-Method-Override": "POST"}, {"X-HTTP-Method": "POST"}, {"X-Method-Override": "POST"}):
        response = await browser.client.get(url, headers=headers)
        assert response.status_code in (200, 303, 403, 405)
        assert "set-cookie" not in response.headers
    assert browser.cookies == before
    if path != "/account/passkeys":
        # This page has a new challenge each time it is shown.
        await assert_still_works(form)


async def test_51_consent_is_of_the_person_who_saw_it(
    browser: Browser, make_client: MakeClient, alice: User, make_user: MakeUser
) -> None:
    """Not of another user who signed in in another tab in the meantime."""
    client, bob = await make_client(), await make_user()
    form = await _consent(browser, client, alice.email)
    other = await (await make_client()).authorize(browser, prompt="login")
    assert isinstance(other, Page)
    await browser.sign_in(other, bob.email, PASSWORD)
    assert_refused(await form.send(), "form has expired")


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_51_no_other_site_can_sign_a_user_out(
    browser: Browser, client: RelyingParty, alice: User, method: str
) -> None:
    """A link, an image or a form to /logout only leads to a confirmation page."""
    await client.sign_in(browser, alice.email)
    headers = {"Origin": EVIL, "Content-Type": FORM}
    for parameters in ({}, {"client_id": client.client_id}, {"state": "x"}):
        arguments = {"params": parameters} if method == "GET" else {"content": urlencode(parameters)}
        response = await browser.client.request(method, f"{browser.issuer}/logout", headers=headers, **arguments)
        assert "set-cookie" not in response.headers
    home = await browser.get("/")
    assert isinstance(home, Page)
    assert alice.email in home.text
