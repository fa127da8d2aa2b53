"""The refresh token as a JWT: it carries the id of its user sealed, and is made again byte for byte."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
import pytest

from idp import ids
from idp.accounts.tables import User
from idp.errors import Refused
from idp.infra.db.engine import fetchrow
from idp.keys import jose, sealed_ids, vault
from idp.oauth.token import refresh_jwt
from idp.oauth.token.refresh_jwt import PresentedRefreshToken, decode, encode, new_refresh_token
from idp.oauth.token.repository import families, refresh_tokens
from idp.oauth.token.repository.refresh_tokens import RepeatWindows, Rotation
from idp.reasons import Reason
from tests.conftest import MakeUser
from tests.support.browser import Browser
from tests.support.oauth import RelyingParty
from tests.support.tokens import claims_of

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


def _signed(claims: dict[str, Any]) -> str:
    """Under the right key, which nobody else has."""
    return jose.sign_symmetric(vault.derive("refresh-token"), refresh_jwt.REFRESH_TOKEN_TYPE, claims)


async def test_the_same_row_gives_the_same_token(db: str) -> None:
    user, family = ids.uuid7(), ids.uuid7()
    new = new_refresh_token(user, family, 60)
    assert encode(new.jti, new.issued_at, new.expires_at, family, user) == new.token
    assert decode(new.token) == PresentedRefreshToken(user, family, new.jti, new.hash, new.expires_at)


async def test_a_client_cannot_tell_whose_it_is(db: str) -> None:
    user = ids.uuid7()
    first, second = (claims_of(new_refresh_token(user, ids.uuid7(), 60).token) for _ in range(2))
    assert first["sealed_user"] != second["sealed_user"]
    assert set(first) == {"iss", "jti", "iat", "exp", "family", "sealed_user"}
    assert str(user) not in str(first)


async def test_a_sealed_part_that_does_not_open(db: str) -> None:
    """The sealed part of another token of the same user, of a code, altered, or missing; signed by the server's key."""
    user, family = ids.uuid7(), ids.uuid7()
    claims = claims_of(new_refresh_token(user, family, 60).token)
    jti = UUID(claims["jti"])
    forged = [
        claims | {"sealed_user": claims_of(new_refresh_token(user, family, 60).token)["sealed_user"]},
        claims | {"sealed_user": sealed_ids.seal(user, "authorization-code", jti.bytes)},
        claims | {"sealed_user": claims["sealed_user"][::-1]},
        claims | {"sealed_user": str(user)},
        claims | {"sealed_user": None},
        claims | {"jti": str(ids.uuid7())},
        {name: value for name, value in claims.items() if name != "sealed_user"},
    ]
    for each in forged:
        assert decode(_signed(each)) == Refused(Reason.BAD_SIGNATURE, family_id=family)
    assert isinstance(decode(_signed(claims)), PresentedRefreshToken)


async def test_an_expired_token_says_whose_it_was(db: str) -> None:
    user, family = ids.uuid7(), ids.uuid7()
    claims = claims_of(new_refresh_token(user, family, 60).token)
    assert decode(_signed(claims | {"exp": claims["iat"]})) == Refused(Reason.EXPIRED, user, family)


@pytest.mark.parametrize("used", [False, True])
async def test_the_id_of_another_user(
    client: RelyingParty, browser: Browser, alice: User, make_user: MakeUser, used: bool
) -> None:
    """With jti, family and hash of a real token, no statement finds it, changes it or revokes its family."""
    bob = await make_user()
    token = (await client.tokens(browser, alice.email))["refresh_token"]
    if used:
        successor = (await client.refresh(token)).json()["refresh_token"]
    real = decode(token)
    assert isinstance(real, PresentedRefreshToken)
    forged = msgspec.structs.replace(real, user_id=bob.id)
    rotation = Rotation(
        token=forged,
        client_id=client.client_id,
        scope=(),
        registered=client.scope,
        resource=(),
        not_before=LONG_AGO,
    )
    always, never = RepeatWindows(3600, 3600), RepeatWindows(0, 0)
    assert await refresh_tokens.rotate(rotation, new_refresh_token(bob.id, real.family_id, 60)) is None
    assert await refresh_tokens.repeat_rotation(rotation, always) is None
    assert await refresh_tokens.revoke_reused(rotation, never) is None
    assert await refresh_tokens.known_ancestor(forged) is None
    assert await refresh_tokens.live_refresh_token(forged, client.client_id, LONG_AGO) is None
    assert await families.revoke_by_client(forged, client.client_id) is None
    assert await families.client_of_family(forged) is None
    # The token itself, with the sealed id of the other user, does not work either.
    claims = claims_of(token)
    sealed = sealed_ids.seal(bob.id, "refresh-token", real.jti.bytes)
    other = _signed(claims | {"sealed_user": sealed})
    assert isinstance(decode(other), PresentedRefreshToken)
    assert (await client.refresh(other)).status_code == 400
    assert (await client.post("/revoke", token=other)).status_code == 200
    row = await fetchrow("SELECT revoked_at FROM token_family WHERE id = $1", real.family_id)
    assert row is not None
    assert row["revoked_at"] is None
    assert (await client.refresh(successor if used else token)).status_code == 200
