"""After a user is signed out everywhere, nothing that was given before works, except where nobody asks this server; and
that ends by the time that the reach report names.

The steps before it are drawn at random: sign-ins, codes, refreshes, pushed requests, pages left open.
"""

import random
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from idp.accounts.tables import User
from idp.oauth.logout import reach
from idp.oauth.sign_out import sign_out_everywhere
from idp.signin.repository.sessions import active_sessions
from tests.conftest import MakeClient
from tests.support.browser import Browser, Page, open_browser
from tests.support.oauth import PASSWORD, RelyingParty
from tests.support.server import Server
from tests.support.tokens import claims_of

STEPS = ("sign in", "code", "redeem", "refresh", "offline", "leave consent open", "push")
DAY = 86400.0


class Model:
    """A user with several browsers and clients, and everything that they were given."""

    def __init__(self, server: Server, user: User, clients: list[RelyingParty], draw: random.Random) -> None:
        self.server, self.user, self.clients, self.draw = server, user, clients, draw
        self.browsers: list[Browser] = []
        self.codes: list[tuple[RelyingParty, str]] = []
        self.tokens: list[tuple[RelyingParty, dict[str, Any]]] = []
        self.consents: list[tuple[Browser, Page]] = []
        self.pushed: list[tuple[RelyingParty, str]] = []
        self.stack = AsyncExitStack()

    async def step(self, name: str) -> None:
        if name == "sign in" or not self.browsers:
            browser = await self.stack.enter_async_context(open_browser(self.server.issuer))
            page = await browser.get("/login")
            assert isinstance(page, Page)
            await browser.sign_in(page, self.user.email, PASSWORD)
            self.browsers.append(browser)
        browser, party = self.draw.choice(self.browsers), self.draw.choice(self.clients)
        match name:
            case "code":
                self.codes.append((party, await party.sign_in(browser, self.user.email)))
            case "redeem":
                self.tokens.append((party, await party.tokens(browser, self.user.email)))
            case "offline":
                scope = f"{party.scope} offline_access"
                tokens = await party.tokens(browser, self.user.email, scope=scope, prompt="consent")
                self.tokens.append((party, tokens))
            case "refresh" if self.tokens:
                party, before = self.draw.choice(self.tokens)
                response = await party.refresh(before["refresh_token"])
                assert response.status_code == 200, response.text
                # Both stay in the model: the old access token lives on.
                self.tokens.append((party, response.json()))
                before["refresh_token"] = response.json()["refresh_token"]
            case "leave consent open":
                page = await party.authorize(browser, prompt="consent")
                assert isinstance(page, Page)
                assert "consent-allow" in page.ids
                self.consents.append((browser, page))
            case "push":
                self.pushed.append((party, await party.push()))

    async def check_nothing_works(self, http: httpx.AsyncClient) -> None:
        for party, code in self.codes:
            assert (await party.redeem(code)).status_code == 400
        for party, tokens in self.tokens:
            assert (await party.refresh(tokens["refresh_token"])).status_code == 400
            assert (await party.userinfo(tokens["access_token"])).status_code == 401
            for name in ("access_token", "refresh_token"):
                assert await party.introspect(tokens[name]) == {"active": False}
        for browser in self.browsers:
            account = await browser.get("/account")
            assert isinstance(account, Page)
            assert "login-submit" in account.ids
        for browser, page in self.consents:
            assert isinstance(await browser.submit(page, "consent-allow"), Page)
        for party, request_uri in self.pushed:
            for browser in self.browsers:
                answer = await browser.get("/authorize", client_id=party.client_id, request_uri=request_uri)
                assert isinstance(answer, Page)
        assert await active_sessions(self.user.id, DAY) == []

    async def check_the_report(self) -> None:
        """No access token lives longer than the report says of its client."""
        until: dict[str, datetime] = {}
        for session in await reach.of_user(self.user.id):
            for each in session.applications:
                assert not each.offline_access
                if each.tokens_until is not None:
                    known = until.get(each.client_id, each.tokens_until)
                    until[each.client_id] = max(known, each.tokens_until)
        for party, tokens in self.tokens:
            expires = datetime.fromtimestamp(claims_of(tokens["access_token"])["exp"], UTC)
            assert expires <= until[party.client_id]
            assert (until[party.client_id] - expires).total_seconds() < 300


@pytest.mark.parametrize("seed", range(4))
async def test_nothing_works(
    server: Server, make_client: MakeClient, alice: User, http: httpx.AsyncClient, seed: int
) -> None:
    draw = random.Random(seed)
    clients = [await make_client(scope="openid email offline_access") for _ in range(2)]
    for client in clients:
        client.scope = "openid email"
    model = Model(server, alice, clients, draw)
    # Each kind of step at least once, in any order.
    steps = [*STEPS, *draw.choices(STEPS, k=6)]
    draw.shuffle(steps)
    async with model.stack:
        for name in steps:
            await model.step(name)
        await sign_out_everywhere(alice.id, "signed_out_by_user")
        await model.check_nothing_works(http)
        await model.check_the_report()
