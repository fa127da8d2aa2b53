"""Single-session mode: a new sign-in ends what the user's earlier ones gave."""

import asyncio
from collections.abc import Callable

from idp.accounts.tables import User
from tests.conftest import MakeClient, MakeUser
from tests.support.browser import Page, Redirect, open_browser
from tests.support.oauth import RelyingParty
from tests.support.server import Server


async def _tokens(party: RelyingParty, user: User) -> dict[str, str]:
    """Sign in with a browser that was never used before."""
    async with open_browser(party.issuer) as browser:
        return await party.tokens(browser, user.email)


async def _works(party: RelyingParty, tokens: dict[str, str]) -> bool:
    return (await party.refresh(tokens["refresh_token"])).status_code == 200


async def test_for_one_client(make_client: MakeClient, make_user: MakeUser) -> None:
    strict, lenient = await make_client(single_session=True), await make_client()
    alice, bob = await make_user(), await make_user()
    first, of_bob, elsewhere = await _tokens(strict, alice), await _tokens(strict, bob), await _tokens(lenient, alice)
    second = await _tokens(strict, alice)
    assert not await _works(strict, first)
    assert await strict.introspect(first["access_token"]) == {"active": False}
    assert await _works(strict, second)
    assert await _works(strict, of_bob)
    assert await _works(lenient, elsewhere)


async def test_the_same_sign_in_may_give_more(make_client: MakeClient, alice: User) -> None:
    """A second tab of the same browser is no new sign-in."""
    strict = await make_client(single_session=True)
    async with open_browser(strict.issuer) as browser:
        first = await strict.tokens(browser, alice.email)
        second = await strict.tokens(browser, alice.email)
    assert await _works(strict, first)
    assert await _works(strict, second)


async def test_for_the_whole_server(
    start_server: Callable[..., Server], make_client: MakeClient, make_user: MakeUser
) -> None:
    one, other = await make_client(), await make_client()
    alice, bob = await make_user(), await make_user()
    server = await asyncio.to_thread(start_server, IDP_SINGLE_SESSION="true")
    one.issuer = other.issuer = server.issuer
    of_bob = await _tokens(one, bob)
    async with open_browser(server.issuer) as earlier, open_browser(server.issuer) as later:
        old = [await party.tokens(earlier, alice.email) for party in (one, other)]
        new = [await party.tokens(later, alice.email) for party in (one, other)]
        assert [await _works(party, tokens) for party, tokens in zip((one, other), old, strict=True)] == [False, False]
        assert [await _works(party, tokens) for party, tokens in zip((one, other), new, strict=True)] == [True, True]
        answer = await one.authorize(earlier, prompt="none")
        assert isinstance(answer, Redirect)
        assert answer.parameters["error"] == "login_required"
        page = await later.get("/")
        assert isinstance(page, Page)
        assert alice.email in page.text
    assert await _works(one, of_bob)
