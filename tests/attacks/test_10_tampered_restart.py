"""Row 10: a request is validated once and kept on the server. Back, reload and restart cannot change it."""

import asyncio
from contextvars import Context

import httpx
import jwt
import pytest

from idp.accounts.tables import User
from idp.infra.db.engine import fetch, fetchrow, transaction
from idp.signin import limits
from tests.conftest import MakeClient, MakeUser
from tests.support.bindings import cookie_of, waiting_of
from tests.support.browser import Browser, Page, Redirect, open_browser, sent_to
from tests.support.hostile import EVIL, assert_refused_here
from tests.support.oauth import PASSWORD, REDIRECT_URI, RelyingParty

#: Values with which an attacker wants to replace those of the request.
TAMPERED = {
    "response_type": "token id_token",
    "response_mode": "fragment",
    "redirect_uri": f"https://{EVIL}/callback",
    "client_id": "another",
    "scope": "openid profile email admin",
    "state": "tampered",
    "nonce": "tampered",
    "prompt": "none",
    "max_age": "99999",
    "resource": f"https://{EVIL}/api",
    "code_challenge": "A" * 43,
    "request": "x.y.z",
    "login_hint": "tampered@example.com",
}

#: The pages of everything that the id of a flow may identify.
STEPS = (("/login/", ""), ("/authorize/", ""), ("/authorize/", "/cancel"), ("/consent/", ""), ("/access/", ""))
#: Fewer than the server's connections.
TIMES = limits.PASSWORDS.free


@pytest.mark.parametrize(
    "response_type", ["token", "id_token", "code token", "code id_token", "none", "", "CODE", "code code"]
)
async def test_10_only_the_code_flow_exists(
    response_type: str, client: RelyingParty, browser: Browser, alice: User
) -> None:
    """The control: no such request is stored, with or without a session."""
    await client.sign_in(browser, alice.email)
    for mode in (None, "query", "fragment", "form_post"):
        answer = await client.authorize(browser, response_type=response_type, response_mode=mode)
        assert "access_token" not in (answer.location if isinstance(answer, Redirect) else answer.text)
        if isinstance(answer, Redirect):
            # Only the refusal, where the client asked for it, and never in the query if it asked for a token (RFC 6749
            # section 4.2.2.1).
            with_token = bool({"token", "id_token"} & set(response_type.split()))
            assert ("#" in answer.location) is (mode == "fragment" or with_token)
            told = answer.parameters or answer.fragment
            assert "".join(told["error"]) in ("unsupported_response_type", "invalid_request")


async def test_10_every_step_ignores_parameters_of_the_browser(
    make_client: MakeClient, browser: Browser, alice: User
) -> None:
    """Sign-in, consent and the answer, by GET and POST, with a tampered copy of the request at each step."""
    client = await make_client(scope="openid email")
    http, issuer = browser.client, browser.issuer
    page = await client.authorize(browser, state="original")
    assert isinstance(page, Page)
    for button, fields in (
        ("login-submit", {"username": alice.email, "password": PASSWORD}),
        ("consent-allow", {}),
    ):
        page = Page(await http.get(f"{issuer}{page.path}", params=TAMPERED))
        form = next(form for form in page.forms if button in form.buttons)
        name, value = form.buttons[button]
        data = TAMPERED | form.fields | fields | ({name: value} if name else {})
        answer = await http.post(f"{issuer}{form.action}", params=TAMPERED, data=data, headers={"Origin": issuer})
        waiting = sent_to(answer)
        answer = await http.get(f"{issuer}{waiting}", params=TAMPERED)
        location = answer.headers["location"]
        if location.startswith("/consent/"):
            page = Page(await http.get(f"{issuer}{location}", params=TAMPERED))
            assert "admin" not in page.text
    final = Redirect(location)
    assert final.location.startswith(f"{REDIRECT_URI}?code=")
    assert final.parameters.keys() == {"code", "state", "iss"}
    assert final.parameters["state"] == "original"
    tokens = (await client.redeem(final.parameters["code"])).json()
    assert tokens["scope"] == "openid email"
    assert jwt.decode(tokens["id_token"], options={"verify_signature": False})["nonce"] == "the-nonce"


async def test_10_back_and_reload_after_the_answer(client: RelyingParty, browser: Browser, alice: User) -> None:
    """Each page of a finished request, opened or sent once more, yields no second code."""
    http, issuer = browser.client, browser.issuer
    login = await client.authorize(browser)
    assert isinstance(login, Page)
    cookies = dict(browser.cookies)
    consent = await browser.sign_in(login, alice.email, PASSWORD)
    assert isinstance(consent, Page)
    cookies |= browser.cookies
    answer = await browser.submit(consent, "consent-allow")
    assert "code" in answer.parameters
    waiting = f"/authorize/{consent.path.removeprefix('/consent/')}"

    # Like a browser that kept every cookie.
    browser.cookies.update(cookies)
    led_on = await http.get(f"{issuer}{login.path}", params=TAMPERED)
    assert (led_on.status_code, led_on.headers["location"]) == (303, waiting)
    for path in (consent.path, waiting, f"{waiting}/cancel"):
        assert_refused_here(await http.get(f"{issuer}{path}", params=TAMPERED))
        browser.cookies.update(cookies)
    for page, button in (
        (login, "login-submit"),
        (login, "login-cancel"),
        (consent, "consent-allow"),
        (consent, "consent-deny"),
    ):
        again = await browser.submit(page, button, username=alice.email, password=PASSWORD)
        assert isinstance(again, Page)
        assert_refused_here(again.response)
        browser.cookies.update(cookies)


async def test_10_back_to_the_login_page_after_signing_in(client: RelyingParty, browser: Browser, alice: User) -> None:
    """The flow ended with its session; the request still waits for consent and can continue."""
    login = await client.authorize(browser)
    assert isinstance(login, Page)
    cookies = dict(browser.cookies)
    consent = await browser.sign_in(login, alice.email, PASSWORD)
    assert isinstance(consent, Page)
    browser.cookies.update({name: value for name, value in cookies.items() if name not in browser.cookies})
    again = await browser.sign_in(login, alice.email, PASSWORD)
    assert isinstance(again, Page)
    assert again.path == consent.path
    assert len(await fetch("SELECT FROM session WHERE user_id = $1", alice.id)) == 1
    answer = await browser.submit(again, "consent-allow")
    assert "code" in answer.parameters


async def test_10_another_browser_cannot_go_on(
    client: RelyingParty, browser: Browser, alice: User, make_user: MakeUser
) -> None:
    """It has the URLs only, or a session, or the cookies of its own request under the names of this one."""
    first = await client.authorize(browser)
    assert isinstance(first, Page)
    consent = await browser.sign_in(first, alice.email, PASSWORD)
    assert isinstance(consent, Page)
    login = await client.authorize(browser, prompt="login")
    assert isinstance(login, Page)
    names = [page.path.split("/")[2] for page in (first, consent, login)]
    flows = [*names, await waiting_of(names[2])]
    urls = [f"{start}{flow}{end}" for flow in flows for start, end in STEPS]
    mallory = await make_user()
    async with open_browser(browser.issuer) as attacker:
        for _ in range(2):
            for url in urls:
                assert_refused_here(await attacker.client.get(f"{attacker.issuer}{url}"))
            await client.sign_in(attacker, mallory.email)
        await client.authorize(attacker, prompt="login")
        own = next(value for name, value in attacker.cookies.items() if "flow" in name)
        for url in urls:
            name = cookie_of(url.split("/")[2])
            for value in (own, "", "x", name):
                attacker.cookies[name] = value
                assert_refused_here(await attacker.client.get(f"{attacker.issuer}{url}"))
            del attacker.cookies[name]
        for page, button in ((login, "login-submit"), (consent, "consent-allow"), (consent, "consent-deny")):
            answer = await attacker.submit(page, button, username=mallory.email, password=PASSWORD)
            assert isinstance(answer, Page)
            assert_refused_here(answer.response)
    answer = await browser.submit(consent, "consent-allow")
    assert isinstance(answer, Redirect)
    assert "code" in answer.parameters


#: Connections that wait for a lock, either to change a row of a table or to lock the user before that. $1 table
WAITING = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock'
      AND (query LIKE '%UPDATE ' || $1 || '%' OR query LIKE '%FROM users %FOR NO KEY UPDATE%')
"""


async def at_once(browser: Browser, table: str, method: str, path: str, **form: str) -> list[httpx.Response]:
    """The same request several times. Each finds the row of the path unfinished before the first of them ends it."""
    cookies = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    headers = {"Origin": browser.issuer, "Cookie": cookies}
    request, url = browser.client.request, f"{browser.issuer}{path}"
    async with transaction(), asyncio.timeout(20):
        await fetchrow(f"SELECT FROM {table} WHERE id = $1 FOR UPDATE", path.split("/")[2])
        requests = [
            asyncio.create_task(request(method, url, data=form or None, headers=headers, auth=httpx.Auth()))
            for _ in range(TIMES)
        ]
        # In a context of its own, outside the transaction, where the view would not change.
        while (await asyncio.create_task(fetchrow(WAITING, table), context=Context()))["count"] < TIMES:
            await asyncio.sleep(0.02)
    return await asyncio.gather(*requests)


async def test_10_a_request_is_answered_once(client: RelyingParty, browser: Browser, alice: User) -> None:
    """However often the browser reloads at the same moment, there is one code."""
    login = await client.authorize(browser)
    assert isinstance(login, Page)
    consent = await browser.sign_in(login, alice.email, PASSWORD)
    assert isinstance(consent, Page)
    data = consent.forms[0].fields | {"action": "allow"}
    response = await browser.client.post(consent.url, data=data, headers={"Origin": browser.issuer})
    responses = await at_once(browser, "authorization_request", "GET", str(sent_to(response)))
    (winner,) = [response for response in responses if response.status_code == 303]
    assert "code" in Redirect(winner.headers["location"]).parameters
    for response in responses:
        if response is not winner:
            assert_refused_here(response)
    assert len(await fetch("SELECT FROM authorization_code WHERE user_id = $1", alice.id)) == 1


async def test_10_a_sign_in_flow_ends_once(client: RelyingParty, browser: Browser, alice: User) -> None:
    """However often the form is sent at the same moment, there is one session."""
    login = await client.authorize(browser)
    assert isinstance(login, Page)
    data = login.forms[0].fields | {"username": alice.email, "password": PASSWORD}
    responses = await at_once(browser, "signin_flow", "POST", login.forms[0].action, **data)
    (_,) = [response for response in responses if "__Host-session" in response.headers.get("set-cookie", "")]
    # The others lead to the same request, or are refused.
    waiting = f"/authorize/{await waiting_of(login.path.split('/')[2])}"
    for response in responses:
        if sent_to(response) is None:
            assert_refused_here(response)
        else:
            assert sent_to(response) == waiting
    assert len(await fetch("SELECT FROM session WHERE user_id = $1", alice.id)) == 1


async def test_10_two_requests_do_not_mix(make_client: MakeClient, browser: Browser, alice: User) -> None:
    """Two tabs at two clients: the form of one does not answer the other."""
    clients = [await make_client(), await make_client()]
    first = await clients[0].authorize(browser)
    second = await clients[1].authorize(browser)
    assert isinstance(first, Page)
    assert isinstance(second, Page)
    fields = first.forms[0].fields | {"username": alice.email, "password": PASSWORD, "action": "login"}
    answer = await browser.post(second.path, fields)
    assert isinstance(answer, Page)
    assert "form has expired" in answer.text
    consents = [await browser.sign_in(page, alice.email, PASSWORD) for page in (first, second)]
    crossed = await browser.post(consents[1].path, consents[0].forms[0].fields | {"action": "allow"})
    assert isinstance(crossed, Page)
    assert "form has expired" in crossed.text
