"""Back-channel logout of upstream providers: which sessions end, and which tokens are refused."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from idp.accounts.tables import User
from idp.errors import TooManyRequestsError
from idp.federation.models import Upstream
from idp.infra.db.engine import fetch
from idp.infra.rate_limits import Rate
from idp.signin import limits
from idp.signin.transitions import Step
from tests.federation.conftest import add, provider, sign_in
from tests.support import tokens
from tests.support.browser import Browser, as_page, open_browser
from tests.support.oauth import PASSWORD
from tests.support.person import equip
from tests.support.server import Server
from tests.support.stand_ins import OpenIDProvider

__all__ = ["add", "provider"]
EVENT = "http://schemas.openid.net/event/backchannel-logout"


@pytest.fixture
async def upstream(provider: OpenIDProvider, add: Any) -> Upstream:
    added: Upstream = await add(issuer=provider.issuer, trust_email=True)
    return added


async def _send(http: httpx.AsyncClient, server: Server, upstream: Upstream, token: str) -> httpx.Response:
    url = f"{server.issuer}/upstreams/{upstream.id}/backchannel-logout"
    return await http.post(url, data={"logout_token": token})


async def _is_signed_in(browser: Browser) -> bool:
    return as_page(await browser.get("/account")).path == "/account"


@pytest.fixture
async def second(server: Server) -> AsyncIterator[Browser]:
    async with open_browser(server.issuer) as browser:
        yield browser


async def _two_sessions(provider: OpenIDProvider, upstream: Upstream, *browsers: Browser) -> list[str]:
    """Sign in with one user from a session of its own each. Returns their ``sid`` there."""
    provider.person.more = {}
    sids = []
    for browser in browsers:
        sids.append(secrets.token_hex(8))
        provider.claims = {"sid": sids[-1]}
        await sign_in(browser, upstream)
        assert await _is_signed_in(browser)
    return sids


@pytest.mark.parametrize("names", ["sid", "sid and sub", "sub"])
async def test_sessions_that_came_from_it_end(
    browser: Browser,
    second: Browser,
    http: httpx.AsyncClient,
    server: Server,
    provider: OpenIDProvider,
    upstream: Upstream,
    names: str,
) -> None:
    """Section 2.7: the session of a sid, or all sessions of a user."""
    ended, _ = await _two_sessions(provider, upstream, browser, second)
    named = {"sid": ended if "sid" in names else None}
    if names == "sid":
        named["sub"] = None
    answer = await _send(http, server, upstream, provider.logout_token(**named))
    assert (answer.status_code, answer.headers["cache-control"], answer.content) == (200, "no-store", b"")
    assert not await _is_signed_in(browser)
    assert await _is_signed_in(second) == (names != "sub")
    # The address is that of the provider, and not of the user.
    actors = await fetch(
        "SELECT DISTINCT actor FROM audit_event WHERE event = 'sign_out' AND session_id IN"
        " (SELECT id FROM session WHERE ended_reason = 'upstream_logout') AND actor = $1",
        f"upstream:{upstream.id}",
    )
    assert actors


@pytest.mark.parametrize("names", ["sid", "sub"])
async def test_a_sign_in_that_waits_for_its_second_step_ends(
    browser: Browser, http: httpx.AsyncClient, server: Server, provider: OpenIDProvider, upstream: Upstream, names: str
) -> None:
    """The provider does not say it again. A sign-in from another session of the user goes on."""
    provider.claims = {"sid": secrets.token_hex(8)}
    await sign_in(browser, upstream)
    (row,) = await fetch("SELECT user_id FROM identity WHERE subject = $1", provider.person.sub)
    user = await User.objects().get(User.id == row["user_id"])
    person = await equip(user, server.issuer, [Step.TOTP], two_step=True)
    browser.cookies.clear()
    ended = secrets.token_hex(8)
    pages = {}
    for sid in (ended, secrets.token_hex(8)):
        provider.claims = {"sid": sid}
        pages[sid] = as_page(await sign_in(browser, upstream))
        assert "totp-submit" in pages[sid].ids
    named = {"sid": ended, "sub": None} if names == "sid" else {"sid": None}
    assert (await _send(http, server, upstream, provider.logout_token(**named))).status_code == 200
    for sid, page in pages.items():
        await browser.submit(page, "totp-submit", code=await person.otp())
        assert browser.signed_in == (names == "sid" and sid != ended)


async def test_an_identity_that_waits_for_its_account_ends(
    browser: Browser, http: httpx.AsyncClient, server: Server, provider: OpenIDProvider, upstream: Upstream, alice: User
) -> None:
    provider.person.email = alice.email
    page = as_page(await sign_in(browser, upstream))
    assert (await _send(http, server, upstream, provider.logout_token())).status_code == 200
    await browser.submit(page, "login-submit", username=alice.email, password=PASSWORD)
    assert not browser.signed_in
    assert await fetch("SELECT 1 FROM identity WHERE user_id = $1", alice.id) == []


async def test_a_session_by_password_stays(
    browser: Browser, http: httpx.AsyncClient, server: Server, provider: OpenIDProvider, upstream: Upstream, alice: User
) -> None:
    """Of the same user: the provider says nothing about it."""
    provider.person.email = alice.email
    page = as_page(await sign_in(browser, upstream))
    # The address has an account: its password links the identity to it.
    await browser.submit(page, "login-submit", username=alice.email, password=PASSWORD)
    assert await _is_signed_in(browser)
    assert (await _send(http, server, upstream, provider.logout_token())).status_code == 200
    assert await _is_signed_in(browser)


async def test_nothing_to_end(
    http: httpx.AsyncClient, server: Server, provider: OpenIDProvider, upstream: Upstream
) -> None:
    """Section 2.8: success, also for a user and a session that were never here."""
    for named in ({}, {"sid": "unknown"}, {"sid": "unknown", "sub": None}):
        assert (await _send(http, server, upstream, provider.logout_token(**named))).status_code == 200


#: Claims and members of the header that make a token unacceptable.
WRONG: dict[str, dict[str, Any]] = {
    "another issuer": {"iss": "https://evil.example"},
    "another audience": {"aud": "another-client"},
    "no audience": {"aud": None},
    "among other audiences only": {"aud": ["one", "two"]},
    "no events": {"events": None},
    "events that are a list": {"events": [EVENT]},
    "another event": {"events": {"http://schemas.openid.net/event/other": {}}},
    "an event that is no object": {"events": {EVENT: True}},
    "a nonce": {"nonce": "n"},
    "an empty nonce": {"nonce": ""},
    "neither sub nor sid": {"sub": None, "sid": None},
    "a sub that is no text": {"sub": 17},
    "a sid that is no text": {"sid": ["x"]},
    "an empty sid": {"sid": ""},
    "NUL in the sid": {"sid": "a\0b"},
    "a long sid": {"sid": "s" * 256},
    "no jti": {"jti": None},
    "a jti that is no text": {"jti": 1},
    "no iat": {"iat": None},
    "iat long ago": {"iat": int(time.time()) - 3600, "exp": None},
    "iat in the future": {"iat": int(time.time()) + 3600},
    "expired": {"exp": int(time.time()) - 1},
    "exp that is no time": {"exp": "soon"},
}


@pytest.mark.parametrize("wrong", WRONG)
async def test_tokens_that_are_refused(
    browser: Browser,
    http: httpx.AsyncClient,
    server: Server,
    provider: OpenIDProvider,
    upstream: Upstream,
    wrong: str,
) -> None:
    """Section 2.6, each step. The session stays."""
    provider.claims = {"sid": "the-session"}
    await sign_in(browser, upstream)
    answer = await _send(http, server, upstream, provider.logout_token(**({"sid": "the-session"} | WRONG[wrong])))
    assert answer.status_code == 400
    assert (answer.headers["cache-control"], answer.json()["error"]) == ("no-store", "invalid_request")
    assert await _is_signed_in(browser)


async def test_signatures_that_are_refused(
    browser: Browser, http: httpx.AsyncClient, server: Server, provider: OpenIDProvider, upstream: Upstream
) -> None:
    await sign_in(browser, upstream)
    good = provider.logout_token()
    header, claims, signature = good.split(".")
    unsigned = tokens.unsigned({"alg": "none"}, {"sub": provider.person.sub})
    for bad in (
        provider.logout_token(key=provider.stranger),
        f"{header}.{claims}.",
        f"{header}.{claims}.{signature[:-8]}AAAAAAAA",
        f"{unsigned}.",
        "nonsense",
        "",
        good + "." + good,
        "x" * 100_000,
    ):
        assert (await _send(http, server, upstream, bad)).status_code in (400, 413)
        assert await _is_signed_in(browser)
    assert (await _send(http, server, upstream, good)).status_code == 200
    assert not await _is_signed_in(browser)


async def test_an_id_token_is_no_logout_token(
    browser: Browser, http: httpx.AsyncClient, server: Server, provider: OpenIDProvider, upstream: Upstream
) -> None:
    await sign_in(browser, upstream)
    id_token = provider._signed({}, "an-access-token")
    assert (await _send(http, server, upstream, id_token)).status_code == 400
    assert await _is_signed_in(browser)


async def test_a_token_is_used_once(
    browser: Browser, http: httpx.AsyncClient, server: Server, provider: OpenIDProvider, upstream: Upstream
) -> None:
    """A stolen one does not end the sessions of later sign-ins."""
    token = provider.logout_token()
    await sign_in(browser, upstream)
    assert (await _send(http, server, upstream, token)).status_code == 200
    await sign_in(browser, upstream)
    assert (await _send(http, server, upstream, token)).status_code == 400
    assert await _is_signed_in(browser)


async def test_who_has_no_such_endpoint(http: httpx.AsyncClient, server: Server, upstream: Upstream) -> None:
    for path, form in ((upstream.id, {}), ("none-such", {"logout_token": "x"})):
        answer = await http.post(f"{server.issuer}/upstreams/{path}/backchannel-logout", data=form)
        assert (answer.status_code, answer.headers["cache-control"]) == (400, "no-store")
    assert (await http.get(f"{server.issuer}/upstreams/{upstream.id}/backchannel-logout")).status_code == 405


async def test_what_is_recorded(
    browser: Browser, http: httpx.AsyncClient, server: Server, provider: OpenIDProvider, upstream: Upstream
) -> None:
    await sign_in(browser, upstream)
    await _send(http, server, upstream, provider.logout_token(aud="another"))
    await _send(http, server, upstream, provider.logout_token())
    wanted = [
        ("failure", "The logout token is for another client.", None),
        ("success", None, 1),
    ]
    found: list[tuple[Any, ...]] = []
    async with asyncio.timeout(20):
        while len(found) < 2:
            rows = await fetch(
                "SELECT outcome, detail ->> 'check' AS why, (detail ->> 'sessions')::int AS number FROM audit_event"
                " WHERE event = 'upstream_logout' AND detail ->> 'upstream' = $1 ORDER BY outcome",
                upstream.id,
            )
            found = [tuple(row.values()) for row in rows]
            await asyncio.sleep(0.05)
    assert found == wanted


async def test_noise_is_limited(monkeypatch: pytest.MonkeyPatch, db: str) -> None:
    """Each host may send a burst, and then some in every second."""
    monkeypatch.setattr(limits, "LOGOUT_TOKENS_OF_HOST", Rate(f"test {secrets.token_hex(4)}", burst=3, interval=60))
    for _ in range(3):
        await limits.count_logout_token()
    with pytest.raises(TooManyRequestsError):
        await limits.count_logout_token()
