"""Row 50: a session cannot be planted, and cookies of before a sign-in have no value after it."""

import re
import secrets
from collections.abc import AsyncIterator, Iterable
from hashlib import sha256

import httpx
import msgspec
import pytest

from idp.accounts.tables import User
from idp.errors import FlowExpiredError, FlowFinishedError
from idp.federation.linking import ExternalIdentity
from idp.infra.db.engine import execute, fetch
from idp.signin import flow as flows
from idp.signin.browser import TAG_LENGTH, BrowserBinding, BrowserKey
from idp.signin.csrf import form_token
from tests.conftest import MakeClient, MakeUser
from tests.support.bindings import cookie_of, waiting_of
from tests.support.browser import Browser, Page, Redirect, as_page, open_browser
from tests.support.mailbox import Mailbox
from tests.support.oauth import PASSWORD, RelyingParty
from tests.support.tour import tour

SESSION, BROWSER_STATE = "__Host-session", "__Host-browser_state"


async def sign_in(browser: Browser, email: str) -> str:
    """Sign in for its own sake. Returns the session cookie."""
    page = await browser.get("/login")
    assert isinstance(page, Page)
    assert page.path != "/", "A user is signed in already."
    home = await browser.sign_in(page, email, PASSWORD)
    assert isinstance(home, Page)
    assert home.path == "/"
    return browser.cookies[SESSION]


async def sign_in_again(browser: Browser, client: RelyingParty, email: str) -> str:
    """Sign in over an existing session. Returns the new cookie."""
    page = await client.authorize(browser, prompt="login")
    assert isinstance(page, Page)
    await browser.sign_in(page, email, PASSWORD)
    return browser.cookies[SESSION]


async def who(server: str, *cookies: str) -> str | None:
    """The email address of the person that a browser with these cookies is signed in as."""
    async with httpx.AsyncClient() as client:
        response = await client.get(f"{server}/", headers={"Cookie": "; ".join(cookies)} if cookies else {})
    assert response.status_code == 200
    found = re.search(r"[\w.]+@example\.com", response.text)
    return found[0] if found else None


async def sessions(user: User) -> list[dict[str, object]]:
    rows = await fetch("SELECT * FROM session WHERE user_id = $1 ORDER BY created_at", user.id)
    return [dict(row) for row in rows]


async def test_50_the_cookie_is_new_at_every_sign_in(browser: Browser, client: RelyingParty, alice: User) -> None:
    """The session continues under a new token; the old token is invalid."""
    cookies = [await sign_in(browser, alice.email)]
    cookies += [await sign_in_again(browser, client, alice.email) for _ in range(3)]
    assert all(re.fullmatch(rf"{alice.id.hex}\.[A-Za-z0-9_-]{{43}}", cookie) for cookie in cookies)
    assert len({cookie.partition(".")[2] for cookie in cookies}) == 4
    found = [await who(browser.issuer, f"{SESSION}={cookie}") for cookie in cookies]
    assert found == [None, None, None, alice.email]
    assert len(await sessions(alice)) == 1


@pytest.mark.parametrize(
    "planted", ["chosen-by-the-attacker", "A" * 43, f"{'0' * 32}.{'A' * 43}", "0", "../x", "%00", "x" * 3000]
)
async def test_50_a_planted_cookie_is_not_taken(browser: Browser, alice: User, planted: str) -> None:
    browser.cookies[SESSION] = planted
    assert await sign_in(browser, alice.email) != planted
    assert await who(browser.issuer, f"{SESSION}={planted}") is None


async def test_50_an_attackers_own_session_is_not_taken_over(
    browser: Browser, client: RelyingParty, alice: User, make_user: MakeUser
) -> None:
    """Planted in alice's browser, it does not become hers when she signs in; it ends."""
    mallory = await make_user()
    async with open_browser(browser.issuer) as other:
        planted = await sign_in(other, mallory.email)
    browser.cookies[SESSION] = planted
    fresh = await sign_in_again(browser, client, alice.email)
    assert fresh != planted
    assert await who(browser.issuer, f"{SESSION}={fresh}") == alice.email
    assert await who(browser.issuer, f"{SESSION}={planted}") is None
    (row,) = await sessions(mallory)
    assert row["ended_at"] is not None


async def test_50_an_ended_session_stays_ended(browser: Browser, alice: User) -> None:
    """Its cookie neither signs in nor passes its session to the next sign-in."""
    stale = await sign_in(browser, alice.email)
    page = await browser.get("/logout")
    assert isinstance(page, Page)
    await browser.submit(page, "logout-confirm")
    assert SESSION not in browser.cookies
    assert await who(browser.issuer, f"{SESSION}={stale}") is None
    browser.cookies[SESSION] = stale
    fresh = await sign_in(browser, alice.email)
    assert await who(browser.issuer, f"{SESSION}={stale}") is None
    assert await who(browser.issuer, f"{SESSION}={fresh}") == alice.email
    first, second = await sessions(alice)
    assert first["id"] != second["id"]
    assert (first["ended_at"] is None, second["ended_at"] is None) == (False, True)


@pytest.mark.parametrize(
    "change",
    [
        "expires_at = now() - interval '1 second'",
        "last_seen_at = now() - interval '1 day 1 second'",
        "ended_at = now(), announced_at = now()",
    ],
    ids=["too old", "idle", "ended"],
)
async def test_50_a_stale_cookie_extends_nothing(browser: Browser, alice: User, change: str) -> None:
    """However often it is used."""
    stale = await sign_in(browser, alice.email)
    await execute(f"UPDATE session SET {change} WHERE user_id = $1", alice.id)
    before = await sessions(alice)
    for _ in range(3):
        assert await who(browser.issuer, f"{SESSION}={stale}") is None
    assert await sessions(alice) == before


async def test_50_the_end_does_not_move(browser: Browser, client: RelyingParty, alice: User) -> None:
    """Neither using a session nor signing in again extends its maximum lifetime."""
    await sign_in(browser, alice.email)
    await execute("UPDATE session SET last_seen_at = now() - interval '1 hour' WHERE user_id = $1", alice.id)
    (before,) = await sessions(alice)
    await browser.get("/")
    await sign_in_again(browser, client, alice.email)
    (after,) = await sessions(alice)
    assert after["last_seen_at"] > before["last_seen_at"]  # type: ignore[operator]
    assert after["expires_at"] == before["expires_at"]


async def test_50_other_names_are_not_read(browser: Browser, alice: User) -> None:
    """A neighbouring host, or plain http, can set a cookie of any name but one with the prefix."""
    cookie = await sign_in(browser, alice.email)
    for name in (
        "session",
        "__Secure-session",
        "__host-session",
        "__HOST-session",
        "__Host-session ",
        "__Host-Session",
    ):
        assert await who(browser.issuer, f"{name.rstrip()}x={cookie}") is None
        if name.strip() != SESSION:
            assert await who(browser.issuer, f"{name}={cookie}") is None
    assert await who(browser.issuer, f"{SESSION}={cookie}") == alice.email


async def test_50_a_flow_cannot_be_planted(browser: Browser, client: RelyingParty, alice: User) -> None:
    """The URL of an attacker's flow is useless in another browser, with or without a session there."""
    async with open_browser(browser.issuer) as attacker:
        login = await client.authorize(attacker)
        assert isinstance(login, Page)
        waiting = await waiting_of(login.path.split("/")[2])
        paths = [login.path, f"/authorize/{waiting}", f"/authorize/{waiting}/cancel", f"/consent/{waiting}"]
    for signed_in in (False, True):
        if signed_in:
            await sign_in(browser, alice.email)
        for path in paths:
            page = await browser.get(path)
            assert isinstance(page, Page)
            assert page.status == 400
            assert ("in another browser" if signed_in else "did not send our cookie") in page.text
            assert page.forms == []


def _token(browser: Browser, path: str, purpose: str = "login") -> str:
    """Return the form token of a path that a browser can derive: with its key, or with any that it has."""
    named = path.split("/")[2]
    keys = [value for name, value in browser.cookies.items() if "flow" in name]
    return form_token(BrowserBinding.derive(named, browser.cookies.get(cookie_of(named), keys[0])).secret, purpose)


@pytest.fixture
async def mallory(browser: Browser) -> AsyncIterator[Browser]:
    """Another browser, with the key that was copied from this one before the sign-in."""
    await browser.get("/login")
    async with open_browser(browser.issuer) as other:
        other.cookies.update(browser.cookies)
        yield other


@pytest.mark.fault(20)
async def test_50_a_copied_key_ends_no_other_sign_in(
    browser: Browser, mallory: Browser, client: RelyingParty, alice: User
) -> None:
    """The flow that it began moves to a new key when alice enters her password."""
    login = as_page(await client.authorize(mallory, acr_values="2"))
    page = as_page(await browser.sign_in(as_page(await browser.get(login.path)), alice.email, PASSWORD))
    assert "enrol-skip" in page.ids
    for path in (login.path, page.path.removesuffix("/enrol")):
        for step, fields in (("enrol", {"action": "skip"}), ("password", {"username": alice.email, "password": "x"})):
            data = fields | {"csrf_token": _token(mallory, path)}
            answer = as_page(await mallory.post(f"{path}/{step}", data))
            assert "in another browser" in answer.text
            assert not mallory.signed_in
    assert not await sessions(alice)
    consent = as_page(await browser.submit(page, "enrol-skip"))
    assert "consent-allow" in consent.ids
    # Mallory's browser cannot answer the request it started in the name of alice's session either.
    for method in ("allow", "deny", "switch"):
        data = {"action": method, "csrf_token": _token(mallory, consent.path, f"consent {alice.id} ")}
        assert alice.email not in as_page(await mallory.post(consent.path, data)).text
    assert "login-submit" in as_page(await mallory.get(f"/authorize/{consent.path.split('/')[2]}")).ids
    assert not await fetch("SELECT FROM authorization_code WHERE user_id = $1", alice.id)
    assert isinstance(await browser.submit(consent, "consent-allow"), Redirect)


@pytest.mark.fault(20)
async def test_50_a_copied_key_changes_nothing_that_a_person_entered(
    browser: Browser, mallory: Browser, client: RelyingParty, mailbox: Mailbox
) -> None:
    """Such as the password of an account whose address its owner then proves."""
    login = as_page(await client.authorize(mallory))
    email = f"{secrets.token_hex(6)}@example.com"
    entered = {"username": email, "password": PASSWORD}
    token = as_page(await browser.get(login.path)).forms[0].fields["csrf_token"]
    page = as_page(await browser.post(f"{login.path}/registration", entered | {"csrf_token": token}))
    assert not page.path.startswith(login.path)
    code = (await mailbox.next(email)).code
    for path in (login.path, page.path.removesuffix("/registration")):
        data = entered | {"password": "chosen by the attacker", "csrf_token": _token(mallory, path)}
        assert "in another browser" in as_page(await mallory.post(f"{path}/registration", data)).text
    assert "consent-allow" in as_page(await browser.submit(page, "code-submit", code=code)).ids


@pytest.mark.fault(20)
async def test_50_a_copied_key_takes_no_account_elsewhere(alice: User) -> None:
    """The identity has no account here yet. The former URL leads to the new one, which is bound to the new key."""
    key, new = BrowserKey.new(), BrowserKey.new()
    start = msgspec.structs.replace(await flows.load_bound(await flows.start(key, "/")), key=new)
    kept = await flows.store_identity(start, ExternalIdentity("github", "https://github.com", "alice", None, False, {}))
    assert kept.binding.id[:TAG_LENGTH] == new.tag
    with pytest.raises(FlowFinishedError) as left:
        await flows.load_bound(start.binding)
    assert left.value.return_to == flows.path(kept.binding)
    assert (await flows.reload(start)).identity == kept.identity
    for binding in (
        BrowserBinding.derive(kept.binding.id, key.secret),
        BrowserBinding(kept.binding.id, start.binding.secret),
    ):
        with pytest.raises(FlowExpiredError):
            await flows.load_bound(binding)


@pytest.mark.fault(20)
async def test_50_a_session_begins_with_a_new_key(
    browser: Browser, mallory: Browser, client: RelyingParty, alice: User
) -> None:
    """A planted key with a future tag does not stay the newest one, nor does a copied one."""
    planted = {cookie_of("f" * 16): "p" * 43}
    browser.cookies.update(planted)
    mallory.cookies.update(planted)
    await sign_in(browser, alice.email)
    later = as_page(await client.authorize(browser, prompt="login"))
    assert cookie_of(later.path.split("/")[2]) not in mallory.cookies
    assert "in another browser" in as_page(await mallory.get(later.path)).text


@pytest.mark.fault(20, 24)
async def test_50_back_and_a_second_click_lead_to_the_new_address(
    browser: Browser, client: RelyingParty, alice: User
) -> None:
    login = as_page(await client.authorize(browser, acr_values="2"))
    page = as_page(await browser.sign_in(login, alice.email, PASSWORD))
    assert not page.path.startswith(login.path)
    for again in (
        await browser.get(login.path),
        await browser.get(f"{login.path}/email_code", token="of a mail"),
        await browser.sign_in(login, alice.email, PASSWORD),
    ):
        assert "enrol-skip" in as_page(again).ids
    assert "consent-allow" in as_page(await browser.submit(page, "enrol-skip")).ids


async def test_50_only_the_hash_is_stored(browser: Browser, alice: User) -> None:
    cookie = await sign_in(browser, alice.email)
    (row,) = await sessions(alice)
    assert row["token_hash"] == sha256(cookie.encode()).digest()
    assert cookie not in str(row)


# The attributes of every cookie


def _set_cookies(responses: Iterable[httpx.Response]) -> list[str]:
    return [header for response in responses for header in response.headers.get_list("set-cookie")]


def assert_protected(header: str) -> str:
    """A cookie for this host alone, over TLS alone, and not for scripts. Returns its name."""
    pair, *rest = header.split("; ")
    attributes = {attribute.partition("=")[0].lower(): attribute.partition("=")[2] for attribute in rest}
    assert pair.startswith("__Host-"), header
    assert attributes.keys() == {"path", "secure", "httponly", "samesite", "max-age"}, header
    assert attributes["path"] == "/", header
    assert attributes["samesite"].lower() in ("lax", "strict"), header
    return pair.partition("=")[0]


def assert_readable(header: str) -> None:
    """The one cookie that is for scripts: for this host alone, over TLS alone, and useless to who reads it."""
    pair, *rest = header.split("; ")
    assert re.fullmatch(rf"{BROWSER_STATE}=([A-Za-z0-9_-]{{22}})?", pair), header
    assert {attribute.partition("=")[0] for attribute in rest} == {"Max-Age", "Path", "SameSite", "Secure"}, header
    assert {"Path=/", "SameSite=none"} < set(rest), header


async def test_50_attributes_of_every_cookie(browser: Browser, make_client: MakeClient, alice: User) -> None:
    """On every page, redirect and error, set and deleted."""
    client = await make_client(post_logout_redirect_uris=["https://app.example.com/bye"])
    seen = await tour(browser, client, alice.email)
    headers = _set_cookies(seen.responses)
    readable = [header for header in headers if header.startswith(f"{BROWSER_STATE}=")]
    names = {assert_protected(header).partition(".")[0] for header in headers if header not in readable}
    assert names == {SESSION, "__Host-flow", "__Host-device"}
    assert readable
    for header in readable:
        assert_readable(header)
    deleted = {header.partition("=")[0].partition(".")[0] for header in headers if "Max-Age=0" in header}
    assert deleted == {SESSION, BROWSER_STATE}
    assert browser.cookies.keys().isdisjoint({SESSION})


async def test_50_attributes_of_the_refresh_token_cookie(
    browser: Browser, make_client: MakeClient, alice: User
) -> None:
    """Sent by the client's own pages only, which are of another origin, so never without CORS."""
    client = await make_client(token_endpoint_auth_method="none", refresh_token_cookie=True)
    origin = {"Origin": "https://app.example.com"}
    redeemed = await client.redeem(await client.sign_in(browser, alice.email), headers=origin)
    (header,) = _set_cookies([redeemed])
    name = assert_protected(header)
    assert name == f"__Host-refresh.{client.client_id}"
    assert "samesite=strict" in header.lower()
    value = header.partition("=")[2].partition(";")[0]
    revoked = await client.post("/revoke", headers=origin | {"Cookie": f"{name}={value}"})
    (deletion,) = _set_cookies([revoked])
    assert assert_protected(deletion) == name
    assert "samesite=strict" in deletion.lower()
    assert "Max-Age=0" in deletion
