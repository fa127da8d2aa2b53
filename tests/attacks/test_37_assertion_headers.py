"""Row 37: client assertions that name their own key."""

from typing import Any

import pytest

from idp.oauth.clients.models import Client
from tests.support.assertions import ClientKeys, claims, refuse, register_bank
from tests.support.tokens import key, signed

pytestmark = pytest.mark.usefixtures("db")

RSA = key("RS256")
KEYS = ClientKeys()
KEYS.keys = [RSA]


@pytest.fixture
async def bank(db: str) -> Client:
    """A client with an RSA key."""
    return await register_bank("private_key_jwt", jwks=KEYS.jwks("alg"))


@pytest.mark.parametrize("header", ["jwk", "jku", "x5u", "x5c"])
async def test_37_keys_in_the_header_of_an_assertion(bank: Client, header: str) -> None:
    stranger = ClientKeys("RS256")
    value: Any = {
        "jwk": stranger.jwks()["keys"][0],
        "jku": "http://127.0.0.1:9/jwks",
        "x5u": "http://127.0.0.1:9/x5u",
        "x5c": ["AAAA"],
    }[header]
    for kid in (RSA.kid, stranger.keys[0].kid, None):
        await refuse(stranger.sign(claims(bank.client_id), **{header: value, "kid": kid}))


@pytest.mark.parametrize("crit", [["exp"], ["b64"], [], "exp", 1, None], ids=repr)
async def test_37_a_critical_header_of_an_assertion(bank: Client, crit: Any) -> None:
    members = {"alg": "RS256", "kid": RSA.kid, "crit": crit, "exp": 1, "b64": True}
    await refuse(signed(RSA, members, claims(bank.client_id)))


@pytest.mark.parametrize("kid", ["../jwks", "' OR 1=1 --", "\0", "x" * 5000, 1, ["a"], {"a": 1}], ids=ascii)
async def test_37_the_kid_of_an_assertion(bank: Client, kid: Any) -> None:
    await refuse(KEYS.sign(claims(bank.client_id), kid=kid))
