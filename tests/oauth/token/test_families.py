"""Token families without a code and without a session (:mod:`idp.oauth.token.families`)."""

from typing import Any
from uuid import UUID

import pytest
from msgspec import UNSET

from idp import clock, ids
from idp.accounts.tables import User
from idp.accounts.users import disable_user
from idp.errors import InvalidGrantError
from idp.infra.db.engine import fetchrow, transaction
from idp.oauth import consent
from idp.oauth.binding.confirmation import Confirmation
from idp.oauth.clients.models import Client
from idp.oauth.clients.registration import register_client
from idp.oauth.clients.registry import registry
from idp.oauth.credentials import credentials_changed
from idp.oauth.sign_out import sign_out_everywhere
from idp.oauth.token.families import start_offline_family
from idp.oauth.token.grant import Grant
from idp.oauth.token.issuer import TokenResponse, issue
from idp.reasons import Reason
from tests.conftest import MakeUser
from tests.support.tokens import claims_of

KEY = Confirmation(jkt="k" * 43)


def grant_of(user: User, **changes: Any) -> Grant:
    values = {
        "family_id": ids.uuid7(),
        "user_id": user.id,
        "session_id": None,
        "scope": "openid offline_access",
        "resource": [],
        "claims": None,
        "authorization_details": None,
        "nonce": None,
        "auth_time": clock.now(),
        "auth_age": 5,
        "amr": ["pwd", "otp", "mfa"],
        "acr": "2",
    }
    return Grant(**(values | changes))


async def a_client(**metadata: Any) -> Client:
    values = {"client_name": "Shop", "redirect_uris": ["https://shop.example/cb"], "scope": "openid offline_access"}
    stored, _ = await register_client(**(values | metadata))
    await registry.load()
    client = registry.client(stored.client_id)
    assert client is not None
    return client


async def start(client: Client, grant: Grant) -> TokenResponse:
    async with transaction():
        grant, token = await start_offline_family(client, grant, KEY, "device_code")
    return await issue(client, grant, token, grant_type="refresh_token", confirmation=KEY)


async def state_of(family_id: UUID) -> dict[str, Any]:
    row = await fetchrow("SELECT * FROM token_family WHERE id = $1", family_id)
    assert row is not None
    return dict(row)


async def test_the_tokens_of_a_family_without_a_session(db: str, make_user: MakeUser) -> None:
    """Its ID token has the authentication, and no ``sid``. It is stored as one that needs no session."""
    user = await make_user()
    client = await a_client(grant_types=["authorization_code", "refresh_token"])
    grant = grant_of(user)
    response = await start(client, grant)
    claims = claims_of(str(response.id_token))
    assert claims["acr"] == "2"
    assert claims["amr"] == ["pwd", "otp", "mfa"]
    assert claims["auth_time"] == int(grant.auth_time.timestamp()) - 5
    assert "sid" not in claims
    stored = await state_of(grant.family_id)
    assert stored["session_id"] is None
    assert stored["offline_access"]
    # The client authenticates itself, so its refresh tokens are not bound to the key.
    assert stored["confirmation"] is None
    row = await fetchrow("SELECT family_id FROM refresh_token WHERE user_id = $1", user.id)
    assert row is not None
    assert row["family_id"] == grant.family_id


async def test_a_client_without_refresh_tokens_gets_none(db: str, make_user: MakeUser) -> None:
    user, client = await make_user(), await a_client(grant_types=["authorization_code"])
    assert (await start(client, grant_of(user))).refresh_token is UNSET
    assert await fetchrow("SELECT FROM refresh_token WHERE user_id = $1", user.id) is None


async def test_a_public_client_is_bound_to_its_key(db: str, make_user: MakeUser) -> None:
    client = await a_client(token_endpoint_auth_method="none")
    grant = grant_of(await make_user())
    await start(client, grant)
    assert Confirmation.from_json((await state_of(grant.family_id))["confirmation"]) == KEY


async def test_a_disabled_user_gets_no_family(db: str, make_user: MakeUser) -> None:
    user, client = await make_user(), await a_client()
    await disable_user(user.id, credentials_changed)
    grant = grant_of(user)
    with pytest.raises(InvalidGrantError) as refused:
        await start(client, grant)
    assert refused.value.refused.reason is Reason.USER_DISABLED
    assert await fetchrow("SELECT FROM token_family WHERE id = $1", grant.family_id) is None


@pytest.mark.parametrize("how", ["sign_out", "withdraw"])
async def test_it_ends_with_sign_out_everywhere_and_with_the_consent(db: str, make_user: MakeUser, how: str) -> None:
    user, client = await make_user(), await a_client()
    grant = grant_of(user)
    await start(client, grant)
    if how == "sign_out":
        await sign_out_everywhere(user.id, "signed_out_by_user")
    else:
        await consent.withdraw(user.id, client.client_id)
    assert (await state_of(grant.family_id))["revoked_at"] is not None


async def test_a_newer_sign_in_ends_it_where_only_one_is_allowed(db: str, make_user: MakeUser) -> None:
    user, client = await make_user(), await a_client(single_session=True)
    first, second = grant_of(user), grant_of(user)
    await start(client, first)
    await start(client, second)
    assert (await state_of(first.family_id))["revoked_reason"] == "single_session"
    assert (await state_of(second.family_id))["revoked_at"] is None
