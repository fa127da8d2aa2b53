"""Row 68: a sign-in at a provider is as old as the provider reports. Without a report it is never fresh."""

import time
from datetime import UTC, datetime
from typing import Any

import pytest

from idp.accounts.tables import User
from idp.admin.roles import Role, grant
from idp.federation import providers
from idp.federation.models import Upstream
from idp.infra.db.engine import execute, fetchrow
from idp.signin.transitions import CompletedStep, Step, auth_age
from tests.conftest import MakeClient
from tests.federation.conftest import Add, add, github, leave, provider, sign_in
from tests.support.browser import Browser, Page, Redirect, as_page, open_browser
from tests.support.oauth import PASSWORD, RelyingParty
from tests.support.stand_ins import GitHub, OpenIDProvider
from tests.support.tokens import claims_of

__all__ = ["add", "github", "provider"]
pytestmark = pytest.mark.fault(11)

THREE_DAYS = 3 * 24 * 3600


@pytest.fixture
async def client(make_client: MakeClient) -> RelyingParty:
    return await make_client(skip_consent=True)


def _asked(provider: OpenIDProvider) -> dict[str, str]:
    """The authorization request that the provider got last."""
    return next(given for path, given in reversed(provider.requests) if path == "/authorize")


async def _come(client: RelyingParty, browser: Browser, upstream: Upstream, **asked: str) -> Page | Redirect:
    """Authorize, and sign in elsewhere."""
    return await sign_in(browser, upstream, as_page(await client.authorize(browser, **asked)))


async def _tokens(client: RelyingParty, answer: Page | Redirect) -> dict[str, Any]:
    assert isinstance(answer, Redirect), answer.text
    redeemed = await client.redeem(answer.parameters["code"])
    assert redeemed.status_code == 200, redeemed.text
    tokens: dict[str, Any] = redeemed.json()
    return tokens


WISHES = {
    "prompt": ({"prompt": "login"}, {"prompt": "login", "max_age": "0"}),
    "max_age": ({"max_age": "600"}, {"max_age": "600"}),
    "essential": ({"claims": '{"id_token": {"auth_time": {"essential": true}}}'}, {"max_age": str(10**9)}),
}


@pytest.mark.parametrize(("asked", "passed_on"), WISHES.values(), ids=WISHES)
async def test_68_the_wish_is_passed_on_without_a_session_here(
    browser: Browser, client: RelyingParty, provider: OpenIDProvider, add: Add,
    asked: dict[str, str], passed_on: dict[str, str],
) -> None:  # fmt: skip
    """A provider that ignores it, or does not report the time, signs no one in."""
    upstream = await add(issuer=provider.issuer, trust_email=True)
    for auth_time in (None, "yesterday", 10**12, *([] if "claims" in asked else [int(time.time()) - THREE_DAYS])):
        provider.claims = {"auth_time": auth_time}
        refused = as_page(await _come(client, browser, upstream, **asked))
        assert (refused.status, browser.signed_in) == (400, False)
        assert upstream.name in refused.text
        given = _asked(provider)
        assert {name: given[name] for name in ("prompt", "max_age") if name in given} == passed_on
    provider.claims = {"auth_time": (now := int(time.time()) - 30)}
    tokens = await _tokens(client, await _come(client, browser, upstream, **asked))
    assert claims_of(tokens["id_token"])["auth_time"] == now


async def test_68_tokens_say_when_it_was(
    browser: Browser, client: RelyingParty, provider: OpenIDProvider, add: Add
) -> None:
    """Three days ago, in every token, in the next ones too; so a later wish for less is not met by it."""
    upstream = await add(issuer=provider.issuer, trust_email=True)
    provider.claims = {"auth_time": (then := int(time.time()) - THREE_DAYS)}
    tokens = await _tokens(client, await _come(client, browser, upstream))
    refreshed = (await client.refresh(tokens["refresh_token"])).json()
    for given in (tokens, refreshed):
        assert claims_of(given["id_token"])["auth_time"] == then
        assert claims_of(given["access_token"])["auth_time"] == then
    for wish in ({"max_age": "600"}, {"max_age": "600", "prompt": "none"}, {"prompt": "login"}):
        answer = await client.authorize(browser, **wish)
        if wish.get("prompt") == "none":
            assert isinstance(answer, Redirect)
            assert answer.parameters["error"] == "login_required"
        else:
            assert "login-submit" in as_page(answer).ids
    granted = await client.authorize(browser, max_age=str(THREE_DAYS + 600))
    assert isinstance(granted, Redirect)
    assert "code" in granted.parameters


async def test_68_a_provider_that_says_nothing(
    browser: Browser, client: RelyingParty, provider: OpenIDProvider, add: Add
) -> None:
    """No time is made up, and no age is small enough."""
    upstream = await add(issuer=provider.issuer, trust_email=True)
    provider.claims = {"auth_time": None}
    tokens = await _tokens(client, await _come(client, browser, upstream))
    refreshed = (await client.refresh(tokens["refresh_token"])).json()
    for given in (tokens, refreshed):
        assert "auth_time" not in claims_of(given["id_token"])
        assert "auth_time" not in claims_of(given["access_token"])
    silent = await client.authorize(browser, prompt="none", max_age=str(10**9))
    assert isinstance(silent, Redirect)
    assert silent.parameters["error"] == "login_required"


async def test_68_one_that_cannot_be_asked(
    browser: Browser, client: RelyingParty, github: GitHub, add: Add, alice: User
) -> None:
    """It is not offered if a recent sign-in is required, by any path; other ways are."""
    upstream = await add(kind="github", issuer=github.url)
    for wish in ({"prompt": "login"}, {"max_age": "600"}, {"prompt": "login", "idp_hint": upstream.id}):
        page = as_page(await client.authorize(browser, **wish))
        assert f"upstream-{upstream.id}" not in page.ids
        assert upstream.name in page.text
        assert "login-submit" in as_page(await browser.get(f"{page.path}/to/{upstream.id}")).ids
        assert github.requests == []
    answer = await browser.sign_in(page, alice.email, PASSWORD)
    assert isinstance(answer, Redirect)
    assert "code" in answer.parameters


async def test_68_account_pages(browser: Browser, github: GitHub, provider: OpenIDProvider, add: Add) -> None:
    """Directly after a sign-in that proves nothing recent, they require one that does."""
    await sign_in(browser, await add(kind="github", issuer=github.url))
    assert as_page(await browser.get("/account/password")).path.startswith("/login/")
    browser.cookies.clear()
    upstream = await add(issuer=provider.issuer, trust_email=True)
    provider.claims = {"auth_time": int(time.time()) - THREE_DAYS}
    await sign_in(browser, upstream)
    page = as_page(await browser.get("/account/password"))
    assert page.path.startswith("/login/")
    assert as_page(await sign_in(browser, upstream, page)).status == 400
    assert (_asked(provider)["prompt"], _asked(provider)["max_age"]) == ("login", "0")
    provider.claims = {}
    assert as_page(await sign_in(browser, upstream, page)).path == "/account/password"


async def test_68_account_pages_without_a_session(browser: Browser, provider: OpenIDProvider, add: Add) -> None:
    upstream = await add(issuer=provider.issuer, trust_email=True)
    provider.claims = {"auth_time": int(time.time()) - THREE_DAYS}
    page = as_page(await browser.get("/account/password"))
    assert as_page(await sign_in(browser, upstream, page)).status == 400
    assert not browser.signed_in
    assert int(_asked(provider)["max_age"]) > 0


async def test_68_the_console(browser: Browser, provider: OpenIDProvider, add: Add) -> None:
    """An owner with an old session at the provider must sign in again before a critical action."""
    upstream = await add(issuer=provider.issuer, trust_email=True, mfa_acr="theirs")
    provider.claims = {"acr": "theirs", "auth_time": int(time.time()) - THREE_DAYS}
    await sign_in(browser, upstream)
    row = await fetchrow("SELECT user_id FROM identity WHERE subject = $1", provider.person.sub)
    assert row is not None
    await grant(row["user_id"], Role.OWNER)
    assert as_page(await browser.get("/admin")).status == 200
    page = as_page(await browser.get("/admin/keys/rotate"))
    assert page.path.startswith("/login/")
    assert as_page(await sign_in(browser, upstream, page)).status == 400
    assert _asked(provider)["max_age"] == "0"


async def test_68_a_sign_in_of_another_tab(
    browser: Browser, client: RelyingParty, provider: OpenIDProvider, add: Add
) -> None:
    """It had no requirements, and does not satisfy a request that has some."""
    upstream = await add(issuer=provider.issuer, trust_email=True)
    provider.claims = {"auth_time": int(time.time()) - THREE_DAYS}
    waiting = as_page(await client.authorize(browser, prompt="login"))
    await sign_in(browser, upstream)
    assert browser.signed_in
    row = await fetchrow(
        "SELECT f.return_to FROM signin_flow AS f WHERE f.id = $1", waiting.path.removeprefix("/login/")
    )
    assert row is not None
    assert "login-submit" in as_page(await browser.get(row["return_to"])).ids


async def test_68_a_choice_of_accounts_is_not_freshness(
    browser: Browser, client: RelyingParty, provider: OpenIDProvider, add: Add
) -> None:
    """A user who has just signed in for the request is not asked again, however old the session at the provider is."""
    upstream = await add(issuer=provider.issuer, trust_email=True)
    provider.claims = {"auth_time": int(time.time()) - THREE_DAYS}
    answer = await _come(client, browser, upstream, prompt="select_account")
    assert isinstance(answer, Redirect), answer.text
    assert "code" in answer.parameters


async def test_68_a_callback_of_a_flow_that_asked_for_less(
    browser: Browser, client: RelyingParty, provider: OpenIDProvider, add: Add
) -> None:
    """A way back that began without the wish cannot be carried into a sign-in that has it."""
    upstream = await add(issuer=provider.issuer, trust_email=True)
    provider.claims = {"auth_time": int(time.time()) - THREE_DAYS}
    easy = as_page(await browser.get("/login"))
    strict = as_page(await client.authorize(browser, prompt="login"))
    location = await leave(browser, easy, upstream)
    state = location.partition("state=")[2].partition("&")[0]
    fields = strict.forms[0].fields | {"state": state, "upstream": upstream.id, "code": "x"}
    assert as_page(await browser.post(f"{strict.path}/upstream", fields)).status == 400
    assert not browser.signed_in


async def test_68_an_app_that_asks_by_itself(
    browser: Browser, make_client: MakeClient, provider: OpenIDProvider, add: Add
) -> None:
    """The challenge endpoint sends its wish along to the browser."""
    app = await make_client(authorization_challenge=True, skip_consent=True)
    upstream = await add(issuer=provider.issuer, trust_email=True)
    asked = {name: value for name, value in app.parameters(max_age="600").items() if name != "redirect_uri"}
    first = await app.post("/challenge", **asked)
    answer = await app.post(
        "/challenge", auth_session=first.json()["auth_session"], step="upstream", upstream=upstream.id
    )
    away = await browser.get(answer.json()["authorization_url"].removeprefix(app.issuer))
    assert isinstance(away, Redirect), away.text
    assert "max_age=600" in away.location


async def test_68_a_provider_declared_to_be_unable(
    browser: Browser, client: RelyingParty, provider: OpenIDProvider, add: Add
) -> None:
    """No reauthentication is requested from it, and it does not make a sign-in recent."""
    upstream = await add(issuer=provider.issuer, trust_email=True, options={"reauthenticates": "no"})
    page = as_page(await client.authorize(browser, prompt="login"))
    assert f"upstream-{upstream.id}" not in page.ids
    await sign_in(browser, upstream)
    assert browser.signed_in
    await _come(client, browser, upstream, prompt="select_account")
    assert "prompt" not in _asked(provider)


def test_68_kinds_that_cannot_be_asked() -> None:
    able = {name for name, kind in providers.KINDS.items() if kind.reauthenticates}
    assert able == {"ldap", "oidc", "microsoft"}


async def test_68_a_session_begun_before_times_were_kept(browser: Browser, provider: OpenIDProvider, add: Add) -> None:
    """The age of its proof is unknown."""
    await sign_in(browser, await add(issuer=provider.issuer, trust_email=True))
    assert as_page(await browser.get("/account/password")).path == "/account/password"
    await execute(
        "UPDATE session SET steps = ARRAY['upstream fed'] WHERE user_id IN"
        " (SELECT user_id FROM identity WHERE subject = $1)", provider.person.sub,
    )  # fmt: skip
    async with open_browser(browser.issuer) as same:
        same.cookies.update(browser.cookies)
        assert as_page(await same.get("/account/password")).path.startswith("/login/")


AT = datetime(2026, 1, 2, tzinfo=UTC)
THEN = int(AT.timestamp()) - 3600
AGES = {
    "here": ([CompletedStep(Step.PASSWORD), CompletedStep(Step.TOTP)], 0),
    "elsewhere": ([CompletedStep(Step.UPSTREAM, ("fed",), THEN)], 3600),
    "a second step does not make it fresher": (
        [CompletedStep(Step.UPSTREAM, ("fed",), THEN), CompletedStep(Step.TOTP)],
        3600,
    ),
    "a passkey proves all": ([CompletedStep(Step.UPSTREAM, ("fed",)), CompletedStep(Step.PASSKEY)], 0),
    "nobody knows": ([CompletedStep(Step.UPSTREAM, ("fed",))], None),
    "a step-up goes on with an old sign-in": (
        [CompletedStep(Step.PASSWORD, ("pwd",), THEN), CompletedStep(Step.TOTP)],
        3600,
    ),
    "the oldest first step counts": (
        [CompletedStep(Step.PASSWORD, ("pwd",), THEN), CompletedStep(Step.UPSTREAM, (), THEN + 60)],
        3600,
    ),
    "what is put off proves nothing": ([CompletedStep(Step.PASSWORD, ("pwd",), THEN), CompletedStep(Step.ENROL)], 3600),
    "a new passkey proves nothing": (
        [CompletedStep(Step.PASSWORD, (), THEN), CompletedStep(Step.PASSKEY, (), THEN + 3600)],
        3600,
    ),
    "a new passkey of somebody from elsewhere": (
        [CompletedStep(Step.UPSTREAM), CompletedStep(Step.PASSKEY, (), THEN)],
        None,
    ),
    "a passkey of an earlier sign-in": ([CompletedStep(Step.PASSKEY, (), THEN), CompletedStep(Step.TOTP)], 3600),
    "a clock that is ahead": ([CompletedStep(Step.UPSTREAM, ("fed",), THEN + 3660)], 0),
}


@pytest.mark.parametrize(("done", "expected"), AGES.values(), ids=AGES)
def test_68_ages(done: list[CompletedStep], expected: int | None) -> None:
    assert auth_age(done, AT) == expected
    assert [CompletedStep.parse(str(taken)) for taken in done] == done
