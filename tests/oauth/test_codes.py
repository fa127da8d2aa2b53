"""The value of an authorization code: the sealed id of its user belongs to it, and to no other."""

import asyncio
from collections.abc import Callable

import pytest

from idp import ids
from idp.accounts.tables import User
from idp.errors import Refused
from idp.infra.db.engine import fetchrow
from idp.keys import sealed_ids
from idp.oauth import codes
from idp.reasons import Reason
from tests.conftest import MakeUser
from tests.support.browser import Browser
from tests.support.oauth import RelyingParty
from tests.support.proxy import proxy_to
from tests.support.server import Server


def _for(code: str, user: User) -> str:
    """A code with the same secret, sealed for another user by the key of the server itself."""
    secret = code.partition(".")[0]
    return f"{secret}.{sealed_ids.seal(user.id, 'authorization-code', secret.encode())}"


async def test_a_code_is_read_back(alice: User) -> None:
    code = codes.new(alice.id)
    assert codes.read(code) == codes.PresentedCode(alice.id, ids.digest(code))


async def test_a_client_cannot_tell_whose_it_is(alice: User) -> None:
    first, second = codes.new(alice.id), codes.new(alice.id)
    assert not set(first.split(".")) & set(second.split("."))
    assert alice.id.hex not in first


@pytest.mark.parametrize(
    "code", ["", ".", "a", "a" * 43, "a" * 87, f"{'a' * 43}.{'a' * 42}", f"{'a' * 43}.{'a' * 43}."]
)
async def test_anything_without_the_form_of_a_code(db: str, code: str) -> None:
    assert codes.read(code) == Refused(Reason.MALFORMED)


async def test_a_part_of_another_code(alice: User) -> None:
    """Also of one that was issued to the same user."""
    secret, sealed = codes.new(alice.id).split(".")
    other, other_sealed = codes.new(alice.id).split(".")
    for forged in (f"{other}.{sealed}", f"{secret}.{other_sealed}", f"{secret}.{'A' * 43}", f"{sealed}.{secret}"):
        assert codes.read(forged) == Refused(Reason.BAD_SIGNATURE)


async def test_the_id_of_another_user(client: RelyingParty, browser: Browser, alice: User, make_user: MakeUser) -> None:
    """Even sealed by our own key it finds nothing, revokes nothing, and leaves the code as it was."""
    bob = await make_user()
    code = await client.sign_in(browser, alice.email)
    forged = _for(code, bob)
    assert isinstance(codes.read(forged), codes.PresentedCode)
    refused = await client.redeem(forged)
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")
    tokens = (await client.redeem(code)).json()
    assert (await client.redeem(forged)).status_code == 400
    # A second use of the code itself would have revoked them.
    assert (await client.userinfo(tokens["access_token"])).json()["sub"] == str(alice.id)
    row = await fetchrow("SELECT count(*) FROM token_family WHERE user_id = $1", bob.id)
    assert row is not None
    assert row["count"] == 0


async def test_a_forged_code_costs_no_query(
    dsn: str, start_server: Callable[..., Server], client: RelyingParty, browser: Browser, alice: User
) -> None:
    """The database answers nothing any more: the forgeries are refused all the same, and only the real one waits."""
    code = await client.sign_in(browser, alice.email)
    secret, sealed = code.split(".")
    forgeries = ["garbage", secret, f"{secret}.", f"{secret}.{sealed[::-1]}", f"{ids.random_token()}.{sealed}"]
    async with proxy_to(dsn) as proxy:
        server = await asyncio.to_thread(start_server, IDP_DATABASE_URL=proxy.dsn)
        client.issuer = server.issuer
        proxy.withhold = True
        for forged in forgeries:
            async with asyncio.timeout(20):
                response = await client.redeem(forged)
            assert (response.status_code, response.json()["error"]) == (400, "invalid_grant"), forged
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await client.redeem(code)
