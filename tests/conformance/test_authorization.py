"""The authorization endpoint, as the basic and form_post test plans require."""

import asyncio
import json
import secrets
from base64 import urlsafe_b64encode
from html.parser import HTMLParser

import pytest

from idp.accounts.tables import User
from tests.conftest import MakeClient
from tests.support.browser import Browser, Page, Redirect
from tests.support.conformance import check_error_redirect, check_id_token, check_token_response, entropy
from tests.support.oauth import RelyingParty

STATE = secrets.token_urlsafe(96)


async def _allow(browser: Browser, answer: Page | Redirect, email: str) -> Page | Redirect:
    if isinstance(answer, Page) and "login-submit" in answer.ids:
        answer = await browser.sign_in(answer, email, "correct horse battery staple")
    if isinstance(answer, Page) and "consent-allow" in answer.ids:
        answer = await browser.submit(answer, "consent-allow")
    return answer


async def _code(browser: Browser, rp: RelyingParty, user: User, **changes: str | None) -> str:
    answer = await _allow(browser, await rp.authorize(browser, **changes), user.email)
    assert isinstance(answer, Redirect), answer.text
    return answer.parameters["code"]


async def _id_token(browser: Browser, rp: RelyingParty, user: User, **changes: str | None) -> dict[str, object]:
    code = await _code(browser, rp, user, **changes)
    body = check_token_response(await rp.redeem(code))
    nonce = changes.get("nonce", "the-nonce")
    return check_id_token(body["id_token"], issuer=rp.issuer, client_id=rp.client_id, nonce=nonce)


async def test_happy_path(browser: Browser, rp: RelyingParty, person: User) -> None:
    """oidcc-server; state of 128 characters echoed; code long and random enough."""
    answer = await _allow(browser, await rp.authorize(browser, state=STATE), person.email)
    assert isinstance(answer, Redirect)
    assert set(answer.parameters) == {"code", "state", "iss"}
    assert answer.parameters["state"] == STATE
    assert answer.parameters["iss"] == rp.issuer
    assert len(answer.parameters["code"]) * 6 >= 128
    assert entropy(answer.parameters["code"]) > 96
    body = check_token_response(await rp.redeem(answer.parameters["code"]))
    check_id_token(body["id_token"], issuer=rp.issuer, client_id=rp.client_id, nonce="the-nonce")
    assert entropy(body["refresh_token"]) > 96


async def test_the_sign_in_page(browser: Browser, rp: RelyingParty) -> None:
    """oidcc-registration-logo-uri, -policy-uri, -tos-uri: they stand on the sign-in page."""
    page = await rp.authorize(browser)
    assert isinstance(page, Page)
    assert {"username", "password", "login-submit", "login-cancel"} <= page.ids
    for uri in ("images/openid.png", "policy", "tos"):
        assert f"https://rp.example.com/{uri}" in page.text


async def test_missing_response_type(browser: Browser, rp: RelyingParty) -> None:
    """oidcc-response-type-missing"""
    answer = await rp.authorize(browser, response_type=None, state=STATE)
    assert isinstance(answer, Redirect)
    check_error_redirect(answer.parameters, error="invalid_request", state=STATE, issuer=rp.issuer)


async def test_other_response_types(browser: Browser, rp: RelyingParty) -> None:
    """Where a token would be in the fragment, the refusal is too."""
    for response_type in ("token", "id_token", "code id_token", "none"):
        answer = await rp.authorize(browser, response_type=response_type, state=STATE)
        assert isinstance(answer, Redirect)
        found, empty = answer.fragment, answer.parameters
        if response_type == "none":
            found, empty = empty, found
        check_error_redirect(found, error="unsupported_response_type", state=STATE, issuer=rp.issuer)
        assert empty == {}


async def test_nonce_is_optional(browser: Browser, rp: RelyingParty, person: User) -> None:
    """oidcc-ensure-request-without-nonce-succeeds-for-code-flow"""
    await _id_token(browser, rp, person, nonce=None)


async def test_order_is_irrelevant(browser: Browser, rp: RelyingParty, person: User) -> None:
    """oidcc-alternate-happy-flow"""
    await _id_token(browser, rp, person, scope="email openid")


@pytest.mark.parametrize(
    "extra",
    [
        {"extra": "foobar"},
        {"display": "page"},
        {"display": "popup"},
        {"ui_locales": "se"},
        {"claims_locales": "se"},
        {"login_hint": "buffy@nowhere.example.com"},
        {"acr_values": "1 2"},
    ],
    ids=lambda extra: "-".join(next(iter(extra.items()))),
)
async def test_requests_that_must_succeed(
    browser: Browser, rp: RelyingParty, person: User, extra: dict[str, str]
) -> None:
    """oidcc-ensure-request-with-unknown-parameter-succeeds, -display-page, -display-popup, -ui-locales,
    -claims-locales, -login-hint, -ensure-request-with-acr-values-succeeds"""
    claims = await _id_token(browser, rp, person, **extra)
    assert claims["acr"] == "1"


async def test_login_hint_fills_the_form(browser: Browser, rp: RelyingParty) -> None:
    page = await rp.authorize(browser, login_hint="buffy@nowhere.example.com")
    assert isinstance(page, Page)
    assert 'value="buffy@nowhere.example.com"' in page.text


async def test_pkce_from_a_client_that_need_not(browser: Browser, rp: RelyingParty, person: User) -> None:
    """oidcc-ensure-request-with-valid-pkce-succeeds, and its absence is accepted from this client too."""
    await _id_token(browser, rp, person)
    code = await _code(browser, rp, person, code_challenge=None, code_challenge_method=None)
    check_token_response(await rp.redeem(code, code_verifier=None))


async def test_prompt_login(browser: Browser, rp: RelyingParty, person: User) -> None:
    """oidcc-prompt-login: the page is shown, and auth_time is strictly later."""
    before = await _id_token(browser, rp, person)
    await asyncio.sleep(1)
    page = await rp.authorize(browser, prompt="login")
    assert isinstance(page, Page)
    assert "login-submit" in page.ids
    after = await _id_token(browser, rp, person, prompt="login")
    assert int(str(after["auth_time"])) > int(str(before["auth_time"]))
    assert after["sid"] == before["sid"]


async def test_prompt_none(browser: Browser, rp: RelyingParty, person: User) -> None:
    """oidcc-prompt-none-not-logged-in, -prompt-none-logged-in, oidcc-id-token-hint"""
    answer = await rp.authorize(browser, prompt="none", state=STATE)
    assert isinstance(answer, Redirect)
    check_error_redirect(answer.parameters, error="login_required", state=STATE, issuer=rp.issuer)

    body = check_token_response(await rp.redeem(await _code(browser, rp, person)))
    first = check_id_token(body["id_token"], issuer=rp.issuer, client_id=rp.client_id, nonce="the-nonce")
    silent = await rp.authorize(browser, prompt="none", id_token_hint=body["id_token"])
    assert isinstance(silent, Redirect)
    body = check_token_response(await rp.redeem(silent.parameters["code"]))
    second = check_id_token(body["id_token"], issuer=rp.issuer, client_id=rp.client_id, nonce="the-nonce")
    assert (first["sub"], first["auth_time"]) == (second["sub"], second["auth_time"])


async def test_prompt_none_needs_consent(browser: Browser, rp: RelyingParty, person: User) -> None:
    await _code(browser, rp, person, scope="openid")
    answer = await rp.authorize(browser, prompt="none", state=STATE, scope="openid phone")
    assert isinstance(answer, Redirect)
    check_error_redirect(answer.parameters, error="consent_required", state=STATE, issuer=rp.issuer)


async def test_hint_of_another_user(browser: Browser, rp: RelyingParty, person: User, alice: User) -> None:
    body = check_token_response(await rp.redeem(await _code(browser, rp, person)))
    await browser.get("/logout", id_token_hint=body["id_token"])
    await _code(browser, rp, alice)
    answer = await rp.authorize(browser, prompt="none", id_token_hint=body["id_token"], state=STATE)
    assert isinstance(answer, Redirect)
    check_error_redirect(answer.parameters, error="login_required", state=STATE, issuer=rp.issuer)


async def test_max_age(browser: Browser, rp: RelyingParty, person: User) -> None:
    """oidcc-max-age-10000 and oidcc-max-age-1"""
    first = await _id_token(browser, rp, person, max_age="15000")
    silent = await rp.authorize(browser, max_age="10000")
    assert isinstance(silent, Redirect)
    second = check_token_response(await rp.redeem(silent.parameters["code"]))
    claims = check_id_token(second["id_token"], issuer=rp.issuer, client_id=rp.client_id, nonce="the-nonce")
    assert claims["auth_time"] == first["auth_time"]

    await asyncio.sleep(2)
    page = await rp.authorize(browser, max_age="1")
    assert isinstance(page, Page)
    assert "login-submit" in page.ids
    third = await _id_token(browser, rp, person, max_age="1")
    assert int(str(third["auth_time"])) > int(str(first["auth_time"]))


@pytest.mark.parametrize("max_age", ["-1", "soon", "1.5", "٣", "99999999999"])
async def test_max_age_that_is_none(browser: Browser, rp: RelyingParty, max_age: str) -> None:
    answer = await rp.authorize(browser, max_age=max_age, state=STATE)
    assert isinstance(answer, Redirect)
    check_error_redirect(answer.parameters, error="invalid_request", state=STATE, issuer=rp.issuer)


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("request", "invalid_request_object"),
        ("request_uri", "invalid_request_uri"),
        ("registration", "registration_not_supported"),
    ],
)
async def test_parameters_that_may_not_be_ignored(browser: Browser, rp: RelyingParty, name: str, error: str) -> None:
    """oidcc-unsigned-request-object-…, oidcc-request-uri-unsigned-…: refused, never ignored."""
    answer = await rp.authorize(browser, **{name: "https://rp.example.com/x"}, state=STATE)
    assert isinstance(answer, Redirect)
    check_error_redirect(answer.parameters, error=error, state=STATE, issuer=rp.issuer)


def _object(payload: object, signature: str = "") -> str:
    """An unsigned request object."""
    header = {"alg": "none"}
    parts = [urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in (header, payload)]
    return ".".join([*parts, signature])


@pytest.mark.fault(31)
@pytest.mark.parametrize(
    ("asked", "outside", "mode"),
    [
        (_object({"response_mode": "form_post"}), None, "form_post"),
        (_object({"response_mode": "form_post"}, "c2ln"), "query", "form_post"),
        (
            _object({"response_mode": "form_post", "redirect_uri": "https://evil.example", "state": "x"}),
            None,
            "form_post",
        ),
        (_object({"state": "another"}), "form_post", "form_post"),
        (_object({"response_mode": "none-such"}), None, "query"),
        (_object({"response_mode": ["form_post"]}), "form_post", "query"),
        (_object({"response_mode": "query"}), "form_post", "query"),
        (_object(["form_post"]), "form_post", "form_post"),
        (_object({"response_mode": "form_post", "filler": "x" * 20_000}), None, "query"),
        ("a.b.c.d.e", "form_post", "form_post"),
        ("e30", None, "query"),
        ("..", None, "query"),
        ("\u00e9.\u00e9.", "form_post", "form_post"),
        (_object({"response_mode": "form_post"}).replace("eyJ", "!!!"), None, "query"),
    ],
    ids=range(14),
)
async def test_the_response_mode_of_a_refused_request_object(
    browser: Browser, rp: RelyingParty, asked: str, outside: str | None, mode: str
) -> None:
    """oidcc-unsigned-request-object-… of the Form Post OP plan. Nothing but the mode is taken from the object, and
    nothing at all before the client and its redirect URI are known to be good.
    """
    post = {**rp.parameters(state=STATE), "request": asked} | ({"response_mode": outside} if outside else {})
    answer = await browser.post("/authorize", post, origin="https://app.example.com")
    if mode == "form_post":
        assert isinstance(answer, Page)
        (form,) = answer.forms
        assert form.action == rp.redirect_uri
        parameters = form.fields
    else:
        assert isinstance(answer, Redirect)
        assert answer.location.startswith(rp.redirect_uri)
        parameters = answer.parameters
    check_error_redirect(parameters, error="invalid_request_object", state=STATE, issuer=rp.issuer)
    page = await rp.authorize(browser, redirect_uri="https://evil.example/cb", request=asked[:1000])
    assert isinstance(page, Page)
    assert "oidc-error" in page.ids


@pytest.mark.parametrize("uri", ["https://app.example.com/callback/foo", "https://app.example.com/callback?a=b"])
async def test_unregistered_redirect_uri(browser: Browser, rp: RelyingParty, uri: str) -> None:
    """oidcc-ensure-registered-redirect-uri, -ensure-request-object-with-redirect-uri: a page, never a redirect."""
    for extra, error in (({}, "invalid_request"), ({"request": "e30.e30."}, "invalid_request_object")):
        page = await rp.authorize(browser, redirect_uri=uri, **extra)
        assert isinstance(page, Page)
        assert (page.status, page.error) == (400, error)
        assert "oidc-error" in page.ids


async def test_a_query_of_the_redirect_uri_survives(browser: Browser, make_client: MakeClient, person: User) -> None:
    """oidcc-redirect-uri-query-OK, -mismatch, -added"""
    rp = await make_client(redirect_uris=["https://app.example.com/callback?tenant=1&x=%20y"])
    answer = await _allow(browser, await rp.authorize(browser), person.email)
    assert isinstance(answer, Redirect)
    assert answer.location.startswith("https://app.example.com/callback?tenant=1&x=%20y&code=")
    for other in ("https://app.example.com/callback?tenant=2&x=%20y", "https://app.example.com/callback"):
        page = await rp.authorize(browser, redirect_uri=other)
        assert isinstance(page, Page)
        assert page.status == 400


async def test_a_missing_redirect_uri(browser: Browser, rp: RelyingParty) -> None:
    """oidcc-ensure-redirect-uri-in-authorization-request"""
    page = await rp.authorize(browser, redirect_uri=None)
    assert isinstance(page, Page)
    assert page.status == 400


async def test_post(browser: Browser, rp: RelyingParty, person: User) -> None:
    """oidcc-ensure-post-request-succeeds, also for a user who is signed in already"""
    for _ in range(2):
        answer = await browser.post("/authorize", rp.parameters(), origin="https://rp.example.com")
        answer = await _allow(browser, answer, person.email)
        assert isinstance(answer, Redirect)
        check_token_response(await rp.redeem(answer.parameters["code"]))
    assert isinstance(answer, Redirect)


class _FormPost(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.form: dict[str, str | None] = {}
        self.fields: dict[str, str | None] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "form":
            self.form = values
        elif tag == "input":
            self.fields[str(values["name"])] = values["value"]


async def test_form_post(browser: Browser, rp: RelyingParty, person: User) -> None:
    """The form_post plan: everything in the body, nothing in the query, for errors too."""
    await _code(browser, rp, person)
    for extra, expected in (({}, "code"), ({"prompt": "login none"}, "error"), ({"response_type": None}, "error")):
        page = await rp.authorize(browser, response_mode="form_post", state=STATE, **extra)
        assert isinstance(page, Page)
        parser = _FormPost()
        parser.feed(page.text)
        assert parser.form["method"] == "post"
        assert parser.form["action"] == rp.redirect_uri
        assert parser.form.get("enctype", "application/x-www-form-urlencoded") == "application/x-www-form-urlencoded"
        assert parser.fields["state"] == STATE
        assert parser.fields["iss"] == rp.issuer
        assert expected in parser.fields
        nonce = page.text.partition('nonce="')[2].partition('"')[0]
        assert f"script-src 'nonce-{nonce}'" in page.response.headers["content-security-policy"]


async def test_essential_acr_that_cannot_be_met(browser: Browser, rp: RelyingParty, person: User) -> None:
    """OpenID Connect Core section 5.5.1.1"""
    claims = '{"id_token":{"acr":{"essential":true,"values":["phrh"]}}}'
    answer = await rp.authorize(browser, claims=claims, state=STATE)
    assert isinstance(answer, Redirect)
    check_error_redirect(answer.parameters, error="unmet_authentication_requirements", state=STATE, issuer=rp.issuer)
    await _id_token(browser, rp, person, claims='{"id_token":{"acr":{"essential":true,"values":["phrh","1"]}}}')


@pytest.mark.parametrize("claims", ["{", "[]", '{"userinfo":[]}', '"x"', '{"userinfo":{"name":7}}'])
async def test_claims_that_are_none(browser: Browser, rp: RelyingParty, claims: str) -> None:
    answer = await rp.authorize(browser, claims=claims, state=STATE)
    assert isinstance(answer, Redirect)
    check_error_redirect(answer.parameters, error="invalid_request", state=STATE, issuer=rp.issuer)


async def test_cancel_and_deny(browser: Browser, rp: RelyingParty, person: User) -> None:
    page = await rp.authorize(browser, state=STATE)
    assert isinstance(page, Page)
    cancelled = await browser.submit(page, "login-cancel")
    assert isinstance(cancelled, Redirect)
    check_error_redirect(cancelled.parameters, error="access_denied", state=STATE, issuer=rp.issuer)

    page = await rp.authorize(browser, state=STATE)
    assert isinstance(page, Page)
    consent = await browser.sign_in(page, person.email, "correct horse battery staple")
    assert isinstance(consent, Page)
    assert {"consent-allow", "consent-deny"} <= consent.ids
    denied = await browser.submit(consent, "consent-deny")
    assert isinstance(denied, Redirect)
    check_error_redirect(denied.parameters, error="access_denied", state=STATE, issuer=rp.issuer)
