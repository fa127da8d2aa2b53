"""Single-session mode: a new sign-in ends the user's earlier ones."""

import asyncio
from collections.abc import Callable

from idp.accounts.tables import User
from tests.conftest import MakeClient, MakeUser
from tests.support.browser import Page, Redirect, open_browser
from tests.support.oauth import RelyingParty
from tests.support.server import Server


async def _tokens(user: User, *parties: RelyingParty) -> list[dict[str, str]]:
    """Sign in once, with a browser that was never used before, and get tokens for each client."""
    async with open_browser(parties[0].issuer) as browser:
        return [await party.tokens(browser, user.email) for party in parties]


async def _works(party: RelyingParty, tokens: dict[str, str]) -> bool:
    """Return whether the refresh token works. The access token always agrees with it."""
    live = (await party.introspect(tokens["access_token"]))["active"]
    assert live is ((await party.refresh(tokens["refresh_token"])).status_code == 200)
    return bool(live)


async def test_for_one_client(make_client: MakeClient, make_user: MakeUser) -> None:
    strict, lenient = await make_client(single_session=True), await make_client()
    alice, bob = await make_user(), await make_user()
    earlier, elsewhere = await _tokens(alice, strict, lenient)
    (of_bob,) = await _tokens(bob, strict)
    (later,) = await _tokens(alice, strict)
    assert not await _works(strict, earlier)
    assert await _works(strict, later)
    assert await _works(lenient, elsewhere)
    assert await _works(strict, of_bob)


async def test_a_sign_in_elsewhere_ends_nothing(make_client: MakeClient, alice: User) -> None:
    strict, lenient = await make_client(single_session=True), await make_client()
    (tokens,) = await _tokens(alice, strict)
    await _tokens(alice, lenient)
    assert await _works(strict, tokens)


async def test_offline_access_ends_too(make_client: MakeClient, alice: User) -> None:
    strict = await make_client(single_session=True, scope="openid offline_access")
    (earlier,) = await _tokens(alice, strict)
    (later,) = await _tokens(alice, strict)
    assert [await _works(strict, tokens) for tokens in (earlier, later)] == [False, True]


async def test_a_code_of_an_earlier_sign_in(make_client: MakeClient, alice: User) -> None:
    """A code that was not redeemed in time would restore what the new sign-in has ended."""
    strict, lenient = await make_client(single_session=True), await make_client()
    async with open_browser(strict.issuer) as browser:
        codes = [await party.sign_in(browser, alice.email) for party in (strict, lenient)]
    (later,) = await _tokens(alice, strict)
    refused = await strict.redeem(codes[0])
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")
    assert (await lenient.redeem(codes[1])).status_code == 200
    assert await _works(strict, later)


async def test_the_same_sign_in_may_give_more(make_client: MakeClient, alice: User) -> None:
    """A second tab of the same browser is no new sign-in."""
    strict = await make_client(single_session=True)
    first, second = await _tokens(alice, strict, strict)
    assert await _works(strict, first)
    assert await _works(strict, second)


async def test_signing_in_again_at_the_same_browser(make_client: MakeClient, alice: User) -> None:
    """The session stays, but it is a new sign-in."""
    strict = await make_client(single_session=True)
    async with open_browser(strict.issuer) as browser:
        first = await strict.tokens(browser, alice.email)
        second = await strict.tokens(browser, alice.email, prompt="login")
    assert [await _works(strict, tokens) for tokens in (first, second)] == [False, True]


async def test_for_the_whole_server(
    start_server: Callable[..., Server], make_client: MakeClient, make_user: MakeUser
) -> None:
    """Sessions end as well, and with them the refresh tokens of every client."""
    parties = [await make_client(scope="openid offline_access"), await make_client()]
    alice, bob = await make_user(), await make_user()
    server = await asyncio.to_thread(start_server, IDP_SINGLE_SESSION="true")
    for party in parties:
        party.issuer = server.issuer
    (of_bob,) = await _tokens(bob, parties[0])
    async with open_browser(server.issuer) as earlier, open_browser(server.issuer) as later:
        old = [await party.tokens(earlier, alice.email) for party in parties]
        new = [await party.tokens(later, alice.email) for party in parties]
        assert [await _works(party, tokens) for party, tokens in zip(parties, old, strict=True)] == [False, False]
        assert [await _works(party, tokens) for party, tokens in zip(parties, new, strict=True)] == [True, True]
        answer = await parties[0].authorize(earlier, prompt="none")
        assert isinstance(answer, Redirect)
        assert answer.parameters["error"] == "login_required"
        page = await later.get("/")
        assert isinstance(page, Page)
        assert alice.email in page.text
    assert await _works(parties[0], of_bob)
