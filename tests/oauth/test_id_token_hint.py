"""Hints whose signing key has retired, and hints that cannot be verified."""

import asyncio

import pytest

from idp.accounts.tables import User
from idp.errors import InvalidRequestError
from idp.infra.db.engine import execute, fetchrow, transaction
from idp.keys import jose, lifecycle
from idp.keys.key_set import KeySet, key_set
from idp.oauth.id_token_hint import read_id_token_hint
from tests.conftest import MakeClient
from tests.support.browser import Browser, Page, Redirect
from tests.support.isolated import own_database
from tests.support.oauth import RelyingParty
from tests.support.server import Server
from tests.support.tokens import claims_of

__all__ = ["own_database"]
pytestmark = pytest.mark.fault(17)

URI = "https://app.example.com/signed-out"


@pytest.fixture
async def rp(make_client: MakeClient) -> RelyingParty:
    return await make_client(post_logout_redirect_uris=[URI], skip_consent=True)


async def _rotated(server: Server, rp: RelyingParty) -> None:
    """A new key signs, and the one before it is out of the JWKS."""
    old = key_set.signing("RS256").kid
    new = await lifecycle.rotate("RS256", now=True)
    await execute("UPDATE signing_key SET retires_at = now() - interval '1 hour' WHERE kid = $1", old)
    await _until_jwks(server, rp, lambda kids: new in kids)
    # The retirement was set without a notice; another notice makes the server read it.
    await lifecycle.rotate("RS256", now=True)
    await _until_jwks(server, rp, lambda kids: old not in kids)
    await key_set.load()


async def _until_jwks(server: Server, rp: RelyingParty, holds: object) -> None:
    async with asyncio.timeout(30):
        while True:
            answer = await rp.http.get(f"{server.issuer}/.well-known/jwks.json")
            if holds({key["kid"] for key in answer.json()["keys"]}):  # type: ignore[operator]
                return
            await asyncio.sleep(0.02)


async def _is_signed_in(browser: Browser, rp: RelyingParty) -> bool:
    answer = await rp.authorize(browser, prompt="none")
    assert isinstance(answer, Redirect)
    return "code" in answer.parameters


async def test_a_rotation_breaks_no_hint(server: Server, browser: Browser, rp: RelyingParty, alice: User) -> None:
    """Silent renewal works, and logout needs no confirmation; the retired key verifies nothing else."""
    tokens = await rp.tokens(browser, alice.email)
    await _rotated(server, rp)
    answer = await rp.authorize(browser, prompt="none", id_token_hint=tokens["id_token"])
    assert isinstance(answer, Redirect)
    assert "code" in answer.parameters
    assert (await rp.userinfo(tokens["access_token"])).status_code == 401
    answer = await browser.get("/logout", id_token_hint=tokens["id_token"], post_logout_redirect_uri=URI)
    assert isinstance(answer, Redirect)
    assert answer.location == URI
    assert not await _is_signed_in(browser, rp)


async def _revoked_hint(rp: RelyingParty, hint: str) -> str:
    """Return the same claims, signed by a key that is then revoked."""
    key = jose.generate("RS256")
    # In one transaction, so that no worker ever reads it as a valid key.
    async with transaction():
        await lifecycle.publish(key)
        await lifecycle.revoke(key.kid)
    return jose.sign(key, "JWT", claims_of(hint))


@pytest.mark.parametrize("named", [False, True], ids=["unnamed", "client_id"])
async def test_a_hint_of_a_revoked_key_is_none(browser: Browser, rp: RelyingParty, alice: User, named: bool) -> None:
    """The holder of the key could end any session with it. The user is asked for confirmation, and can sign out."""
    hint = await _revoked_hint(rp, (await rp.tokens(browser, alice.email))["id_token"])
    silent = await rp.authorize(browser, prompt="none", id_token_hint=hint)
    assert isinstance(silent, Redirect)
    assert silent.parameters["error"] == "login_required"
    shown = await rp.authorize(browser, id_token_hint=hint)
    assert isinstance(shown, Redirect)
    assert "code" in shown.parameters
    more = {"client_id": rp.client_id} if named else {}
    page = await browser.get("/logout", id_token_hint=hint, post_logout_redirect_uri=URI, state="x", **more)
    assert isinstance(page, Page)
    assert await _is_signed_in(browser, rp)
    done = await browser.submit(page, "logout-confirm")
    assert not await _is_signed_in(browser, rp)
    # Only if the application identified itself, as without a hint.
    assert isinstance(done, Redirect) is named
    if isinstance(done, Redirect):
        assert done.location == f"{URI}?state=x"


async def test_a_revoked_hint_by_post(browser: Browser, rp: RelyingParty, alice: User) -> None:
    hint = await _revoked_hint(rp, (await rp.tokens(browser, alice.email))["id_token"])
    form = {"id_token_hint": hint, "post_logout_redirect_uri": URI}
    page = await browser.post("/logout", form, origin="https://rp.example.com")
    assert isinstance(page, Page)
    assert "logout-confirm" in page.ids
    await browser.submit(page, "logout-confirm")
    assert not await _is_signed_in(browser, rp)


async def test_an_unregistered_uri_is_refused(browser: Browser, rp: RelyingParty, alice: User) -> None:
    """With a valid hint, an unregistered URI is an error of the application, which the page reports."""
    hint = (await rp.tokens(browser, alice.email))["id_token"]
    page = await browser.get("/logout", id_token_hint=hint, post_logout_redirect_uri="https://evil.example/")
    assert isinstance(page, Page)
    assert page.status == 400
    assert await _is_signed_in(browser, rp)


ALG = "ES256"


async def _ring() -> KeySet:
    ring = KeySet()
    await ring.load()
    return ring


async def test_which_keys_verify_hints(own_database: str) -> None:
    """Retired ones while a session of their time can live, their private part erased or not; no revoked one."""
    await lifecycle.ensure_signing_key(ALG)
    kids = [(await _ring()).signing(ALG).kid]
    for _ in range(3):
        kids.append(await lifecycle.rotate(ALG, now=True))
    first, second, third, last = kids
    await execute("UPDATE signing_key SET retires_at = now() - interval '1 day' WHERE kid = ANY($1)", [first, second])
    await lifecycle.destroy(first)
    ring = await _ring()
    assert ring.verification().keys() == {third, last}
    assert ring.hinting().keys() == set(kids)
    await lifecycle.revoke(second)
    assert (await _ring()).hinting().keys() == {first, third, last}
    with pytest.raises(lifecycle.UnknownKeyError):
        await lifecycle.revoke(second)
    await execute("UPDATE signing_key SET retires_at = now() - interval '91 days' WHERE kid = $1", first)
    assert (await _ring()).hinting().keys() == {third, last}


async def test_revoking_a_retired_key_changes_nothing_else(own_database: str) -> None:
    await lifecycle.ensure_signing_key(ALG)
    first = (await _ring()).signing(ALG).kid
    second = await lifecycle.rotate(ALG, now=True)
    await execute("UPDATE signing_key SET retires_at = now() - interval '1 day' WHERE kid = $1", first)
    assert (await lifecycle.revoke(first)).successor is None
    row = await fetchrow("SELECT retires_at < now() - interval '1 hour' AS kept FROM signing_key WHERE kid = $1", first)
    assert row is not None
    assert row["kept"]
    assert (await _ring()).signing(ALG).kid == second


def test_malformed_hints() -> None:
    for text in ("", "x", "a.b.c", "e30.e30.e30"):
        with pytest.raises(InvalidRequestError):
            read_id_token_hint(text)
