"""Validation of our own access tokens."""

import pytest

from idp.errors import Refused
from idp.keys import lifecycle
from idp.keys.key_set import KeySet
from idp.oauth import access_tokens
from idp.oauth.clients.registration import register_client
from idp.oauth.token import access_token
from tests.support.isolated import MoveClock


@pytest.fixture
async def ring(own_database: str, monkeypatch: pytest.MonkeyPatch) -> KeySet:
    await lifecycle.ensure_signing_key("RS256")
    ring = KeySet()
    await ring.load()
    for module in (access_tokens, access_token):
        monkeypatch.setattr(module, "key_set", ring)
    return ring


async def _token() -> str:
    client, _ = await register_client(client_name="X", grant_types=["client_credentials"])
    return access_token.access_token(client, client.client_id, "", (), "jti")


async def test_a_cached_verification_ends_with_its_key(ring: KeySet) -> None:
    """A cached verification is valid only while the key is published."""
    token = await _token()
    first = access_tokens.read(token)
    assert first is not None
    assert access_tokens.read(token) == first
    await lifecycle.revoke(ring.signing("RS256").kid)
    await ring.load()
    assert isinstance(access_tokens.read(token), Refused)


async def test_a_cached_verification_expires(ring: KeySet, move_clock: MoveClock) -> None:
    token = await _token()
    assert not isinstance(access_tokens.read(token), Refused)
    move_clock(3600)
    assert isinstance(access_tokens.read(token), Refused)


async def test_a_changed_token_is_not_cached(ring: KeySet) -> None:
    token = await _token()
    assert not isinstance(access_tokens.read(token), Refused)
    header, payload, signature = token.split(".")
    for changed in (f"{header}.{payload[:-2]}xx.{signature}", f"{header}.{payload}.{signature[:-4]}AAAA", f"{token}="):
        assert isinstance(access_tokens.read(changed), Refused)
